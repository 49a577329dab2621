"""What Prefect does not know of flow runs: that their process was killed, and what they kept.

A run whose process is gone would be "running" for ever. So a flow run notes in its labels which
process it is; its worker tells of its end, and where that was killed too, the next command does.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.services.pool import UNDER_WAY, client
from tasks.storage import processes, runs
from tasks.storage.store import Store

LABEL = "shotboard.process"
RECENT = 20  # cancelled runs that are looked at
_OF_PREFECT = "Flow run was cancelled successfully."
_HOW = "its process ended without a word, as by SIGKILL, for want of memory or in a power cut"


def note_process(flow_run_id: str) -> None:
    """Notes with a flow run that this process is it; a run does not fail for want of that."""
    here = processes.this_one()
    with suppress(Exception), client() as server:
        label = json.dumps(here._asdict())
        server.update_flow_run_labels(flow_run_id, {LABEL: label})  # pyright: ignore[reportArgumentType]


def tell_crashed(store: Store) -> int:
    """Tells the server of flow runs whose process is gone from this machine; returns how many.

    Args:
        store: Of the runs; it knows what they have computed.

    Raises:
        NoAnswer: The server does not answer.
    """
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Crashed

    under_way = FlowRunFilter.model_validate({"state": {"type": {"any_": UNDER_WAY}}})
    told = 0
    with client() as server:
        for run in server.read_flow_runs(flow_run_filter=under_way):
            if _is_gone(run.labels.get(LABEL)):
                message = f"{_HOW}; {_kept(store, str(run.id))}"
                server.set_flow_run_state(run.id, Crashed(message=message))
                told += 1
    return told


def say_again() -> int:
    """Gives runs that were cancelled in the UI their own words back; returns how many.

    Prefect sets the state once more when their process has ended, and says nothing of what is kept.

    Raises:
        NoAnswer: The server does not answer.
    """
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Cancelled

    cancelled = FlowRunFilter.model_validate(
        {
            "state": {"type": {"any_": ["CANCELLED"]}},
            "end_time": {"after_": datetime.now(UTC) - timedelta(minutes=10)},
        }
    )
    said = 0
    with client() as server:
        for run in server.read_flow_runs(
            flow_run_filter=cancelled, sort=FlowRunSort.END_TIME_DESC, limit=RECENT
        ):
            if run.state is None or run.state.message != _OF_PREFECT:
                continue
            own = [
                state.message
                for state in server.read_flow_run_states(run.id)
                if state.is_cancelled() and state.message != _OF_PREFECT
            ]
            if own:
                server.set_flow_run_state(run.id, Cancelled(message=own[-1]), force=True)
                said += 1
    return said


def _is_gone(label: Any) -> bool:
    """Whether the process of a label was one of this machine, and is no more."""
    with suppress(ValueError, AttributeError):
        if not str(label).startswith("{"):  # of a version that noted less
            host, pid, started_at = str(label).rsplit(" ", 2)
            return processes.has_ended(processes.Process(host, int(pid), float(started_at)))
        process = processes.read(json.loads(label))
        return process is not None and processes.has_ended(process)
    return False


def _kept(store: Store, flow_run_id: str) -> str:
    """What there is of a run, and how to go on."""
    run = runs.of_flow_run(store, flow_run_id)
    if run is None:
        return "run it again."
    kept = len(store.done().intersection(run.trial_ids))
    return f"{kept} of {len(run.trial_ids)} trials are kept, and the same run goes on from there."
