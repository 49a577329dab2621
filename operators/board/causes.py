"""What makes another cell of one, in words: the causes of a change that has a name.

A cell is a mapping of all that is part of its identity but the seed; its aids are mappings
likewise where the trial that helped is on the board, else ids or fingerprints.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from operators.board.identity import COLUMNS

IDENTITY = frozenset(COLUMNS)

Cell = Mapping[str, Any]


def differences(old: Cell, new: Cell) -> list[str]:
    """What, from what, to what, of each thing in which two cells differ.

    Args:
        old: The cell before.
        new: The cell after.
    """
    if old["cell_id"] == new["cell_id"]:
        return []
    found = []
    for name in COLUMNS:
        if name == "hyperparameters":
            settings, settings_now = (json.loads(cell[name]) for cell in (old, new))
            moved = moves(settings, settings_now, sorted({*settings, *settings_now}))
            found += [f"hyperparameters {' and '.join(moved)}"] if moved else []
        elif name == "targets":
            before, after = (_targets(cell) for cell in (old, new))
            found += [f"target {move}" for move in moves(before, after, sorted({*before, *after}))]
        elif name == "aids":
            found += _aids(old[name], new[name])
        elif name != "seed":
            found += moves(old, new, [name])
    return found


def _aids(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How aids differ; trials by their ids where one of the two has left the board."""
    found = []
    for role in sorted({*old, *new}):
        name, before, after = role.replace("_", " "), old.get(role), new.get(role)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            moved = differences(before, after)
            found += [f"{name} ({'; '.join(moved)})"] if moved else []
        elif _id_of(before) != _id_of(after):
            found.append(f"{name} {_written(_id_of(before))} to {_written(_id_of(after))}")
    return found


def _targets(cell: Cell) -> dict[str, str]:
    """Fingerprint and templates of each dataset that is tested."""
    return {name: " ".join(one.values()) for name, one in json.loads(cell["targets"]).items()}


def _id_of(aid: Mapping[str, Any] | str | None) -> str | None:
    return aid["trial_id"] if isinstance(aid, Mapping) else aid


def moves(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """`name from to`, in words, of the values that differ.

    Args:
        old: Values before, by name.
        new: Values after.
        names: Of those that are looked at.
    """
    return [
        f"{name.replace('_', ' ') if name in IDENTITY else name} "
        f"{_written(old.get(name))} to {_written(new.get(name))}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _written(value: Any) -> str:
    """A value in words."""
    return "none" if value in (None, "") else str(value)
