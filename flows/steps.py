"""The steps of a benchmark: ingest, plan, encode, tune and evaluate, publish, aggregate."""

from contextlib import ExitStack
from dataclasses import replace

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.computing import compute_all, whole
from flows.ingesting import ingest_each
from flows.settling import begin, go_on, settle
from flows.summary import Summary, TrialsFailed
from tasks.computing.device import refuse_without_gpu
from tasks.computing.failures import forgive
from tasks.computing.gpus import smallest_card
from tasks.computing.ray_cluster import ray_cluster
from tasks.computing.ray_start import START_SECONDS
from tasks.computing.sharing import Sharing
from tasks.computing.worker import TrialWorker, worker_options
from tasks.computing.worker_logs import passed_on
from tasks.estimating.shares import share_of
from tasks.pages.artifacts import publish_artifacts
from tasks.pages.rebuilding import rebuild_board
from tasks.pages.regressions import tell_prefect
from tasks.pages.zoo import backbone_rows
from tasks.planning.choices import Request
from tasks.planning.plan import make_plan
from tasks.progress import reporter, stage
from tasks.publishing import publish
from tasks.publishing.mlflow_client import check_usable
from tasks.storage import runs
from tasks.storage.drafts import sweep
from tasks.storage.leases import leases_of
from tasks.storage.store import Store

once = task(cache_policy=NO_CACHE, persist_result=False)
publish_trials = once(publish.Publication.finish).with_options(
    name="publish", task_run_name="publish to MLflow"
)
aggregate = once(rebuild_board).with_options(name="aggregate", task_run_name="rebuild the board")


def run_request(
    store: Store,
    request: Request,
    *,
    partial: bool,
    fresh: bool,
    retry_quarantined: bool,
    ray_address: str | None,
    gpus_per_worker: float | None,
    workers: int | None,
) -> Summary:
    """Does what a request asks for; see `benchmark`.

    Raises:
        TrialsFailed: Some trials failed; the board holds the others.
    """
    check_usable(store)
    sweep(store)
    with leases_of(store, suite=request.suite.name) as leases:
        leases.sweep()
        with (
            ray_cluster(ray_address, gpus_per_worker=gpus_per_worker, workers=workers) as cluster,
            ExitStack() as lasting,
        ):
            datasets = ingest_each(store.place, request.cards)
            plan = make_plan(store, request, datasets)
            store.set_aside([*plan.torn, *(plan.done if fresh else ())])
            if plan.searches and (fresh or plan.torn):  # what was chosen by them is chosen again
                plan = replace(make_plan(store, request, datasets), torn=plan.torn)
            plan = replace(plan, done=frozenset() if fresh else plan.done)
            if fresh or retry_quarantined:
                forgive(store, plan.missing)
            run, publication = begin(
                store, plan, leases, partial=partial, flow_run_id=flow_run.get_id()
            )
            sharing = Sharing(store, leases)
            lasting.enter_context(runs.broken_off(store, run, sharing.taken))
            failed: list[tuple[str, str]] = []
            trouble: Exception | None = None
            if plan.missing:
                with stage("workers") as starting:
                    starting.note(f"Ray starts, which may take up to {START_SECONDS:.0f} s")
                    needed = plan.missing, datasets, request.backbones.references
                    cluster.settle(lambda: share_of(*needed, smallest_card()))
                    refuse_without_gpu(request.suite.precision, cluster.gpus_per_worker)
                    pool = cluster.pool(TrialWorker, store.place, **worker_options(request.suite))
                    pool.tell(reporter())
                    starting.summary = f"{len(pool)} on {cluster.address or 'this machine'}"
                    if part := cluster.gpus_per_worker:
                        starting.summary += f", each with {part:g} of a GPU"
                provenance = {
                    "suite": plan.suite.name,
                    "flow_run_id": run.flow_run_id,
                    "git_commit": run.git_commit,
                    "git_dirty": run.git_dirty,
                }
                try:
                    with passed_on(get_run_logger().info):
                        given = datasets, pool, provenance, sharing
                        with publish.published_along(publication, plan.specs, plan.missing):
                            failed = compute_all(store, request, plan, *given)
                        if plan.undecided:
                            lost = {trial_id for trial_id, _ in failed}
                            chosen = make_plan(store, request, datasets, failed=lost)
                            run = go_on(store, plan, chosen, run, publication)
                            plan, rest = chosen, replace(chosen, done=chosen.done | lost)
                            with publish.published_along(publication, rest.specs, rest.missing):
                                failed += compute_all(store, request, rest, *given, "chosen trials")
                except Exception as error:  # what was committed before it goes on the board first
                    trouble = error
        used = backbone_rows(list(request.backbones.cards.values()))
        summary, unpublished = settle(
            store,
            plan,
            run,
            publication,
            failed,
            taken=sharing.taken(),
            trouble=trouble,
            publish=lambda publication: publish_trials(whole(publication)),
            rebuild=lambda: aggregate(store, backbones=used),
        )
        publish_artifacts(store, plan, failed, summary.text)
        tell_prefect(summary.moves)
        trouble = trouble or unpublished
        if trouble:
            raise trouble
        if failed:
            raise TrialsFailed(summary)
        return summary
