"""A documented name for `hinas_nb.experiment.config`: settings of Runs. Nothing else stands here."""

from hinas_nb.experiment.config import *  # noqa: F403
