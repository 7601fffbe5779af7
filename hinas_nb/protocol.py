"""A documented name for `hinas_nb.scoring.protocol`: protocols. Nothing else stands here."""

from hinas_nb.scoring.protocol import *  # noqa: F403
