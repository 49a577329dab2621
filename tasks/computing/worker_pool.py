"""Long-lived Ray actors that threads of the driver share, and what becomes of those that die."""

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from tasks.computing.deaths import HostLost, HostUnfit, OutOfTime, WorkerDied, of_the_host
from tasks.computing.hosts import Host, check_room, is_here, on, share_out
from tasks.computing.ray_processes import trouble_with_ray
from tasks.computing.staff import POLL_SECONDS, Staff, Worker
from tasks.computing.surveying import HostWatch, Needs
from tasks.computing.troubles import Troubles
from tasks.environment import MachineError
from tasks.progress import Reporter
from tasks.stopped import RunStopped

TRIES = 3  # of a call whose worker died
HOST_TRIES = 10  # of a call beside these, each of which was lost with its host or left it out
PREPARE_SECONDS = 1800.0  # what a worker may take to load what its calls share
MOST_THREADS = 10_000  # of one map; more workers than these wait for calls


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


class PoolClosed(RunStopped):
    """The pool was closed while a call was under way."""


class _Death(Exception):
    """A worker died in a call."""


class WorkerPool:
    """Long-lived actors of one class, shared by any number of threads of the driver.

    Execution is at least once: where a worker is killed, another takes its place and repeats its
    call. So what a worker does should be committed once, by itself. The pool is as large as its
    cluster, which may grow and shrink meanwhile.

    Args:
        worker: A plain class; its methods are called by name.
        args: Arguments of its constructor, as `kwargs`.
        workers: Number of actors in all; None means one a core, or as many as the GPUs hold.
        gpus_per_worker: GPUs that Ray books for each.
        needs: What a host must have to get a worker; None asks nobody, as on this machine alone.
        stopped: Is set where somebody stops the run before the hosts have answered.

    Raises:
        MachineError: No host of the cluster can work.
        ValueError: The cluster lacks the GPUs.
    """

    def __init__(
        self,
        worker: type,
        *args: Any,
        workers: int | None = None,
        gpus_per_worker: float = 0.0,
        needs: Needs | None = None,
        stopped: threading.Event | None = None,
        **kwargs: Any,
    ) -> None:
        import ray

        self._told: list[str] = []
        self._reporter: Reporter | None = None
        # Ray would try again by itself, and tell of the last death alone.
        actor_class = ray.remote(num_gpus=gpus_per_worker, max_restarts=0, max_task_retries=0)(
            worker
        )
        self._cluster = needs is not None
        watch = HostWatch(needs, self._say)

        def create(host: Host, count: int) -> tuple[Any, Any]:
            # Ray counts in ten thousandths, and rounds: three of two thirds are more than two.
            cores = math.floor(10_000 * min(1.0, host.cpus / count)) / 10_000
            actor = actor_class.options(num_cpus=cores, **on(host)).remote(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
            return actor, actor.__ray_call__.remote(_pid)

        def wanted() -> dict[Host, int]:
            return share_out(watch.look(), gpus_per_worker=gpus_per_worker, requested=workers)

        found = watch.first(stopped or threading.Event())
        try:
            check_room(found, gpus_per_worker=gpus_per_worker, requested=workers)
        except ValueError as error:
            raise ValueError(" ".join(filter(None, (str(error), watch.reasons)))) from error
        self._staff = Staff(create, wanted, watch.leave_out, self._say)
        self._troubles = Troubles(needs, self._staff)
        self._closed = False

    def __len__(self) -> int:
        return len(self._staff)

    @property
    def workers(self) -> list[Worker]:
        """All that run or start."""
        return self._staff.workers

    def tell(self, reporter: Reporter) -> None:
        """Says from now on which hosts come and go, and what has been said of them so far."""
        self._reporter, told, self._told = reporter, self._told, []
        for text in told:
            reporter.say(text)

    def _say(self, text: str) -> None:
        if self._reporter is None:
            self._told.append(text)
        else:
            self._reporter.say(text)

    def run(
        self,
        method: str,
        *args: Any,
        tries: int = TRIES,
        seconds: float | None = None,
        first: First | None = None,
        near: str = "",
    ) -> Any:
        """Calls `method` of an idle worker and returns its result; waits for both.

        Args:
            method: Name of the method.
            args: Its arguments.
            tries: How often a call whose worker dies is made.
            seconds: What the call may take; None sets no limit.
            first: What the worker does before, once.
            near: Key of what the call reads, by default that of `first`: a worker that had a call
                of this key is taken before others, or one on the same host.

        Raises:
            HostLost: The worker's host went, or was left out, at so many tries in a row.
            WorkerDied: The worker died at every try; another has taken its place.
            OutOfTime: The call took too long; another worker has taken the place of its own.
            MachineError: No worker starts, or Ray has ended.
            PoolClosed: The pool was closed meanwhile.
            Exception: What the method raised, as it raised it; an `OSError` on another host of a
                cluster only where no host is left, or this machine has the same trouble.
        """
        near = near or (first.key if first else "")
        died = lost = 0
        while True:
            worker = self._taken(near)
            try:
                return self._answer(worker, method, args, seconds=seconds, first=first, near=near)
            except HostLost:
                lost += 1
                if tries == 1 or lost == HOST_TRIES:
                    raise
            except WorkerDied as error:
                died += 1
                if died == tries:
                    raise WorkerDied(method, tries, error.cause) from error.__cause__

    def map_unordered(
        self,
        method: str,
        batches: Iterable[Any],
        *args: Any,
        seconds: Callable[[Any], float] | None = None,
        **how: Any,
    ) -> Iterator[CallResult]:
        """Calls `method(batch, *args)` for every batch; yields results as they come.

        A batch that fails costs itself alone. Several threads may map over one pool, which shares
        the workers out. Batches are taken one by one, as calls end, so the next one may follow from
        how the last ones went. Closing the generator leaves what has not begun
        undone.

        Args:
            method: Name of the method.
            batches: First arguments.
            args: The others.
            seconds: What a batch may take.
            how: As for `run`.

        Raises:
            Exception: What `batches` raised; calls under way are left alone.
        """
        waiting, lock, closed = iter(batches), threading.Lock(), threading.Event()
        results: queue.Queue[CallResult | None] = queue.Queue()  # None: a thread found no more

        def result_of(batch: Any) -> CallResult:
            try:
                limit = seconds(batch) if seconds else None
                return CallResult(batch, self.run(method, batch, *args, seconds=limit, **how), None)
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
        threads = ThreadPoolExecutor(max_workers=MOST_THREADS, thread_name_prefix=method)
        working: list[Future[None]] = []
        over = 0
        try:
            while over < max(1, len(working)):
                if not over:  # the pool may have grown
                    more = min(max(1, len(self)), MOST_THREADS) - len(working)
                    working += [threads.submit(work) for _ in range(more)]
                with suppress(queue.Empty):
                    result = results.get(timeout=POLL_SECONDS)
                    if result is None:
                        over += 1
                    else:
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
        self._closed = True
        self._staff.close()
        self._staff.fail(PoolClosed())

    def wait_gone(self, seconds: float = 5.0) -> None:
        """Waits for the processes of a pool of this machine that was closed, for a while at most.

        Args:
            seconds: Ray ends them without being asked again, so more are of no use.
        """
        self._staff.wait_gone(seconds)

    def _taken(self, near: str) -> Worker:
        """An idle worker.

        Raises:
            PoolClosed, MachineError: See `run`.
        """
        self.check_open()
        try:
            return self._staff.take(near)
        except Exception as error:
            if self._closed:
                raise PoolClosed from error
            raise

    def _answer(
        self,
        worker: Worker,
        method: str,
        args: Sequence[Any],
        *,
        seconds: float | None,
        first: First | None,
        near: str,
    ) -> Any:
        """What a worker that was taken returns from a call; it is given back, or replaced.

        Raises:
            HostLost, WorkerDied, OutOfTime, Exception: See `run`.
        """
        staff = self._staff
        try:
            if first and first.key not in worker.prepared:
                self._prepare(worker, first)
            answer = self._call(worker, method, args, seconds)
        except Exception as error:
            if self._closed:  # whatever a worker that is ended, or a Ray that is left, gives
                raise PoolClosed from error
            if isinstance(error, OutOfTime):
                staff.replace(worker)
            elif reason := self._left_out(worker, error):
                raise HostUnfit(method, worker.host.address, reason) from error
            elif not isinstance(error, _Death):
                worker.has(near)
                staff.give(worker)
            elif self._cluster and of_the_host(error.__cause__):
                staff.lose(worker)
                raise HostLost(method, worker.host.address) from error.__cause__
            else:
                here = is_here(worker.host)
                cause = staff.deaths.cause(error.__cause__, worker.pid, here=here)
                staff.replace(worker)
                raise WorkerDied(method, 1, cause) from error.__cause__
            raise
        except BaseException:
            staff.replace(worker)  # nobody waits for what it is about
            raise
        worker.has(near)
        staff.give(worker)
        return answer

    def _left_out(self, worker: Worker, error: Exception) -> str:
        """Why the host of a worker was left out, if that or its reason ended a call; else empty."""
        if isinstance(error, _Death):
            return self._staff.left_out(worker.host)
        return self._troubles.of_host(worker.host, error)

    def _prepare(self, worker: Worker, first: First) -> None:
        """Has a worker do what comes before the first call of a kind.

        Raises:
            _Death: It took too long as well: that is no call's time.
        """
        try:
            self._call(worker, first.method, first.args, PREPARE_SECONDS)
        except OutOfTime as error:
            raise _Death from error
        worker.prepared.add(first.key)

    def _call(self, worker: Worker, method: str, args: Sequence[Any], seconds: float | None) -> Any:
        """What one call returns.

        Raises:
            _Death, OutOfTime, MachineError, Exception: See `run`.
        """
        import ray
        from ray.exceptions import (
            LocalRayletDiedError,
            NodeDiedError,
            ObjectLostError,
            OutOfMemoryError,
            RayActorError,
            RaySystemError,
            RayTaskError,
            WorkerCrashedError,
        )

        # The last one: a large answer stays on its host until it is fetched.
        deaths = (OutOfMemoryError, RayActorError, RaySystemError, WorkerCrashedError)
        deaths += (LocalRayletDiedError, NodeDiedError, ObjectLostError)

        try:
            answer = getattr(worker.actor, method).remote(*args)
            ends = None if seconds is None else time.monotonic() + seconds
            # In short waits, since a Ray that is gone never answers: it ends this process after a
            # minute of waiting.
            while True:
                left = POLL_SECONDS if ends is None else ends - time.monotonic()
                if ray.wait([answer], timeout=min(POLL_SECONDS, max(left, 0.0)))[0]:
                    return ray.get(answer)
                if self._staff.trouble:
                    raise MachineError(self._staff.trouble)
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
            if isinstance(error, deaths):
                raise _Death from error
            raise


def _pid(_: Any) -> int:
    """Of the process that asks itself."""
    return os.getpid()
