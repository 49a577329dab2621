"""The knobs of a suite: what a form, a command line or a deployment changes beside its file.

Each is a field of `Suite` and is declared there alone. Fields of forms, options of commands and
their help follow from `knobs`, so a new field is in all of them by itself.
"""

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from operators.bounds import kinds_of


@dataclass(frozen=True)
class Asked:
    """How a field is asked for outside of a suite's file, where its type does not say it.

    Attributes:
        kind: Type of a value, or of each one of a list; None for that of the field.
        choices: Gives the values that there are. They are offered, and refused by whoever looks
            them up, in better words than a form has.
        null: What stands for null, since no value at all leaves a suite as it is.
        moves: Whether other trials are meant where it changes.
        said: Makes the words in the name of a run of its values in words; by default they stand
            behind the name of the knob.
        shown: False for what tells suites apart, and is no knob.
    """

    kind: Any = None
    choices: Callable[[], Iterable[str]] | None = None
    null: str = ""
    moves: bool = True
    said: Callable[[str], str] | None = None
    shown: bool = True


@dataclass(frozen=True)
class Knob:
    """A field of a suite, as it is asked for.

    Attributes:
        name: Of the field.
        description: One line.
        kind: Type of a value, or of each one of a list.
        many: Whether it is a list.
        asked: What the field says beside its type.
    """

    name: str
    description: str
    kind: Any
    many: bool
    asked: Asked

    @property
    def option(self) -> str:
        """How a command line spells it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def plain(self) -> Any:
        """The kind without bounds: `int` of `Annotated[int, ..]`."""
        return kinds_of(self.kind)[0]

    def said(self, values: str) -> str:
        """Its part of the name of a run, such as `seeds 1, 2`; `values` are in words already."""
        return self.asked.said(values) if self.asked.said else f"{self.name} {values}"

    @cached_property
    def field(self) -> Any:
        """Its type in a form, where None leaves the suite as it is."""
        kind: Any = self.kind
        if self.asked.choices:
            offered = list(self.asked.choices())
            kind = Annotated[kind, WithJsonSchema({"type": "string", "enum": offered})]
        if self.many:
            kind = list[kind]
        elif self.asked.null:
            kind = kind | Literal[self.asked.null]
        return Optional[kind]  # noqa: UP045  # of what is known at run time alone


def knobs(suite: type[BaseModel]) -> dict[str, Knob]:
    """The knobs of suites of a type, by name, in the order of its fields."""
    found = (_knob(name, field) for name, field in suite.model_fields.items())
    return {knob.name: knob for knob in found if knob.asked.shown}


def null_words(suite: type[BaseModel]) -> dict[str, str]:
    """What stands for null, by name of the fields where something does."""
    return {name: knob.asked.null for name, knob in knobs(suite).items() if knob.asked.null}


def _knob(name: str, field: FieldInfo) -> Knob:
    asked = next((mark for mark in field.metadata if isinstance(mark, Asked)), Asked())
    kinds = typing.get_args(field.annotation)
    many = typing.get_origin(field.annotation) is tuple
    if many or asked.null:  # of each one, or where it is not null
        kind = kinds[0]
    else:  # pydantic keeps what it knows of a field apart from its type
        kind = field.annotation
        for mark in (mark for mark in field.metadata if mark is not asked):
            kind = Annotated[kind, mark]
    return Knob(name, field.description or "", asked.kind or kind, many, asked)
