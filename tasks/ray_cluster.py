"""The workers of a run: a Ray that starts on this machine, or a cluster that is joined.

Ray's own scheduling is used for long-lived actors alone: a trial is too short to be a Ray task of
its own, and an actor keeps its backbones and features between trials.
"""

import logging
import math
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.environment import MachineError, for_workers, set_defaults, set_local_ray

SHARED_BYTES = 200 * 2**20  # arguments are names and paths; features travel as files
RESTARTS = 4  # deaths of one worker before another takes its place
RETRIES = 2  # a batch whose worker died is tried this many times more
JOIN_SECONDS = 30.0
STARTS = 4  # tries to start a Ray on this machine


class Outcome(NamedTuple):
    """What became of one batch: its result, or the error that its worker raised."""

    batch: Any
    result: Any
    error: BaseException | None


class WorkerDied(MachineError):
    """Every try of a batch ended with the death of its worker."""


@dataclass
class Cluster:
    """A Ray that is there or starts when it is first needed; see `ray_cluster`.

    Attributes:
        address: Address that was asked for; None means this machine.
        cpus: Cores that a local Ray uses; None means all.
        gpus_per_worker: GPUs, or the part of one, that each worker holds.
        requested: Workers that were asked for; None means as many as fit.
        shared_bytes: Shared memory of a local Ray, for what travels between processes.
        started_by_us: Whether a Ray was started or joined here, and is left at the end.
    """

    address: str | None
    cpus: int | None
    gpus_per_worker: float
    requested: int | None
    shared_bytes: int = SHARED_BYTES
    started_by_us: bool = False
    _resources: dict[str, Any] | None = None
    _pools: list["WorkerPool"] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def resources(self) -> dict[str, Any]:
        """What Ray counts in the whole cluster: CPU, GPU, memory. Starts Ray."""
        with self._lock:
            if self._resources is None:
                self.started_by_us = _connect(self.address, self.cpus, self.shared_bytes)
                import ray

                self._resources = dict(ray.cluster_resources())
            return self._resources

    @property
    def workers(self) -> int:
        """Workers of a pool: one a core, or as many as the GPUs hold. Starts Ray.

        Raises:
            ValueError: The cluster lacks the GPUs; Ray would wait for them without a word.
        """
        return count_workers(
            self.resources, gpus_per_worker=self.gpus_per_worker, requested=self.requested
        )

    def pool(self, worker: type, *args: Any, **kwargs: Any) -> "WorkerPool":
        """Starts `workers` actors of class `worker`, each constructed with the arguments."""
        workers = self.workers
        pool = WorkerPool(
            worker,
            *args,
            workers=workers,
            num_cpus=min(1.0, self.resources.get("CPU", 1.0) / workers),
            num_gpus=self.gpus_per_worker,
            **kwargs,
        )
        self._pools.append(pool)
        return pool

    def close(self) -> None:
        """Ends the pools, and leaves Ray if it was started or joined here."""
        for pool in self._pools:
            pool.close()
        if self.started_by_us:
            import ray

            ray.shutdown()


@contextmanager
def ray_cluster(
    address: str | None = None,
    *,
    cpus: int | None = None,
    gpus_per_worker: float = 0.0,
    workers: int | None = None,
    shared_bytes: int = SHARED_BYTES,
) -> Iterator[Cluster]:
    """Gives the cluster of a run, and leaves it at the end as it was found.

    A Ray of this machine starts with the first pool, so a run with nothing to do starts none. A
    cluster is joined, and a wish for GPUs checked, at once. A Ray that this process has started
    before is used and left running.

    Args:
        address: `host:port` of a cluster's head, `ray://..` or `auto`; None starts one here.
        cpus: Cores that a local Ray uses; None means all.
        gpus_per_worker: GPUs that each worker holds, such as 1, or 0.25 to share one by four.
        workers: Number of workers; None means one a core or as many as the GPUs hold.
        shared_bytes: Shared memory of a Ray that starts here.

    Raises:
        ConnectionError: No Ray answers at `address`.
        ValueError: `workers` or `gpus_per_worker` is more than the cluster has, or makes no sense.
    """
    check_request(None, gpus_per_worker=gpus_per_worker, workers=workers)
    cluster = Cluster(address, cpus, gpus_per_worker, workers, shared_bytes)
    try:
        if address or gpus_per_worker:
            _ = cluster.workers
        yield cluster
    finally:
        cluster.close()


def count_workers(
    resources: Mapping[str, float], *, gpus_per_worker: float, requested: int | None
) -> int:
    """Returns how many workers run side by side.

    Raises:
        ValueError: The GPUs of the cluster do not hold one worker, or not as many as asked for.
    """
    if not gpus_per_worker:
        return requested or max(1, int(resources.get("CPU", 1)))
    gpus = resources.get("GPU", 0.0)
    # A worker's part lies on one GPU: three halves of two GPUs hold three workers, not four.
    fit = int(gpus) * math.floor(1 / gpus_per_worker + 1e-9)
    if gpus_per_worker > 1:
        fit = math.floor(gpus / gpus_per_worker)
    if fit < (requested or 1):
        wish = f"{requested} workers with " if requested else ""
        raise ValueError(
            f"{wish}gpus_per_worker={gpus_per_worker:g}: the cluster has {gpus:g} GPUs, which "
            f"hold {fit} such workers. Ask for less, set gpus_per_worker=0 to run on the CPU, or "
            "name a cluster with GPUs with --ray-address."
        )
    return requested or fit


class WorkerPool:
    """Long-lived actors of one class, shared by any number of threads of the driver.

    Execution is at least once: a worker that is killed is started again, and its batch repeated.
    So what a worker does should be committed once, by itself.

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

        actor_class = ray.remote(
            num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=RESTARTS, max_task_retries=RETRIES
        )(worker)
        self._create: Callable[[], Any] = lambda: actor_class.remote(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        self._actors = [self._create() for _ in range(workers)]
        self._idle: queue.Queue[Any] = queue.Queue()
        for actor in self._actors:
            self._idle.put(actor)
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._actors)

    def run(self, method: str, *args: Any) -> Any:
        """Calls `method` of an idle worker and returns its result; waits for both.

        Raises:
            WorkerDied: The worker died at every try; another has taken its place.
            Exception: What the method raised, as it raised it.
        """
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

        actor = self._idle.get()
        try:
            return ray.get(getattr(actor, method).remote(*args))
        except RayTaskError as error:
            raise error.cause from error  # the remote traceback is the text of `error`
        except (RayActorError, OutOfMemoryError) as error:
            actor = self._replace(actor)
            raise WorkerDied(
                f"a worker died at every one of {RETRIES + 1} tries of {method}, mostly for want "
                f"of memory: run fewer workers or a smaller batch. Ray says: {error}"
            ) from error
        finally:
            self._idle.put(actor)

    def map_unordered(self, method: str, batches: Iterable[Any], *args: Any) -> Iterator[Outcome]:
        """Calls `method(batch, *args)` for every batch; yields outcomes as they come.

        A batch that fails costs itself alone. Several threads may map over one pool; the workers
        go to whoever waits longest. Batches are taken one by one, as calls end, so the next one
        may follow from how the last ones went. Closing the generator leaves what has not begun
        undone.

        Raises:
            Exception: What `batches` raised; calls under way are left alone.
        """
        waiting, lock, closed = iter(batches), threading.Lock(), threading.Event()
        outcomes: queue.Queue[Outcome | None] = queue.Queue()  # None: a thread found no more

        def work() -> None:
            try:
                while not closed.is_set():
                    with lock:
                        batch = next(waiting)
                    outcomes.put(self._outcome(method, batch, args))
            except StopIteration:
                pass
            finally:
                outcomes.put(None)

        threads = ThreadPoolExecutor(max_workers=len(self), thread_name_prefix=method)
        try:
            working = [threads.submit(work) for _ in range(len(self))]
            for _ in working:
                while (outcome := outcomes.get()) is not None:
                    yield outcome
            for thread in working:
                thread.result()
        finally:
            closed.set()
            threads.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, method: str, batch: Any, args: Sequence[Any]) -> Outcome:
        try:
            return Outcome(batch, self.run(method, batch, *args), None)
        except BaseException as error:  # the consumer decides
            return Outcome(batch, None, error)

    def close(self) -> None:
        """Ends all workers, whatever they do."""
        import ray

        with self._lock:
            self._closed = True
            for actor in self._actors:
                with suppress(Exception):
                    ray.kill(actor)

    def _replace(self, dead: Any) -> Any:
        """Puts a new worker in the place of `dead`, unless the pool is closed."""
        import ray

        with self._lock:
            if self._closed:
                return dead
            with suppress(Exception):
                ray.kill(dead)
            self._actors[self._actors.index(dead)] = fresh = self._create()
            return fresh


def check_request(address: str | None, *, gpus_per_worker: float, workers: int | None) -> None:
    """Refuses what is wrong with the arguments of `ray_cluster` before anything starts.

    Raises:
        ConnectionError: Nobody listens at `address`.
        ValueError: `workers` or `gpus_per_worker` makes no sense.
    """
    if gpus_per_worker < 0 or (gpus_per_worker > 1 and gpus_per_worker != int(gpus_per_worker)):
        raise ValueError(
            f"gpus_per_worker={gpus_per_worker:g}: give 0, a part of one GPU such as 0.5, or a "
            "whole number."
        )
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: a run needs at least 1 worker.")
    trouble = _nobody_listens(address) if address else None
    if trouble:
        raise ConnectionError(_no_cluster(str(address), trouble))


def _connect(address: str | None, cpus: int | None, shared_bytes: int) -> bool:
    """Starts or joins Ray; returns whether this process must leave it again."""
    set_defaults()
    if address is None:
        set_local_ray()
    import ray

    if ray.is_initialized():
        return False
    variables = for_workers() | {"PYTHONPATH": os.pathsep.join(_search_path(sys.path))}
    if address:
        _check_address(address)
        ray.init(
            address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            configure_logging=False,
        )
        return True
    # It tells every local Ray that it has a password, which is so and needs no reader.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    with _set(variables):  # a local Ray hands its environment on, which is faster than asking it to
        _start_local(cpus, shared_bytes)
    return True


def _start_local(cpus: int | None, shared_bytes: int) -> None:
    """Starts Ray; it gives itself 30 seconds, which a busy machine may not keep at first.

    Raises:
        MachineError: It did not start in time, however often it was tried.
    """
    import ray

    for _ in range(STARTS):
        try:
            ray.init(
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=shared_bytes,
                log_to_driver=False,
                configure_logging=False,
            )
            return
        except Exception as error:  # Ray raises no narrower class here
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise MachineError(
        f"Ray did not start within 30 s, {STARTS} times over: the machine is too busy. Run again "
        "when it is not, or join a cluster with --ray-address."
    )


def _search_path(entries: Sequence[str]) -> list[str]:
    """Folders that a worker has to look in beside the installed packages: those of the driver."""
    own = [Path(entry or ".").resolve() for entry in entries]
    return [
        str(entry)
        for entry in dict.fromkeys(own)
        if entry.is_dir() and not entry.is_relative_to(sys.base_prefix)
        if not {"site-packages", "dist-packages"} & set(entry.parts)
    ]


def _check_address(address: str) -> None:
    """Raises ConnectionError unless a Ray answers, for `ray.init` may wait for ever."""
    trouble = _nobody_listens(address)
    if not trouble and address != "auto" and not address.startswith("ray://"):
        trouble = _health(address)
    if trouble:
        raise ConnectionError(_no_cluster(address, trouble))


def _nobody_listens(address: str) -> str | None:
    """Returns what is wrong where a connection to `address` is refused; asks no Ray."""
    if address == "auto":
        return None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        return str(error)
    return None


def _no_cluster(address: str, trouble: str) -> str:
    return (
        f"no Ray cluster answers at {address} ({trouble}). Start one there with `ray start "
        "--head`, give the address that it prints, or leave out --ray-address to run on this "
        "machine."
    )


def _health(address: str) -> str | None:
    """Returns None where the head of a cluster is healthy, else the last line of Ray's complaint.

    Asked in a process of its own, which can be ended.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=JOIN_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {JOIN_SECONDS:.0f} s"
    if answer.returncode == 0:
        return None
    lines = (answer.stderr or answer.stdout).strip().splitlines()
    return lines[-1] if lines else f"health check ended with code {answer.returncode}"


@contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
