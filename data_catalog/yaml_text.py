"""YAML as people write it: `1e-3` is a number, as in YAML 1.2.

PyYAML follows YAML 1.1, where a number with an exponent needs both a dot and a sign, so that it
takes `1e-3` and `1.0e3` for texts.
"""

import re
from typing import Any

import yaml
from yaml import YAMLError

_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
_MOST_VALUES = 10_000_000


class _Loader(yaml.SafeLoader):
    pass


class _Dumper(yaml.SafeDumper):  # puts a text that the loader would take for a number in quotes
    pass


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def load_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises:
        YAMLError: It is no YAML, or no text that a person would write.
    """
    try:
        values = yaml.load(text, Loader=_Loader)  # a SafeLoader
        _count(values, {})
    except RecursionError as error:
        raise YAMLError("it is nested too deeply, or in itself") from error
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise YAMLError(f"a value cannot be read: {error}") from error  # such as a 13th month
    return values


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values there are once every alias is written out.

    Raises:
        YAMLError: There are more than anybody writes, as aliases of aliases make.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(each, known) for each in inner)
    if known[id(value)] > _MOST_VALUES:
        raise YAMLError(f"its aliases stand for more than {_MOST_VALUES:,} values")
    return known[id(value)]


def dump_yaml(values: Any) -> str:
    """The YAML that `load_yaml` reads as these plain values, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


__all__ = ["YAMLError", "dump_yaml", "load_yaml"]
