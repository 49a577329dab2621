"""What a flow run leaves in Prefect: the board, a summary, what has changed, where MLflow is."""

import contextlib
from collections.abc import Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.pages.asking import BoardError
from tasks.pages.reports import board_rows, changes_markdown, quantity, score
from tasks.plain_text import in_markdown
from tasks.planning.plan import Plan
from tasks.storage.store import Store


def publish_artifacts(store: Store, plan: Plan, failed: Sequence[str], summary: str) -> None:
    """Leaves the board, the summary and what has changed with the flow run in Prefect."""
    rows = [
        {
            **{key: row[key] for key in ("protocol", "dataset", "backbone", "shots", "method")},
            "variant": row["variant"] or "",
            "split": row["split"],
            "metric": quantity(row),
            "score": score(row),
            "seeds": row["n"],
        }
        for row in board_rows(store, plan.specs)
    ]
    create_table_artifact(
        key="board", table=rows, description=f"Suite {plan.suite.name}, mean ± std over seeds"
    )
    lines = [f"# {in_markdown(plan.suite.name)}", "", in_markdown(summary), ""]
    lines += [f"- MLflow: experiment {in_markdown(plan.suite.name)}, {mlflow_place(store)}"]
    lines += [f"- failed: {in_markdown(text)}" for text in failed]
    lines += [f"- skipped: {in_markdown(text)}" for text in plan.skipped]
    lines += [f"- note: {in_markdown(text)}" for text in plan.notices]
    create_markdown_artifact(key="summary", markdown="\n".join(lines))
    with contextlib.suppress(BoardError):
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
