"""Tuning and evaluation of a bundle of trials: one Prefect task that drives the Ray workers."""

import contextlib
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import NamedTuple
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from operators.spec import TrialSpec
from tasks.computing.attempts import Attempts, seconds_of
from tasks.computing.context import Context, Done
from tasks.computing.deaths import OutOfTime, WorkerDied
from tasks.computing.failures import in_quarantine, left_alone, note_failure
from tasks.computing.sharing import Sharing, Turn
from tasks.computing.worker_pool import First, WorkerPool
from tasks.planning.planned import Bundle, expected_cost
from tasks.progress import Stage
from tasks.stopped import until_stopped
from tasks.storage.store import Store

CALL_SECONDS = 0.5  # what a call of quick trials should take: little beside it is lost on Ray
CALL_TRIALS = 64  # most trials of one call
ARTIFACT_SECONDS = 3.0


class Computed(NamedTuple):
    """What became of the trials of a bundle.

    Attributes:
        done: Those that are over.
        held: Those that other runs have under way.
    """

    done: list[Done]
    held: tuple[TrialSpec, ...] = ()


@task(
    name="tune-and-evaluate",
    task_run_name="tune and evaluate {title}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
@until_stopped
def compute(
    title: str,
    bundle: Bundle,
    context: Context,
    pool: WorkerPool,
    progress: Stage,
    store: Store,
    limits: Mapping[str, float],
    sharing: Sharing,
) -> Computed:
    """Computes the trials of a bundle; each is committed by its worker as soon as it is there.

    Args:
        title: For people.
        bundle: Trials that are not in the store.
        context: What they share.
        pool: Workers; other bundles use them at the same time.
        progress: Counts the trials of the whole run.
        store: Keeps the trials, and the reasons of those that fail.
        limits: Seconds that each trial may take.
        sharing: Says which trials are left to other runs.

    Returns:
        What became of each trial. A trial that failed costs itself alone, whatever it did to its
        worker.

    Raises:
        MachineError: No worker starts, or Ray has ended.
        OSError: The store cannot be written, such as on a full disk.
    """
    bar = ProgressArtifact(f"trials-{slug(bundle.place)}", len(bundle.specs), "trials")
    done: list[Done] = []

    def ended(some: list[Done]) -> None:
        if not some:
            return
        done.extend(some)
        sharing.end(one.trial_id for one in some)
        failed = sum(bool(one.error) for one in some)
        progress.step(len(some), failed)
        bar.show(len(done), sum(bool(one.error) for one in done))

    def fail(spec: TrialSpec, reason: str, quarantine: str, deaths: int) -> None:
        said = note_failure(store, spec, context.run, reason, quarantine, deaths)
        ended([Done(spec.trial_id, said)])

    turn = Turn(sharing)
    suspects = in_quarantine(store, bundle.specs)
    given_up = {i: said for i, deaths in suspects.items() if (said := left_alone(deaths))}
    ended([Done(trial_id, said) for trial_id, said in given_up.items()])
    attempts = Attempts(suspects, fail)
    together = attempts.hold_back(s for s in bundle.specs if s.trial_id not in given_up)
    calls: Calls | list[tuple[TrialSpec, ...]] = Calls(
        together, workers=len(pool), lanes=lanes_of(together, context, pool), take=turn.take
    )
    while calls:
        for outcome in pool.map_unordered(
            "compute",
            calls,
            context,
            tries=1,
            seconds=seconds_of(limits),
            first=First(context.key, "prepare", (context,)),
        ):
            if isinstance(outcome.error, WorkerDied | OutOfTime):
                there = [s for s in outcome.batch if store.bring(store.trial(s.trial_id)).exists()]
                ended([Done(spec.trial_id, "") for spec in there])
                left = [spec for spec in outcome.batch if spec not in there]
                attempts.lost(outcome.batch, left, outcome.error)
            elif outcome.error:
                raise outcome.error
            else:
                ended(outcome.result)
            if isinstance(calls, Calls):
                calls.ended(outcome.batch)
            ended(turn.over())
        calls = [call for call in attempts.next_round() if turn.take(call[0])]
    ended(turn.over())
    return Computed(done, tuple(turn.held))


def lanes_of(specs: Sequence[TrialSpec], context: Context, pool: WorkerPool) -> dict[str, int]:
    """How many seeds of each cell are worth tuning together, asked where there are several."""
    seeds = Counter(spec.cell_id for spec in specs)
    cells = {spec.cell_id: spec for spec in specs if seeds[spec.cell_id] > 1}
    if not cells:
        return {}
    try:
        lanes = pool.run("lanes", list(cells.values()), context, near=context.key)
        return dict(zip(cells, lanes, strict=True))
    except WorkerDied:  # it will be that of a trial
        return {}


class Calls(Iterator[tuple[TrialSpec, ...]]):
    """Cuts trials into calls of a worker: long ones alone, quick ones together.

    Nobody knows beforehand what a trial takes, so each method begins with one trial a call, or
    with the seeds of one cell that are worth tuning together, and has more as long as its calls
    are quick. A call never holds trials of two methods, nor more than its share of what is left,
    so that the workers end together.

    Args:
        specs: The trials, the longest first.
        workers: Workers that share them.
        lanes: How many seeds of a cell are worth tuning together, by cell; one if not said.
        take: Whether a trial is to be computed, asked when it is about to be handed out.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        specs: Iterable[TrialSpec],
        *,
        workers: int,
        lanes: Mapping[str, int] | None = None,
        take: Callable[[TrialSpec], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers = workers
        self.lanes = lanes or {}
        self.take = take
        self.clock = clock
        self._left: dict[str, deque[TrialSpec]] = {}
        for spec in specs:
            self._left.setdefault(spec.method, deque()).append(spec)
        self._size: dict[str, int] = defaultdict(lambda: 1)
        self._began: dict[str, float] = {}  # by the first trial of a call
        self._lock = threading.Lock()

    def __next__(self) -> tuple[TrialSpec, ...]:
        """The next call: of the method whose next trial is the longest.

        Raises:
            StopIteration: All trials have been handed out.
        """
        with self._lock:
            while call := self._next():
                if call := tuple(spec for spec in call if self.take(spec)):
                    self._began[call[0].trial_id] = self.clock()
                    return call
            raise StopIteration

    def _next(self) -> tuple[TrialSpec, ...]:
        """What is to be handed out next; empty where nothing is left."""
        waiting = {name: specs for name, specs in self._left.items() if specs}
        if not waiting:
            return ()
        name = max(waiting, key=lambda name: expected_cost(waiting[name][0]))
        share = -(-sum(map(len, waiting.values())) // self.workers)
        size = min(max(self._size[name], self._stack(waiting[name])), share, len(waiting[name]))
        return tuple(waiting[name].popleft() for _ in range(size))

    def _stack(self, specs: Iterable[TrialSpec]) -> int:
        """How many of the next trials are seeds of one cell that go together."""
        cell, seeds = next(groupby(specs, key=lambda spec: spec.cell_id))
        return len(list(islice(seeds, self.lanes.get(cell, 1))))

    def ended(self, call: tuple[TrialSpec, ...]) -> None:
        """Learns from a call that has ended; it may have waited for a worker, which is no harm."""
        with self._lock:
            seconds = self.clock() - self._began.pop(call[0].trial_id)
            fits = int(len(call) * CALL_SECONDS / max(seconds, 1e-6))
            self._size[call[0].method] = max(1, min(fits, 2 * len(call), CALL_TRIALS))


def slug(text: str) -> str:
    """`text` as the key of an artifact: lower-case letters, digits and dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


class ProgressArtifact:
    """A bar in Prefect's UI, which says what is done, what failed and what is left.

    It is sent every few seconds at most, and work never fails for want of it, nor waits: a server
    that does not answer is not asked again; Prefect's client would try for a minute each time.

    Args:
        key: Of the artifact.
        total: How many there are.
        unit: Of what, in the plural.
    """

    def __init__(self, key: str, total: int, unit: str) -> None:
        self.total = total
        self.unit = unit
        self.began = self.last = time.monotonic()
        self.id: UUID | None = None
        self._lock = threading.Lock()
        with contextlib.suppress(Exception):
            about = f"{total} {unit}"
            self.id = create_progress_artifact(0.0, key=key, description=about)  # pyright: ignore[reportAttributeAccessIssue]

    def show(self, done: int, failed: int = 0) -> None:
        """`done` of the total are done, `failed` among them; sent if it is time to."""
        with self._lock:
            now = time.monotonic()
            if self.id is None or (now - self.last < ARTIFACT_SECONDS and done < self.total):
                return
            self.last = now
            text = self.said(done, failed, now - self.began)
            share = 100 * done / self.total
            try:
                with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                    update_progress_artifact(self.id, progress=share, description=text)
            except Exception:
                self.id = None

    def said(self, done: int, failed: int, seconds: float) -> str:
        """`37 of 185 trials done, 2 failed, about 4 min left`.

        Args:
            done: How many are done.
            failed: How many of these failed.
            seconds: Since the first began.
        """
        parts = [f"{done} of {self.total} {self.unit} done"]
        parts += [f"{failed} failed"] if failed else []
        if 0 < done < self.total:
            left = seconds / done * (self.total - done)
            parts.append(f"about {_span(left)} left")
        return ", ".join(parts)


def _span(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
