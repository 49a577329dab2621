"""Finds what a store holds for the board, and reads only what the board does not know.

Nothing that is half written, edited or damaged stops a rebuild: it is left out and named.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from operators.board.changes import NUMBERS, last_runs
from operators.board.projecting import projected
from operators.board.reproductions import origin_of
from operators.board.rows import TrialRows, completed_rows, failed_row, receipt_row, run_row
from operators.board.wholeness import (
    check_neighbours,
    explain,
    glance,
    read_object,
    stamp_of,
)
from operators.metrics.predictions import PREDICTIONS


@dataclass
class Found:
    """What a look through the store found.

    Attributes:
        trials: Folder of the completed trials.
        results: Trials that the board does not know, or not as they are now.
        present: Ids of all completed trials, `results` included.
        failures: Rows of the trials that did not complete.
        runs: Rows of the runs.
        numbers: The file of what a run saw, of the runs that are compared and have kept one.
        published: Receipts of MLflow.
        skipped: What was left out and why, by path relative to the store.
    """

    trials: Path
    results: list[TrialRows] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    failures: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Path] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def predictions(self) -> list[Path]:
        """The prediction file of each of `results`."""
        return [self.trials / row.trial_id / "predictions.parquet" for row in self.results]

    def drop_unreadable(self, apart: Collection[str] = ()) -> bool:
        """Leaves out the results whose predictions cannot be read; says whether any were.

        Args:
            apart: Trials whose predictions are not for the table.
        """
        bad: dict[str, str] = {}
        for path in self.predictions():
            if path.parent.name in apart:
                continue
            try:
                pq.read_table(path).select(PREDICTIONS.names).cast(PREDICTIONS)
            except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
                bad[path.parent.name] = f"predictions.parquet: {explain(error)}"
        self.drop(bad)
        return bool(bad)

    def drop(self, bad: Mapping[str, str]) -> None:
        """Leaves out some trials; `bad` says why."""
        self.results = [row for row in self.results if row.trial_id not in bad]
        self.present -= set(bad)
        self.skipped |= {f"trials/{trial_id}": reason for trial_id, reason in bad.items()}


def look(
    known: Mapping[str, str],
    *,
    trials: Path,
    failures: Path,
    runs: Path,
    published: Path,
    metrics: Mapping[str, Sequence[str]] | None = None,
) -> Found:
    """Lists the folders of a store and reads what is new.

    Args:
        known: File stamp of each completed trial on the board.
        trials: Folder of the completed trials; it and the others may be absent.
        failures: Folder of the last error of each trial that did not complete.
        runs: Folder of the manifests of runs.
        published: Folder of the receipts of MLflow.
        metrics: By protocol, those that follow from predictions where a trial does not say them;
            default: what trials say is all.
    """
    found = Found(trials)
    for name in _names(trials):
        try:
            result = _read_trial(trials / name, known.get(name), metrics or {})
        except (OSError, ValueError) as error:
            found.skipped[f"trials/{name}"] = explain(error)
        else:
            found.present.add(name)
            if result is not None:
                found.results.append(result)
    _collect(
        found,
        failures,
        found.failures,
        lambda values, path: failed_row(values, trial_id=path.stem),
        found.present,
    )
    _collect(found, runs, found.runs, lambda values, _: run_row(values))
    for run_id in (run for pair in last_runs(found.runs).values() for run in pair):
        _find_numbers(found, run_id, numbers_file(runs, run_id))
    # The best model of each kind is kept beside the receipts and is none.
    _collect(found, published, found.published, lambda values, _: receipt_row(values), ("models",))
    return found


def numbers_file(runs: Path, run_id: str) -> Path:
    """Where a run keeps the numbers that it saw, beside its manifest.

    Args:
        runs: Folder of the manifests of a store.
        run_id: One of them.
    """
    return runs / f"{run_id}.numbers.parquet"


def _find_numbers(found: Found, run_id: str, file: Path) -> None:
    """Adds the file of what a run saw, or says why it cannot be read."""
    if file.is_file():
        try:
            pq.read_table(file).select(NUMBERS.names).cast(NUMBERS)
        except (OSError, ValueError, KeyError) as error:
            found.skipped[f"{file.parent.name}/{file.name}"] = explain(error)
        else:
            found.numbers[run_id] = file


def _names(folder: Path, end: str = "") -> list[str]:
    """Sorted names in a folder that are not hidden and end so; none where it is absent."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if name[0] != "." and name.endswith(end))


def _read_trial(
    folder: Path, known_stamp: str | None, metrics: Mapping[str, Sequence[str]]
) -> TrialRows | None:
    """Reads a trial; None where the board knows it as it is.

    Raises:
        OSError: `trial.json` is missing or unreadable.
        ValueError: It is not the trial that the folder is named for, or nothing backs it, or what
            does was damaged.
    """
    stamp = stamp_of(folder)
    if stamp == known_stamp:
        return None
    predictions = folder / "predictions.parquet"
    if not predictions.is_file():
        raise ValueError("predictions.parquet is missing: nothing backs the trial's numbers.")
    values = read_object(folder / "trial.json")
    rows = completed_rows(
        values, trial_id=folder.name, file_stamp=stamp, origin_label=origin_of(folder)
    )
    if values.get("sha256"):
        check_neighbours(folder, values)
    elif fault := glance(folder):
        raise ValueError(fault)
    try:
        return projected(rows, metrics, predictions)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ValueError(f"{predictions.name}: {explain(error)}") from error


def _collect(
    found: Found,
    folder: Path,
    rows: list[dict[str, Any]],
    read: Callable[[dict[str, Any], Path], dict[str, Any]],
    but_not: Collection[str] = (),
) -> None:
    """Adds what `read` makes of each JSON file of a folder to `rows`, or says why not."""
    for name in _names(folder, ".json"):
        path = folder / name
        if path.stem not in but_not:
            try:
                rows.append(read(read_object(path), path))
            except (OSError, ValueError) as error:
                found.skipped[f"{folder.name}/{path.name}"] = explain(error)
