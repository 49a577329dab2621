"""Small files that change, such as notes of failures, kept alike here and at a URL.

Of each it is noted what both sides held when they were last seen to be equal, so it is known which
one has changed since. Where both have, the later one stays.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from operators.files import write_atomic
from tasks.storage.remote import Remote, Seen

PATTERNS = ("runs/*", "failures/*", "datasets/**/*", "data/*/current.json")
_AT_ONCE = 16
_FILES = "files"  # the folder of the URL that they are below


class Noted(NamedTuple):
    """A file as both sides had it.

    Attributes:
        tag: Of the object.
        sha256: Of the content here.
    """

    tag: str
    sha256: str


class SmallFiles:
    """The small files of a working copy.

    Args:
        home: Root of the working copy.
        remote: What it is a copy of.
        notes: Folder that keeps what is known of both.
    """

    def __init__(self, home: Path, remote: Remote, notes: Path) -> None:
        self.home = home
        self.remote = remote
        self._place = notes / "files.json"
        self._lock = notes / ".files.lock"

    def sync(self) -> None:
        """Brings all of them to the same state on both sides.

        Raises:
            RemoteError: The URL cannot be reached.
        """
        with self._alone():
            known = self._read()
            here = small_files(self.home)
            there = {n: seen for n, seen in self.remote.listed(_FILES).items() if _is_ours(n)}
            # What is here and is not to be seen by others is left alone on both sides.
            names = [n for n in sorted({*there, *known}) if n in here or not self._is_here(n)]
            names = sorted({*here, *names})
            with ThreadPoolExecutor(_AT_ONCE) as several:
                states = several.map(
                    lambda name: self._settle(name, there.get(name), known.get(name)), names
                )
                found = {n: state for n, state in zip(names, states, strict=True) if state}
            if found != known:
                self._write(found)

    def send(self, path: Path) -> None:
        """Sends one as it is now; one that is gone is removed there as well.

        Args:
            path: Of the working copy.
        """
        name = path.relative_to(self.home).as_posix()
        state = None
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            self.remote.delete(f"{_FILES}/{name}")
        else:
            state = self._put(name, content)
        with self._alone():
            known = self._read()
            known.pop(name, None)
            self._write(known | ({name: state} if state else {}))

    def _settle(self, name: str, seen: Seen | None, noted: Noted | None) -> Noted | None:
        """Brings one to the same state on both sides; returns that, None for gone."""
        path = self.home / name
        with suppress(FileNotFoundError):  # removed here, as it seems
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if noted is None or digest != noted.sha256:  # changed here
                if seen is None or (noted is not None and seen.tag == noted.tag):
                    return self._put(name, content)
                if path.stat().st_mtime > seen.changed.timestamp():
                    return self._put(name, content)
                return self._get(name, seen)
            if seen is None:  # removed there
                path.unlink()
                return None
            if seen.tag != noted.tag:
                return self._get(name, seen)
            if path.stat().st_mtime < seen.changed.timestamp():  # a sign of life of its writer
                _set_time(path, seen)
            return noted
        if seen is None:
            return None
        if noted is not None and seen.tag == noted.tag:
            self.remote.delete(f"{_FILES}/{name}")
            return None
        return self._get(name, seen)

    def _is_here(self, name: str) -> bool:
        return (self.home / name).exists()

    def _put(self, name: str, content: bytes) -> Noted:
        tag = self.remote.replace(f"{_FILES}/{name}", content)
        return Noted(tag, hashlib.sha256(content).hexdigest())

    def _get(self, name: str, seen: Seen) -> Noted | None:
        content = self.remote.read(f"{_FILES}/{name}")
        if content is None:
            return None
        path = self.home / name
        write_atomic(path, content)
        _set_time(path, seen)
        return Noted(seen.tag, hashlib.sha256(content).hexdigest())

    def _alone(self) -> FileLock:
        """Held by one process of this machine at a time."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._lock)

    def _read(self) -> dict[str, Noted]:
        try:
            found = json.loads(self._place.read_bytes())
            return {name: Noted(tag, digest) for name, (tag, digest) in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # none yet, or damaged: then both sides are compared again

    def _write(self, known: dict[str, Noted]) -> None:
        write_atomic(self._place, json.dumps(known, indent=0, sort_keys=True).encode())


def _set_time(path: Path, seen: Seen) -> None:
    """Gives a file the time of its object, which tells whether its writer lives."""
    os.utime(path, (seen.changed.timestamp(), seen.changed.timestamp()))


def small_files(home: Path) -> dict[str, Path]:
    """The small files of a store that others may see, by name from its root.

    A card with a secret in it, by which data is fetched, stays where it was registered.

    Args:
        home: Root of the store.
    """
    from data_catalog.secrets import holds_secret

    found = {}
    for pattern in PATTERNS:
        for path in home.glob(pattern):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(home).as_posix()
                is_card = name.startswith("datasets/")
                if not (is_card and holds_secret(path.read_text("utf-8", "replace"))):
                    found[name] = path
    return found


def _is_ours(name: str) -> bool:
    """Whether a name of a listing is one that a working copy has; others lead out of it."""
    parts = name.split("/")
    if "\\" in name or any(part.startswith(".") or not part for part in parts):
        return False
    if parts[0] in ("runs", "failures"):
        return len(parts) == 2
    return parts[0] == "datasets" or (parts[0] == "data" and parts[2:] == ["current.json"])
