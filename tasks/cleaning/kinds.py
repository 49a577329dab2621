"""The kinds of things that a store can do without, and where each is found."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from tasks.cleaning.histories import clear_flow_runs, empty_bin, flow_runs, runs_in_bin
from tasks.cleaning.sessions import ended_sessions
from tasks.storage.drafts import left_behind
from tasks.storage.store import Store


class Item(NamedTuple):
    """Something that may go.

    Attributes:
        place: A file or folder; of a history the database.
        size: Bytes that it takes; 0 where only removing it tells.
        used_at: When it was last written or read, in seconds since the epoch.
        entries: Of a history; else 1.
    """

    place: Path
    size: int
    used_at: float
    entries: int = 1


class Kind(NamedTuple):
    """Things of one kind.

    Attributes:
        what: As a person would say it.
        again: How they come back, if somebody needs them.
        find: Those of a store; of a history what is older than a time, in seconds since the epoch.
        remove: Removes one, of a history what is older; returns the bytes that were freed.
        in_use: Whether a run that goes on may need them.
        asked: Whether they go only where somebody says so.
    """

    what: str
    again: str
    find: Callable[[Store, float], Iterable[Item]]
    remove: Callable[[Store, Item, float], int]
    in_use: bool = False
    asked: bool = False


def _drafts(store: Store, _: float) -> Iterator[Item]:
    """Whatever their age: a process that writes one holds it."""
    yield from map(_item, left_behind(store))


def _replaced(store: Store, _: float) -> Iterator[Item]:
    yield from map(_written, _inside(store.home / "replaced"))


def _features(store: Store, _: float) -> Iterator[Item]:
    """The folder of each view: those of a backbone, a dataset and what is shown of its images."""
    for path in sorted(store.features.rglob("features.npy")):
        yield _item(path.parent)


def _downloads(store: Store, _: float) -> Iterator[Item]:
    yield from (_item(place) for place in _inside(store.downloads) if place.is_dir())


def _plans(store: Store, _: float) -> Iterator[Item]:
    yield from map(_item, _inside(store.plans))


def _logs(store: Store, _: float) -> Iterator[Item]:
    folders = (store.prefect,) if _served(store) else (store.up, store.prefect)
    for folder in folders:
        yield from (_written(place) for place in _inside(folder) if place.suffix == ".log")


def _sessions(_: Store, __: float) -> Iterator[Item]:
    yield from map(_written, ended_sessions())


def _prefect(store: Store, since: float) -> Iterator[Item]:
    if count := flow_runs(store, since):
        yield Item(store.prefect / "prefect.db", 0, since, count)


def _mlflow(store: Store, since: float) -> Iterator[Item]:
    found = runs_in_bin(store, since)
    if found.ids and store.mlflow_database is not None:
        yield Item(store.mlflow_database, found.size, found.used_at, len(found.ids))


def _trials(store: Store, _: float) -> Iterator[Item]:
    yield from map(_written, _inside(store.trials))


def _remove(_: Store, item: Item, __: float) -> int:
    """Removes a file or a folder: out of sight in one step, so that nobody finds half of it.

    Raises:
        OSError: It cannot be removed.
    """
    place = item.place
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return item.size
    # Named as drafts are: if we are killed here, the next run finds it as one.
    gone = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):  # somebody else was quicker
        place.rename(gone)
        shutil.rmtree(gone)
    return item.size


KINDS = {
    "drafts": Kind(
        "half-written files of processes that were killed", "not needed", _drafts, _remove
    ),
    "replaced": Kind(
        "trials that --fresh computed again, and torn ones",
        "never, but the trials that took their place stay",
        _replaced,
        _remove,
    ),
    "features": Kind(
        "features of images and texts",
        "the next run that needs them encodes them",
        _features,
        _remove,
        in_use=True,
    ),
    "downloads": Kind(
        "archives and published data sets, unpacked",
        "ingesting the data set again fetches them",
        _downloads,
        _remove,
        in_use=True,
    ),
    "plans": Kind(
        "plans as they were made", "the next run makes them", _plans, _remove, in_use=True
    ),
    "ray": Kind(
        "logs and sockets of Ray sessions that have ended", "not needed", _sessions, _remove
    ),
    "logs": Kind(
        "logs of `shotboard up` and of the private server",
        "never, no number is in them",
        _logs,
        _remove,
        in_use=True,
    ),
    "prefect": Kind(
        "flow runs in Prefect's history",
        "never, no number is in them",
        _prefect,
        lambda store, _, since: clear_flow_runs(store, since),
        in_use=True,
    ),
    "mlflow": Kind(
        "runs in MLflow's bin",
        "never, newer ones took their place",
        _mlflow,
        lambda store, _, since: empty_bin(store, since),
    ),
    "trials": Kind(
        "completed trials",
        "the next run of their suite computes them",
        _trials,
        _remove,
        in_use=True,
        asked=True,
    ),
}


def _served(store: Store) -> bool:
    """Whether `shotboard up` serves a store."""
    lock = store.up / "lock"
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder under a name of its own, sorted."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []


def _item(place: Path) -> Item:
    """A file or folder, as old as its last use: reading counts, where the disk notes it."""
    return _measured(place, reading=True)


def _written(place: Path) -> Item:
    """Likewise, where reading is no use of it."""
    return _measured(place, reading=False)


def _measured(place: Path, *, reading: bool) -> Item:
    size, used = 0, 0.0
    for path in (place, *place.rglob("*")) if not place.is_symlink() else (place,):
        with suppress(OSError):  # it has just gone
            found = path.lstat()
            size += found.st_blocks * 512 if hasattr(found, "st_blocks") else found.st_size
            read = found.st_atime if reading and not path.is_dir() else 0.0
            used = max(used, found.st_mtime, read)
    return Item(place, size, min(used, time.time()) if used else time.time())
