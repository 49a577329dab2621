"""The knobs of a suite: what a form, a command line or a deployment changes beside its file.

Each is a field of `Suite` and is declared there alone. Fields of forms, options of commands and
their help follow from `knobs`, so a new field is in all of them by itself.
"""

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from operators.bounds import kinds_of

UNCHANGED = "the suite's"  # title of null in a form


@dataclass(frozen=True)
class Asked:
    """How a field is asked for outside of a suite's file, where its type does not say it.

    Attributes:
        kind: Type of a value, or of each one of a list; None for that of the field.
        choices: Kind of the names that it takes: `method`, `dataset`. What there is of a kind
            depends on the store and on what is installed.
        own: Regular expression of what is taken beside these: files of a user's own.
        usual: Values that are offered; others may be given too.
        word: What a list takes beside its numbers.
        null: What stands for null, since no value at all leaves a suite as it is.
        moves: Whether other trials are meant where it changes.
        said: Makes the words in the name of a run of its values in words; by default they stand
            behind the name of the knob.
        shown: False for what tells suites apart, and is no knob.
    """

    kind: Any = None
    choices: str = ""
    own: str = ""
    usual: tuple[Any, ...] = ()
    word: str = ""
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

    def is_own(self, name: str) -> bool:
        """Whether a name is that of a file, or may be found elsewhere, whatever there is here."""
        return bool(self.asked.own and re.fullmatch(self.asked.own, name))

    @property
    def field(self) -> Any:
        """Its type as a parameter, where None leaves the suite as it is."""
        kind: Any = list[self.kind] if self.many else self.kind
        if self.asked.null and not self.many:
            kind = kind | Literal[self.asked.null]
        return Optional[kind]  # noqa: UP045  # of what is known at run time alone

    def form(self, offered: Mapping[str, Sequence[str]], *, needed: bool = False) -> dict[str, Any]:
        """Its JSON schema in a form: the ways in which it may be given, each with a title.

        Args:
            offered: Names by kind.
            needed: Whether a value has to be given; else null leaves the suite as it is.
        """
        one = TypeAdapter(self.kind).json_schema()
        known = list(self.asked.usual or offered.get(self.asked.choices, ()))
        listed = {"type": "string", **one, "enum": known} if known else one
        own = {"type": "string", "pattern": f"^({self.asked.own})$"} if self.asked.own else {}
        ways = {"choose" if "enum" in listed else "write": _list_of(listed, self.many)}
        if own and self.many:
            ways["write"] = _list_of(_either({"known": listed, "own": own}), self.many)
        elif self.asked.word:
            word = {"type": "string", "enum": [self.asked.word]}
            ways["write"] = _list_of(_either({"number": one, self.asked.word: word}), self.many)
        elif self.asked.usual:
            ways["write"] = _list_of(one, self.many)
        if self.asked.null:
            ways[self.asked.null] = {"type": "string", "enum": [self.asked.null]}
        if not needed:
            ways[UNCHANGED] = {"type": "null"}
        return _either(ways)


def _either(ways: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What is given in one of several ways, by their titles; a form begins with the first."""
    return {"anyOf": [{"title": title, **way} for title, way in ways.items()]}


def _list_of(one: dict[str, Any], many: bool) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": one} if many else one


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
