"""The workers of a run: a Ray that starts on this machine, or a cluster that is joined.

Ray's own scheduling is used for long-lived actors alone: a trial is too short to be a Ray task of
its own, and an actor keeps its backbones and features between trials.
"""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tasks.computing.ray_start import connect, leave, no_cluster, nobody_listens
from tasks.computing.worker_pool import WorkerPool

SHARED_BYTES = 200 * 2**20  # arguments are names and paths; features travel as files


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
    _pools: list[WorkerPool] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def resources(self) -> dict[str, Any]:
        """What Ray counts in the whole cluster: CPU, GPU, memory. Starts Ray."""
        with self._lock:
            if self._resources is None:
                self.started_by_us = connect(self.address, self.cpus, self.shared_bytes)
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

    def pool(self, worker: type, *args: Any, **kwargs: Any) -> WorkerPool:
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
            leave()


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
    trouble = nobody_listens(address) if address else None
    if trouble:
        raise ConnectionError(no_cluster(str(address), trouble))
