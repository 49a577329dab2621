"""The board as people see it: rows for a table, markdown for an artifact."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from operators.spec import TrialSpec
from tasks import board
from tasks.plan import Plan
from tasks.store import Store

# The harmonic mean of base and new stands beside them, as the mean over seeds of each seed's own.
BOARD = """
SELECT protocol, dataset, backbone, shots, method, variant, split, mean, std, n, ci95_low, ci95_high
FROM (
    SELECT * FROM leaderboard WHERE metric = 'accuracy'
    UNION ALL BY NAME
    SELECT
        'base_to_new' AS protocol, dataset, backbone, shots, method, variant, cell_id,
        'H' AS split, h AS mean, h_std AS std, n, h_ci95_low AS ci95_low, h_ci95_high AS ci95_high
    FROM base_to_new WHERE cell_id IS NOT NULL
)
{where}
ORDER BY protocol, dataset, backbone, split, shots, mean DESC, method
"""
CHANGES = """
SELECT suite, protocol, dataset, backbone, method, shots, split,
       change, previous_mean, current_mean, difference, cause
FROM nightly_changes WHERE metric = 'accuracy' AND suite = '{suite}'
  AND change <> 'same'
ORDER BY protocol, dataset, method, shots, split
"""
WHOLE_RUNS = """
SELECT count(*) AS n FROM runs
WHERE suite = '{suite}' AND finished_at IS NOT NULL AND NOT partial
"""


def board_rows(store: Store, specs: Iterable[TrialSpec] | None = None) -> list[dict[str, Any]]:
    """Accuracy by cell: all of the board, or the cells of some trials.

    Returns:
        Rows with protocol, dataset, backbone, shots, method, variant, split, mean, std, n and
        the 95 % interval; accuracies in 0..1. Split `H` is the harmonic mean of base and new.
    """
    where = ""
    if specs is not None:
        cells = sorted({spec.cell_id for spec in specs})
        where = "WHERE cell_id IN (" + ", ".join(f"'{cell}'" for cell in cells) + ")"
    return board.to_rows(board.query(store, BOARD.format(where=where)))


def percent(row: dict[str, Any]) -> str:
    """`71.3 ± 1.2`: mean and standard deviation over seeds, in percent."""
    if row["std"] is None:
        return f"{100 * row['mean']:.1f}"
    return f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f}"


def publish_artifacts(store: Store, plan: Plan, failed: Sequence[str], summary: str) -> None:
    """Leaves the board, the summary and what has changed with the flow run in Prefect."""
    rows = [
        {
            **{key: row[key] for key in ("protocol", "dataset", "backbone", "shots", "method")},
            "variant": row["variant"] or "",
            "split": row["split"],
            "accuracy": percent(row),
            "seeds": row["n"],
        }
        for row in board_rows(store, plan.specs)
    ]
    create_table_artifact(
        key="board", table=rows, description=f"Suite {plan.suite.name}, accuracy in %"
    )
    lines = [f"# {plan.suite.name}", "", summary, ""]
    lines += [f"- MLflow: experiment {plan.suite.name}, {mlflow_place(store)}"]
    lines += [f"- failed: {text}" for text in failed]
    lines += [f"- skipped: {text}" for text in plan.skipped]
    lines += [f"- note: {text}" for text in plan.notices]
    create_markdown_artifact(key="summary", markdown="\n".join(lines))
    with contextlib.suppress(board.BoardError):
        create_markdown_artifact(key="changes", markdown=changes_markdown(store, plan.suite.name))
    link_mlflow(store)


def link_mlflow(store: Store) -> None:
    """Leaves a link to MLflow with the flow run, where it is a server whose URI is a page."""
    uri = store.mlflow_uri_to_show
    if store.mlflow_is_server and uri.startswith("http"):  # `databricks` names a profile
        create_link_artifact(key="mlflow", link=uri, link_text="MLflow")


def mlflow_place(store: Store) -> str:
    """Where MLflow's pages are, or the commands that show them."""
    uri = store.mlflow_uri_to_show
    if store.mlflow_is_server:
        return f"at {uri}"
    return (
        f"shown by `shotboard up --home {store.home}`, or by `mlflow ui --backend-store-uri {uri}`"
    )


def changes_markdown(store: Store, suite: str) -> str:
    """What moved between the last two runs of a suite, as a markdown table."""
    name = suite.replace("'", "''")
    table = board.query(store, CHANGES.format(suite=name))
    rows = board.to_rows(table)
    if not rows:
        (whole,) = board.to_rows(board.query(store, WHOLE_RUNS.format(suite=name)))
        if whole["n"] < 2:
            return f"Nothing to compare yet: this page needs two whole runs of {suite}."
        return f"Nothing has changed between the last two whole runs of {suite}."
    names = table.column_names
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [
            f"{v:.4f}" if isinstance(v, float) else str(v if v is not None else "")
            for v in row.values()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
