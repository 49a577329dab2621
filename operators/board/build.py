"""Creates the board: tables, views, comments, and what is shipped with the code."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.board.connection import Connection, insert, transaction
from operators.board.published import checked, template_sets
from operators.metrics import METRICS

Rows = Sequence[Mapping[str, Any]]

_HERE = Path(__file__).parent
_SHIPPED = (  # tables that come as CSV
    "reference_averages",
    "reference_datasets",
    "reference_names",
    "studentized_ranges",
    "t_values",
)
_SHAPING = (
    "rows.py",
    "identity.py",
    "variants.py",
    "searching.py",
    "projecting.py",
    "published.py",
    "comparing.py",
    "paired.py",
    "ranking.py",
    "overall.py",
    "reproductions.py",
    "agreement.py",
    "changes.py",
    "causes.py",
)  # code that shapes what tables hold

TABLES = (
    "trials",
    "cell_variants",
    "metrics",
    "predictions",
    "confusion_counts",
    "classes",
    "metric_definitions",
    "tracks",
    "protocols",
    "datasets",
    "methods",
    "backbones",
    "runs",
    "run_trials",
    "search_candidates",
    "run_metrics",
    "changes",
    "comparisons",
    "friedman_tests",
    "dataset_comparisons",
    "reproductions",
    "reference_results",
    "reference_templates",
    *_SHIPPED,
)
VIEWS = (  # each may read those before it
    "cell_inferences",
    "unseen_heads",
    "scores",
    "searches",
    "leaderboard",
    "few_shot_curves",
    "base_to_new",
    "transfer",
    "cross_dataset",
    "domain_generalization",
    "dataset_scores",
    "dataset_ranks",
    "averages",
    "ranks",
    "significance",
    "significance_over_datasets",
    "confusions",
    "cell_confusions",
    "class_accuracies",
    "class_spreads",
    "failures",
    "disagreements",
    "cost",
    "bounds",
    "reproduction",
    "reference_conflicts",
    "reference_sources",
    "nightly_changes",
)


def current_version(tracks: Rows, protocols: Rows) -> str:
    """Digest of all that shapes the board: a board of another version is made anew.

    Args:
        tracks: Rows of that table; like its protocols and metrics they are part of the version,
            for which numbers of a trial are on the board follows from them.
        protocols: Rows of that table.
    """
    files = sorted(path for path in _HERE.rglob("*") if path.suffix in {".sql", ".csv"})
    files += [_HERE / name for name in _SHAPING]
    files += sorted((_HERE.parent / "metrics").glob("*.py"))
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    said = json.dumps([_definitions(), list(tracks), list(protocols)], sort_keys=True)
    return hashlib.sha256(content + said.encode()).hexdigest()[:16]


def stored_version(connection: Connection) -> str | None:
    """Version of the board behind `connection`; None where there is no board."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE table_name = 'schema_version'"
    ).fetchall()
    if not found:
        return None
    rows = connection.execute("SELECT version FROM schema_version").fetchall()
    return rows[0][0] if rows else None


def create(connection: Connection, *, tracks: Rows = (), protocols: Rows = ()) -> None:
    """Makes all tables and views, and fills the tables that are shipped with the code.

    Args:
        connection: An open DuckDB connection to an empty database.
        tracks: Rows of that table: what the code says of them, which takes torch to read.
        protocols: See `tracks`.
    """
    with transaction(connection):
        connection.execute((_HERE / "schema.sql").read_text())
        for name in VIEWS:
            connection.execute((_HERE / "views" / f"{name}.sql").read_text())
        for name in _SHIPPED:
            insert(connection, name, pa.Table.from_pylist(_read_csv(name)))
        published = checked(_read_csv("reference_results"), _read_csv("reference_averages"))
        insert(connection, "reference_results", pa.Table.from_pylist(published))
        methods = dict.fromkeys(row["method"] for row in published)
        prompts = template_sets(_read_csv("reference_templates"), methods)
        insert(connection, "reference_templates", pa.Table.from_pylist(prompts))
        said = {"metric_definitions": _definitions(), "tracks": tracks, "protocols": protocols}
        for name, rows in said.items():
            if rows:
                insert(connection, name, pa.Table.from_pylist([dict(row) for row in rows]))
        connection.execute(";\n".join(_comments(connection)))
        version = current_version(tracks, protocols)
        connection.execute("INSERT INTO schema_version VALUES (?)", [version])


def _definitions() -> list[dict[str, Any]]:
    """What the code says of every metric."""
    return [
        {
            "metric": name,
            "title": metric.title,
            "better": metric.better,
            "low": metric.low,
            "high": metric.high,
            "unit": metric.unit,
            "source": metric.source or None,
            "proportion": metric.proportion,
            "columns": sorted(metric.columns),
        }
        for name, metric in METRICS.items()
    ]


def _read_csv(name: str) -> list[dict[str, str | None]]:
    """Rows of a file beside this one; an empty field is None."""
    with (_HERE / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


def _comments(connection: Connection) -> Iterator[str]:
    """SQL that gives every column its comment; a comment of relation `*` is for all others."""
    texts = {(row["relation"], row["column"]): row["comment"] for row in _read_csv("columns")}
    found = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE NOT internal AND database_name = current_database()"
    ).fetchall()
    for relation, column in found:
        text = texts.get((relation, column)) or texts.get(("*", column))
        if text:
            yield f'COMMENT ON COLUMN {relation}."{column}" IS {_quoted(text)}'
    for name in (*TABLES, *VIEWS):
        text = texts.get((name, None))
        if text:
            kind = "VIEW" if name in VIEWS else "TABLE"
            yield f"COMMENT ON {kind} {name} IS {_quoted(text)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
