"""A documented name for `hinas_nb.method.genotype`: an architecture as a literal. Nothing else stands here."""

from hinas_nb.method.genotype import *  # noqa: F403
