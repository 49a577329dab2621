"""What the trials of a run need of Ray: features first, then one task for each bundle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from prefect.futures import PrefectFuture, wait
from prefect.utilities.annotations import quote

from data_catalog import Dataset
from tasks.computing.attempts import time_limit as limit_of
from tasks.computing.compute import ProgressArtifact, compute
from tasks.computing.deaths import OutOfTime, WorkerDied
from tasks.computing.encode import ViewsNotEncoded, contexts_of, encode, encoders_of
from tasks.computing.failures import described, note_failure
from tasks.computing.worker import Done
from tasks.computing.worker_pool import WorkerPool
from tasks.environment import MachineError
from tasks.planning.choices import Request
from tasks.planning.encodings import views_read
from tasks.planning.planned import Bundle, Plan
from tasks.progress import stage
from tasks.storage.store import Store

V = TypeVar("V")


def whole(value: V) -> V:
    """An argument of a task that Prefect does not search for futures, field by field."""
    return quote(value)  # pyright: ignore[reportReturnType]  # unwrapped before the task sees it


def compute_all(
    store: Store,
    request: Request,
    plan: Plan,
    datasets: Mapping[str, Dataset],
    pool: WorkerPool,
    provenance: Mapping[str, Any],
    called: str = "trials",
) -> list[tuple[str, str]]:
    """Encodes what is needed, then computes every missing trial; returns those that failed.

    Args:
        store: Gets them.
        request: Has the backbones.
        plan: The trials.
        datasets: By name.
        pool: Workers.
        provenance: What only the driver knows.
        called: What the trials are called where progress is shown.
    """
    contexts = contexts_of(store, request.backbones, plan.missing, datasets, provenance)
    encoded = {
        (backbone, dataset): encode.submit(
            f"{dataset} {backbone}",
            whole([s for s in plan.missing if (backbone, dataset) in encoders_of(s)]),
            datasets[dataset],
            request.backbones.cards[backbone],
            context,
            pool,
            whole(datasets),
        )
        for (backbone, dataset), context in contexts.items()
    }
    failed = not_encoded(store, plan, encoded, provenance)
    plan = replace(plan, done=plan.done | failed.keys())
    with stage(called, len(plan.missing)) as progress:
        bar = ProgressArtifact("progress", len(plan.missing), called)
        progress.watch = lambda trials: bar.show(trials.done, trials.failed)
        futures: list[tuple[Bundle, PrefectFuture[list[Done]]]] = []
        for bundle in plan.bundles():
            # Students come last, so what waits for nothing has been submitted by now.
            wait([f for b, f in futures if not bundle.waits_for.isdisjoint(b.trial_ids)])
            context = contexts[bundle.backbone, bundle.dataset]
            limits = {
                spec.trial_id: limit_of(spec, datasets, plan.suite.time_limit)
                for spec in bundle.specs
            }
            future = compute.submit(
                *(bundle.title, whole(bundle), context, pool, progress, whole(store), whole(limits))
            )
            futures.append((bundle, future))
        wait([future for _, future in futures])
        outcomes = [done for _, future in futures for done in future.result()]
    return [*failed.items(), *((done.trial_id, done.error) for done in outcomes if done.error)]


def not_encoded(
    store: Store,
    plan: Plan,
    encoded: Mapping[tuple[str, str], PrefectFuture[int]],
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """The errors of trials whose examples could not be encoded.

    A backbone costs its own trials alone, and a view those that read it.

    Raises:
        OSError, MachineError: As `compute`: it is no backbone's fault.
    """
    failed: dict[str, str] = {}
    for key, future in encoded.items():
        try:
            future.result()
        except Exception as error:
            own = isinstance(error, WorkerDied | OutOfTime)
            if isinstance(error, OSError | MachineError) and not own:
                raise
            for spec in plan.missing:
                cause = error if key in encoders_of(spec) else None
                if isinstance(cause, ViewsNotEncoded):
                    read = views_read(spec)
                    cause = next((e for view, e in cause.errors.items() if view in read), None)
                if cause is not None:
                    reason = f"{key[1]} could not be encoded with {key[0]}: {described(cause)}"
                    failed[spec.trial_id] = note_failure(store, spec, provenance, reason)
    return failed
