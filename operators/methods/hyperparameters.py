"""From what a user asked of a method to everything it will be built with."""

import typing
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from operators.bounds import is_later, read
from operators.episodes.shots import shots_order
from operators.methods.base import Method
from operators.methods.constructing import own_defaults
from operators.methods.leaning import Leaning
from operators.tuning import Tuning

# The datasets that settings were published for, and other names that they go by.
PUBLISHED_ON = (
    "imagenet",
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "flowers102",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
    "ut_zappos",
    "pacs",
)
OTHER_NAMES = {"oxford_flowers": "flowers102"}


@cache
def annotations(method: type[Method]) -> Mapping[str, Any]:
    """The types of all hyperparameters of a method, with the bounds that they declare."""
    parts = (method.__init__, *map(type, _declared(method)))
    hints: dict[str, Any] = {}
    for part in parts:
        hints |= typing.get_type_hints(part, include_extras=True)
    return {name: hints.get(name, Any) for name in defaults(method)}


def later_defaults(method: type[Method]) -> dict[str, Any]:
    """Defaults of the hyperparameters that trials have where they differ from them alone."""
    kinds = annotations(method)
    return {name: value for name, value in defaults(method).items() if is_later(kinds[name])}


def defaults(method: type[Method]) -> dict[str, Any]:
    """All hyperparameters of a method, those of the loop and of trials it leans on included."""
    parts = map(vars, _declared(method))
    return own_defaults(method) | {name: value for part in parts for name, value in part.items()}


def _declared(method: type[Method]) -> tuple[Tuning | Leaning, ...]:
    """What a method has hyperparameters of beside those of its constructor."""
    return *((method.tuning,) if method.tuning else ()), *method.leanings()


def resolve(
    name: str,
    method: type[Method],
    given: Mapping[str, Any],
    *,
    protocol: str,
    shots: int,
    dataset: str = "",
) -> dict[str, Any]:
    """Defaults, then the published recipe for this place, then what the user asked for.

    Args:
        name: The method's id, for messages.
        method: Its class.
        given: What the user asked for.
        protocol: Key of `PROTOCOLS`.
        shots: Labelled examples a class, or `ALL_SHOTS`.
        dataset: Its name.

    Raises:
        LookupError: A name is unknown; the nearest are offered.
        ValueError: A value has the wrong type, cannot work, or would change nothing.
    """
    known, kinds = defaults(method), annotations(method)
    usual = published(method, protocol=protocol, shots=shots, dataset=dataset)
    values = dict(usual)
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(key, known, cutoff=0.5) or sorted(known)
            hint = f" Did you mean {' or '.join(near)}?" if near else " It has none."
            raise LookupError(f"no hyperparameter of {name} is called {key!r}.{hint}")
        values[key] = read(f"{name}.{key}", value, kinds[key], known[key])
    method.check(values, protocol=protocol)
    for leaning in leanings_of(method, values):
        leaning.check()
    idle = dict(method.idle(values))
    for part in _declared(method):
        idle = part.idle(values) | idle
    for key, way_out in idle.items():
        if key in given and values[key] != usual[key]:
            raise ValueError(f"{name}.{key}={values[key]!r} would change nothing: {way_out}")
    return dict(
        sorted(
            (key, value)
            for key, value in values.items()
            if not (is_later(kinds[key]) and value == known[key])
        )
    )


def published(
    method: type[Method], *, protocol: str, shots: int, dataset: str = ""
) -> dict[str, Any]:
    """All published hyperparameters of a method for a protocol, a number of shots and a dataset.

    Args:
        method: Its class.
        protocol: Key of `PROTOCOLS`.
        shots: Labelled examples a class, or `ALL_SHOTS`.
        dataset: Its name, also another that papers use; empty for what holds for all.
    """
    dataset = OTHER_NAMES.get(dataset, dataset)
    count = shots_order(shots)  # a recipe asks whether there are so many
    return {
        **defaults(method),
        **method.recipe(protocol=protocol, shots=count, dataset=dataset),
    }


def tuning_of(method: type[Method], values: Mapping[str, Any]) -> Tuning | None:
    """The part of resolved hyperparameters that the tuning loop reads.

    Args:
        method: Its class.
        values: All hyperparameters by name, resolved; those added later may be missing.

    Raises:
        ValueError: A value cannot work.
    """
    if method.tuning is None:
        return None
    values = {**later_defaults(method), **values}
    return Tuning(**{field.name: values[field.name] for field in fields(Tuning)})


def in_epochs(method: type[Method], values: Mapping[str, Any], images: int) -> Mapping[str, Any]:
    """Hyperparameters with the epochs that the loop has, where a number of steps decides.

    Args:
        method: Its class.
        values: All hyperparameters by name, resolved.
        images: That are learned from; with 1 there are as many epochs as there can be.
    """
    tuning = tuning_of(method, values) if values.get("total_steps") and images else None
    return values if tuning is None else {**values, "epochs": tuning.over(images).epochs}


def leanings_of(method: type[Method], values: Mapping[str, Any]) -> tuple[Leaning, ...]:
    """The parts of resolved hyperparameters that say which other trials it leans on.

    Args:
        method: Its class.
        values: All hyperparameters by name, resolved.
    """
    return tuple(
        type(each)(**{field.name: values[field.name] for field in fields(each)})
        for each in method.leanings()
    )


def own_of(method: type[Method], values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of resolved hyperparameters that the constructor reads.

    Args:
        method: Its class.
        values: All hyperparameters by name; those added later may be missing in old trials.
    """
    values = {**later_defaults(method), **values}
    return {name: values[name] for name in own_defaults(method)}


def variant(
    method: type[Method],
    values: Mapping[str, Any],
    *,
    protocol: str,
    shots: int,
    dataset: str = "",
) -> str:
    """What differs from the published settings, as `epochs=30 lr=0.01`; empty if nothing does.

    Args:
        method: Its class.
        values: All hyperparameters by name; those added later may be missing in old trials.
        protocol: Key of `PROTOCOLS`.
        shots: Labelled examples a class, or `ALL_SHOTS`.
        dataset: Its name; empty for what is published for all.
    """
    usual = published(method, protocol=protocol, shots=shots, dataset=dataset)
    values = {**later_defaults(method), **values}
    return " ".join(
        f"{name}={value!r}" for name, value in sorted(values.items()) if usual.get(name) != value
    )
