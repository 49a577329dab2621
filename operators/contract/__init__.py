"""The contract of methods: promises that code can check, of ours and of a user's own alike.

A promise is a function from a case (a method on a backbone) to a sentence for each thing that is
broken. Some follow from the class alone and cost nothing, so a plan checks them; the others fit the
method on a few drawn examples. A new promise is one function and one line in `PROMISES`.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from operators.contract import answering, carded, learning, shaped
from operators.contract.case import Case, in_precision, weights_of
from operators.contract.drawn import (
    CLASSES,
    DrawnFeatures,
    DrawnPictures,
    drawn_features,
    drawn_pictures,
)

# What a promise is about: a `shape` without which nothing runs, the rest of the `card`, and fits on
# `one` backbone, or on one of `each` kind where what is promised depends on the towers.
About = Literal["shape", "card", "one", "each"]


@dataclass(frozen=True)
class Promise:
    """One thing that every method keeps.

    Attributes:
        name: Of the function, with blanks: a sentence that is true where it is kept.
        about: See `About`.
        check: Yields a sentence for each thing that is broken.
    """

    name: str
    about: About
    check: Callable[..., Iterator[str]]


def _promises() -> Iterator[Promise]:
    by_kind: dict[About, tuple[Callable[..., Iterator[str]], ...]] = {
        "shape": shaped.PROMISES,
        "card": carded.PROMISES,
        "one": (*learning.ONE, *answering.ONE),
        "each": (*learning.EACH, *answering.EACH),
    }
    for about, checks in by_kind.items():
        for check in checks:
            yield Promise(check.__name__.replace("_", " "), about, check)


PROMISES: tuple[Promise, ...] = tuple(_promises())


def misshapen(name: str, method: type) -> str:
    """The first thing that keeps a class from being run as a method; empty where nothing does.

    Args:
        name: As the user has it, for messages.
        method: The class, or whatever was found under its name.
    """
    for check in shaped.PROMISES:
        for sentence in check(name, method):
            return f"{name}: {sentence}"
    return ""


def broken(promise: Promise, case: Case) -> list[str]:
    """A sentence for each thing that a method breaks of a promise; empty where it is kept.

    Args:
        promise: One of `PROMISES`.
        case: The method on a backbone.
    """
    if promise.about in ("shape", "card"):
        return list(promise.check(case.name, case.method))
    return list(promise.check(case))


def report(name: str, method: Any, backbone: Any) -> Iterator[tuple[Promise, list[str]]]:
    """Every promise and what is broken of it, as it is looked at; ends where nothing could run.

    Args:
        name: Id of the method, for messages.
        method: Its class, or whatever was found under its name.
        backbone: Loaded; one of the method's track that can do what it needs.
    """
    case = None
    for promise in PROMISES:
        if promise.about == "shape":
            told = list(promise.check(name, method))
        else:
            case = case or Case(name, method, backbone)
            try:
                told = broken(promise, case)
            except Exception as error:  # whatever a method raises
                told = [_raised(error, method)]
        yield promise, told
        if told and promise.about == "shape":
            return


def _raised(error: Exception, method: type) -> str:
    """What a method raised, and where in its own file."""
    file = inspect.getfile(method)
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    where = f" in line {lines[-1]}" if lines else ""
    return f"it raised {type(error).__name__}{where}: {error}"


__all__ = [
    "CLASSES",
    "PROMISES",
    "Case",
    "DrawnFeatures",
    "DrawnPictures",
    "Promise",
    "broken",
    "drawn_features",
    "drawn_pictures",
    "in_precision",
    "misshapen",
    "report",
    "weights_of",
]
