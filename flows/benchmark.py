"""The main flow: a suite in, a board out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from data_catalog import Dataset
from flows.computing import compute_all, whole
from flows.knobs import with_fields
from flows.naming import named
from flows.suites import load_suite
from tasks.computing.ray_cluster import ray_cluster
from tasks.computing.ray_start import START_SECONDS
from tasks.computing.worker import TrialWorker
from tasks.ingestion.ingest import ingest
from tasks.pages.artifacts import publish_artifacts
from tasks.pages.rebuilding import rebuild_board
from tasks.pages.regressions import Moves, moves_of, tell_prefect
from tasks.pages.zoo import backbone_rows
from tasks.planning.choices import Request, check
from tasks.planning.plan import Plan, make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import Suite, moves_trials, override
from tasks.progress import LogReporter, chosen, reporter, reporting_to, stage
from tasks.publishing import publish
from tasks.publishing.mlflow_client import check_answers, explained
from tasks.storage import runs
from tasks.storage.drafts import sweep
from tasks.storage.store import Store

V = TypeVar("V")

BUNDLES_AT_ONCE = 2  # so that the tail of one bundle does not leave workers idle

once = task(cache_policy=NO_CACHE, persist_result=False)
publish_trials = once(publish.Publication.finish).with_options(
    name="publish", task_run_name="publish to MLflow"
)
aggregate = once(rebuild_board).with_options(name="aggregate", task_run_name="rebuild the board")


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        run_id: Of its manifest.
        plan: What was asked for and what was there already.
        computed: Trials that were computed.
        failed: Of those, trial id and error of each that failed.
        board: The published file.
        moves: What it made worse, and what moved by itself.
    """

    run_id: str
    plan: Plan
    computed: int
    failed: tuple[tuple[str, str], ...]
    board: Path
    moves: Moves

    @property
    def text(self) -> str:
        """One sentence."""
        there = len(self.plan.done)
        parts = [f"{len(self.plan.specs)} trials: {self.computed - len(self.failed)} computed"]
        parts += [f"{there} there already"] if there else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        return ", ".join(parts) + "."


class TrialsFailed(RuntimeError):
    """Some trials failed; the board holds the others.

    Attributes:
        summary: What the run did.
    """

    def __init__(self, summary: Summary) -> None:
        first = "; ".join(f"{trial}: {error}" for trial, error in summary.failed[:3])
        super().__init__(f"{summary.text} {first}")
        self.summary = summary


@flow(  # pyright: ignore[reportCallIssue]  # the task runner's type is invariant upstream
    name="benchmark",
    flow_run_name=named,
    task_runner=ThreadPoolTaskRunner(max_workers=BUNDLES_AT_ONCE),  # pyright: ignore[reportArgumentType]
    validate_parameters=True,
    persist_result=False,
)
@with_fields()
def benchmark(
    suite: str = "quickstart",
    *,
    ray_address: str | None = None,
    gpus_per_worker: Annotated[float, Field(ge=0, le=1024)] = 0.0,
    workers: Annotated[int | None, Field(ge=1, le=100_000)] = None,
    home: str | None = None,
    fresh: bool = False,
    **changes: Any,
) -> Summary:
    """Does every trial of a suite that is not done yet, then brings board and MLflow up to date.

    Trials are independent: one that fails costs itself alone. Killed at any point and started
    again, the flow does what is missing and nothing else.

    Args:
        suite: A shipped suite or the path of a YAML file.
        changes: What differs from the suite, see `override`.
        ray_address: Address of a Ray cluster; default: start one here.
        gpus_per_worker: GPUs, or a part of one, that each worker holds.
        workers: Workers; default: one a core or as GPUs allow.
        home: The store; default: SHOTBOARD_HOME or .shotboard.
        fresh: Compute again what is there already.

    Raises:
        RequestError: The request is wrong; nothing has been started.
        TrialsFailed: Some trials failed; the board holds the others.
    """
    store = Store.to_write(home)
    with reporting_to(reporter() if chosen() else LogReporter(_flow_logger())):
        request = check(store, override(load_suite(suite), changes))
        summary = run_request(
            store,
            request,
            partial=moves_trials(changes),
            fresh=fresh,
            ray_address=ray_address,
            gpus_per_worker=gpus_per_worker,
            workers=workers,
        )
    # The state of the flow run: whoever calls the flow gets the summary all the same.
    said = f"{summary.text}\n{summary.moves.text}" if summary.moves else summary.text
    return Completed(name=summary.moves.mark or None, message=said, data=summary)  # pyright: ignore[reportReturnType]


def run_request(
    store: Store,
    request: Request,
    *,
    partial: bool,
    fresh: bool,
    ray_address: str | None,
    gpus_per_worker: float,
    workers: int | None,
) -> Summary:
    """The steps of the flow: ingest, plan, encode, tune and evaluate, publish, aggregate."""
    check_answers(store.mlflow_uri)
    sweep(store)
    with ray_cluster(ray_address, gpus_per_worker=gpus_per_worker, workers=workers) as cluster:
        datasets = ingest_all(store, request.suite)
        plan = make_plan(store, request, datasets)
        store.set_aside([*plan.torn, *(plan.done if fresh else ())])
        plan = replace(plan, done=frozenset() if fresh else plan.done)
        for text in plan.remarks:
            reporter().say(text)
        flow_run_id = flow_run.get_id()
        run = runs.begin(
            store,
            suite=plan.suite.name,
            trial_ids=[spec.trial_id for spec in plan.specs],
            flow_run_id=flow_run_id,
            partial=partial,
        )
        publication = publish.Publication(
            store,
            run.trial_ids,
            suite=plan.suite.name,
            run_id=run.run_id,
            flow_run_id=flow_run_id,
            git_commit=run.git_commit,
        )
        failed: list[tuple[str, str]] = []
        trouble: Exception | None = None
        if plan.missing:
            with stage("workers") as starting:
                starting.note(f"Ray starts, which may take up to {START_SECONDS:.0f} s")
                pool = cluster.pool(TrialWorker, store.home)
                starting.summary = f"{len(pool)} on {cluster.address or 'this machine'}"
            provenance = {
                "suite": plan.suite.name,
                "flow_run_id": flow_run_id,
                "git_commit": run.git_commit,
                "git_dirty": run.git_dirty,
            }
            try:
                with publish.published_along(publication, plan.specs, plan.missing):
                    failed = compute_all(store, request, plan, datasets, pool, provenance)
            except Exception as error:  # what was committed before it goes on the board first
                trouble = error
    unpublished = publish_rest(publication)
    runs.finish(store, run)
    with stage("board") as aggregating:
        used = backbone_rows(list(request.backbones.cards.values()))
        rebuilt = aggregate(store, backbones=used)
        aggregating.summary = f"{rebuilt.trials} trials"
    moves = moves_of(store, run.run_id)
    summary = Summary(run.run_id, plan, len(plan.missing), tuple(failed), rebuilt.board, moves)
    publish_artifacts(store, plan, [f"{i}: {e}" for i, e in failed], summary.text)
    tell_prefect(moves)
    trouble = trouble or unpublished
    if trouble:
        raise trouble
    if failed:
        raise TrialsFailed(summary)
    return summary


def publish_rest(publication: publish.Publication) -> Exception | None:
    """Brings MLflow up to date; gives back what went wrong, for the board does not wait for it."""
    with stage("publish") as publishing:
        try:
            report = publish_trials(whole(publication))
        except Exception as error:  # whatever MLflow raises
            trouble = explained(error, publication.store)
            publishing.summary = f"failed: {trouble}"
            return trouble
        publishing.summary = f"{report.published} cells to MLflow, {report.skipped} there already"
    return None


def ingest_all(store: Store, suite: Suite) -> dict[str, Dataset]:
    """Every dataset of the suite, ingested."""
    futures = {name: ingest.submit(name, store.home) for name in suite.all_datasets}
    wait(list(futures.values()))
    return {name: Dataset.open(future.result()) for name, future in futures.items()}


def _flow_logger() -> Any:
    return get_run_logger()


__all__ = ["RequestError", "Summary", "TrialsFailed", "benchmark"]
