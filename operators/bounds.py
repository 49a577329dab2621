"""Between which values a number can work: declared once, in its type, beside its default.

    def __init__(self, .., *, n_context: Tokens = 4, ratio: Share = 0.2)

Whoever takes numbers from a user reads them with `read`: it refuses what is of another kind, no
number, or out of bounds, in the words of all methods. Lists and docs/methods.md show the bounds.
An upper bound is far from anything that was published: what lies above it is a slip of the hand.
"""

import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from operators.functions import Functions
from operators.wording import either


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest value.

    Attributes:
        low: The smallest.
        high: The largest.
        above: Whether `low` itself is too small.
        below: Whether `high` itself is too large.
    """

    low: int | float
    high: int | float
    above: bool = False
    below: bool = False

    def hold(self, value: int | float) -> bool:
        """Whether a value lies between them; NaN does not."""
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if not self.above and not self.below:
            return f"{self.low:.15g} to {self.high:.15g}"
        low = f"above {self.low:.15g}" if self.above else f"{self.low:.15g} or more"
        return f"{low}, {'below' if self.below else 'up to'} {self.high:.15g}"


@dataclass(frozen=True)
class Later:
    """Marks a hyperparameter that a method got after trials of it had been made.

    At its default it is left out of a trial's hyperparameters, so the ids of those trials stay.
    """


LATER = Later()


@dataclass(frozen=True)
class Brief:
    """Marks a hyperparameter that the contract of methods sets to another value.

    The contract takes a few steps on a few examples. A search over thousands of settings, or a
    weight that was published for thousands of steps, shows nothing more there and takes longer.

    Attributes:
        value: What does for a few steps.
    """

    value: Any


# What methods have in common; a number of its own kind has its bounds where it is declared.
Share = Annotated[float, Bounds(0, 1)]
Weight = Annotated[float, Bounds(0, 1e6)]  # of a part of a loss
Deviation = Annotated[float, Bounds(0, 10)]  # of a random start; embeddings have about 0.01
Temperature = Annotated[float, Bounds(0, 1e4, above=True)]
Rate = Annotated[float, Bounds(0, 100, above=True)]  # of learning
Decay = Annotated[float, Bounds(0, 10)]
Tokens = Annotated[int, Bounds(1, 64)]  # learned; CLIP reads 77, SigLIP 64
Layers = Annotated[int, Bounds(1, 128)]
Reduction = Annotated[int, Bounds(1, 4096)]  # of a width
Epochs = Annotated[int, Bounds(1, 10_000)]
Images = Annotated[int, Bounds(1, 65_536)]  # a step
SEEDS = Bounds(0, 2**32 - 1)  # numpy takes no more
Seed = Annotated[int, SEEDS]

_KINDS = {  # in words that need no Python
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "{name: value}",
    types.NoneType: "null",
}


def bounds_of(annotation: Any) -> Bounds | None:
    """The bounds that a type declares; None where it has none."""
    return next((mark for mark in _marks(annotation) if isinstance(mark, Bounds)), None)


def functions_of(annotation: Any) -> Functions | None:
    """The role that a type names a function for; None for most."""
    return next((mark for mark in _marks(annotation) if isinstance(mark, Functions)), None)


def is_later(annotation: Any) -> bool:
    """Whether a type carries the mark `Later`."""
    return any(isinstance(mark, Later) for mark in _marks(annotation))


def brief_of(annotation: Any) -> Brief | None:
    """What a type says of short fits; None where the published value does."""
    return next((mark for mark in _marks(annotation) if isinstance(mark, Brief)), None)


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The plain types that a type stands for, `int` and `None` of `Annotated[int | None, ..]`."""
    plain = typing.get_args(annotation)[0] if _marks(annotation) else annotation
    return typing.get_args(plain) if _is_union(plain) else (plain,)


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`; none where a type is no such list."""
    (kind, *_) = kinds_of(annotation)
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def described(annotation: Any) -> str:
    """What a value may be, in words: `1 to 64`, `end, middle or front`, `true or false`."""
    choices = choices_of(annotation)
    if choices:
        return either(choices)
    if functions := functions_of(annotation):
        return str(functions)
    bounds = bounds_of(annotation)
    others = [_KINDS[kind] for kind in kinds_of(annotation) if kind not in (int, float)]
    return " or ".join(([] if bounds is None else [str(bounds)]) + others)


def read(name: str, value: Any, annotation: Any, default: Any) -> Any:
    """A value that somebody has asked for, as the type has it.

    A whole number does for a number, and one written as 1e3 for a whole one.

    Args:
        name: Of what it is for, for messages.
        value: As it was written.
        annotation: The type, with its bounds.
        default: A value that works, for messages.

    Raises:
        ValueError: It is of another kind, no number, or out of bounds.
    """
    choices = choices_of(annotation)
    if choices:
        if value not in choices:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, choices))}.")
        return value
    kinds = kinds_of(annotation)
    instead = f"Write {name}={json.dumps(default)} or the like."
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value} is no finite number. {instead}")
    if Any in kinds:  # of a user's own method, which says no type
        return value
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        value = int(value)
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, tuple(accepted)) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(_KINDS[kind] for kind in kinds)
        raise ValueError(
            f"{name}={value!r} is a {type(value).__name__}, but must be {words}. {instead}"
        )
    if functions := functions_of(annotation):
        try:
            functions.find(str(value))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    bounds = bounds_of(annotation)
    if bounds is not None and value is not None and not bounds.hold(value):
        raise ValueError(f"{name}={value!r}: give {bounds}. The default is {json.dumps(default)}.")
    return float(value) if float in kinds and isinstance(value, int) else value


def _marks(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__metadata__", ())


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)
