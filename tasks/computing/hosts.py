"""The hosts of a cluster: how many workers each holds, and whether they can work there.

Hosts come and go while a run goes on, and not every one that is in a cluster has what a worker
needs. So each is asked before it gets a worker, and who cannot serve is left out with the reason.
"""

import heapq
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from data_catalog.wording import some
from operators.files import passing_folder
from tasks.computing.ray_start import this_node
from tasks.environment import MachineError

SURVEY_SECONDS = 300.0  # what a host may take to answer; it gets our code first
REACH_SECONDS = 20.0  # for which a host tries to read a store at a URL
LOOK_SECONDS = 0.1  # between two looks at whether all have answered
WAY_OUT = "docs/cluster.md says what a host needs."
_NUMBERS = ("torch", "numpy")  # whose versions may change the last digits of a number


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
    """The hosts that are in the cluster now, as far as its head knows."""
    import ray

    return [
        Host(
            node["NodeID"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


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


@dataclass(frozen=True)
class Needs:
    """What a host must have to work for a run.

    Attributes:
        store: Root of the store, or its URL; empty where none is needed.
        mark: A folder that is in it now; empty where it is at a URL.
        folders: Folders that are asked for by their path, such as a backbone's.
        packages: Versions of what Shotboard imports, by the name of the package.
    """

    store: str = ""
    mark: str = ""
    folders: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)

    def unmet(self) -> str:
        """Why this host cannot work; empty where it can. Imports nothing large."""
        here = {name: version_of(name) for name in self.packages}
        if lacking := [name for name, version in here.items() if not version]:
            return (
                f"it lacks {some(lacking)}, which Shotboard needs: install them into the Python "
                "that runs its `ray start`."
            )
        if self.mark and not Path(self.mark).exists():
            return (
                f"it does not see the store {self.store}: name a store that all hosts reach, a URL "
                "such as s3://bucket/store or a folder that they share, with --home."
            )
        if "://" in self.store and (trouble := _unreachable(self.store)):
            return f"it does not reach the store: {trouble}"
        if missing := [folder for folder in self.folders if not Path(folder).is_dir()]:
            return f"it has no {some(missing)}: put what was asked for by its path there as well."
        return ""

    def unlike(self) -> str:
        """What is other than at the driver, and may change the last digits; empty if nothing."""
        here = {name: version_of(name) for name in _NUMBERS if name in self.packages}
        there = self.packages
        return some([f"{n} {v}, not {there[n]}" for n, v in here.items() if v != there[n]])


def _unreachable(url: str) -> str:
    """Why a store at a URL cannot be read here; empty where it can."""
    from tasks.storage.remote import Remote

    try:
        Remote.at(url, patience=REACH_SECONDS).head("store.json")
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def version_of(package: str) -> str:
    """The installed version of a package; empty where there is none."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package) or ""
    return ""


def own_packages() -> dict[str, str]:
    """What Shotboard imports on this machine, with versions."""
    needed: dict[str, str] = {}
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("shotboard") or ():
            name = "".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0]
            if "extra ==" not in line and (version := version_of(name)):
                needed[name] = version
    return needed


@contextmanager
def needed_of(store: str = "", folders: Iterable[str] = ()) -> Iterator[Needs]:
    """What hosts need for a run, while the block lasts.

    Args:
        store: Root or URL of its store; empty where it needs none.
        folders: What was asked for by its path, such as backbones; names that are none are left.
    """
    needs = Needs(
        store,
        folders=tuple(sorted({str(Path(f).resolve()) for f in folders if Path(f).is_dir()})),
        packages=own_packages(),
    )
    root = Path(store.removeprefix("file://"))
    if not store or "://" in str(store.removeprefix("file://")):
        yield needs
        return
    with passing_folder(root / "seen") as mark:  # a folder of the same name elsewhere has none
        yield replace(needs, mark=str(mark))


def survey(needs: Needs) -> tuple[str, str]:
    """What a host says of itself, there: why it cannot work, and how it is unlike the driver."""
    return needs.unmet(), needs.unlike()


class HostWatch:
    """Which hosts of a cluster work for a run, now.

    Args:
        needs: What they must have; None asks nobody, and looks once: on this machine alone nothing
            comes, and where its Ray has ended a question to it would hang.
        say: Takes a line for people.
        there: Gives the hosts that are there, for tests.
    """

    def __init__(
        self,
        needs: Needs | None,
        say: Callable[[str], None],
        there: Callable[[], Sequence[Host]] = hosts_there,
    ) -> None:
        self.needs = needs
        self.say = say
        self.there = there
        self.left_out: dict[str, str] = {}  # reasons, by address
        self._alone: Sequence[Host] = ()
        self._fit: dict[str, bool] = {}  # by node id
        self._asked: dict[str, tuple[Any, float]] = {}  # answers that are waited for, and since

    def look(self) -> list[Host]:
        """The hosts that can work; asks those that are new, and waits for nobody."""
        hosts = self._alone or self.there()
        self._alone = hosts if self.needs is None else ()
        for host in hosts:
            if host.node_id not in self._fit:
                self._see(host)
        return [host for host in hosts if self._fit.get(host.node_id)]

    def first(self) -> list[Host]:
        """The hosts that can work once all of them have answered.

        Raises:
            MachineError: None can.
        """
        while True:
            found = self.look()
            if not self._asked:
                break
            time.sleep(LOOK_SECONDS)
        if not found:
            reasons = "; ".join(f"{host}: {why}" for host, why in self.left_out.items())
            raise MachineError(f"no host of the Ray cluster can work. {reasons} {WAY_OUT}")
        return found

    def leave_out(self, host: Host, reason: str) -> None:
        """Gives a host no more workers.

        Args:
            host: Which.
            reason: A sentence.
        """
        self._fit[host.node_id] = False
        self.left_out[host.address] = reason
        self.say(f"host {host.address} is left out: {reason}")

    def _see(self, host: Host) -> None:
        """Asks a host, or looks whether it has answered."""
        import ray
        from ray.exceptions import GetTimeoutError

        if self.needs is None:
            self._fit[host.node_id] = True
            return
        if host.node_id not in self._asked:
            # It needs no core: those may be booked by others for hours.
            ask = ray.remote(num_cpus=0, max_retries=0)(survey).options(**on(host))
            self._asked[host.node_id] = ask.remote(self.needs), time.monotonic()
            return
        answer, since = self._asked[host.node_id]
        late = time.monotonic() - since > SURVEY_SECONDS
        if not ray.wait([answer], timeout=0)[0] and not late:
            return
        del self._asked[host.node_id]
        try:
            unmet, unlike = ray.get(answer, timeout=0)
        except GetTimeoutError:
            unmet, unlike = f"it did not answer within {SURVEY_SECONDS:.0f} s.", ""
        except Exception as error:  # whatever keeps it from running a line of ours
            lines = [line for line in str(error).splitlines() if line.strip()]
            unmet, unlike = f"it does not run our code ({lines[-1].strip()}).", ""
        if unmet:
            self.leave_out(host, unmet)
            return
        self._fit[host.node_id] = True
        if unlike:
            self.say(f"host {host.address} has {unlike}: last digits of its figures may differ.")


def on(host: Host) -> dict[str, Any]:
    """Options of Ray for what runs on a host and nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(host.node_id, soft=False)}
