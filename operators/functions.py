"""Functions that a hyperparameter names: what writes, describes or draws for a method.

A method that asks somebody for templates, captions or images does not say who that is. It names a
role, and each function that ships for it has a name:

    PROPOSERS = Functions("a proposer", ("best", "worst", "count", "generator"), {"mutation": ..})

    def __init__(self, .., *, proposer: Annotated[str, PROPOSERS] = "mutation")

A user gives a function of their own as `./mine.py:propose`, which is kept as
`mine:propose@<digest of the file>`: so an edited file makes other trials, and the same file
elsewhere the same ones.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from reprlib import repr as brief
from typing import Any

OWN = re.compile(r"(?P<place>\w+:\w+)@(?P<digest>[0-9a-f]{16})")  # a user's own function

_OWN: dict[str, Callable[..., Any]] = {}  # by the name with the digest


class Rubbish(ValueError):
    """What a function gave is of no use; the message is a noun that says what it is."""


def as_it_is(found: Any, *_: Any) -> Any:
    """Reads whatever a function gave."""
    return found


def texts_of(found: Any, *_: Any) -> list[str]:
    """Reads texts that a function gave, of any number.

    Args:
        found: What it gave.

    Raises:
        Rubbish: It is no list of texts; one text alone is none, though it has letters.
    """
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise Rubbish(brief(found))
    listed = list(found)
    for text in listed:
        if not isinstance(text, str):
            raise Rubbish(f"a list with {brief(text)} in it")
    return listed


def nats_of(found: Any, *_: Any) -> float:
    """Reads a negative log probability that a function gave, in nats.

    Args:
        found: What it gave: a number, or an array or a tensor of one.

    Raises:
        Rubbish: It is no number, or not finite, or of a probability above 1.
    """
    if isinstance(found, str) or not hasattr(found, "__float__"):
        raise Rubbish(brief(found))
    nats = float(found)
    if not 0 <= nats < math.inf:
        raise Rubbish(f"{nats:g}")
    return nats


@dataclass(frozen=True, eq=False)
class Functions:
    """A role that a function is given to a method for.

    Attributes:
        role: With its article, for messages.
        parameters: What a function is called with, by position.
        gives: What it returns, in words.
        shipped: The functions that ship, by name.
        reads: What becomes of what a user's own function gives, by that and what the function was
            called with; raises `Rubbish`.
    """

    role: str
    parameters: tuple[str, ...]
    gives: str
    shipped: Mapping[str, Callable[..., Any]]
    reads: Callable[..., Any] = as_it_is

    def find(self, name: str) -> Callable[..., Any]:
        """The function of a name; where a user's own one goes wrong, the error has its name.

        Args:
            name: Of one that ships, or of a user's own with its digest.

        Raises:
            ValueError: There is none, its file is not loaded here, or it takes other arguments.
        """
        function = self.shipped.get(name) or _OWN.get(name)
        if function is None:
            near = get_close_matches(name, self.shipped, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"{name!r} is not {self.role}: give {self}, which is called with "
                f"({', '.join(self.parameters)}) and gives {self.gives}.{hint}"
            )
        self._refuse_other_arguments(name, function)
        return function if name in self.shipped else self._read(name, function)

    def _read(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A user's own function, whose faults are errors of a value, whatever it raises."""

        @wraps(function)
        def called(*given: Any) -> Any:
            try:
                return self.reads(function(*given), *given)
            except Rubbish as rubbish:
                raise ValueError(
                    f"{name} gave {rubbish}: {self.role} gives {self.gives}."
                ) from None
            except MemoryError:
                raise
            except Exception as error:
                raise ValueError(
                    f"{name} raised {type(error).__name__}: {error}. {self.role.capitalize()} is "
                    f"called with ({', '.join(self.parameters)}) and gives {self.gives}."
                ) from error

        return called

    def _refuse_other_arguments(self, name: str, function: Callable[..., Any]) -> None:
        try:
            inspect.signature(function).bind(*self.parameters)
        except TypeError as error:
            raise ValueError(
                f"{name} cannot be {self.role}, which is called with "
                f"({', '.join(self.parameters)}): {error}."
            ) from error
        except ValueError:  # written in C: nobody knows what it takes
            return

    def __str__(self) -> str:
        return f"{', '.join(self.shipped)} or a function of your own as ./FILE.py:NAME"


def own_name(place: str, digest: str) -> str:
    """What a user's own function is called in a trial.

    Args:
        place: File, without folder and ending, and function, as `mine:propose`.
        digest: Sixteen hex digits of the file's content.
    """
    return f"{place}@{digest}"


def add_own(name: str, function: Callable[..., Any]) -> None:
    """Makes a user's own function known to this process.

    Args:
        name: As `own_name` gives it.
        function: What the file has under it.
    """
    _OWN[name] = function


def is_known(name: str) -> bool:
    """Whether a user's own function is loaded here."""
    return name in _OWN
