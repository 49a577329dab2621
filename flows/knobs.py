"""The knobs of a suite as parameters of a flow: each is a field of its form in Prefect's UI."""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import WithJsonSchema

from tasks.pages.offered import offered
from tasks.planning.knobs import UNCHANGED, knobs
from tasks.planning.suite import Suite
from tasks.storage.store import Store

F = TypeVar("F", bound=Callable[..., Any])
YAML = r"\.ya?ml"


_HYPERPARAMETERS = "By method, such as {coop: {epochs: 20}}"
_SEARCH = "Values to choose from on validation rows, such as {coop.lr: [0.002, 0.02]}"
# Without a type the form has an editor of JSON; with `object` it has one for each of its
# properties, of which there are none.
_SETTINGS = {
    "anyOf": [
        {"title": "write", "not": {"type": ["string", "number", "boolean", "array"]}},
        {"title": UNCHANGED, "type": "null"},
    ]
}


def with_fields(suite: type[Suite] = Suite) -> Callable[[F], F]:
    """Gives a function a parameter for each knob, and two for hyperparameters: its `**changes`.

    The signature and the `Args:` of the docstring are all that Prefect makes a form of.

    Args:
        suite: Whose knobs.
    """
    known = knobs(suite).values()
    names = offered_here()
    fields = [parameter(k.name, shown(k.field, k.form(names))) for k in known]
    settings = dict[str, dict[str, Any]] | None
    fields.append(parameter("hyperparameters", shown(settings, _SETTINGS)))
    fields.append(parameter("search", shown(dict[str, list[Any]] | None, _SETTINGS)))
    lines = [f"{knob.name}: {knob.description}; default: the suite's.\n" for knob in known]
    lines.append(f"hyperparameters: {_HYPERPARAMETERS}.\n")
    lines.append(f"search: {_SEARCH}; default: the suite's.\n")

    def decorated(function: F) -> F:
        head, indent, tail = re.split(r"( +)changes: .*\n", function.__doc__ or "")
        function.__doc__ = head + "".join(indent + line for line in lines) + tail
        return with_parameters(function, fields)

    return decorated


def shown(kind: Any, form: Mapping[str, Any]) -> Any:
    """A type of a parameter, with its JSON schema in a form."""
    return Annotated[kind, WithJsonSchema(dict(form))]


def form_of(name: str) -> WithJsonSchema:
    """The form of a knob of `Suite`, for a parameter of another flow that needs it."""
    return WithJsonSchema(knobs(Suite)[name].form(offered_here(), needed=True))


def file_or(names: Iterable[str], suffix: str) -> WithJsonSchema:
    """The form of a shipped name, or of the path of a file.

    Args:
        names: Those that ship.
        suffix: How the path of a file ends, as a regular expression.
    """
    ways = [{"title": "shipped", "type": "string", "enum": list(names)}]
    ways.append({"title": "file", "type": "string", "pattern": f"^.+({suffix})$"})
    return WithJsonSchema({"anyOf": ways})


@cache
def offered_here() -> dict[str, list[str]]:
    """Names by kind in the store of this process; without it where it cannot be read.

    `shotboard up` looks again whenever its store changes.
    """
    try:
        return offered(Store.at())
    except (OSError, ValueError):
        return offered(Store(Path(os.devnull)))


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
