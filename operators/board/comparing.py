"""Compares every two cells that were tested on the same ground; fills the table `comparisons`.

Compared is the primary metric of the track. A difference of two methods has two sources of error:
the draw of training images, which seeds repeat, and the draw of test images. Both are told, each by
a paired test: Student's t over the seeds that both have, and over the test images the exact sign
test, which is McNemar's where there is one seed, with the bootstrap interval over images beside it.
An image is the unit of the second however many seeds asked about it, for their answers on one image
are alike; it is made where the metric is the share of right labels.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
percentages", Psychometrika 12, 1947; Dietterich, "Approximate statistical tests for comparing
supervised classification learning algorithms", Neural Computation 10, 1998.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from operators.board.connection import Connection, insert, named
from operators.board.paired import holm, over_images, over_seeds, plain

GROUND = (  # trials that differ in one of these were tested on something else
    *("protocol", "dataset", "dataset_fingerprint", "backbone", "backbone_fingerprint"),
    "test_rows_per_class",
)
_PLACE = (*GROUND, "split", "metric")
_PREDICTIONS_AT_ONCE = 5_000_000  # bounds memory
_ANSWERS_AT_ONCE = 4_000_000  # of the pairs that are tested together; likewise


class _Place(NamedTuple):
    """What cells of one table of comparisons were asked about.

    A split has the name of a target or of a domain that was left out: two versions of a target,
    and a domain and a target of one name, are not the same rows.
    """

    values: tuple  # of `_PLACE`
    split: str
    metric: str
    version: str  # fingerprint of the target
    held_out: str


class _Asked(NamedTuple):
    """Which rows a trial was asked about, and whether its answers were right."""

    rows: bytes
    right: np.ndarray  # (images,)


class _Cell(NamedTuple):
    """A cell on one split: score and answers by episode; a cell without draws has one, None."""

    cell_id: str
    values: Mapping[Any, float]
    asked: Mapping[Any, _Asked | None]


def grounds_of(connection: Connection, trial_ids: Iterable[str]) -> set[tuple]:
    """The grounds that some completed trials of the board were tested on.

    Args:
        connection: An open DuckDB connection to a board.
        trial_ids: Of trials, whatever their status.
    """
    with named(connection, pa.table({"trial_id": pa.array(list(trial_ids), pa.string())})):
        return set(
            connection.execute(
                f"SELECT DISTINCT {', '.join(GROUND)} FROM trials JOIN incoming USING (trial_id) "
                "WHERE status = 'completed' AND tested_on = 'test'"
            ).fetchall()
        )


def compare(
    connection: Connection,
    grounds: Iterable[tuple],
    pairs: Collection[frozenset[str]] | None = None,
) -> None:
    """Makes the comparisons on some grounds anew.

    Args:
        connection: An open DuckDB connection whose trials, metrics and predictions are filled.
        grounds: Values of `GROUND`: those on which a trial has come, changed or gone.
        pairs: Ids of the two cells of each comparison that is wanted; default: every two cells.
    """
    wanted = sorted(set(grounds), key=repr)
    if not wanted:
        return
    keys = pa.Table.from_pylist([dict(zip(GROUND, ground, strict=True)) for ground in wanted])
    keys = keys.cast(pa.schema([(name, _type(name)) for name in GROUND]))
    with named(connection, keys):
        connection.execute(f"DELETE FROM comparisons USING incoming WHERE {_same('comparisons')}")
        ground = ", ".join(f"trials.{name}" for name in GROUND)
        found = connection.execute(
            f"SELECT {ground}, split, metric, targets, held_out, shots, cell_id, seed, "
            "episode_fingerprint, trial_id, value, n "
            f"FROM trials JOIN metrics USING (trial_id) JOIN incoming ON {_same('trials')} "
            "JOIN protocols ON protocols.protocol = trials.protocol "
            "WHERE status = 'completed' AND tested_on = 'test' AND metric = primary_metric "
            "AND value IS NOT NULL "
            "ORDER BY ALL"
        ).fetchall()
    places: dict[_Place, list[tuple]] = defaultdict(list)
    for row in found:
        values, (targets, held_out, *trial) = row[: len(_PLACE)], row[len(_PLACE) :]
        *_, split, metric = values
        version = json.loads(targets).get(split, {}).get("fingerprint", "")
        places[_Place(values, split, metric, version, held_out)].append(tuple(trial))
    hits = _hits(connection)
    for batch in _batches(places):
        trial_ids = {trial[4] for place in batch if place.metric in hits for trial in places[place]}
        asked = _asked(connection, sorted(trial_ids))
        lines = [
            {**dict(zip(_PLACE, place.values, strict=True)), **line}
            for place in batch
            for line in _compared(place.split, places[place], asked, pairs)
        ]
        if lines:
            insert(connection, "comparisons", pa.Table.from_pylist(lines))


def _hits(connection: Connection) -> set[str]:
    """Metrics that are the share of rows whose label was predicted, so of paired answers."""
    rows = connection.execute(
        "SELECT metric FROM metric_definitions "
        "WHERE proportion AND columns = ['label', 'predicted']"
    ).fetchall()
    return {metric for (metric,) in rows}


def _same(table: str) -> str:
    """SQL: a row of `table` is of the ground of a row of `incoming`."""
    return " AND ".join(f"{table}.{name} IS NOT DISTINCT FROM incoming.{name}" for name in GROUND)


def _type(name: str) -> pa.DataType:
    return pa.int32() if name == "test_rows_per_class" else pa.string()


def _batches(places: Mapping[_Place, list[tuple]]) -> Iterator[list[_Place]]:
    """Grounds, splits and metrics in bunches whose predictions fit into memory."""
    batch: list[_Place] = []
    size = 0
    for place, trials in places.items():
        rows = sum(trial[-1] for trial in trials)
        if batch and size + rows > _PREDICTIONS_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += rows
    if batch:
        yield batch


def _asked(connection: Connection, trial_ids: list[str]) -> dict[tuple[str, str], _Asked]:
    """The answers of some trials by trial and split, in order of rows."""
    numbers = pa.table(
        {"trial_id": trial_ids, "number": pa.array(range(len(trial_ids)), pa.int32())}
    )
    with named(connection, numbers):
        table = connection.sql(
            "SELECT number, split, row_id, label = predicted AS correct "
            "FROM predictions JOIN incoming USING (trial_id) ORDER BY number, split, row_id"
        ).to_arrow_table()
    if not len(table):
        return {}
    split = table["split"].combine_chunks().dictionary_encode()
    names, codes = split.dictionary.to_pylist(), np.asarray(split.indices)
    number, row = np.asarray(table["number"]), np.asarray(table["row_id"])
    correct = np.asarray(table["correct"].cast(pa.int8()))
    starts = np.flatnonzero(np.diff(number, prepend=-1) | np.diff(codes, prepend=-1))
    ends = [*starts[1:], len(number)]
    return {
        (trial_ids[number[start]], names[codes[start]]): _Asked(
            row[start:end].tobytes(), correct[start:end]
        )
        for start, end in zip(starts, ends, strict=True)
    }


def _compared(
    split: str,
    trials: list[tuple],
    asked: Mapping[tuple[str, str], _Asked],
    pairs: Collection[frozenset[str]] | None,
) -> Iterator[dict[str, Any]]:
    """A line for every two cells of one ground and split, the one with the lesser id first."""
    cells: dict[int, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for shots, cell_id, seed, episode, trial_id, value, _ in trials:
        cells[shots][cell_id].append(((seed, episode), value, asked.get((trial_id, split))))
    without_labels = cells.get(0, {})
    fixed = [
        _fixed(cell_id, without_labels.pop(cell_id)) for cell_id in _without_draws(without_labels)
    ]
    drawn = {
        shots: [
            _Cell(cell_id, {e: v for e, v, _ in lines}, {e: a for e, _, a in lines})
            for cell_id, lines in there.items()
        ]
        for shots, there in cells.items()
    }
    at_none = drawn.pop(0, [])
    yield from corrected(list(_lines(0, at_none, fixed, pairs, among_fixed=True)))
    for shots, there in drawn.items():
        yield from corrected(list(_lines(shots, there, fixed, pairs, among_fixed=False)))


def corrected(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of one table of comparisons, with Holm's correction over them.

    Args:
        lines: Each with `p` and `p_images`, None where there is no test.

    Returns:
        The lines with `p_holm`, `p_images_holm` and `pairs`, how many they are.
    """
    for name in ("p", "p_images"):
        held = holm(np.array([line[name] for line in lines], dtype=np.float64))
        for line, value in zip(lines, plain(held), strict=True):
            line[f"{name}_holm"] = value
    return [{**line, "pairs": len(lines)} for line in lines]


def _without_draws(cells: Mapping[str, list]) -> list[str]:
    """Those of some cells without labelled examples that are the same for every seed.

    The others learn from unlabelled examples, or are tested on a stream: each seed has an episode
    of its own, and a cell of one seed has that of another cell.
    """
    episodes = {cell_id: {episode for episode, *_ in lines} for cell_id, lines in cells.items()}
    several = {c for c, found in episodes.items() if len({drawn for _, drawn in found}) > 1}
    known = set().union(*(episodes[cell_id] for cell_id in several))
    return [c for c, found in episodes.items() if c not in several and not found & known]


def _fixed(cell_id: str, lines: list) -> _Cell:
    """A cell that reads no labelled image: one number and one answer an image for every episode."""
    answers = [asked for *_, asked in lines]
    whole = None
    if all(answers) and len({asked.rows for asked in answers}) == 1:
        mean = np.mean([asked.right for asked in answers], axis=0)
        whole = _Asked(answers[0].rows, mean)
    return _Cell(cell_id, {None: float(np.mean([v for _, v, _ in lines]))}, {None: whole})


def _lines(
    shots: int,
    drawn: list[_Cell],
    fixed: list[_Cell],
    pairs: Collection[frozenset[str]] | None,
    *,
    among_fixed: bool,
) -> Iterator[dict[str, Any]]:
    """Compares every two cells, or every two of which one draws."""
    cells = sorted([*drawn, *fixed])
    episodes = sorted({e for cell in drawn for e in cell.values}, key=repr) or [None]
    values = np.full((len(cells), len(episodes)), np.nan)
    for at, cell in enumerate(cells):
        for when, episode in enumerate(episodes):
            values[at, when] = cell.values.get(episode, cell.values.get(None, np.nan))
    right = _right(cells, episodes)
    draws = np.array([None not in cell.values for cell in cells], dtype=bool)
    one, other = np.triu_indices(len(cells), 1)
    met = (~np.isnan(values[one]) & ~np.isnan(values[other])).any(axis=1)
    if not among_fixed:
        met &= draws[one] | draws[other]
    if pairs is not None:
        ids = [cell.cell_id for cell in cells]
        met &= np.array(
            [frozenset((ids[a], ids[b])) in pairs for a, b in zip(one, other, strict=True)],
            dtype=bool,
        )
    one, other = one[met], other[met]
    some = max(1, _ANSWERS_AT_ONCE // max(1, right[0].size)) if cells else 1
    for start in range(0, len(one), some):
        a, b = one[start : start + some], other[start : start + some]
        both = ~np.isnan(values[a]) & ~np.isnan(values[b])
        seeds = over_seeds(values[a], values[b], both)
        images = over_images(right[a], right[b], both)
        columns = {name: plain(column) for name, column in {**seeds, **images}.items()}
        names = list(columns)
        for first, second, *line in zip(a, b, *columns.values(), strict=True):
            yield {
                "shots": shots,
                "cell_a": cells[first].cell_id,
                "cell_b": cells[second].cell_id,
                **dict(zip(names, line, strict=True)),
            }


def _right(cells: list[_Cell], episodes: list) -> np.ndarray:
    """Answers of (cells, episodes, images), NaN where one was asked about other images."""
    every = [cell.asked.get(e, cell.asked.get(None)) for cell in cells for e in episodes]
    known = [asked for asked in every if asked is not None]
    if not known:
        return np.full((len(cells), len(episodes), 0), np.nan)
    counts: dict[bytes, int] = defaultdict(int)
    for asked in known:
        counts[asked.rows] += 1
    rows = max(counts, key=lambda key: counts[key])
    images = next(len(asked.right) for asked in known if asked.rows == rows)
    answers = np.full((len(every), images), np.nan, np.float32)
    for at, asked in enumerate(every):
        if asked is not None and asked.rows == rows:
            answers[at] = asked.right
    return answers.reshape(len(cells), len(episodes), images)
