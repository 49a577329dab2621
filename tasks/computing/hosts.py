"""The hosts of a cluster, and how many workers each of them holds."""

import heapq
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.computing.ray_processes import this_node


class Host(NamedTuple):
    """A machine of a cluster.

    Attributes:
        node_id: Ray's name of it; another one each time that it joins.
        address: Its IP address.
        cpus: Cores that Ray counts there.
        gpus: GPUs that Ray counts there.
    """

    node_id: str
    address: str
    cpus: float
    gpus: float


def hosts_there() -> list[Host]:
    """The hosts that are in the cluster now, as far as its head knows, always in the same order."""
    import ray

    return sorted(
        Host(
            node["NodeID"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    )


def is_here(host: Host) -> bool:
    """Whether a host is this machine; never for a process that joined as a client."""
    node = this_node()
    return node is not None and node.node_ip_address == host.address


def share_out(
    hosts: Sequence[Host], *, gpus_per_worker: float, requested: int | None
) -> dict[Host, int]:
    """Returns how many workers each host gets: one a core, or as many as its GPUs hold.

    Args:
        hosts: Of the cluster.
        gpus_per_worker: The part of a GPU that each worker holds.
        requested: Workers that were asked for in all; they go where most room is left, and
            without GPUs they may be more than there are cores.
    """
    if gpus_per_worker:
        room = {host: _held(host.gpus, gpus_per_worker) for host in hosts}
    else:
        room = {host: max(1, int(host.cpus)) if host.cpus else 0 for host in hosts}
        if not any(room.values()):  # such as a head alone, whose cores are not for workers
            room = dict.fromkeys(hosts, 1)
    if requested is None:
        return room
    counts = dict.fromkeys(hosts, 0)
    # The next one goes where it gets the largest share.
    next_up = [(1 / n, i, host) for i, (host, n) in enumerate(room.items()) if n]
    while next_up and sum(counts.values()) < requested:
        _, i, host = heapq.heappop(next_up)
        counts[host] += 1
        if not gpus_per_worker or counts[host] < room[host]:
            heapq.heappush(next_up, ((counts[host] + 1) / room[host], i, host))
    return counts


def check_room(hosts: Sequence[Host], *, gpus_per_worker: float, requested: int | None) -> None:
    """Raises ValueError where the GPUs of hosts do not hold one worker, or not all asked for."""
    counts = share_out(hosts, gpus_per_worker=gpus_per_worker, requested=None)
    fit, gpus = sum(counts.values()), sum(host.gpus for host in hosts)
    if gpus_per_worker and fit < (requested or 1):
        wish = f"{requested} workers with " if requested else ""
        raise ValueError(
            f"{wish}gpus_per_worker={gpus_per_worker:g}: the cluster has {gpus:g} GPUs, which "
            f"hold {fit} such workers. Ask for less, set gpus_per_worker=0 to run on the CPU, or "
            "name a cluster with GPUs with --ray-address."
        )


def _held(gpus: float, each: float) -> int:
    """Workers on the GPUs of one host."""
    # A worker's part lies on one GPU: three halves of two GPUs hold three workers, not four.
    return int(gpus) * math.floor(1 / each + 1e-9)


def on(host: Host) -> dict[str, Any]:
    """Options of Ray for what runs on a host and nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(host.node_id, soft=False)}
