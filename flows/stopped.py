"""What becomes of a benchmark that somebody stops: its trials are on the board, and it says so."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows.naming import command_of
from tasks.storage import runs
from tasks.storage.store import Store


def put_away(suite: str, asked: Mapping[str, Any]) -> str:
    """Puts the trials of a run that was stopped on the board; says how many are kept.

    MLflow was written along, a cell at a time; what a cell has of its seeds by now is left to the
    run that goes on, since that takes longer than whoever stops a run waits.

    Args:
        suite: As it was asked for.
        asked: Parameters of the flow.

    Returns:
        A sentence.
    """
    store = Store.at(asked.get("home"))
    command = command_of(suite, asked)
    run = runs.of_flow_run(store, flow_run.get_id())
    if run is None:
        said = f"stopped before the first trial; nothing was lost, and `{command}` begins again."
    else:
        if run.status == runs.RUNNING:  # stopped after its last trial, before its end
            runs.finish(store, run, error="stopped before its end", cancelled=True)
        kept = len(store.done().intersection(run.trial_ids))
        where = "on the board" if _on_the_board(store) else "in the store"
        said = (
            f"stopped: {kept} of {len(run.trial_ids)} trials are kept and {where}; "
            f"`{command}` goes on."
        )
    with suppress(Exception):
        get_run_logger().warning(said)
    return said


def _on_the_board(store: Store) -> bool:
    """Brings the board up to date; False where it could not be, which the next run does."""
    from tasks.pages.rebuilding import rebuild_board

    with suppress(Exception):
        rebuild_board(store)
        return True
    return False
