"""Other stores, read through fsspec: a folder, or a URL such as s3://bucket/store."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from data_catalog.secrets import redact
from operators.files import at_home
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

_LABELLED = re.compile(r"(?P<label>[\w.-]+)=(?P<place>.+)")
_FOLDER = ".shotboard"  # what a store is called that has no name
_ID = re.compile(r"[0-9a-f]{16}")
RUN_NUMBERS = ".numbers.parquet"


@dataclass(frozen=True)
class Source:
    """A store that is only read.

    Attributes:
        label: What it is called on the board.
        place: As the user named it, without secrets.
        files: Its file system.
        root: Its folder there.
    """

    label: str
    place: str
    files: Any
    root: str

    def trials(self) -> list[str]:
        """Ids of the completed trials; sorted."""
        return [name for name in self.names("trials") if _ID.fullmatch(name)]

    def names(self, *folder: str) -> list[str]:
        """Names in a folder that are not hidden, sorted; none where it is absent."""
        try:
            entries = self.files.ls(self._path(*folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry.rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if name and not name.startswith("."))

    def read(self, *path: str) -> bytes:
        """A file, whole.

        Raises:
            OSError: It cannot be read.
        """
        return self.files.cat_file(self._path(*path))

    def folder(self, *path: str) -> dict[str, bytes]:
        """The files of a folder by name; folders in it are passed over.

        Raises:
            OSError: One cannot be read.
        """
        found = {}
        for name in self.names(*path):
            if not self.files.isdir(self._path(*path, name)):
                found[name] = self.read(*path, name)
        return found

    def _path(self, *parts: str) -> str:
        return "/".join([self.root, *parts])


def sources_of(texts: Sequence[str], into: Store) -> list[Source]:
    """The stores that texts name, `LABEL=PLACE` or a place alone.

    Args:
        texts: As the user wrote them.
        into: The store that they come into.

    Raises:
        RequestError: One is no store, is the one itself, or has the label of another.
    """
    found = [_source(text) for text in texts]
    for source in found:
        if source.files.protocol in ("file", ("file", "local")) and _same(source.root, into):
            raise RequestError(f"{source.place} is the store itself: name others.")
    for label, places in _by_label(found):
        if len(places) > 1:
            raise RequestError(
                f"{' and '.join(places)} would both be called {label} on the board: name them "
                f"apart, such as lab-a={places[0]}."
            )
    return found


def _source(text: str) -> Source:
    labelled = _LABELLED.fullmatch(text)
    place = labelled["place"] if labelled else text
    shown = redact(place)
    is_url = "://" in place
    place = _working_copy(place) if is_url else str(at_home(place).absolute())
    try:
        files, root = fsspec.core.url_to_fs(place)
        there = files.isdir(f"{root}/trials")
    except (ImportError, ValueError, OSError) as error:
        raise RequestError(f"{shown} cannot be read: {error}. Give a folder or a URL.") from error
    if not there:
        raise RequestError(f"{shown} is no store: it has no folder `trials`.")
    root = root.rstrip("/")
    *_, above, name = ["", *root.split("/")]
    label = labelled["label"] if labelled else (above if name == _FOLDER else name)
    return Source(label or name, shown, files, root)


def _working_copy(url: str) -> str:
    """Where the trials of a URL lie as folders: here, where it is a store that runs write to.

    Raises:
        OSError: It cannot be reached.
    """
    with suppress(ValueError):  # a kind of place that can be read and not written
        store = Store.placed(url)
        if store.copy is not None and store.copy.is_store():
            store.refresh()
            store.sync()
            return str(store.home)
    return url


def _same(root: str, into: Store) -> bool:
    return Path(root).resolve() == into.home.resolve()


def _by_label(found: Sequence[Source]) -> Iterator[tuple[str, list[str]]]:
    for label in dict.fromkeys(source.label for source in found):
        yield label, [source.place for source in found if source.label == label]
