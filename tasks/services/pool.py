"""The work pool of prefect.yaml, asked of a Prefect server: deployments, worker, flow runs.

Every function asks the server that this process is set to (`server.settings`), and raises
`NoAnswer` where it cannot.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.services.children import POLL_SECONDS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "shotboard"  # as in prefect.yaml
RUN_STOP_SECONDS = 30.0  # what a flow run gets to end its Ray
UNDER_WAY = ("PENDING", "RUNNING", "CANCELLING")


class NoAnswer(Exception):
    """The server cannot be reached, takes too long, or answers with an error."""


class Deployment(NamedTuple):
    """A deployment that can be run.

    Attributes:
        name: Of its flow and its own: `benchmark/quickstart`.
        schedule: `0 2 * * * Europe/Berlin`, or empty.
    """

    name: str
    schedule: str


@contextmanager
def client() -> Iterator["SyncPrefectClient"]:
    """A client of the server.

    Raises:
        NoAnswer: See there.
    """
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as server:
            yield server
    except (httpx.HTTPError, RuntimeError) as error:
        # The first question is for the version; Prefect wraps what befalls it.
        cause = error if isinstance(error, httpx.HTTPError) else error.__cause__
        if not isinstance(cause, httpx.HTTPError):
            raise
        said = " ".join(str(cause).split())
        raise NoAnswer(said or type(cause).__name__) from error  # a timeout says nothing


def make_pool() -> None:
    """Makes the work pool unless it is there; what was set for it in the UI stays."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template)
    with client() as server, suppress(ObjectAlreadyExists):
        server.create_work_pool(pool)


def deployments_of_pool() -> tuple[Deployment, ...]:
    """Every deployment of our pool, by name."""
    with client() as server:
        flows = {flow.id: flow.name for flow in server.read_flows()}
        found = [d for d in server.read_deployments() if d.work_pool_name == POOL]
    return tuple(
        sorted(Deployment(f"{flows[d.flow_id]}/{d.name}", _schedule(d.schedules)) for d in found)
    )


def _schedule(schedules: list[Any]) -> str:
    """The active schedules in words."""
    words = []
    for each in schedules:
        if each.active:
            clock = getattr(each.schedule, "cron", None) or str(each.schedule)
            words.append(f"{clock} {getattr(each.schedule, 'timezone', None) or ''}".strip())
    return "; ".join(words)


def change_forms(changed: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Changes the forms of the deployments of our pool.

    Args:
        changed: Gives the fields of a form, by name of the parameter, from those that it has.
    """
    from prefect.client.schemas.actions import DeploymentUpdate

    with client() as server:
        for each in server.read_deployments():
            form = each.parameter_openapi_schema or {}
            fields = form.get("properties", {})
            if each.work_pool_name == POOL and (new := changed(fields)) != fields:
                update = DeploymentUpdate(parameter_openapi_schema={**form, "properties": new})
                server.update_deployment(each.id, update)


def trouble_with_worker(name: str, since: float) -> str | None:
    """Returns None once the server has heard from a worker since a time, else what is wrong."""
    try:
        with client() as server:
            workers = server.read_workers_for_work_pool(POOL)
    except NoAnswer as error:
        return str(error)
    beats = [w.last_heartbeat_time for w in workers if w.name == name and w.last_heartbeat_time]
    return None if any(beat.timestamp() >= since for beat in beats) else "no heartbeat"


def end_flow_runs(reason: str) -> None:
    """Ends the flow runs of our pool, and tells the server of those that did not do so themselves.

    A run that the server thinks under way would keep its deployment from ever running again, since
    each runs once at a time. A crash or a power cut leaves such.

    Args:
        reason: Why it is over, for the UI.
    """
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import Crashed

    under_way = FlowRunFilter.model_validate({"state": {"type": {"any_": UNDER_WAY}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    with client() as server:
        for run in server.read_flow_runs(flow_run_filter=under_way, work_pool_filter=pool):
            _end_process(run.infrastructure_pid, str(run.id))
            state = server.read_flow_run(run.id).state
            if state is None or not state.is_final():
                server.set_flow_run_state(run.id, Crashed(message=f"{reason}; start it again."))


def skip_missed() -> int:
    """Of the runs that a schedule made for times that have passed, leaves the last one to be run.

    The scheduler makes some ahead, and a worker takes up every one whose time has come. So after
    three nights that nobody worked there are three; the last does what all would have done.
    Runs that a person asked for stay.

    Returns:
        How many were skipped: they are cancelled, and say why.
    """
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Cancelled

    passed = FlowRunFilter.model_validate(
        {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"before_": datetime.now(UTC)},
        }
    )
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    with client() as server:
        missed: list[Any] = []
        while page := server.read_flow_runs(
            flow_run_filter=passed,
            work_pool_filter=pool,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            offset=len(missed),
        ):
            missed += page
        latest: dict[tuple[Any, str], Any] = {}
        skipped = 0
        for run in missed:
            if run.auto_scheduled:
                work = (run.deployment_id, json.dumps(run.parameters, sort_keys=True, default=str))
                last = latest.setdefault(work, run)
                if last is not run:
                    reason = (
                        f"It was missed; the run of {last.expected_start_time:%F %R %Z} does it."
                    )
                    server.set_flow_run_state(run.id, Cancelled(name="Skipped", message=reason))
                    skipped += 1
    return skipped


def _end_process(pid: str | None, flow_run_id: str) -> None:
    """Ends the process of a flow run, if it is there: politely, so that it takes its Ray along."""
    environment = Path("/proc", pid or "none", "environ")
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + RUN_STOP_SECONDS
        if _runs(environment, flow_run_id):
            with suppress(ProcessLookupError):
                os.killpg(int(pid or 0), number)
        while _runs(environment, flow_run_id) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _runs(environment: Path, flow_run_id: str) -> bool:
    """Whether a process was started for a flow run: its number alone may be another's by now."""
    with suppress(OSError):
        return f"PREFECT__FLOW_RUN_ID={flow_run_id}".encode() in environment.read_bytes()
    return False
