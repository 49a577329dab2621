"""The knobs of a suite as parameters of a flow: each is a field of its form in Prefect's UI."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tasks.planning.knobs import knobs
from tasks.planning.suite import Suite

F = TypeVar("F", bound=Callable[..., Any])


_HYPERPARAMETERS = "By method, such as {coop: {epochs: 20}}"


def with_fields(suite: type[Suite] = Suite) -> Callable[[F], F]:
    """Gives a function a parameter for each knob and one for hyperparameters: its `**changes`.

    The signature and the `Args:` of the docstring are all that Prefect makes a form of.

    Args:
        suite: Whose knobs.
    """
    known = knobs(suite).values()
    fields = [parameter(knob.name, knob.field) for knob in known]
    fields.append(parameter("hyperparameters", dict[str, dict[str, Any]] | None))
    lines = [f"{knob.name}: {knob.description}; default: the suite's.\n" for knob in known]
    lines.append(f"hyperparameters: {_HYPERPARAMETERS}.\n")

    def decorated(function: F) -> F:
        head, indent, tail = re.split(r"( +)changes: .*\n", function.__doc__ or "")
        function.__doc__ = head + "".join(indent + line for line in lines) + tail
        return with_parameters(function, fields)

    return decorated


def parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    """A parameter that is given by name."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)


def with_parameters(function: F, more: Iterable[inspect.Parameter]) -> F:
    """The function, whose signature has more parameters, in place of its `**changes`.

    Args:
        function: Takes them by name.
        more: Stand behind its positional ones.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    given = [p for p in own if p.kind is not p.KEYWORD_ONLY]
    named = [p for p in own if p.kind is p.KEYWORD_ONLY]
    function.__signature__ = signature.replace(  # pyright: ignore[reportFunctionMemberAccess]
        parameters=[*given, *more, *named]
    )
    return function
