"""From what a user asked of a method to everything it will be built with."""

import inspect
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import Any

from operators.methods.base import EPISODE, Method, Teaching
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
)
OTHER_NAMES = {"oxford_flowers": "flowers102"}
_KINDS = {  # in words that need no Python
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "{name: value}",
    types.NoneType: "null",
}


def own_defaults(method: type[Method]) -> dict[str, Any]:
    """Keyword arguments of a method's constructor and their defaults."""
    parameters = inspect.signature(method.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in ("self", *EPISODE)
    }


def defaults(method: type[Method]) -> dict[str, Any]:
    """All hyperparameters of a method, those of the tuning loop and the teacher included."""
    parts = (asdict(part) for part in (method.tuning, method.teaching) if part is not None)
    return own_defaults(method) | {name: value for part in parts for name, value in part.items()}


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
        shots: Labelled images a class.
        dataset: Its name.

    Raises:
        LookupError: A name is unknown; the nearest are offered.
        ValueError: A value has the wrong type or cannot work.
    """
    known = defaults(method)
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(key, known, cutoff=0.5) or sorted(known)
            hint = f" Did you mean {' or '.join(near)}?" if near else " It has none."
            raise LookupError(f"no hyperparameter of {name} is called {key!r}.{hint}")
        _check_type(f"{name}.{key}", value, _annotation(method, key), known[key])
    values = {**published(method, protocol=protocol, shots=shots, dataset=dataset), **given}
    values = {
        key: float(value) if isinstance(known[key], float) else value
        for key, value in values.items()
    }
    tuning_of(method, values)
    method.check(values, protocol=protocol)
    return dict(sorted(values.items()))


def published(
    method: type[Method], *, protocol: str, shots: int, dataset: str = ""
) -> dict[str, Any]:
    """All published hyperparameters of a method for a protocol, a number of shots and a dataset."""
    dataset = OTHER_NAMES.get(dataset, dataset)
    return {
        **defaults(method),
        **method.recipe(protocol=protocol, shots=shots, dataset=dataset),
    }


def tuning_of(method: type[Method], values: Mapping[str, Any]) -> Tuning | None:
    """The part of resolved hyperparameters that the tuning loop reads.

    Raises:
        ValueError: A value cannot work.
    """
    if method.tuning is None:
        return None
    return Tuning(**{field.name: values[field.name] for field in fields(Tuning)})


def teaching_of(method: type[Method], values: Mapping[str, Any]) -> Teaching | None:
    """The part of resolved hyperparameters that says who teaches; None where nobody does."""
    if method.teaching is None:
        return None
    return Teaching(**{field.name: values[field.name] for field in fields(Teaching)})


def own_of(method: type[Method], values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of resolved hyperparameters that the constructor reads."""
    return {name: values[name] for name in own_defaults(method)}


def variant(
    method: type[Method],
    values: Mapping[str, Any],
    *,
    protocol: str,
    shots: int,
    dataset: str = "",
) -> str:
    """What differs from the published settings, as `epochs=30 lr=0.01`; empty if nothing does."""
    usual = published(method, protocol=protocol, shots=shots, dataset=dataset)
    return " ".join(
        f"{name}={value!r}" for name, value in sorted(values.items()) if usual.get(name) != value
    )


def _annotation(method: type[Method], name: str) -> Any:
    if name in own_defaults(method):
        return typing.get_type_hints(method.__init__)[name]
    hints = {**typing.get_type_hints(Tuning), **typing.get_type_hints(Teaching)}
    return hints[name]


def _check_type(name: str, value: Any, wanted: Any, default: Any) -> None:
    origin = typing.get_origin(wanted)
    if origin is typing.Literal:
        choices = typing.get_args(wanted)
        if value not in choices:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, choices))}.")
        return
    kinds = typing.get_args(wanted) if origin in (typing.Union, types.UnionType) else (wanted,)
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, tuple(accepted)) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(_KINDS[kind] for kind in kinds)
        raise ValueError(
            f"{name}={value!r} is a {type(value).__name__}, but must be {words}. "
            f"Write {name}={json.dumps(default)} or the like."
        )
