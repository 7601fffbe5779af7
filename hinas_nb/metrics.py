"""A documented name for `hinas_nb.scoring.metrics`: PSNR and SSIM. Nothing else stands here."""

from hinas_nb.scoring.metrics import *  # noqa: F403
