"""Fills the board: everything in one transaction, in bulk, and idempotent."""

import glob
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.board.changes import replace_changes
from operators.board.comparing import compare, grounds_of
from operators.board.connection import Connection, insert, named, transaction
from operators.board.identity import COLUMNS, SELECTED, spec_of
from operators.board.overall import replace_overall
from operators.board.ranking import replace_friedman
from operators.board.rows import METRICS, RUNS, TRIALS, TrialRows
from operators.board.searching import replace_searches, tuned_cells
from operators.board.variants import Chosen, variants_of
from operators.metrics.predictions import PREDICTIONS
from operators.spec import TEST, TrialSpec

_CARDS = ("datasets", "methods", "backbones")
_FILES_AT_ONCE = 1000  # prediction files a statement: bounds open files and memory


def fill(
    connection: Connection,
    *,
    results: Sequence[TrialRows] = (),
    predictions: Iterable[Path] = (),
    present: Collection[str] | None = None,
    failures: Iterable[Mapping[str, Any]] = (),
    runs: Sequence[Mapping[str, Any]] = (),
    numbers: Mapping[str, Path] | None = None,
    published: Iterable[Mapping[str, Any]] = (),
    datasets: Iterable[Mapping[str, Any]] = (),
    classes: Iterable[Mapping[str, Any]] = (),
    methods: Iterable[Mapping[str, Any]] = (),
    backbones: Iterable[Mapping[str, Any]] = (),
    chosen: Callable[[TrialSpec], Chosen] | None = None,
) -> None:
    """Brings the board to what the store holds, in one transaction.

    Completed trials are added or, where they are there already, replaced; everything else
    (failures, runs, receipts, cards) is small and is taken in whole each time, so that what is
    not passed is not there afterwards.

    Args:
        connection: An open DuckDB connection, after `create`.
        results: Completed trials that are new or have changed.
        predictions: `<trial_id>/predictions.parquet` of each of `results`.
        present: Ids of all completed trials there are; others leave the board. None keeps all.
        failures: Rows of `failed_row`; one whose trial has completed is left out.
        runs: Rows of `run_row`.
        numbers: The file of what a run saw, by run, of those that have kept one.
        published: Receipts of MLflow: `mlflow_run_id` and its `trial_ids`.
        datasets: Rows of that table; a missing column is NULL, an unknown one refused.
        classes: Rows of that table.
        methods: As `datasets`.
        backbones: As `datasets`.
        chosen: The settings of a trial beside the published ones; default: none are known, and no
            variant has a name.

    Raises:
        ValueError: A card has a column that its table lacks.
        duckdb.Error: A file of `predictions` cannot be read; nothing has been changed.
    """
    with transaction(connection):
        grounds = _replace_trials(connection, results, present)
        apart = without_labels(connection, results)
        labelled = (path for path in predictions if path.parent.name not in apart)
        _insert_predictions(connection, [str(path) for path in labelled])
        _count_predictions(connection, results)
        compare(connection, grounds)
        _replace_failures(connection, failures)
        _replace_runs(connection, runs)
        replace_searches(connection, runs)
        renamed = _name_variants(connection, chosen)
        if grounds or renamed:
            replace_friedman(connection)
            replace_overall(connection)
        replace_changes(connection, runs, numbers or {}, afresh=bool(grounds) or renamed)
        _attach_receipts(connection, published)
        _replace_classes(connection, classes)
        for name, cards in zip(_CARDS, (datasets, methods, backbones), strict=True):
            _replace_cards(connection, name, cards)


def _replace_trials(
    connection: Connection, results: Sequence[TrialRows], present: Collection[str] | None
) -> set[tuple]:
    """Takes out what is gone or comes anew, adds `results`, and says on which grounds."""
    stale = {result.trial_id for result in results}
    if present is not None:
        known = connection.execute("SELECT trial_id FROM trials WHERE status = 'completed'")
        stale |= {trial_id for (trial_id,) in known.fetchall()} - set(present)
    grounds = grounds_of(connection, stale)
    with named(connection, pa.table({"trial_id": pa.array(sorted(stale), pa.string())})):
        for table in ("trials", "metrics", "predictions", "confusion_counts"):
            connection.execute(
                f"DELETE FROM {table} WHERE trial_id IN (SELECT trial_id FROM incoming)"
            )
    trials = sorted((result.trial for result in results), key=lambda row: row["trial_id"])
    insert(connection, "trials", pa.Table.from_pylist(trials, schema=TRIALS))
    metrics = pa.Table.from_pylist([m for result in results for m in result.metrics], METRICS)
    with named(connection, metrics):
        # NaN would make every aggregate over it fail: the board says NULL.
        connection.execute(
            "INSERT INTO metrics BY NAME SELECT * "
            "REPLACE (CASE WHEN isfinite(value) THEN value END AS value) FROM incoming"
        )
    return grounds | grounds_of(connection, (result.trial_id for result in results))


def without_labels(connection: Connection, results: Iterable[TrialRows]) -> set[str]:
    """Trials of tracks that predict no labels: the table of predictions has no columns for them.

    Args:
        connection: An open DuckDB connection to a board.
        results: The trials in question.
    """
    others = {
        protocol
        for protocol, columns in connection.execute(
            "SELECT protocol, columns FROM protocols JOIN tracks USING (track)"
        ).fetchall()
        if not set(PREDICTIONS.names) <= set(columns)
    }
    return {row.trial_id for row in results if row.trial["protocol"] in others}


def _insert_predictions(connection: Connection, paths: list[str]) -> None:
    for start in range(0, len(paths), _FILES_AT_ONCE):
        connection.execute(
            "INSERT INTO predictions BY NAME "
            "SELECT string_split(replace(filename, '\\', '/'), '/')[-2] AS trial_id, "
            "split, row_id, label, predicted, confidence "
            "FROM read_parquet(?, filename = true)",
            [[glob.escape(path) for path in paths[start : start + _FILES_AT_ONCE]]],
        )


def _count_predictions(connection: Connection, results: Sequence[TrialRows]) -> None:
    """Counts which class each label was taken for; labels are those of what a split tests."""
    with named(connection, pa.table({"trial_id": pa.array([r.trial_id for r in results])})):
        connection.execute(
            "INSERT INTO confusion_counts BY NAME "
            "WITH counted AS ("
            "    SELECT trial_id, split, label, predicted, count(*) AS n FROM predictions "
            "    WHERE trial_id IN (SELECT trial_id FROM incoming) GROUP BY ALL"
            ") "
            "SELECT counted.*, cell_id, "
            "sum(n) OVER (PARTITION BY trial_id, split, label) AS of_label, "
            "coalesce(targets -> split ->> 'fingerprint', dataset_fingerprint) "
            "AS tested_fingerprint "
            "FROM counted JOIN trials USING (trial_id) WHERE tested_on = 'test' ORDER BY ALL"
        )


def _replace_classes(connection: Connection, classes: Iterable[Mapping[str, Any]]) -> None:
    connection.execute("DELETE FROM classes")
    rows = [dict(row) for row in classes]
    if rows:
        insert(connection, "classes", pa.Table.from_pylist(rows))


def _replace_failures(connection: Connection, failures: Iterable[Mapping[str, Any]]) -> None:
    connection.execute("DELETE FROM trials WHERE status = 'failed'")
    with named(connection, pa.Table.from_pylist([dict(row) for row in failures], TRIALS)):
        connection.execute(
            "INSERT INTO trials BY NAME SELECT * FROM incoming "
            "WHERE trial_id NOT IN (SELECT trial_id FROM trials)"
        )


def _name_variants(connection: Connection, chosen: Callable[[TrialSpec], Chosen] | None) -> bool:
    """Names variant and setting of every cell again, for both may have changed; says if they have.

    What is on the board and what is published decide on the names: a cell may have another one
    when others come.
    """
    cells = connection.execute(
        f"SELECT DISTINCT ON (cell_id) cell_id, {', '.join(SELECTED)} FROM trials"
    ).fetchall()
    told, settings, apart = {}, {}, {}
    tuned = tuned_cells(connection)
    for cell_id, *values in cells:
        spec = spec_of(dict(zip(COLUMNS, values, strict=True)))
        one = chosen(spec) if chosen else Chosen()
        settings[cell_id] = one.setting(spec.setting)
        if spec.tested_on != TEST:  # a candidate is on no line
            apart[cell_id] = (one.text,)
        elif cell_id in tuned and tuned[cell_id].alone:
            apart[cell_id] = (tuned[cell_id].line(one),)
        else:
            told[cell_id] = (spec.method, spec.protocol), one
    variants = variants_of(told) | apart
    for cell_id in tuned.keys() & told.keys():
        variants[cell_id] = (*variants[cell_id], tuned[cell_id].line(told[cell_id][1]))
    rows = pa.table(
        {
            "cell_id": pa.array(list(variants), pa.string()),
            "variant": pa.array([names[0] for names in variants.values()], pa.string()),
            "setting": pa.array([settings[cell] for cell in variants], pa.string()),
        }
    )
    with named(connection, rows):
        updated = connection.execute(
            "UPDATE trials SET variant = incoming.variant, setting = incoming.setting "
            "FROM incoming WHERE trials.cell_id = incoming.cell_id "
            "AND (trials.variant <> incoming.variant OR trials.setting <> incoming.setting) "
            "RETURNING trials.status"
        ).fetchall()
    pairs = [
        {"cell_id": cell_id, "variant": name}
        for cell_id, names in sorted(variants.items())
        for name in names
    ]
    before = connection.execute("SELECT cell_id, variant FROM cell_variants").fetchall()
    moved = set(before) != {(pair["cell_id"], pair["variant"]) for pair in pairs}
    connection.execute("DELETE FROM cell_variants")
    if pairs:
        insert(connection, "cell_variants", pa.Table.from_pylist(pairs))
    # Failures come without, every time, and no number is theirs.
    return moved or any(status == "completed" for (status,) in updated)


def _replace_runs(connection: Connection, runs: Iterable[Mapping[str, Any]]) -> None:
    connection.execute("DELETE FROM runs")
    connection.execute("DELETE FROM run_trials")
    with named(connection, pa.Table.from_pylist([dict(row) for row in runs], RUNS)):
        connection.execute(
            "INSERT INTO runs BY NAME "
            "SELECT * EXCLUDE (trial_ids, searches) FROM incoming ORDER BY run_id"
        )
        connection.execute(
            "INSERT INTO run_trials BY NAME "
            "SELECT DISTINCT run_id, unnest(trial_ids) AS trial_id FROM incoming ORDER BY ALL"
        )


def _attach_receipts(connection: Connection, published: Iterable[Mapping[str, Any]]) -> None:
    runs = {
        trial: receipt["mlflow_run_id"] for receipt in published for trial in receipt["trial_ids"]
    }
    rows = pa.table(
        {
            "trial_id": pa.array(list(runs), pa.string()),
            "mlflow_run_id": pa.array(list(runs.values()), pa.string()),
        }
    )
    with named(connection, rows):
        connection.execute(
            "UPDATE trials SET mlflow_run_id = latest.mlflow_run_id "
            "FROM (SELECT trial_id, incoming.mlflow_run_id FROM trials "
            "LEFT JOIN incoming USING (trial_id)) AS latest "
            "WHERE trials.trial_id = latest.trial_id "
            "AND trials.mlflow_run_id IS DISTINCT FROM latest.mlflow_run_id"
        )


def _replace_cards(connection: Connection, table: str, cards: Iterable[Mapping[str, Any]]) -> None:
    columns = dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE table_name = ? AND database_name = current_database() ORDER BY column_index",
            [table],
        ).fetchall()
    )
    connection.execute(f"DELETE FROM {table}")
    rows = []
    for card in cards:
        odd = sorted(set(card) - set(columns))
        if odd:
            raise ValueError(
                f"table {table} has no column {', '.join(odd)}; it has {', '.join(columns)}."
            )
        rows.append([_plain(card.get(name), columns[name]) for name in columns])
    if rows:
        connection.execute(
            f"INSERT INTO {table} SELECT * FROM (VALUES "
            + ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * len(rows))
            + ") ORDER BY 1",
            [value for row in rows for value in row],
        )


def _plain(value: Any, data_type: str) -> Any:
    """A value of a card as its column takes it: JSON from mappings and lists, text as it is."""
    if data_type != "JSON" or value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, default=str)
