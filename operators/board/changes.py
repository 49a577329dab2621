"""What moved between the last two whole runs of each suite, and why; fills the table `changes`.

The board keeps one version of each trial, so a number that moved under the same id would be
compared with itself. Therefore a run keeps the numbers that it saw, `<run_id>.numbers.parquet`;
those of the runs that are compared are in the table `run_metrics`.

Cells are matched by what a reader compares: method, backbone, dataset, protocol and shots, by
name. A cell that is in both runs is compared with itself. One that has changed its identity is
compared with the one of the other run that differs in least, and `cause` says in what.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from operators.board.causes import IDENTITY, Cell, differences, moves
from operators.board.connection import Connection, insert, named
from operators.board.identity import STORED

NUMBERS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
    ]
)
_ROUNDING = 1e-9  # a number that moved by less did not
_COMPARED = ("method", "backbone", "dataset", "protocol", "shots")


class _Score(NamedTuple):
    """What a cell scored on a split; all of it empty for a cell that is not there."""

    mean: float | None = None
    std: float | None = None
    n: int = 0
    test_rows: int | None = None  # the least over seeds
    seeds: str = ""


_NOTHING = _Score()


def last_runs(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The last two runs of each suite that have ended and were whole, the earlier one first.

    Those that were merged from other stores are theirs to compare.

    Args:
        runs: Rows of `run_row`.
    """
    suites: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    for run in runs:
        whole = run["finished_at"] is not None and not run["partial"]
        if whole and run["suite"] is not None and run.get("origin") is None:
            suites[run["suite"]].append((run["started_at"], run["run_id"]))
    return {suite: [run for _, run in sorted(there)[-2:]] for suite, there in suites.items()}


def replace_changes(
    connection: Connection,
    runs: Sequence[Mapping[str, Any]],
    numbers: Mapping[str, Path],
    *,
    afresh: bool = True,
) -> None:
    """Fills `run_metrics` and `changes`; trials, metrics and `run_trials` are filled already.

    Args:
        connection: An open DuckDB connection.
        runs: Rows of `run_row`.
        numbers: What a run saw, by run; one that has kept nothing saw what is on the board now.
        afresh: Whether trials have changed; if not, only other runs make another comparison.
    """
    pairs = last_runs(runs)
    compared = [run for pair in pairs.values() for run in pair]
    known = connection.execute("SELECT DISTINCT run_id FROM run_metrics").fetchall()
    if not afresh and {run for (run,) in known} == set(compared):
        return
    connection.execute("DELETE FROM run_metrics")
    for run in compared:
        if run in numbers:
            connection.execute(
                "INSERT INTO run_metrics BY NAME SELECT ? AS run_id, * FROM read_parquet(?)",
                [run, str(numbers[run])],
            )
        else:
            connection.execute(
                "INSERT INTO run_metrics BY NAME SELECT run_id, metrics.* "
                "FROM run_trials JOIN metrics USING (trial_id) JOIN trials USING (trial_id) "
                "WHERE run_id = ? AND tested_on = 'test' ORDER BY ALL",
                [run],
            )
    connection.execute("DELETE FROM changes")
    rows = [
        {"suite": suite, "previous_run_id": pair[0], "current_run_id": pair[1], **row}
        for suite, pair in sorted(pairs.items())
        if len(pair) == 2
        for row in _changes(connection, *pair)
    ]
    if rows:
        insert(connection, "changes", pa.Table.from_pylist(rows))


def numbers_of(connection: Connection, run_id: str) -> pa.Table:
    """The numbers of a run that is compared, as its file keeps them; schema `NUMBERS`.

    Args:
        connection: An open DuckDB connection to a board.
        run_id: A run whose numbers it holds.
    """
    with named(connection, pa.table({"run_id": [run_id]})):
        rows = connection.sql(
            f"SELECT {', '.join(NUMBERS.names)} FROM run_metrics JOIN incoming USING (run_id) "
            "ORDER BY ALL"
        ).to_arrow_table()
    return rows.cast(NUMBERS)


def _changes(connection: Connection, previous: str, current: str) -> Iterator[dict[str, Any]]:
    """One row for each matched cell, split and metric."""
    before, after = (cells_of(connection, _trials(connection, run)) for run in (previous, current))
    before_scores, after_scores = _scores(connection, previous), _scores(connection, current)
    moved = _moved(connection, previous, current)
    failed = _failed(connection, current)
    for old, new in matched(before, after):
        old_id, new_id = (cell["cell_id"] if cell else "" for cell in (old, new))
        names = new or old or {}
        causes = differences(old, new) if old and new else []
        asked, asked_now = before_scores.get(old_id, {}), after_scores.get(new_id, {})
        for split, metric in _compared_keys(asked, asked_now):
            then = asked.get((split, metric), _NOTHING)
            now = asked_now.get((split, metric), _NOTHING)
            trials = moved.get((new_id, split, metric), 0) if old_id == new_id else 0
            reasons = list(causes)
            if then.seeds and now.seeds and then.seeds != now.seeds:
                reasons.append(f"seeds {then.seeds} to {now.seeds}")
            if trials:
                reasons.append("by itself")
            if failed.get(new_id or old_id):
                reasons.append(f"trials that failed: {failed[new_id or old_id]}")
            yield {
                **{name: names[name] for name in (*_COMPARED, "variant")},
                "split": split,
                "metric": metric,
                "change": _change(then, now, trials),
                "previous_mean": then.mean,
                "current_mean": now.mean,
                "previous_n": then.n or None,
                "current_n": now.n or None,
                "cause": ", ".join(reasons) or None,
                "previous_cell_id": old_id or None,
                "current_cell_id": new_id or None,
                "previous_variant": old["variant"] if old else None,
                "moved_trials": trials,
                "previous_std": then.std,
                "previous_test_rows": then.test_rows,
            }


def _compared_keys(
    asked: Collection[tuple[str, str]], asked_now: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Splits and metrics of two cells, of which one may be empty.

    A metric that only one of two runs knew came to the board or left it, which is no change of a
    cell.
    """
    keys = {*asked, *asked_now}
    if asked and asked_now:
        shared = {metric for _, metric in asked} & {metric for _, metric in asked_now}
        keys = {key for key in keys if key[1] in shared}
    return sorted(keys)


def _change(then: _Score, now: _Score, trials: int) -> str:
    if not then.n:
        return "new"
    if not now.n:
        return "vanished"
    if trials:
        return "moved"
    if then.mean is None or now.mean is None:
        return "same" if then.mean is now.mean else "moved"
    return "moved" if abs(now.mean - then.mean) > _ROUNDING else "same"


def _trials(connection: Connection, run_id: str) -> list[str]:
    """The trials that a run saw numbers of."""
    rows = connection.execute(
        "SELECT DISTINCT trial_id FROM run_metrics WHERE run_id = ? ORDER BY ALL", [run_id]
    ).fetchall()
    return [trial_id for (trial_id,) in rows]


def cells_of(connection: Connection, trial_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The cells of some trials, each with all that is part of its identity but the seed.

    Aids are those of the lowest seed, by role: a trial that is on the board as its own cell, else
    its id or fingerprint.

    Args:
        connection: An open DuckDB connection to a board.
        trial_ids: Those that are not on the board are passed over.
    """
    shared = {name: STORED[name] for name in sorted(IDENTITY - {"seed", "aids"})}
    cells = _read(
        connection,
        f"SELECT {', '.join(f'any_value({column}) AS {name}' for name, column in shared.items())}, "
        "any_value(variant) AS variant, cell_id, arg_min(aids, seed) AS aids "
        "FROM (SELECT unnest(?::VARCHAR[]) AS trial_id) "
        "JOIN trials USING (trial_id) GROUP BY cell_id ORDER BY cell_id",
        [list(trial_ids)],
    )
    _read_aids(cells)
    wanted = sorted({aid for cell in cells for aid in cell["aids"].values()})
    known = _read(
        connection,
        "SELECT trial_id, cell_id, aids, "
        f"{', '.join(f'{column} AS {name}' for name, column in shared.items())} FROM trials "
        "WHERE trial_id IN (SELECT unnest(?::VARCHAR[]))",
        [wanted],
    )
    _read_aids(known)
    trials = {row["trial_id"]: row for row in known}
    for cell in cells:
        cell["aids"] = {role: trials.get(aid, aid) for role, aid in cell["aids"].items()}
    return cells


def _read_aids(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["aids"] = json.loads(row["aids"])


def _read(connection: Connection, query: str, values: list[Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _scores(connection: Connection, run_id: str) -> dict[str, dict[tuple[str, str], _Score]]:
    """Scores by cell, then by split and metric."""
    found: dict[str, dict] = defaultdict(dict)
    for cell_id, split, metric, *score in connection.execute(
        "SELECT cell_id, split, metric, whole_mean(value), whole_std(value), count(*), min(n), "
        "string_agg(seed::VARCHAR, ' ' ORDER BY seed) "
        "FROM run_metrics JOIN trials USING (trial_id) WHERE run_id = ? "
        "GROUP BY cell_id, split, metric",
        [run_id],
    ).fetchall():
        found[cell_id][split, metric] = _Score(*score)
    return found


def _moved(connection: Connection, previous: str, current: str) -> dict[tuple, int]:
    """Trials of one id that have another number in the later run, by cell, split and metric."""
    rows = connection.execute(
        "SELECT cell_id, split, metric, count(*) FROM run_metrics AS a "
        "JOIN run_metrics AS b USING (trial_id, split, metric) JOIN trials USING (trial_id) "
        "WHERE a.run_id = ? AND b.run_id = ? AND a.value IS DISTINCT FROM b.value "
        "AND NOT coalesce(abs(a.value - b.value) <= ?, false) "
        "GROUP BY cell_id, split, metric",
        [previous, current, _ROUNDING],
    ).fetchall()
    return {(cell_id, split, metric): count for cell_id, split, metric, count in rows}


def _failed(connection: Connection, run_id: str) -> dict[str, int]:
    """How many trials of a run failed, by cell."""
    return dict(
        connection.execute(
            "SELECT cell_id, count(*) FROM run_trials JOIN trials USING (trial_id) "
            "WHERE run_id = ? AND status = 'failed' GROUP BY cell_id",
            [run_id],
        ).fetchall()
    )


def matched(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> Iterator[tuple[Cell | None, Cell | None]]:
    """Pairs of cells of one method, backbone, dataset, protocol and shots, the nearest first.

    Args:
        before: Of `cells_of`.
        after: Likewise.

    Yields:
        Two cells; None for one that the other side has nothing beside.
    """
    there: dict[tuple, tuple[list[Cell], list[Cell]]] = defaultdict(lambda: ([], []))
    for side, cells in enumerate((before, after)):
        for cell in cells:
            there[tuple(cell[name] for name in _COMPARED)][side].append(cell)
    for old, new in there.values():
        candidates = sorted(
            ((_distance(a, b), i, j) for i, a in enumerate(old) for j, b in enumerate(new))
        )
        left, right = dict(enumerate(old)), dict(enumerate(new))
        for _, i, j in candidates:
            if i in left and j in right:
                yield left.pop(i), right.pop(j)
        yield from ((cell, None) for cell in left.values())
        yield from ((None, cell) for cell in right.values())


def _distance(old: Cell, new: Cell) -> int:
    """In how many values two cells differ; 0 for one and the same."""
    if old["cell_id"] == new["cell_id"]:
        return 0
    settings, settings_now = (json.loads(cell["hyperparameters"]) for cell in (old, new))
    fields = moves(old, new, IDENTITY - {"seed", "hyperparameters", "aids"})
    return 1 + len(fields) + len(moves(settings, settings_now, {*settings, *settings_now}))
