"""The board made anew from the trial folders; MLflow is not asked."""

from prefect import flow

from tasks import board
from tasks.cards import backbone_rows, dataset_rows, embedded_backbone_cards, method_rows
from tasks.plan import variant_of
from tasks.progress import reporter
from tasks.store import Store


@flow(name="rebuild-leaderboard", persist_result=False)
def rebuild_leaderboard(home: str | None = None, full: bool = True) -> int:
    """Rebuilds the DuckDB file; returns the number of trials on it.

    Args:
        home: The store; default: SHOTBOARD_HOME or .shotboard.
        full: Read every trial again.
    """
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
