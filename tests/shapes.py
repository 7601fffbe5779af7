"""The type checker behind jaxtyping in the tests: beartype, where an int may stand for a float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
