"""Results that other stores have of trials that are here; fills the table `reproductions`.

A trial's id stands for everything that can move its number, so the same id with other numbers says
that a machine, a library or a fault moved them. `shotboard merge` keeps the other result whole,
`reproductions/<trial_id>/<digest>/`; how it agrees with ours is computed here, once for each pair.
"""

import json
import os
from pathlib import Path

import pyarrow as pa

from operators.board.agreement import agreement
from operators.board.connection import Connection, insert, named, transaction
from operators.board.wholeness import explain, stamp_of

ORIGIN = "origin.json"  # beside a trial that came from another store: which one that was
ROWS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("result", pa.string()),
        ("origin", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("ours", pa.float64()),
        ("theirs", pa.float64()),
        ("difference", pa.float64()),
        ("n", pa.int64()),
        ("rows_differ", pa.int64()),
        ("largest", pa.float64()),
        ("verdict", pa.string()),
        ("differs", pa.list_(pa.string())),
        ("file_stamp", pa.string()),
    ]
)


def origin_of(trial: Path) -> str | None:
    """The label of the store that a trial came from; None for one that was computed here.

    Args:
        trial: Its folder.
    """
    try:
        return str(json.loads((trial / ORIGIN).read_bytes())["label"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def results_elsewhere(folder: Path) -> list[Path]:
    """Folders of all results of other stores, in order of trial.

    Args:
        folder: `reproductions` of a store; it may be absent.
    """
    return [result for trial in _folders(folder) for result in _folders(trial)]


def replace_reproductions(connection: Connection, *, trials: Path, folder: Path) -> dict[str, str]:
    """Brings the table to what a store holds; what is there and has not changed is not read.

    Args:
        connection: An open DuckDB connection whose trials are filled.
        trials: Folder of the completed trials.
        folder: As in `results_elsewhere`.

    Returns:
        What was left out and why, by path relative to the store.
    """
    found = results_elsewhere(folder)
    known = {
        (trial, result): stamp
        for trial, result, stamp in connection.execute(
            "SELECT DISTINCT trial_id, result, file_stamp FROM reproductions"
        ).fetchall()
    }
    if not found and not known:
        return {}
    completed = {
        trial
        for (trial,) in connection.execute(
            "SELECT trial_id FROM trials WHERE status = 'completed'"
        ).fetchall()
    }
    kept, rows, skipped = [], [], {}
    for theirs in found:
        trial_id, ours = theirs.parent.name, trials / theirs.parent.name
        if trial_id not in completed:
            continue
        key, stamp = (trial_id, theirs.name), f"{stamp_of(ours)} {stamp_of(theirs)}"
        if known.get(key) == stamp:
            kept.append({"trial_id": trial_id, "result": theirs.name})
            continue
        try:
            agreed = agreement(ours, theirs)
        except (OSError, ValueError) as error:
            skipped[f"{folder.name}/{trial_id}/{theirs.name}"] = explain(error)
            continue
        shared = {
            **{"trial_id": trial_id, "result": theirs.name, "origin": origin_of(theirs)},
            **{"verdict": agreed.verdict, "differs": agreed.origin, "file_stamp": stamp},
        }
        rows += [{**shared, **score} for score in agreed.scores]
    with transaction(connection):
        there = pa.Table.from_pylist(
            kept, pa.schema([("trial_id", pa.string()), ("result", pa.string())])
        )
        with named(connection, there):
            connection.execute(
                "DELETE FROM reproductions WHERE (trial_id, result) NOT IN "
                "(SELECT (trial_id, result) FROM incoming)"
            )
        if rows:
            insert(connection, "reproductions", pa.Table.from_pylist(rows, ROWS))
    return skipped


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir() and e.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
