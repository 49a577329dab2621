"""Who may do what while several runs use one store: leases, which end with the run that has them.

A lease is a small file that is created exclusively: `<name>.json`, which says who owns it. What is
known of an owner is in one file of its own, `owner-<id>.json`, which it rewrites as long as it
lives; so to renew a thousand leases is one write. A lease whose owner is gone stays where it is,
for between a look and a removal another could have come. It is inherited: who creates
`<name>.<id of the dead owner>.json`, exclusively again, has it.

An owner is gone if its file is, if it was a process of this machine that has ended, or if its file
has not changed for `LEASE_SECONDS` by the looker's own monotonic clock. No two clocks are compared,
so clocks may jump or differ. An owner that was taken for dead and is not, such as one on a machine
that slept, does harm to nobody: what it commits is committed once.
"""

import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from operators.files import DRAFT, write_atomic, write_new
from tasks.storage import processes
from tasks.storage.below import Below
from tasks.storage.store import Store

LEASE_SECONDS = 120.0  # without a sign of its owner, before a lease is inherited
BEAT_SECONDS = 15.0  # between two signs
LOOK_SECONDS = 0.2  # between the first two looks at a lease that is waited for
MOST_LOOK_SECONDS = 1.0  # between two later ones
_END, _OWNER = ".json", "owner-"


class Exclusive(Protocol):
    """A place of small files in which a file can be created if, and only if, there is none."""

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file where there is none; says whether it did."""
        ...

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Writes a file whether or not there is one."""
        ...

    def delete(self, name: str) -> None:
        """Removes a file, if there is one."""
        ...

    def names(self) -> Iterable[str]:
        """Names of the files that are there."""
        ...


class Folder:
    """A folder, also one that several machines share: a hard link is created exclusively.

    Nothing is synced: after a power cut nobody is there who has a lease.

    Args:
        path: Of the folder; made when the first file is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str, content: bytes) -> bool:
        """See `Exclusive`."""
        return write_new(self.path / name, content, synced=False)

    def read(self, name: str) -> bytes | None:
        """See `Exclusive`."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes) -> None:
        """See `Exclusive`."""
        write_atomic(self.path / name, content, synced=False)

    def delete(self, name: str) -> None:
        """See `Exclusive`."""
        (self.path / name).unlink(missing_ok=True)

    def names(self) -> Iterable[str]:
        """See `Exclusive`."""
        if not self.path.is_dir():
            return []
        return [path.name for path in self.path.iterdir() if not DRAFT.fullmatch(path.name)]


class Leases:
    """The leases of one owner, such as a run; a context manager that gives them all back.

    Threads of the owner share them: what one has taken, another may take as well.

    Attributes:
        owner: Its id.

    Args:
        place: Where they lie.
        about: What people may want to know of the owner.
        clock: Monotonic seconds, for tests.
    """

    def __init__(
        self,
        place: Exclusive,
        about: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self.owner = uuid.uuid4().hex[:16]
        self.about = dict(about or {})
        self.clock = clock
        self._held: dict[str, list[tuple[str, bytes]]] = {}  # each with the files of its line
        self._seen: dict[str, tuple[bytes, float]] = {}  # by owner: its file, and since when
        self._alone: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.RLock()
        self._over: threading.Event | None = None
        self._beats = 0
        self._mine = json.dumps({"owner": self.owner}).encode()

    def __enter__(self) -> "Leases":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, name: str) -> bool:
        """Takes a lease; False where another has it who lives, or may.

        Args:
            name: Letters, digits and dashes.
        """
        with self._lock:
            if name in self._held:
                return True
            self._begin()
            while True:
                line, dead = self._line(name)
                if line is None:
                    return False
                link = _link(name, dead)
                if not self.place.create(link, self._mine):
                    continue
                # Who gives a lease back removes its line from the head on. So where the line is
                # still there now, nobody has: else its head may be another's by now.
                if any(self.place.read(file) != content for file, content in line):
                    self.place.delete(link)
                    continue
                self._held[name] = [*line, (link, self._mine)]
                for owner in dead:  # so that nobody has to find that out again
                    self.place.delete(f"{_OWNER}{owner}{_END}")
                return True

    def inherited(self, name: str) -> bool:
        """Whether a lease that is held here was that of an owner who died with it."""
        return len(self._held[name]) > 1

    def free(self, name: str) -> bool:
        """Whether a lease could be taken, as far as one can see."""
        with self._lock:
            return name in self._held or self._line(name)[0] is not None

    def release(self, name: str) -> None:
        """Gives a lease back; nothing happens where it is not held here."""
        with self._lock:
            for file, content in self._held.pop(name, ()):
                if self.place.read(file) == content:  # else it was inherited, and given back since
                    self.place.delete(file)

    @contextmanager
    def alone(
        self,
        name: str,
        waits: Callable[[], None] = lambda: None,
        look: Callable[[], None] = lambda: None,
    ) -> Iterator[bool]:
        """Waits for a lease and holds it in the block; one thread of the owner at a time.

        Args:
            name: Of the lease.
            waits: Is called once, where it has to be waited for.
            look: Is called now and then meanwhile; what it raises ends the wait.

        Yields:
            Whether it was that of an owner who died with it.
        """
        with self._lock:
            own = self._alone[name]
        with own:
            waited = LOOK_SECONDS
            while not self.take(name):
                if waited == LOOK_SECONDS:
                    waits()
                look()
                time.sleep(waited)
                waited = min(2 * waited, MOST_LOOK_SECONDS)  # each look may be a request
            try:
                yield self.inherited(name)
            finally:
                self.release(name)

    def sweep(self) -> None:
        """Removes what dead owners left."""
        with self._lock:
            names = sorted(self.place.names())
            for file in names:
                name, *rest = file.removesuffix(_END).split(".")
                if file.startswith(_OWNER) or name in self._held:
                    continue
                if rest:  # behind the head, or left where its head was given back
                    if self.place.read(f"{name}{_END}") is None:
                        self.place.delete(file)
                elif self.take(name):
                    self.release(name)
            for file in names:
                owner = file.removeprefix(_OWNER).removesuffix(_END)
                if file.startswith(_OWNER) and owner != self.owner and not self._lives(owner):
                    self.place.delete(file)

    def close(self) -> None:
        """Gives all leases back, and says no more that the owner lives."""
        with self._lock:
            if self._over is None:
                return
            with suppress(OSError):  # whoever looks next finds that this process has ended
                for name in list(self._held):
                    self.release(name)
                self.sweep()
                self.place.delete(f"{_OWNER}{self.owner}{_END}")
            self._over.set()
            self._over = None

    def _line(self, name: str) -> tuple[list[tuple[str, bytes]] | None, list[str]]:
        """The files of those who died with a lease, and their ids; no files where one lives."""
        line: list[tuple[str, bytes]] = []
        dead: list[str] = []
        while (content := self.place.read(link := _link(name, dead))) is not None:
            owner = _owner_in(content) or f"damaged{len(dead)}"
            if owner == self.owner or self._lives(owner):
                return None, dead
            line.append((link, content))
            dead.append(owner)
        return line, dead

    def _lives(self, owner: str) -> bool:
        """Whether an owner is there, as far as one can tell."""
        content = self.place.read(f"{_OWNER}{owner}{_END}")
        if content is None:  # it goes last, when all leases were given back
            return False
        process = processes.read(_values(content))
        if process is not None and processes.has_ended(process):
            return False
        before, since = self._seen.get(owner, (b"", 0.0))
        if content != before:
            self._seen[owner] = content, self.clock()
            return True
        return self.clock() - since < LEASE_SECONDS

    def _begin(self) -> None:
        """Shows that the owner lives, from before its first lease on."""
        if self._over is not None:
            return
        self._over = over = threading.Event()
        self._beat()

        def beat() -> None:
            while not over.wait(BEAT_SECONDS):
                with suppress(OSError), self._lock:
                    if not over.is_set():
                        self._beat()

        threading.Thread(target=beat, name="leases", daemon=True).start()

    def _beat(self) -> None:
        self._beats += 1
        until = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
        told = {
            **self.about,
            "owner": self.owner,
            **processes.this_one()._asdict(),
            "until": until.isoformat(timespec="seconds"),  # for people
            "beat": self._beats,  # so that the file changes whatever the clock does
        }
        self.place.replace(f"{_OWNER}{self.owner}{_END}", json.dumps(told).encode())


def leases_of(store: Store, **about: Any) -> Leases:
    """Leases of a store for a new owner.

    Args:
        store: Which.
        about: As for `Leases`.
    """
    if store.copy is None:
        return Leases(Folder(store.leases), about)
    return Leases(Below(store.copy.remote, store.leases.name), about)


def _link(name: str, dead: Iterable[str]) -> str:
    """The file of who comes after some dead owners of a lease."""
    last = list(dead)[-1:]
    return ".".join([name, *last]) + _END


def _owner_in(content: bytes) -> str:
    """The owner that a lease names; empty where the file is damaged."""
    owner = _values(content).get("owner")
    return owner if isinstance(owner, str) and owner.isalnum() else ""


def _values(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        values = json.loads(content)
        return values if isinstance(values, dict) else {}
    return {}
