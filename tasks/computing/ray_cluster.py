"""The workers of a run: a Ray that starts on this machine, or a cluster that is joined.

Ray's own scheduling is used for long-lived actors alone: a trial is too short to be a Ray task of
its own, and an actor keeps its backbones and features between trials.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tasks.computing.hosts import check_room, hosts_there
from tasks.computing.joining import no_cluster, nobody_listens
from tasks.computing.ray_processes import abandon, leave, trouble_with_start
from tasks.computing.ray_start import connect, import_ray, own_sigterm
from tasks.computing.starting import Starting
from tasks.computing.surveying import Needs, needed_of
from tasks.computing.worker_pool import WorkerPool

_ahead: "list[Cluster]" = []  # that have been started for a run which has not begun yet
SHARED_BYTES = 200 * 2**20  # arguments are names and paths; features travel as files


@dataclass
class Cluster:
    """A Ray that is there or starts when it is first needed; see `ray_cluster`.

    Attributes:
        address: Address that was asked for; None means this machine.
        cpus: Cores that a local Ray uses; None means all.
        gpus_per_worker: The part of a GPU that each worker holds; None until it is settled by
            what the trials need, see `settle`.
        requested: Workers that were asked for; None means as many as fit.
        shared_bytes: Shared memory of a local Ray, for what travels between processes.
        started_by_us: Whether a Ray was started or joined here, and is left at the end.
    """

    address: str | None
    cpus: int | None
    gpus_per_worker: float | None
    requested: int | None
    shared_bytes: int = SHARED_BYTES
    started_by_us: bool = False
    _started: bool = False
    _pools: dict[Any, Future[WorkerPool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asking: threading.Lock = field(default_factory=threading.Lock, compare=False)
    _lasting: ExitStack = field(default_factory=ExitStack, compare=False)
    _stopped: threading.Event = field(default_factory=threading.Event, compare=False)
    _starting: Starting = field(default_factory=lambda: Starting(trouble_with_start), compare=False)

    @property
    def asked(self) -> tuple[Any, ...]:
        """What was asked for: the same makes the same cluster."""
        return self.address, self.cpus, self.gpus_per_worker, self.requested, self.shared_bytes

    def start(self) -> None:
        """Starts or joins Ray, unless it is there.

        Raises:
            ConnectionError, MachineError: See `connect`.
            ValueError: The cluster lacks the GPUs; Ray would wait for them without a word.
        """
        with self._lock:
            if not self._started:
                with own_sigterm():
                    self._starting.call(self._connect)

    def _connect(self) -> None:
        """See `start`."""
        self.started_by_us = connect(self.address, self.cpus, self.shared_bytes)
        self._started = True
        gpus = self.gpus_per_worker or 0.0
        check_room(hosts_there(), gpus_per_worker=gpus, requested=self.requested)

    def settle(self, share: Callable[[], float]) -> None:
        """Says which part of a GPU each worker holds, where nobody has. Starts Ray.

        Args:
            share: Works it out; not asked where the cluster has no GPU, whose workers hold none.
        """
        if self.gpus_per_worker is None:
            self.start()
            there = any(host.gpus for host in self._starting.call(hosts_there))
            self.gpus_per_worker = share() if there else 0.0

    def pool(self, worker: type, *args: Any, **kwargs: Any) -> WorkerPool:
        """Actors of class `worker`, each constructed with the arguments.

        Asked again for the same, it gives the same, or raises the same. A class may say in
        `needs`, a function of the arguments, what a host must have.
        """
        key = worker, args, tuple(sorted(kwargs.items()))
        with self._asking:
            mine = key not in self._pools
            made = self._pools.setdefault(key, Future())
        if mine:
            try:
                self.start()
                made.set_result(self._starting.call(partial(self._pool, worker, *args, **kwargs)))
            except BaseException as error:
                made.set_exception(error)
        with own_sigterm():  # where another thread asked first
            return made.result()

    def _pool(self, worker: type, *args: Any, **kwargs: Any) -> WorkerPool:
        needs: Needs | None = None
        if self.address is not None:  # hosts that are not this one, or may come
            ask = getattr(worker, "needs", lambda *_, **__: needed_of())
            needs = self._lasting.enter_context(ask(*args, **kwargs))
        return WorkerPool(
            worker,
            *args,
            workers=self.requested,
            gpus_per_worker=self.gpus_per_worker or 0.0,
            needs=needs,
            stopped=self._stopped,
            **kwargs,
        )

    def stop(self) -> None:
        """Ends the wait for hosts that have not answered, if there is one."""
        self._stopped.set()

    def end_pools(self) -> None:
        """Ends the workers of all pools, whatever they do; none commits a trial after this."""
        pools = [made.result() for made in self._pools.values() if made.exception() is None]
        for pool in pools:
            pool.close()
        if self.address is None:  # elsewhere their process ids say nothing
            for pool in pools:
                pool.wait_gone()

    def close(self) -> None:
        """Ends the pools, and leaves Ray if it was started or joined here."""
        self.stop()
        self._starting.settle()
        if why := self._starting.given_up:
            abandon(why)
            self._lasting.close()
            return
        self.end_pools()
        self._lasting.close()
        if self.started_by_us:
            leave()
        self._starting.end()


@contextmanager
def ray_cluster(
    address: str | None = None,
    *,
    cpus: int | None = None,
    gpus_per_worker: float | None = 0.0,
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
        gpus_per_worker: The part of a GPU that each worker holds, such as 1, or 0.25 to share one
            by four; None until `Cluster.settle`.
        workers: Number of workers; None means one a core or as many as the GPUs hold.
        shared_bytes: Shared memory of a Ray that starts here.

    Raises:
        ConnectionError: No Ray answers at `address`.
        ValueError: `workers` or `gpus_per_worker` is more than the cluster has, or makes no sense.
    """
    check_request(None, gpus_per_worker=gpus_per_worker, workers=workers)
    cluster = Cluster(address, cpus, gpus_per_worker, workers, shared_bytes)
    if _ahead and _ahead[-1].asked == cluster.asked:
        try:
            yield _ahead[-1]
        except BaseException:  # who is stopped counts next what there is, and Ray ends later
            _ahead[-1].end_pools()
            raise
        return
    try:
        if address or gpus_per_worker:
            cluster.start()
        yield cluster
    finally:
        cluster.close()


@contextmanager
def started_ahead(
    worker: type,
    *args: Any,
    address: str | None,
    gpus_per_worker: float | None,
    workers: int | None,
    **kwargs: Any,
) -> Iterator[None]:
    """Starts the cluster of a run that is about to begin, and its workers, in a thread.

    They load while this process imports Prefect, starts a server and ingests. Within the block
    `ray_cluster` with the same arguments gives this cluster; what is wrong with it is raised there.

    Args:
        worker: Class of the workers.
        args: Of its constructor.
        address: See `ray_cluster`.
        gpus_per_worker: Likewise.
        workers: Likewise.
        kwargs: Of the constructor.
    """
    with ray_cluster(address, gpus_per_worker=gpus_per_worker, workers=workers) as cluster:
        import_ray(address)

        def start() -> None:
            with suppress(Exception):  # whoever asks for the pool gets it
                if cluster.gpus_per_worker is None:  # before that nobody knows how many
                    cluster.start()
                else:
                    cluster.pool(worker, *args, **kwargs)

        starting = threading.Thread(target=start, name="workers", daemon=True)
        starting.start()
        _ahead.append(cluster)
        try:
            yield
        finally:
            _ahead.remove(cluster)
            cluster.stop()
            starting.join()


def check_request(
    address: str | None, *, gpus_per_worker: float | None, workers: int | None
) -> None:
    """Refuses what is wrong with the arguments of `ray_cluster` before anything starts.

    Raises:
        ConnectionError: Nobody listens at `address`.
        ValueError: `workers` or `gpus_per_worker` makes no sense.
    """
    if gpus_per_worker is not None and not 0 <= gpus_per_worker <= 1:
        raise ValueError(
            f"gpus_per_worker={gpus_per_worker:g}: a trial computes on one GPU. Give 0 for the "
            "CPU, 1, a part such as 0.5 for trials that share one, or auto. Several GPUs get "
            "several workers; CUDA_VISIBLE_DEVICES says which of them are used."
        )
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: a run needs at least 1 worker.")
    trouble = nobody_listens(address) if address else None
    if trouble:
        raise ConnectionError(no_cluster(str(address), trouble))
