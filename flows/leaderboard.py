"""The board made anew from the trial folders; MLflow is not asked."""

from prefect import flow

from tasks.pages.rebuilding import rebuild_board
from tasks.storage.store import Store


@flow(name="rebuild-leaderboard", flow_run_name="rebuild the board", persist_result=False)
def rebuild_leaderboard(home: str | None = None, full: bool = True) -> int:
    """Rebuilds the DuckDB file; returns the number of trials on it.

    Args:
        home: The store; default: SHOTBOARD_HOME or .shotboard.
        full: Read every trial again.
    """
    return rebuild_board(Store.at(home), full=full).trials
