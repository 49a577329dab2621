"""Long-lived Ray actors that threads of the driver share, and what becomes of those that die."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.computing.deaths import Deaths, OutOfTime, WorkerDied
from tasks.computing.ray_start import trouble_with_ray
from tasks.environment import MachineError

TRIES = 3  # of a call whose worker died
STARTS = 3  # workers in a row that die before they have done anything
POLL_SECONDS = 2.0  # between two looks at whether Ray itself is there
PREPARE_SECONDS = 1800.0  # what a worker may take to load what its calls share


class CallResult(NamedTuple):
    """What became of one batch: its result, or the error that its worker raised."""

    batch: Any
    result: Any
    error: BaseException | None


class First(NamedTuple):
    """A call that a worker has before the first of a kind, and whose time does not count.

    Attributes:
        key: Of the kind.
        method: What is called.
        args: With which arguments.
    """

    key: str
    method: str
    args: tuple[Any, ...]


class PoolClosed(MachineError):
    """The pool was closed while a call was under way, as when somebody stops the run."""

    def __init__(self) -> None:
        super().__init__("the run was stopped.")


class _Death(Exception):
    """A worker died in a call."""


@dataclass(eq=False)
class _Worker:
    """An actor.

    Attributes:
        actor: Ray's handle.
        pid: Of its process; None until it is known to run.
        had: Keys of `First` calls that it has had.
    """

    actor: Any
    pid: int | None = None
    had: set[str] = field(default_factory=set)


class WorkerPool:
    """Long-lived actors of one class, shared by any number of threads of the driver.

    Execution is at least once: where a worker is killed, another takes its place and repeats its
    call. So what a worker does should be committed once, by itself.

    Args:
        worker: A plain class; its methods are called by name.
        args: Arguments of its constructor, as `kwargs`.
        workers: Number of actors.
        num_cpus: Cores that Ray books for each.
        num_gpus: GPUs that Ray books for each.
    """

    def __init__(
        self,
        worker: type,
        *args: Any,
        workers: int,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        **kwargs: Any,
    ) -> None:
        import ray

        # Ray would try again by itself, and tell of the last death alone.
        actor_class = ray.remote(
            num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=0, max_task_retries=0
        )(worker)
        self._create: Callable[[], _Worker] = lambda: _Worker(actor_class.remote(*args, **kwargs))  # pyright: ignore[reportAttributeAccessIssue]
        self._workers = [self._create() for _ in range(workers)]
        self._idle: queue.Queue[_Worker] = queue.Queue()
        for each in self._workers:
            self._idle.put(each)
        self._lock = threading.Lock()
        self._deaths = Deaths()
        self._closed = False

    def __len__(self) -> int:
        return len(self._workers)

    def run(
        self,
        method: str,
        *args: Any,
        tries: int = TRIES,
        seconds: float | None = None,
        first: First | None = None,
    ) -> Any:
        """Calls `method` of an idle worker and returns its result; waits for both.

        Args:
            method: Name of the method.
            args: Its arguments.
            tries: How often a call whose worker dies is made.
            seconds: What the call may take; None sets no limit.
            first: What the worker does before, once.

        Raises:
            WorkerDied: The worker died at every try; another has taken its place.
            OutOfTime: The call took too long; another worker has taken the place of its own.
            MachineError: No worker starts, or Ray has ended.
            PoolClosed: The pool was closed meanwhile.
            Exception: What the method raised, as it raised it.
        """
        try:
            return self._run(method, *args, tries=tries, seconds=seconds, first=first)
        except Exception as error:
            if self._closed:  # whatever a worker that is ended, or a Ray that is left, gives
                raise PoolClosed from error
            raise

    def _run(
        self, method: str, *args: Any, tries: int, seconds: float | None, first: First | None
    ) -> Any:
        """See `run`."""
        for attempt in range(1, tries + 1):
            worker = self._idle.get()
            try:
                worker = self._started(worker)
                if first and first.key not in worker.had:
                    self._call(worker, first.method, first.args, PREPARE_SECONDS)
                    worker.had.add(first.key)
                return self._call(worker, method, args, seconds)
            except _Death as death:
                cause = self._deaths.cause(death.__cause__, worker.pid)
                worker = self._replace(worker)
                if attempt == tries:
                    raise WorkerDied(method, tries, cause) from death.__cause__
            except OutOfTime:
                worker = self._replace(worker)
                raise
            finally:  # or the one that has taken its place
                self._idle.put(worker)
        raise AssertionError("unreachable")

    def map_unordered(
        self,
        method: str,
        batches: Iterable[Any],
        *args: Any,
        tries: int = TRIES,
        seconds: Callable[[Any], float] | None = None,
        first: First | None = None,
    ) -> Iterator[CallResult]:
        """Calls `method(batch, *args)` for every batch; yields results as they come.

        A batch that fails costs itself alone. Several threads may map over one pool; the workers
        go to whoever waits longest. Batches are taken one by one, as calls end, so the next one
        may follow from how the last ones went. Closing the generator leaves what has not begun
        undone. `seconds` says what a batch may take; for the rest see `run`.

        Raises:
            Exception: What `batches` raised; calls under way are left alone.
        """
        waiting, lock, closed = iter(batches), threading.Lock(), threading.Event()
        results: queue.Queue[CallResult | None] = queue.Queue()  # None: a thread found no more

        def result_of(batch: Any) -> CallResult:
            try:
                limit = seconds(batch) if seconds else None
                result = self.run(method, batch, *args, tries=tries, seconds=limit, first=first)
                return CallResult(batch, result, None)
            except BaseException as error:  # the consumer decides
                return CallResult(batch, None, error)

        def work() -> None:
            try:
                while not closed.is_set():
                    with lock:  # a generator may not be advanced by two threads at once
                        batch = next(waiting)
                    results.put(result_of(batch))
            except StopIteration:
                pass
            finally:
                results.put(None)

        # A thread a worker, which waits for it: what a call may take and whether it is tried again
        # is then plain code around one call, with no table of calls under way.
        threads = ThreadPoolExecutor(max_workers=len(self), thread_name_prefix=method)
        try:
            working = [threads.submit(work) for _ in range(len(self))]
            for _ in working:
                while (result := results.get()) is not None:
                    yield result
            for thread in working:
                thread.result()
        finally:
            closed.set()
            # Not waited for: a call under way may take hours, and whoever closes has no use for it.
            threads.shutdown(wait=False, cancel_futures=True)

    def check_open(self) -> None:
        """Raises PoolClosed once the pool is closed, for who waits for something else."""
        if self._closed:
            raise PoolClosed

    def close(self) -> None:
        """Ends all workers, whatever they do."""
        with self._lock:
            self._closed = True
            if trouble_with_ray() is None:
                for worker in self._workers:
                    _kill(worker)

    def wait_gone(self, seconds: float = 5.0) -> None:
        """Waits for the processes of a pool of this machine that was closed, for a while at most.

        Args:
            seconds: Ray ends them without being asked again, so more are of no use.
        """
        ends = time.monotonic() + seconds
        waiting = {worker.pid for worker in self._workers if worker.pid is not None}
        while waiting and time.monotonic() < ends:
            waiting = {pid for pid in waiting if Path(f"/proc/{pid}").exists()}
            time.sleep(0.02)

    def _started(self, worker: _Worker) -> _Worker:
        """The worker, or another in its place, once it runs.

        Raises:
            MachineError: None does: what its class needs is not there.
        """
        for attempt in range(1, STARTS + 1):
            if worker.pid is not None:
                break
            try:
                worker.pid = self._call(worker, "__ray_call__", (_pid,), PREPARE_SECONDS)
            except (_Death, OutOfTime) as error:
                cause = self._deaths.cause(error.__cause__ or error, None)
                worker = self._replace(worker)
                if attempt == STARTS:
                    raise MachineError(
                        f"no worker starts: {STARTS} in a row have ended before they did anything. "
                        f"{cause}"
                    ) from error
        return worker

    def _call(
        self, worker: _Worker, method: str, args: Sequence[Any], seconds: float | None
    ) -> Any:
        """What one call returns.

        Raises:
            _Death, OutOfTime, MachineError, Exception: See `run`.
        """
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RaySystemError, RayTaskError

        try:
            answer = getattr(worker.actor, method).remote(*args)
            ends = None if seconds is None else time.monotonic() + seconds
            # In short waits, since a Ray that is gone never answers: it ends this process after a
            # minute of waiting.
            while True:
                left = POLL_SECONDS if ends is None else ends - time.monotonic()
                if ray.wait([answer], timeout=min(POLL_SECONDS, max(left, 0.0)))[0]:
                    return ray.get(answer)
                if trouble := trouble_with_ray():
                    raise MachineError(trouble)
                if seconds is not None and left <= 0:
                    raise OutOfTime(method, seconds)
        except RayTaskError as error:
            raise error.cause from error  # the remote traceback is the text of `error`
        except MachineError:
            raise
        except Exception as error:
            # Whatever Ray raises, and in which words: without it nothing goes on.
            if trouble := trouble_with_ray():
                raise MachineError(trouble) from error
            if isinstance(error, RayActorError | OutOfMemoryError | RaySystemError):
                raise _Death from error
            raise

    def _replace(self, gone: _Worker) -> _Worker:
        """Puts a new worker in the place of one, unless the pool is closed."""
        with self._lock:
            if self._closed or trouble_with_ray():
                return gone
            _kill(gone)
            self._workers[self._workers.index(gone)] = fresh = self._create()
            return fresh


def _kill(worker: _Worker) -> None:
    import ray

    with suppress(Exception):
        ray.kill(worker.actor)


def _pid(_: Any) -> int:
    """Of the process that asks itself."""
    return os.getpid()
