"""YAML files that people write: read into a mapping, and what is wrong with one as sentences."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from data_catalog.wording import did_you_mean
from data_catalog.yaml_text import YAMLError, load_yaml
from tasks.planning.resolve import RequestError

Owner = tuple[str, Iterable[str]]  # what has the keys, and which it knows


def read_mapping(path: Path, kind: str, example: str) -> dict[str, Any]:
    """Reads a YAML file of keys and values.

    Args:
        path: Of the file.
        kind: What the file should hold, such as `suite`.
        example: A first line, for a file that holds something else.

    Raises:
        RequestError: No such file, no YAML, or no mapping.
    """
    if not path.is_file():
        raise RequestError(f"no {kind} file at {path}.")
    try:
        values = load_yaml(path.read_text("utf-8"))
    except YAMLError as error:
        raise RequestError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is no text in UTF-8, so it is no {kind} file.") from error
    if not isinstance(values, dict):
        raise RequestError(f"{path} is no mapping of keys to values. Start with `{example}`.")
    return values


def sentences(
    error: ValidationError,
    owner_of: Callable[[tuple[int | str, ...]], Owner],
    rules: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Every fault that pydantic found, as sentences.

    Args:
        error: As pydantic raised it.
        owner_of: From the place of an unknown key to what it is in: its name and its keys.
        rules: What to write instead, by pydantic's type of a fault, where it is not the usual.
    """
    parts = []
    for fault in error.errors():
        if fault["type"] == "too_short" and fault["input"]:
            continue  # it is not empty: pydantic does not count the items that it has refused
        place = ".".join(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            key = str(fault["loc"][-1])
            owner, known = owner_of(fault["loc"])
            parts.append(f"no key of a {owner} is called {key!r}. {did_you_mean(key, known)}")
        elif fault["type"] == "value_error":
            parts.append(f"{fault.get('ctx', {}).get('error', fault['msg'])}.".replace("..", "."))
        elif fault["type"] == "missing":
            parts.append(f"the key {place!r} is missing.")
        else:
            rule = {**_RULES, **rules}.get(fault["type"], fault["msg"].lower())
            value = list(fault["input"]) if isinstance(fault["input"], tuple) else fault["input"]
            parts.append(f"{place}={value!r}: {rule}.")
    return " ".join(parts)


_RULES = {  # in YAML's words, where pydantic speaks of Python
    "tuple_type": "give a list, such as [a, b]",
    "too_short": "give at least one",
    "dict_type": "write {key: value}",
    "string_type": "give a text, in quotes where YAML reads something else",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
}
