"""A stored Run is told from others by where it departs from its profile, as `hinas-nb status` shows.

Its config is compared with the one that the profile gives for the same task and degradation.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from hinas_nb.experiment.config import Comparator
from hinas_nb.experiment.profile import Profile
from hinas_nb.experiment.runs import canonical
from hinas_nb.scoring import protocol

_SCOPES = {"model": "train.", "genotype": "search.", "search": "search."}  # as axes of `runs.vary` are qualified
_LONGEST = 40  # letters of a value


def departures(kind: str, content: Mapping[str, Any], profile: Profile) -> list[str]:
    """Return `layerwise=off`, `search.seed=1`, ...: the settings that differ from the nearer of the profile's budgets.

    The first word is `headline` where that is the one of the networks that stand for the method.
    content: the config of a search, training or evaluation as it stands in its `start.json`; else nothing is told.
    """
    found = []
    for headline in (False, True):
        try:
            usual = canonical(_usual(kind, content, profile, headline).identity())
            found.append((list(_differing(content, usual, "")), ["headline"] if headline else []))
        except (ValueError, LookupError, TypeError, AttributeError):  # of a version that asked otherwise, or damaged
            continue
    settings, nearer = min(found, key=lambda pair: len(pair[0]), default=([], []))
    return nearer + settings


def _usual(kind: str, content: Mapping[str, Any], profile: Profile, headline: bool):
    """Return what the profile would have computed in this Run's place."""
    if kind == "search":
        return profile.search(content["space"]["task"])
    about = content["protocol"] if kind == "evaluate" else content
    degradation = {name: about[name] for name in ("sigma", "scale") if name in about}
    data = {"data": content["data"], "split": content["split"]}
    training = content["model"] if kind == "evaluate" else content
    if isinstance(training, str):  # nothing trained
        model = training
    else:
        other = training["genotype"].get("kind") == "Comparator"
        named = {name: training["genotype"].get(name) for name in Comparator.model_fields}
        genotype = Comparator(**named) if other else profile.search(about["task"])
        model = profile.train(about["task"], genotype, headline, **degradation)
    if kind == "train":
        return model
    standard, released = (protocol.get(f"{about['task']}-{name}", **degradation) for name in ("standard", "released"))
    as_released = canonical({"kind": "Protocol"} | released.identity()) == about
    return profile.evaluate(model, headline, protocol=released if as_released else standard, **data)


def _differing(content: Mapping[str, Any], usual: Mapping[str, Any], scope: str) -> Iterator[str]:
    for name in dict.fromkeys([*usual, *content]):  # a switch that is off isn't there
        value, other = content.get(name), usual.get(name)
        if value == other:
            continue
        if not isinstance(value, Mapping):
            yield f"{scope}{name}={_short(value)}"
            continue
        inner = _SCOPES.get(name, scope)
        if isinstance(other, Mapping) and value.get("kind") == other.get("kind"):
            yield from _differing(value, other, inner)
        else:  # another producer in the search's place: its perturbation, another system, or a literal
            yield f"{scope}{name}={_producer(value)}"
            if isinstance(value.get("search"), Mapping) and isinstance(other, Mapping):
                yield from _differing(value["search"], other, inner)


def _producer(value: Mapping[str, Any]) -> str:
    if "kind" not in value:
        return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:6]
    own = {name: one for name, one in value.items() if name not in ("kind", "search") and not isinstance(one, Mapping)}
    plain = [f"{name} {_short(one)}" for name, one in own.items()]
    return " ".join([str(value["kind"]), *plain])


def _short(value: Any) -> str:
    if value is None:
        return "off"
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
