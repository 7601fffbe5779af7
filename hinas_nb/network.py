"""A documented name for `hinas_nb.method.network`: the derived network. Nothing else stands here."""

from hinas_nb.method.network import *  # noqa: F403
