"""A documented name for `hinas_nb.method.decode`: from the supernet to a genotype. Nothing else stands here."""

from hinas_nb.method.decode import *  # noqa: F403
