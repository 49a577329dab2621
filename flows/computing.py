"""What the trials of a run need of Ray: features first, then one task for each bundle."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from prefect.futures import PrefectFuture, wait
from prefect.utilities.annotations import quote

from data_catalog import Dataset
from operators.spec import TrialSpec
from tasks.computing.attempts import time_limit as limit_of
from tasks.computing.compute import Computed, ProgressArtifact, compute
from tasks.computing.context import Done
from tasks.computing.deaths import OutOfTime, WorkerDied
from tasks.computing.encode import ViewsNotEncoded, contexts_of, encode, encoders_of
from tasks.computing.failures import described, note_failure
from tasks.computing.sharing import Sharing
from tasks.computing.worker_pool import WorkerPool
from tasks.environment import MachineError
from tasks.planning.choices import Request
from tasks.planning.encodings import views_read
from tasks.planning.planned import Bundle, Plan
from tasks.progress import Stage, stage
from tasks.storage.store import Store

LOOK_SECONDS = 1.0  # between two looks at trials that other runs have under way
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
    sharing: Sharing,
    called: str = "trials",
) -> list[tuple[str, str]]:
    """Encodes what is needed, then computes every missing trial that no other run does.

    Args:
        store: Gets them.
        request: Has the backbones.
        plan: The trials.
        datasets: By name.
        pool: Workers.
        provenance: What only the driver knows.
        sharing: Says which trials other runs compute; they are waited for.
        called: What the trials are called where progress is shown.

    Returns:
        Trial id and error of each that failed, here or elsewhere.
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
            whole(store.copy),
            whole(sharing.leases),
        )
        for (backbone, dataset), context in contexts.items()
    }
    failed = not_encoded(store, plan, encoded, provenance)
    plan = replace(plan, done=plan.done | failed.keys())
    with stage(called, len(plan.missing)) as progress:
        bar = ProgressArtifact("progress", len(plan.missing), called)
        progress.watch = lambda trials: bar.show(trials.done, trials.failed)
        futures: list[tuple[Bundle, PrefectFuture[Computed]]] = []
        outcomes: list[Done] = []

        def submit(bundle: Bundle) -> PrefectFuture[Computed]:
            limits = {
                spec.trial_id: limit_of(spec, datasets, plan.suite.time_limit)
                for spec in bundle.specs
            }
            context = contexts[bundle.backbone, bundle.dataset]
            given = context, pool, progress, whole(store), whole(limits), whole(sharing)
            return compute.submit(bundle.title, whole(bundle), *given)

        def settle(some: list[tuple[Bundle, PrefectFuture[Computed]]]) -> None:
            wait([future for _, future in some])
            held: list[TrialSpec] = []
            for each in some:
                futures.remove(each)
                done, more = each[1].result()
                outcomes.extend(done)
                held.extend(more)
            outcomes.extend(elsewhere(plan, held, sharing, progress, submit))

        for bundle in plan.bundles():
            # Students come last, so what waits for nothing has been submitted by now.
            settle([each for each in futures if not bundle.waits_for.isdisjoint(each[0].trial_ids)])
            futures.append((bundle, submit(bundle)))
        settle(list(futures))
    failures = [(done.trial_id, done.error) for done in outcomes if done.error]
    return [*failed.items(), *failures]


def elsewhere(
    plan: Plan,
    held: list[TrialSpec],
    sharing: Sharing,
    progress: Stage,
    submit: Callable[[Bundle], PrefectFuture[Computed]],
) -> list[Done]:
    """Waits for trials that other runs have under way, and computes what they give up.

    Args:
        plan: Of the run.
        held: The trials.
        sharing: Says what becomes of them.
        progress: Counts them.
        submit: Computes a bundle.

    Returns:
        How each ended.
    """
    outcomes: list[Done] = []
    while held:
        progress.note(f"another run computes {len(held)} of them")
        found = [(spec, sharing.look(spec.trial_id)) for spec in held]
        over = [end for _, end in found if isinstance(end, Done)]
        if over:
            progress.step(len(over), sum(bool(end.error) for end in over))
            outcomes += over
        held = [spec for spec, end in found if end is False]
        free = replace(plan, specs=tuple(spec for spec, end in found if end is True))
        for future in [submit(bundle) for bundle in free.bundles()]:
            done, more = future.result()
            outcomes += done
            held += more
        if held:
            time.sleep(LOOK_SECONDS)
    return outcomes


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
