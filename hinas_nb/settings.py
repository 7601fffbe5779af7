"""The base of every config: frozen, strict, with one-line errors and an identity to hash."""

import re
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hinas_nb.method.genotype import Genotype

_LONGEST = 120  # characters of a value in an error


class ConfigError(ValueError):
    """Settings that break a rule; the text is one line with the field, the rule and the value."""


class Config(BaseModel):
    """A frozen set of fields; `ConfigError` names the field, the rule and the value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(one_line(error)) from None
        # Only what was said: defaults that follow from it (of the task, the optimizer) must follow `but` too.
        object.__setattr__(self, "__pydantic_fields_set__", set(values))

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, values):
        return cls._defaults(values) | values if isinstance(values, dict) else values  # else: another's, in a union

    @model_validator(mode="after")
    def _consistent(self):
        for holds, rule, got in self._rules():
            if not holds:
                raise ConfigError(f"{rule}, got {got}")
        return self

    @classmethod
    def _defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the defaults that follow from other values, such as those of a task; none unless overridden."""
        return {}

    def _rules(self) -> Iterable[tuple[object, str, object]]:
        """Yield what must hold between fields: whether it does, the rule in words, and the value; nothing by default.

        The first that does not hold is the error; those after it may rest on it.
        """
        return ()

    def but(self, **changes) -> Self:
        """Return a copy with other values, checked again."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**(values | changes))

    def identity(self) -> dict[str, Any]:
        """Return what the hash of a Run is taken from: every field but the switches that are off (None, False).

        A new switch must therefore be off by default; then old Runs keep their hash, while a changed default
        value gives a new one.
        """
        fields = {name: _identity(getattr(self, name)) for name in type(self).model_fields}
        return {name: value for name, value in fields.items() if value is not None and value is not False}


def _identity(value):
    if isinstance(value, Config):
        return {"kind": type(value).__name__} | value.identity()
    if isinstance(value, Genotype):
        return {
            "levels": list(value.levels),
            "cells": [[list(map(list, node)) for node in c] for c in value.cells],
        }
    return [_identity(item) for item in value] if isinstance(value, tuple) else value


def one_line(error: ValidationError) -> str:
    """Return the first complaint of pydantic as one line: field, rule, value."""
    first = error.errors()[0]
    unknown = first["type"] == "extra_forbidden"
    # Among the names of fields stand the kinds that a value was tried as.
    place = ".".join(str(part) for part in first["loc"] if unknown or re.fullmatch(r"[a-z_0-9]+", str(part)))
    if unknown:
        return f"unknown setting {place} = {shown(first['input'])}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{place}: {first['msg'].removeprefix('Value error, ')}, got {shown(first['input'])}"


def shown(value) -> str:
    """Return a value as it is written in Python, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
