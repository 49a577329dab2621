"""Tuning and evaluation of a bundle of trials: one Prefect task that drives the Ray workers."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from operators.spec import TrialSpec
from tasks.plan import Bundle
from tasks.progress import Stage
from tasks.ray_cluster import WorkerPool
from tasks.worker import Context, Done

QUICK_TRIALS = 8  # of these one call takes; a trial with gradient steps has a call of its own
ARTIFACT_SECONDS = 3.0


@task(
    name="tune-and-evaluate",
    task_run_name="tune-and-evaluate-{title}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compute(
    title: str, bundle: Bundle, context: Context, pool: WorkerPool, progress: Stage
) -> list[Done]:
    """Computes the trials of a bundle; each is committed by its worker as soon as it is there.

    Args:
        title: For people.
        bundle: Trials that are not in the store.
        context: What they share.
        pool: Workers; other bundles use them at the same time.
        progress: Counts the trials of the whole run.

    Returns:
        What became of each trial. A trial that failed costs itself alone.

    Raises:
        WorkerDied: A worker died at every try, mostly for want of memory.
        OSError: The store cannot be written, such as on a full disk.
    """
    bar = ProgressArtifact(f"trials-{slug(title)}", len(bundle.specs), "trials")
    done: list[Done] = []
    for outcome in pool.map_unordered("compute", list(calls(bundle.specs)), context):
        if outcome.error:
            raise outcome.error
        done += outcome.result
        progress.step(len(outcome.result))
        bar.show(len(done))
    return done


def calls(specs: Sequence[TrialSpec]) -> Iterator[tuple[TrialSpec, ...]]:
    """Cuts trials into calls of a worker, so that quick ones do not drown in calls."""
    quick: list[TrialSpec] = []
    for spec in specs:
        if "epochs" in spec.hyperparameters:
            yield (spec,)
        else:
            quick.append(spec)
            if len(quick) == QUICK_TRIALS:
                yield tuple(quick)
                quick = []
    if quick:
        yield tuple(quick)


def slug(text: str) -> str:
    """`text` as the key of an artifact: lower-case letters, digits and dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


class ProgressArtifact:
    """A bar in Prefect's UI; work never fails for want of it."""

    def __init__(self, key: str, total: int, unit: str) -> None:
        self.total = total
        self.last = time.monotonic()
        self.id: UUID | None = None
        with contextlib.suppress(Exception):
            self.id = create_progress_artifact(0.0, key=key, description=f"{total} {unit}")  # pyright: ignore[reportAttributeAccessIssue]

    def show(self, done: int) -> None:
        """`done` of the total are done; sent every few seconds."""
        due = time.monotonic() - self.last >= ARTIFACT_SECONDS or done == self.total
        if self.id is not None and due:
            self.last = time.monotonic()
            with contextlib.suppress(Exception):
                update_progress_artifact(self.id, progress=100 * done / self.total)
