"""The main flow: a suite in, a board out.

What it refuses is refused within seconds, so what takes torch and Ray is imported after that.
"""

from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.ending import in_a_sentence
from flows.knobs import YAML, file_or, with_fields
from flows.naming import named
from flows.shipped import shipped
from flows.stopped import put_away
from flows.suites import FOLDER, load_suite
from flows.summary import Summary, TrialsFailed
from tasks.pages.offered import refuse_unknown
from tasks.planning.resolve import RequestError
from tasks.planning.suite import moves_trials, override
from tasks.progress import LogReporter, chosen, reporter, reporting_to
from tasks.storage.store import Store

BUNDLES_AT_ONCE = 2  # so that the tail of one bundle does not leave workers idle


@flow(  # pyright: ignore[reportCallIssue]  # the task runner's type is invariant upstream
    name="benchmark",
    flow_run_name=named,
    task_runner=ThreadPoolTaskRunner(max_workers=BUNDLES_AT_ONCE),  # pyright: ignore[reportArgumentType]
    validate_parameters=True,
    persist_result=False,
)
@in_a_sentence(lambda suite, **asked: put_away(suite, asked))
@with_fields()
def benchmark(
    suite: Annotated[str, file_or(shipped(FOLDER), YAML)] = "quickstart",
    *,
    ray_address: str | None = None,
    gpus_per_worker: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 0.0,
    workers: Annotated[int | None, Field(ge=1, le=100_000)] = None,
    home: str | None = None,
    fresh: bool = False,
    retry_quarantined: bool = False,
    **changes: Any,
) -> Summary:
    """Does every trial of a suite that is not done yet, then brings board and MLflow up to date.

    Trials are independent: one that fails costs itself alone. Killed at any point and started
    again, the flow does what is missing and nothing else.

    Args:
        suite: A shipped suite or the path of a YAML file.
        changes: What differs from the suite, see `override`.
        ray_address: Address of a Ray cluster; default: start one here.
        gpus_per_worker: Part of a GPU that each worker holds, or auto: by need, if there are any.
        workers: Workers; default: one a core or as GPUs allow.
        home: The store; default: SHOTBOARD_HOME or .shotboard.
        fresh: Compute again what is there already.
        retry_quarantined: Try again what has cost several workers.

    Raises:
        RequestError: The request is wrong; nothing has been started.
        TrialsFailed: Some trials failed; the board holds the others.
    """
    store = Store.to_write(home)
    with reporting_to(reporter() if chosen() else LogReporter(_flow_logger())):
        asked = override(load_suite(suite), changes)
        refuse_unknown(store, asked)
        from flows.steps import run_request
        from tasks.computing.device import refuse_without_gpu
        from tasks.planning.choices import check

        gpus = None if gpus_per_worker == "auto" else gpus_per_worker
        refuse_without_gpu(asked.precision, gpus)
        request = check(store, asked)
        summary = run_request(
            store,
            request,
            partial=moves_trials(changes),
            fresh=fresh,
            retry_quarantined=retry_quarantined,
            ray_address=ray_address,
            gpus_per_worker=gpus,
            workers=workers,
        )
    # The state of the flow run: whoever calls the flow gets the summary all the same.
    said = f"{summary.text}\n{summary.moves.text}" if summary.moves else summary.text
    return Completed(name=summary.moves.mark or None, message=said, data=summary)  # pyright: ignore[reportReturnType]


def _flow_logger() -> Any:
    return get_run_logger()


__all__ = ["RequestError", "Summary", "TrialsFailed", "benchmark"]
