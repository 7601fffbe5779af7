"""A documented name for `hinas_nb.method.supernet`: the supernet. Nothing else stands here."""

from hinas_nb.method.supernet import *  # noqa: F403
