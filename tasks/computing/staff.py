"""The actors of a pool: as many as its hosts have room for, while both come and go.

Threads of its own look after them. Callers get a worker once it runs, so nobody waits for one
whose host is gone, or whose core somebody else has booked.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_catalog.wording import plural
from tasks.computing.deaths import Deaths, of_the_host
from tasks.computing.hosts import Host, is_here
from tasks.computing.matching import Matching
from tasks.computing.ray_processes import trouble_with_ray
from tasks.environment import MachineError

STARTS = 3  # workers of a host in a row that die before they have done anything
START_LOOK_SECONDS = 0.2  # between two looks while workers start
POLL_SECONDS = 2.0  # between two looks at whether Ray itself is there
HOSTS_SECONDS = 5.0  # between two looks at which hosts are there
NOBODY_SECONDS = 1800.0  # without any worker, before a run gives up


@dataclass(eq=False)
class Worker:
    """An actor.

    Attributes:
        actor: Ray's handle.
        host: Where it is.
        ready: Ray's promise of its process id.
        pid: Of its process, on its host; None until it is known to run.
        had: Keys of what it has loaded.
        prepared: Keys of what it was told to load before a first call.
        last: The one of them that it had last.
    """

    actor: Any
    host: Host
    ready: Any
    pid: int | None = None
    had: set[str] = field(default_factory=set)
    prepared: set[str] = field(default_factory=set)
    last: str = ""

    def has(self, key: str) -> None:
        """Notes that it has loaded what a key stands for."""
        if key:
            self.had.add(key)
            self.last = key


class Staff:
    """Workers on hosts; see the module.

    Attributes:
        trouble: What became of Ray; empty while it is there.

    Args:
        create: Makes an actor on a host that gets so many, and gives Ray's promise of its process
            id with it.
        wanted: How many workers each host is to have now; asked again and again.
        leave_out: Is told of a host that is given no more work, and why; `wanted` leaves it out
            from then on, until it may be tried again.
        say: Takes a line for people: which hosts come and go.
    """

    def __init__(
        self,
        create: Callable[[Host, int], tuple[Any, Any]],
        wanted: Callable[[], Mapping[Host, int]],
        leave_out: Callable[[Host, str], None],
        say: Callable[[str], None],
    ) -> None:
        self.create = create
        self.wanted = wanted
        self.leave_out = leave_out
        self.say = say
        self.trouble = ""
        self.deaths = Deaths()
        self._matching: Matching[Worker] = Matching(self._closeness)
        self._loaded: defaultdict[str, set[str]] = defaultdict(set)  # keys, by node
        self._workers: list[Worker] = []
        self._failed: Counter[str] = Counter()  # starts in a row, by node
        self._full: set[str] = set()  # nodes that get no more
        self._left: dict[str, str] = {}  # why nodes were left out
        self._begun = False
        self._counts: dict[Host, int] = {}
        self._lock = threading.RLock()
        self._fitting = threading.RLock()  # held by one who asks who is wanted, and sees to it
        self._woken, self._over = threading.Event(), threading.Event()
        self._fit()
        for look_after in (self._attend, self._watch):
            threading.Thread(target=look_after, name="staff", daemon=True).start()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def workers(self) -> list[Worker]:
        """All that run or start."""
        with self._lock:
            return list(self._workers)

    def take(self, key: str) -> Worker:
        """Waits for a worker that runs, the closer to what a key stands for the better.

        Raises:
            Exception: What `fail` was told.
        """
        return self._matching.take(key)

    def give(self, worker: Worker) -> None:
        """Gives a worker back."""
        with self._lock:
            self._loaded[worker.host.node_id] |= worker.had
            if worker in self._workers:  # else its host has gone while it was about its last call
                self._matching.give(worker)

    def replace(self, gone: Worker) -> None:
        """Ends a worker; another takes its place where its host is there."""
        self.lose(gone)
        with self._lock:
            self._hire(gone.host)

    def lose(self, gone: Worker) -> None:
        """Notes that a worker was lost with its host; if that is there, it gets another later."""
        with self._lock:
            _kill(gone)
            self._full.discard(gone.host.node_id)  # what it had may be enough for another
            if gone in self._workers:
                self._workers.remove(gone)

    def left_out(self, host: Host) -> str:
        """Why a host was left out; empty where it was not."""
        with self._lock:
            return self._left.get(host.node_id, "")

    def dismiss(self, host: Host, reason: str) -> bool:
        """Leaves a host out, and ends its workers, whatever they do.

        Args:
            host: Which.
            reason: A sentence.

        Returns:
            Whether any other host is there to work.

        Raises:
            MachineError: Ray has ended.
        """
        with self._fitting:
            with self._lock:
                self._left[host.node_id] = reason
            self.leave_out(host, reason)
            try:
                self._fit()
            except Exception as error:  # whatever Ray raises: without it nothing goes on
                raise MachineError(trouble_with_ray() or str(error)) from error
            return any(self._counts.values())

    def fail(self, error: Exception) -> None:
        """Raises an error in all who wait for a worker or come for one."""
        self._matching.fail(error)

    def close(self) -> None:
        """Ends all workers, whatever they do."""
        with self._lock:
            self._over.set()
            self._woken.set()
            if trouble_with_ray() is None:
                for worker in self._workers:
                    _kill(worker)

    def wait_gone(self, seconds: float) -> None:
        """Waits for the processes of workers of this machine that were ended, for a while."""
        ends = time.monotonic() + seconds
        waiting = {worker.pid for worker in self.workers if worker.pid is not None}
        while waiting and time.monotonic() < ends:
            waiting = {pid for pid in waiting if Path(f"/proc/{pid}").exists()}
            time.sleep(0.02)

    def _closeness(self, worker: Worker, key: str) -> int:
        """How much of what a key stands for is at a worker: loaded, last or before; on its host."""
        if not key:
            return 0
        if key in worker.had:
            return 3 if worker.last == key else 2
        return int(key in self._loaded.get(worker.host.node_id, ()))

    def _watch(self) -> None:
        """Looks whether Ray is there until the pool is closed; nothing here waits for Ray."""
        while not self._over.wait(POLL_SECONDS):
            trouble = None
            with suppress(Exception):  # of a Ray that is just being left
                trouble = trouble_with_ray()
            if trouble:
                if not self._over.is_set():
                    self.trouble = trouble
                    self.fail(MachineError(trouble))
                return

    def _attend(self) -> None:
        """Looks after the workers until the pool is closed, or Ray has gone."""
        looked = up = time.monotonic()
        while not (self._over.is_set() or self.trouble):
            try:
                self._see_who_runs()
                now = time.monotonic()
                if now - looked >= HOSTS_SECONDS:
                    self._fit()
                    looked = now
                up = now if any(worker.pid for worker in self.workers) else up
                if now - up > NOBODY_SECONDS:
                    minutes = NOBODY_SECONDS / 60
                    raise MachineError(f"no worker has run for {minutes:.0f} minutes.")
            except Exception as error:  # of Ray, which has been left, or is about to be
                if not isinstance(error, MachineError):
                    self._over.wait(2 * POLL_SECONDS)  # `_watch` has better words, if it has any
                    error = MachineError(str(error))
                if not self._over.is_set():
                    self.fail(error)
                return

    def _see_who_runs(self) -> None:
        """Waits a moment for workers to run; those that do are there for callers."""
        import ray

        starting = {worker.ready: worker for worker in self.workers if worker.pid is None}
        if not starting:
            self._woken.wait(POLL_SECONDS)
            self._woken.clear()
            return
        promises = list(starting)
        if ray.wait(promises, timeout=START_LOOK_SECONDS)[0]:
            for promise in ray.wait(promises, num_returns=len(promises), timeout=0)[0]:
                worker = starting[promise]
                try:
                    pid = ray.get(promise)
                except Exception as error:  # whatever keeps it from running
                    self._did_not_start(worker, error)
                else:
                    with self._lock:
                        worker.pid = pid
                        self._failed.pop(worker.host.node_id, None)
                    self.give(worker)

    def _did_not_start(self, worker: Worker, error: Exception) -> None:
        """Starts another in the place of one that has ended, or gives up.

        Raises:
            MachineError: Nobody runs, nor is anybody about to.
        """
        cause = self.deaths.cause(error, None, here=is_here(worker.host))
        with self._lock:
            if worker not in self._workers:
                return
            node = worker.host.node_id
            self._workers.remove(worker)
            if of_the_host(error):  # `_fit` sees whether that is there
                return
            self._failed[node] += 1
            if self._failed[node] < STARTS:
                self._hire(worker.host)
                return
            self._full.add(node)
            if any(each.host == worker.host for each in self._workers):
                return  # there is room for these
            reason = (
                f"no worker starts: {STARTS} in a row have ended before they did anything. {cause}"
            )
            if not self._workers:
                raise MachineError(reason)
        self.dismiss(worker.host, reason)

    def _fit(self) -> None:
        """Fits the workers to the hosts: new ones get theirs, and those that are gone lose them."""
        with self._fitting:
            self._fit_to(dict(self.wanted()))

    def _fit_to(self, counts: dict[Host, int]) -> None:
        with self._lock:
            before, self._counts = self._counts, counts
            self._tell(before, counts)
            nodes = {host.node_id for host in counts}
            for node in self._left.keys() & nodes:  # it was asked again, and can work
                del self._left[node]
                self._full.discard(node)
                self._failed.pop(node, None)
            for worker in [each for each in self._workers if each.host.node_id not in nodes]:
                self._workers.remove(worker)
                self._matching.withdraw(worker)
                _kill(worker)
            for host, count in counts.items():
                there = [each for each in self._workers if each.host.node_id == host.node_id]
                for _ in range(count - len(there)):
                    self._hire(host)
                for worker in there[count:]:  # as on a head, once others are there
                    if self._matching.withdraw(worker):
                        self._workers.remove(worker)
                        _kill(worker)

    def _tell(self, before: Mapping[Host, int], now: Mapping[Host, int]) -> None:
        """Says which hosts have come and gone since the last look."""
        for host in sorted(before.keys() - now.keys()):
            if host.node_id not in self._left:  # of those the reason was told
                self.say(f"host {host.address} is gone, with {plural(before[host], 'worker')}.")
        if self._begun:
            for host in sorted(now.keys() - before.keys()):
                self.say(f"host {host.address} joins, with {plural(now[host], 'worker')}.")
        self._begun = True

    def _hire(self, host: Host) -> None:
        there = sum(each.host.node_id == host.node_id for each in self._workers)
        if there >= self._counts.get(host, 0) or host.node_id in self._full:
            return
        if self._over.is_set() or self.trouble or trouble_with_ray():
            return
        actor, ready = self.create(host, self._counts[host])
        self._workers.append(Worker(actor, host, ready))
        self._woken.set()


def _kill(worker: Worker) -> None:
    import ray

    with suppress(Exception):
        ray.kill(worker.actor)
