"""The board made anew from the trial folders; MLflow is not asked."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks import board
from tasks.cards import backbone_rows, dataset_rows, embedded_backbone_cards, method_rows
from tasks.plan import variant_of
from tasks.progress import reporter
from tasks.store import Store


@flow(name="rebuild-leaderboard", persist_result=False)
def rebuild_leaderboard(
    home: Annotated[
        str | None, Field(description="The store; default: SHOTBOARD_HOME or .shotboard")
    ] = None,
    full: Annotated[bool, Field(description="Read every trial again")] = True,
) -> int:
    """Rebuilds the DuckDB file; returns the number of trials on it."""
    store = Store.at(home)
    rebuilt = board.rebuild(
        store,
        datasets=dataset_rows(store),
        methods=method_rows(),
        backbones=backbone_rows(embedded_backbone_cards()),
        variant=variant_of,
        full=full,
    )
    for path, reason in rebuilt.skipped.items():
        reporter().say(f"not on the board: {path}: {reason}")
    return rebuilt.trials
