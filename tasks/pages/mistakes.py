"""Which test rows a trial was most wrongly sure of, and what they show."""

import base64
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from data_catalog import KINDS, Dataset
from tasks.pages.asking import own_rows
from tasks.storage.store import Store

EACH = 6  # of a split
_AT_ONCE = 256  # rows that are read together, before it is seen whether more fit

# Classes that were taken for each other, the most frequent first.
CONFUSIONS = """
SELECT
    trial_id, split, coalesce(class, label::VARCHAR) AS class,
    coalesce(predicted_class, predicted::VARCHAR) AS taken_for, n, share
FROM confusions
WHERE label <> predicted {also}
QUALIFY row_number() OVER (
    PARTITION BY trial_id, split ORDER BY n DESC, share DESC, label, predicted
) <= {each}
ORDER BY trial_id, split, n DESC, share DESC, label, predicted
"""
# Wrong answers, the surest first. Tracks whose answers are no labels leave none.
MISTAKES = """
WITH wrong AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY trial_id, split ORDER BY confidence DESC, row_id) AS place
    FROM predictions
    WHERE label <> predicted {also}
    QUALIFY place <= {each}
),
names AS (SELECT DISTINCT dataset_fingerprint, label, class FROM classes)
SELECT
    trial_id, wrong.split AS split, row_id, coalesce(was.class, wrong.label::VARCHAR) AS class,
    coalesce(said.class, predicted::VARCHAR) AS taken_for, confidence::DOUBLE AS confidence, place,
    CASE WHEN list_contains(json_keys(targets), wrong.split) THEN wrong.split ELSE dataset END
        AS tested,
    tested_fingerprint
FROM wrong
JOIN (SELECT DISTINCT trial_id, split, tested_fingerprint FROM confusion_counts) AS asked
    USING (trial_id, split)
JOIN trials USING (trial_id)
LEFT JOIN names AS was
    ON was.dataset_fingerprint = tested_fingerprint AND was.label = wrong.label
LEFT JOIN names AS said
    ON said.dataset_fingerprint = tested_fingerprint AND said.label = predicted
ORDER BY trial_id, wrong.split, place
"""


class Row(NamedTuple):
    """One row of an ingested dataset.

    Attributes:
        dataset: Its name.
        fingerprint: Of the dataset.
        row_id: Counts from 0.
    """

    dataset: str
    fingerprint: str
    row_id: int


class Wrong(NamedTuple):
    """Where a trial went wrong.

    Attributes:
        confusions: split, class, taken_for, n, and the share of the class's rows; most frequent
            first.
        mistakes: split, row_id, class, taken_for, confidence, and where the example came from;
            surest first.
    """

    confusions: list[dict[str, Any]]
    mistakes: list[dict[str, Any]]


def wrong_answers(store: Store, trial_id: str, each: int = EACH) -> Wrong | None:
    """Where one trial went wrong; None where it is not on the board.

    Args:
        store: Whose board.
        trial_id: Of a completed trial.
        each: Confusions and mistakes of a split, at most.

    Raises:
        BoardError: The board cannot be read, or is of another version.
    """
    if not store.board.is_file():
        return None
    mine = "trial_id = '{}'".format(trial_id.replace("'", "''"))
    there = own_rows(store, f"SELECT 1 FROM trials WHERE status = 'completed' AND {mine}")
    if not there:
        return None
    confusions = own_rows(store, CONFUSIONS.format(also=f"AND {mine}", each=each))
    mistakes = own_rows(store, MISTAKES.format(also=f"AND {mine}", each=each))
    places = {Row(row["tested"], row["tested_fingerprint"], row["row_id"]): "" for row in mistakes}
    places |= paths(store, places)
    for row in mistakes:
        tested = Row(row.pop("tested"), row.pop("tested_fingerprint"), row["row_id"])
        row["example"] = places[tested]
        del row["place"]
    for row in (*confusions, *mistakes):
        del row["trial_id"]
    return Wrong(confusions, mistakes)


def opened(store: Store, dataset: str, fingerprint: str) -> Dataset | None:
    """A dataset as some trial read it; None where it is gone or damaged.

    Args:
        store: Where it was ingested.
        dataset: Its name.
        fingerprint: Which version of it.
    """
    try:
        return Dataset.open(store.bring(store.data / dataset / fingerprint))
    except (FileNotFoundError, ValueError):
        return None


def paths(store: Store, rows: Iterable[Row]) -> dict[Row, str]:
    """Where rows came from, as their source calls them; of datasets that are gone, nothing.

    Args:
        store: Where the datasets were ingested.
        rows: Of any of them.
    """
    found: dict[Row, str] = {}
    for (name, fingerprint), group in groupby(sorted(rows), key=lambda row: row[:2]):
        held = opened(store, name, fingerprint)
        if held is not None:
            column = held.column("path")
            found |= {row: str(column[row.row_id]) for row in group if row.row_id < held.rows}
    return found


def previews(store: Store, rows: Iterable[Row], budget: int) -> dict[Row, str]:
    """What rows show: a text, or a picture as a `data:` URI. What cannot be read is left out.

    Args:
        store: Where the datasets were ingested.
        rows: In order of importance: those that fit into the budget are had.
        budget: Characters of all previews together.
    """
    wanted = list(dict.fromkeys(rows))
    kept: dict[Row, str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        shown = _shown(store, some)
        for row in some:
            if row in shown:
                budget -= len(shown[row])
                if budget < 0:
                    return kept
                kept[row] = shown[row]
    return kept


def _shown(store: Store, rows: list[Row]) -> dict[Row, str]:
    """The previews of some rows, each row group of their files read once."""
    found: dict[Row, str] = {}
    for (name, fingerprint), group in groupby(sorted(rows), key=lambda row: row[:2]):
        held = opened(store, name, fingerprint)
        if held is None or held.kind not in KINDS:
            continue
        for row in group:
            try:
                shown = KINDS[held.kind].preview(held.examples([row.row_id])[0])
            except (ValueError, IndexError, OSError):
                continue
            encoded = base64.b64encode(shown.picture).decode()
            found[row] = f"data:image/webp;base64,{encoded}" if encoded else shown.text
    return found
