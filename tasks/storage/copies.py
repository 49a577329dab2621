"""The working copy of a store at a URL: a folder that every room works in, in step with the rest.

Its trials are those of the URL. A new one is put into `.waiting/` first, then sent, and becomes
one of `trials/` when the URL has it: killed in between, or cut off, it waits there and the next
command sends it. Datasets and features come when somebody asks for them. Small files, such as
manifests of runs and notes of failures, are kept alike on both sides; `.remote/` says in which
state both sides were last seen to be equal, so that it is known which one has changed since.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from operators.files import commit_files, write_atomic
from tasks.storage.folders import AT_ONCE, files_in, is_of, pack, unpack
from tasks.storage.layout import WAITING
from tasks.storage.remote import DamagedError, Remote
from tasks.storage.small_files import SmallFiles

BOARD = "leaderboard.duckdb"
_MARK = "store.json"


def folder_of(url: str) -> Path:
    """Where the working copy of a store lies: below `SHOTBOARD_CACHE`, or the user's cache."""
    above = os.environ.get("SHOTBOARD_CACHE")
    if not above:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        above = f"{cache}/shotboard/stores"
    name = sha256(url.rstrip("/").encode()).hexdigest()[:16]
    return Path(above).expanduser().resolve() / name


@lru_cache(maxsize=8)
def copy_at(home: Path, url: str) -> "WorkingCopy":
    """The working copy of a store; one object a process, whose connections are kept.

    Args:
        home: Its folder.
        url: Of the store.

    Raises:
        ValueError: As `Remote.at`.
    """
    return WorkingCopy(home, Remote.at(url))


class WorkingCopy:
    """A folder and the objects that it is kept in step with.

    Args:
        home: The folder.
        remote: The objects.

    Attributes:
        small: Its small files that change.
        damaged: Trials of the URL that are not whole there, and why.
    """

    def __init__(self, home: Path, remote: Remote) -> None:
        self.home = home
        self.remote = remote
        self.damaged: dict[str, str] = {}
        self._notes = home / ".remote"
        self.small = SmallFiles(home, remote, self._notes)

    def prove(self) -> None:
        """Sees that the URL can be a store, and says there that it is; see `Remote.prove`."""
        self.remote.prove()
        if not self.is_store():
            self.remote.create(_MARK, b'{"layout": 1}')

    def is_store(self) -> bool:
        """Whether a store is at the URL that was written through a working copy."""
        return self.remote.head(_MARK) is not None

    def commit(self, trial_id: str, files: Mapping[str, bytes]) -> None:
        """Brings a trial into the store; where another was first, its result is kept.

        Args:
            trial_id: Of the trial.
            files: Content by name.

        Raises:
            RemoteError: It could not be sent; it waits here, and the next command sends it.
        """
        waiting = self.home / WAITING / trial_id
        commit_files(waiting, files)
        self._send(waiting)

    def sync_trials(self) -> None:
        """Sends what waits, and fetches the trials that are new; those that are gone there go.

        Raises:
            RemoteError: The URL cannot be reached.
        """
        with self._alone():
            for waiting in self._visible(WAITING):
                self._send(self.home / WAITING / waiting)
            here = self._visible("trials")  # first, for what is sent from now on is no loss
            there = {
                key.removesuffix(".json"): seen.tag
                for key, seen in self.remote.listed("trials").items()
                if key.endswith(".json") and "/" not in key
            }
            for trial_id in sorted(here - there.keys()):
                if self._noted(trial_id) is None:  # put here by hand, or by a merge
                    self._wait(trial_id)
                    self._send(self.home / WAITING / trial_id)
                else:  # computed again by `run --fresh`, or taken away, on another node
                    self._put_aside(trial_id)
            changed = [
                trial_id
                for trial_id, tag in there.items()
                if trial_id not in here or self._noted(trial_id) != tag
            ]
            with ThreadPoolExecutor(AT_ONCE) as several:
                list(several.map(self._fetch_trial, changed))

    def bring(self, path: Path) -> None:
        """Fetches a trial, or a folder that never changes, if it is there and not here.

        Args:
            path: Of the working copy.
        """
        if path.is_dir():
            return
        if path.parent == self.home / "trials":
            self._fetch_trial(path.name)
        else:
            self.fetch_folder(path)

    def bring_current(self, name: str) -> None:
        """Fetches the version of a dataset that its name stands for now.

        Args:
            name: Of the dataset.
        """
        place = self.home / "data" / name
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            fingerprint = json.loads((place / "current.json").read_bytes())["fingerprint"]
            if Path(fingerprint).name == fingerprint:
                self.fetch_folder(place / fingerprint)

    def sync_reproductions(self) -> None:
        """Sends and fetches the results that other stores have of trials that are here."""
        above = self.home / "reproductions"
        here = {p.relative_to(above).as_posix() for p in above.glob("*/*") if _is_plain(p)}
        there = {key.removesuffix(".json") for key in self.remote.listed(above.name)}
        for name in sorted(here - there):
            self.send_folder(above / name)
        for name in sorted(there - here):
            if len(Path(name).parts) == 2 and _is_plain(above / name):
                self.fetch_folder(above / name)

    def set_aside(self, trial_ids: Iterable[str], when: str) -> None:
        """Takes trials out of those that count, so that they are computed again.

        Args:
            trial_ids: Which.
            when: Name of the folder in `replaced/` that keeps their manifests.
        """

        def move(trial_id: str) -> None:
            if (manifest := self.remote.read(_key(trial_id))) is not None:
                self.remote.replace(f"replaced/{when}/{trial_id}.json", manifest)
                self.remote.delete(_key(trial_id))
            self._note_file(trial_id).unlink(missing_ok=True)

        with ThreadPoolExecutor(AT_ONCE) as several:
            list(several.map(move, trial_ids))

    def send_folder(self, path: Path) -> None:
        """Sends a folder that never changes, such as an ingested dataset, unless it is there.

        Args:
            path: Of the working copy.
        """
        key = f"{path.relative_to(self.home).as_posix()}.json"
        if self.remote.head(key) is None:
            self.remote.create(key, pack(self.remote, files_in(path)))

    def fetch_folder(self, path: Path) -> bool:
        """Fetches such a folder, whole; says whether it is here now.

        Args:
            path: Of the working copy.

        Raises:
            RemoteError: It cannot be read, or is not what was sent.
        """
        if path.is_dir():
            return True
        manifest = self.remote.read(f"{path.relative_to(self.home).as_posix()}.json")
        if manifest is None:
            return False
        unpack(self.remote, manifest, path)
        return True

    def send_board(self) -> None:
        """Publishes the board that was built here."""
        write_atomic(self._notes / BOARD, self.remote.replace(BOARD, self.home / BOARD).encode())

    def fetch_board(self) -> None:
        """Fetches the board that was published last, if it is another one."""
        seen = self.remote.head(BOARD)
        if seen is None:
            return
        with suppress(FileNotFoundError):
            if (self._notes / BOARD).read_text() == seen.tag and (self.home / BOARD).is_file():
                return
        if (content := self.remote.read(BOARD)) is not None:
            write_atomic(self.home / BOARD, content)
            write_atomic(self._notes / BOARD, seen.tag.encode())

    def _send(self, waiting: Path) -> None:
        """Sends a trial that waits, and puts it where it counts."""
        trial_id, place = waiting.name, self.home / "trials" / waiting.name
        try:
            manifest = pack(self.remote, files_in(waiting))
            tag = self.remote.create(_key(trial_id), manifest)
            if tag is None and not self._fetch_trial(trial_id):
                # What counts is not whole, so nobody can use it: ours takes its place.
                self.set_aside([trial_id], f"{_now()}-damaged")
                tag = self.remote.create(_key(trial_id), manifest)
        except FileNotFoundError:  # another process of this machine has just sent it
            return
        if tag is not None:
            self._note(trial_id, tag)
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # it is there, since another process has put it there
                waiting.rename(place)
        shutil.rmtree(waiting, ignore_errors=True)

    def _fetch_trial(self, trial_id: str) -> bool:
        """Makes a trial here what it is there; says whether it is whole there."""
        seen = self.remote.head(_key(trial_id))
        manifest = self.remote.read(_key(trial_id)) if seen is not None else None
        if seen is None or manifest is None:
            return False
        place = self.home / "trials" / trial_id
        try:
            if place.is_dir() and not is_of(place, manifest):
                self._put_aside(trial_id)
            unpack(self.remote, manifest, place)
        except DamagedError as error:
            self.damaged[trial_id] = str(error)
            return False
        self.damaged.pop(trial_id, None)
        self._note(trial_id, seen.tag)
        return True

    def _wait(self, trial_id: str) -> None:
        waiting = self.home / WAITING / trial_id
        waiting.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            (self.home / "trials" / trial_id).rename(waiting)

    def _put_aside(self, trial_id: str) -> None:
        attic = self.home / "replaced" / _now()
        attic.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            (self.home / "trials" / trial_id).rename(attic / trial_id)
        self._note_file(trial_id).unlink(missing_ok=True)

    def _alone(self) -> FileLock:
        """Held by one process of this machine at a time."""
        self._notes.mkdir(parents=True, exist_ok=True)
        return FileLock(self._notes / ".trials.lock")

    def _visible(self, folder: str) -> set[str]:
        try:
            with os.scandir(self.home / folder) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def _note_file(self, trial_id: str) -> Path:
        return self._notes / "trials" / trial_id

    def _noted(self, trial_id: str) -> str | None:
        """Tag of the manifest that a trial here is of; None where that is not known."""
        try:
            return self._note_file(trial_id).read_text()
        except FileNotFoundError:
            return None

    def _note(self, trial_id: str, tag: str) -> None:
        write_atomic(self._note_file(trial_id), tag.encode())


def _is_plain(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts[-2:])


def _key(trial_id: str) -> str:
    return f"trials/{trial_id}.json"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
