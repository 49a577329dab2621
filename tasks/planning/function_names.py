"""Where a suite names functions: in hyperparameters that take one, and in no other text.

A text such as `./mine.py:propose` is a function where a method asks for one. A question, a template
or any other text of a method that is known by name stays as somebody wrote it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.planning.own_files import place_of

if TYPE_CHECKING:  # it takes torch
    from operators.methods import Method


def with_functions(
    method: str, values: Mapping[str, Any], change: Callable[[str], str]
) -> dict[str, Any]:
    """Hyperparameters whose functions are changed, those of trials leant on included.

    Args:
        method: Name, or file and class, of which any text may be a function.
        values: By name, as somebody wrote them.
        change: What becomes of a function.
    """
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, Mapping):
            found[name] = with_functions(_meant(method, name, values), value, change)
        elif isinstance(value, str) and place_of(value) and _takes_function(method, name):
            found[name] = change(value)
    return found


def with_searched_functions(
    search: Mapping[str, Sequence[Any]], change: Callable[[str], str]
) -> dict[str, tuple[Any, ...]]:
    """A search whose functions are changed.

    Args:
        search: Values to choose from, by METHOD.NAME.
        change: What becomes of a function.
    """
    found = {}
    for key, values in search.items():
        method, _, name = key.rpartition(".")
        found[key] = tuple(with_functions(method, {name: v}, change)[name] for v in values)
    return found


def _meant(method: str, name: str, values: Mapping[str, Any]) -> str:
    """The method that a mapping among the hyperparameters of one is about."""
    if name != "teacher_hyperparameters":
        return method
    own = _class_of(method)
    published = own.teaching.teacher if own is not None and own.teaching else method
    return str(values.get("teacher", published))


def _takes_function(method: str, name: str) -> bool:
    """Whether a hyperparameter may name a function: not where its type says that it is another."""
    from operators.bounds import functions_of, kinds_of
    from operators.methods.hyperparameters import annotations

    own = _class_of(method)
    kind = Any if own is None else annotations(own).get(name, Any)
    return functions_of(kind) is not None or Any in kinds_of(kind)


def _class_of(method: str) -> "type[Method] | None":
    """The class of a method; None of one in a file, and of what is no method at all."""
    from operators.methods import find_method

    return find_method(method)
