"""Two results of one trial beside each other: equal, equal up to rounding, or different.

A trial's id stands for everything that can move its number. So two folders of one id, of two labs
or of today and last year, should hold the same; where they do not, the machine, a library or a
fault made the difference, and this says how large it is.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.board.contrast import ORIGIN
from operators.board.wholeness import PREDICTED, TRIAL, read_object
from operators.metrics import METRICS

EQUAL, ROUNDING, DIFFERENT = VERDICTS = ("equal", "rounding", "different")
TOLERANCE = 1e-3  # of numbers that follow from probabilities; those of answers have none
_EXACT = 1e-9
_KEY = ("split", "row_id")


class Agreement(NamedTuple):
    """What two results of one trial have in common.

    Attributes:
        verdict: `equal`: the same numbers, and predictions that are the same bit for bit.
            `rounding`: the same answer to every row, and probabilities and what follows from them
            within `TOLERANCE`. `different`: anything else.
        scores: A row for each split and metric that both say: `split`, `metric`, `ours`, `theirs`,
            `difference` (theirs minus ours), `n`, and of the split `rows_differ`, how many rows
            have another answer, and `largest`, the largest difference of a probability or score of
            a row.
        origin: How the two were computed otherwise, in words; empty where nothing is known of it.
    """

    verdict: str
    scores: list[dict[str, Any]]
    origin: list[str]

    @property
    def rows_differ(self) -> int:
        """Rows with another answer, over all splits."""
        return sum({row["split"]: row["rows_differ"] for row in self.scores}.values())

    @property
    def largest(self) -> float:
        """The largest difference of a probability or score of a row."""
        return max((row["largest"] for row in self.scores), default=0.0)


class _Rows(NamedTuple):
    """How the rows of a split agree."""

    differ: int
    largest: float
    same: bool  # bit for bit


def agreement(ours: Path, theirs: Path) -> Agreement:
    """Compares two folders of one trial, which both are whole.

    Args:
        ours: One folder.
        theirs: The other.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged.
    """
    one, other = (read_object(folder / TRIAL) for folder in (ours, theirs))
    splits = _predictions(ours / PREDICTED, theirs / PREDICTED)
    said = [
        {(row["split"], row["metric"]): row for row in values["metrics"]} for values in (one, other)
    ]
    scores = []
    for key, row in said[0].items():
        beside = said[1].get(key)
        rows = splits.get(key[0])
        if beside is None or rows is None:  # of a split that only one has, nothing is the same
            continue
        scores.append(
            {
                "split": key[0],
                "metric": key[1],
                "ours": row["value"],
                "theirs": beside["value"],
                "difference": _difference(row["value"], beside["value"]),
                "n": row["n"],
                "rows_differ": rows.differ,
                "largest": rows.largest,
            }
        )
    whole = {split for split, _ in said[0]} == {split for split, _ in said[1]} == splits.keys()
    return Agreement(_verdict(scores, splits, whole), scores, _origin(one, other))


def _verdict(scores: list[dict[str, Any]], splits: Mapping[str, _Rows], whole: bool) -> str:
    moved = [row for row in scores if not _same(row["ours"], row["theirs"], 0.0)]
    if whole and not moved and all(rows.same for rows in splits.values()):
        return EQUAL
    near = all(rows.differ == 0 and rows.largest <= TOLERANCE for rows in splits.values())
    close = all(_same(row["ours"], row["theirs"], _allowed(row["metric"])) for row in moved)
    return ROUNDING if whole and near and close else DIFFERENT


def _allowed(metric: str) -> float:
    """How far a number may move by rounding: not at all where it follows from answers alone."""
    known = METRICS.get(metric)
    answers = known is not None and known.columns <= {"label", "predicted"}
    return _EXACT if answers else TOLERANCE


def _same(ours: float | None, theirs: float | None, tolerance: float) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return (math.isnan(ours) and math.isnan(theirs)) or abs(theirs - ours) <= tolerance


def _difference(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else theirs - ours


def _predictions(ours: Path, theirs: Path) -> dict[str, _Rows]:
    """How the rows of each split agree; of a split that one lacks, every row differs."""
    one, other = (_sorted(path) for path in (ours, theirs))
    names = [name for name in one.column_names if name in other.column_names]
    found = {}
    for split in dict.fromkeys([*_splits(one), *_splits(other)]):
        parts = [_of(table, split).select(names) for table in (one, other)]
        if not parts[0].select(_KEY).equals(parts[1].select(_KEY)):
            found[split] = _Rows(max(map(len, parts)), math.inf, False)
        else:
            found[split] = _agree(*parts)
    return found


def _sorted(path: Path) -> pa.Table:
    try:
        return pq.read_table(path).sort_by([(name, "ascending") for name in _KEY])
    except (KeyError, pa.ArrowException) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def _splits(table: pa.Table) -> list[str]:
    return table["split"].unique().to_pylist()


def _of(table: pa.Table, split: str) -> pa.Table:
    return table.filter(pa.array([name == split for name in table["split"].to_pylist()]))


def _agree(one: pa.Table, other: pa.Table) -> _Rows:
    """How rows of the same examples agree, column by column."""
    differ = np.zeros(len(one), dtype=bool)
    largest, same = 0.0, True
    for name in one.column_names:
        a, b = (table[name].combine_chunks() for table in (one, other))
        if pa.types.is_list(a.type):  # classes behind the first: near ties change places
            same = same and a.equals(b)
            continue
        if not pa.types.is_floating(a.type):
            differ |= np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)])
            continue
        x, y = (column.to_numpy(zero_copy_only=False).astype(np.float64) for column in (a, b))
        unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
        same = same and not unequal.any()
        with np.errstate(invalid="ignore"):
            away = np.abs(np.where(unequal, x - y, 0.0))
        largest = max(largest, float(np.nan_to_num(away, nan=math.inf).max(initial=0.0)))
    return _Rows(int(differ.sum()), largest, same and not differ.any())


def _origin(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    before, now = one.get("provenance", {}), other.get("provenance", {})
    return [
        f"{name.replace('_', ' ')} {before[name]} to {now[name]}"
        for name in ORIGIN
        if None not in (before.get(name), now.get(name)) and before[name] != now[name]
    ]
