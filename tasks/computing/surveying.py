"""Whether the hosts of a cluster can work for a run.

Hosts come and go while it goes on, and not every one has what a worker needs. So each is asked
before it gets a worker; who cannot serve is left out with the reason, and asked again later.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from data_catalog.wording import some
from operators.files import passing_folder
from tasks.computing.hosts import Host, hosts_there, on
from tasks.environment import MachineError
from tasks.stopped import RunStopped

SURVEY_SECONDS = 300.0  # what a host may take to answer; it gets our code first
REACH_SECONDS = 120.0  # for which a host tries to read a store at a URL
ROOM_BYTES = 1 << 20  # that a host must be able to write: what a trial leaves, and some more
AGAIN_SECONDS = 600.0  # after which one that was left out is asked once more
LOOK_SECONDS = 0.1  # between two looks at whether all have answered
WAY_OUT = "docs/cluster.md says what a host needs."
_NUMBERS = ("torch", "numpy")  # whose versions may change the last digits of a number


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
        if trouble := self.trouble_with_store():
            return trouble
        if missing := [folder for folder in self.folders if not Path(folder).is_dir()]:
            return f"it has no {some(missing)}: put what was asked for by its path there as well."
        return ""

    def trouble_with_store(self, seconds: float = REACH_SECONDS) -> str:
        """Why this machine cannot keep a trial in the store; empty where it can.

        Args:
            seconds: For which it tries to read a store at a URL.
        """
        if self.mark and not Path(self.mark).exists():
            return (
                f"it does not see the store {self.store}: name a store that all hosts reach, a URL "
                "such as s3://bucket/store or a folder that they share, with --home."
            )
        if self.store and (trouble := _unwritable(self.store)):
            return trouble
        if "://" in self.store and (trouble := _unreachable(self.store, seconds)):
            return f"it does not reach the store: {trouble}"
        return ""

    def unlike(self) -> str:
        """What is other than at the driver, and may change the last digits; empty if nothing."""
        here = {name: version_of(name) for name in _NUMBERS if name in self.packages}
        there = self.packages
        return some([f"{n} {v}, not {there[n]}" for n, v in here.items() if v != there[n]])


def _unwritable(store: str) -> str:
    """Why nothing can be written here, into a store or its working copy; empty where it can."""
    from tasks.storage.copies import folder_of

    folder = folder_of(store) if "://" in store else Path(store)
    try:
        with passing_folder(folder / "room") as place:
            (place / "file").write_bytes(bytes(ROOM_BYTES))
    except OSError as error:
        what = "copy of the store, which SHOTBOARD_CACHE names" if "://" in store else "store"
        why = error.strerror or type(error).__name__
        return f"it cannot write to its {what}: {folder} ({why}). It needs room and rights there."
    return ""


def _unreachable(url: str, seconds: float) -> str:
    """Why a store at a URL cannot be read here; empty where it can."""
    from tasks.storage.remote import Remote

    try:
        Remote.at(url, patience=seconds).head("store.json")
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
def needed_of(store: str = "", folders: Iterable[Path] = ()) -> Iterator[Needs]:
    """What hosts need for a run, while the block lasts.

    Args:
        store: Root or URL of its store; empty where it needs none.
        folders: What was asked for by its path, such as backbones; what is no folder is left.
    """
    needs = Needs(
        store,
        folders=tuple(sorted({str(each.resolve()) for each in folders if each.is_dir()})),
        packages=own_packages(),
    )
    root = store.removeprefix("file://")
    if not root or "://" in root:
        yield needs
        return
    # A folder of the same name elsewhere has none of these.
    with passing_folder(Path(root) / "seen") as mark:
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
        clock: Monotonic seconds, for tests.
    """

    def __init__(
        self,
        needs: Needs | None,
        say: Callable[[str], None],
        there: Callable[[], Sequence[Host]] = hosts_there,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.needs = needs
        self.say = say
        self.there = there
        self.clock = clock
        self.left_out: dict[str, str] = {}  # reasons, by address
        self._alone: Sequence[Host] = ()
        self._can: dict[str, bool] = {}  # by node id
        self._again: dict[str, float] = {}  # when one that could not is asked once more
        self._asked: dict[str, tuple[Any, float]] = {}  # answers that are waited for, and since

    def look(self) -> list[Host]:
        """The hosts that can work; asks those that are new, and waits for nobody."""
        hosts = self._alone or self.there()
        self._alone = hosts if self.needs is None else ()
        for gone in self._asked.keys() - {host.node_id for host in hosts}:
            del self._asked[gone]
        for host in hosts:
            if self._again.get(host.node_id, math.inf) <= self.clock():
                del self._again[host.node_id], self._can[host.node_id]
            if host.node_id not in self._can:
                self._see(host)
        return [host for host in hosts if self._can.get(host.node_id)]

    def first(self, stopped: threading.Event) -> list[Host]:
        """The hosts that can work once all of them have answered.

        Args:
            stopped: Is set where somebody stops the run meanwhile.

        Raises:
            MachineError: None can.
            RunStopped: It was set.
        """
        while True:
            found = self.look()
            if not self._asked:
                break
            if stopped.wait(LOOK_SECONDS):
                raise RunStopped
        if not found:
            raise MachineError(f"no host of the Ray cluster can work. {self.reasons} {WAY_OUT}")
        return found

    @property
    def reasons(self) -> str:
        """Why hosts were left out; empty where none was."""
        return " ".join(f"{host}: {why}" for host, why in self.left_out.items())

    def leave_out(self, host: Host, reason: str) -> None:
        """Gives a host no more workers until it is asked again.

        Args:
            host: Which.
            reason: A sentence.
        """
        self._can[host.node_id] = False
        self._again[host.node_id] = self.clock() + AGAIN_SECONDS  # it may have passed
        if self.left_out.get(host.address) != reason:
            self.left_out[host.address] = reason
            self.say(f"host {host.address} is left out: {reason}")

    def _see(self, host: Host) -> None:
        """Asks a host, or looks whether it has answered."""
        import ray
        from ray.exceptions import GetTimeoutError

        if self.needs is None:
            self._can[host.node_id] = True
            return
        if host.node_id not in self._asked:
            # It needs no core: those may be booked by others for hours.
            ask = ray.remote(num_cpus=0, max_retries=0)(survey).options(**on(host))
            self._asked[host.node_id] = ask.remote(self.needs), self.clock()
            return
        answer, since = self._asked[host.node_id]
        late = self.clock() - since > SURVEY_SECONDS
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
        self._can[host.node_id] = True
        self.left_out.pop(host.address, None)
        if unlike:
            self.say(f"host {host.address} has {unlike}: last digits of its figures may differ.")
