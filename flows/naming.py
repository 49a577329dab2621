"""Names of flow runs: what was asked for, so that a list of runs can be read."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from prefect.runtime import flow_run

from tasks.plain_text import without_secrets
from tasks.planning.knobs import knobs
from tasks.planning.suite import Suite
from tasks.storage.store import Store

MOST_VALUES = 4  # of a knob; the others are counted
MOST_LETTERS = 120
_FIRST = ("methods", "datasets", "backbones", "targets")  # these read as one phrase


def named() -> str:
    """Name of the flow run that is about to begin, of a suite."""
    asked = flow_run.parameters or {}
    return run_name(str(asked.get("suite", "")), asked)


def pretraining_named() -> str:
    """Name of the flow run that is about to begin, of a recipe."""
    asked = flow_run.parameters or {}
    changed = [
        f"{name} {_listed(asked[name])}" for name in ("seed", "steps", "data") if asked.get(name)
    ]
    title = _short(str(asked.get("recipe", "")))
    return _clipped(f"{title}: {', '.join(changed)}" if changed else title)


def of_names(parameter: str) -> str:
    """Name of the flow run that is about to begin, of what a parameter says."""
    return _clipped(_listed((flow_run.parameters or {}).get(parameter) or ()))


def run_name(suite: str, asked: Mapping[str, Any]) -> str:
    """A suite and what differs from it: `zoo: coop, maple on digits, 16 shots, seed 1`.

    Args:
        suite: A shipped name or a path.
        asked: Values by name of a knob, None where it stays; other parameters of the flow
            may stand beside them.
    """
    known = knobs(Suite)
    said = {
        name: known[name].said(_listed(asked[name]))
        for name in (*_FIRST, *(name for name in known if name not in _FIRST))
        if asked.get(name) is not None
    }
    phrase = " ".join(said[name] for name in _FIRST if name in said)
    rest = [text for name, text in said.items() if name not in _FIRST]
    searched = [f"search of {setting}" for setting in _searched(asked, _short)]
    own = (*_settings(asked, _short), *searched)
    parts = [part for part in (phrase, *rest, *own, *_again(asked)) if part]
    title = _short(suite)
    return _clipped(f"{title}: {', '.join(parts)}" if parts else title)


def command_of(suite: str, asked: Mapping[str, Any]) -> str:
    """The command that asks for the same: `shotboard run zoo --methods coop,maple --seeds 1`.

    Args:
        suite: A shipped name or a path.
        asked: As for `run_name`.
    """
    words = ["shotboard", "run", suite]
    for name, knob in knobs(Suite).items():
        if (value := asked.get(name)) is not None:
            several = value if isinstance(value, list | tuple) else [value]
            words += [knob.option, ",".join(map(str, several))]
    for setting in _settings(asked, str):
        words += ["--set", setting]
    for setting in _searched(asked, str):
        words += ["--search", setting]
    if asked.get("home") and Store.named(asked["home"]) != Store.named():
        words += ["--home", str(asked["home"])]
    return shlex.join(without_secrets(word) for word in words)


def _settings(asked: Mapping[str, Any], called: Callable[[str], str]) -> Iterator[str]:
    """Hyperparameters, as a command line sets them, of methods as `called` calls them."""
    for method, values in (asked.get("hyperparameters") or {}).items():
        for name, value in values.items():
            yield f"{called(method)}.{name}={value}"


def _searched(asked: Mapping[str, Any], called: Callable[[str], str]) -> Iterator[str]:
    """Values to choose from, as a command line gives them; see `_settings`."""
    for key, values in (asked.get("search") or {}).items():
        method, _, name = key.rpartition(".")
        yield f"{called(method)}.{name}={','.join(map(str, values))}"


def _again(asked: Mapping[str, Any]) -> Iterator[str]:
    if asked.get("fresh"):
        yield "all computed again"


def _listed(values: Any) -> str:
    """One value or several, in words."""
    several = values if isinstance(values, list | tuple) else [values]
    shown = [_short(str(value)) for value in several[:MOST_VALUES]]
    more = len(several) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _short(name: str) -> str:
    """A file, folder or hub id by its last part, whatever else as it is."""
    path = PurePath(without_secrets(name))
    return (path.stem if path.suffix in (".yaml", ".yml") else path.name) or name


def _clipped(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 3]}..."
