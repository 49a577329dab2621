"""Which files lie at a place: what is hidden, links that lead nowhere, and kinds by suffix."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data_catalog.sources.base import digest_of, is_remote, open_place, reaching, stamp
from data_catalog.wording import plural, some

_JUNK = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"})
_NO_IMAGES = frozenset(
    [
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".md",
        ".rst",
        ".tex",
        ".html",
        ".htm",
        ".pdf",
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ods",
        ".mat",
        ".npy",
        ".npz",
        ".pkl",
        ".pickle",
        ".pt",
        ".pth",
        ".h5",
        ".hdf5",
        ".parquet",
        ".arrow",
        ".feather",
        ".zip",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".7z",
        ".rar",
        ".py",
        ".ipynb",
        ".sh",
        ".bat",
        ".m",
        ".log",
        ".lst",
        ".list",
        ".names",
        ".db",
        ".sqlite",
        ".md5",
        ".sha256",
        ".sha1",
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".wav",
        ".mp3",
    ]
)
_LINK_BYTES = 256  # a link that was copied as text is shorter
_LINKS_READ = 1000


class Listing(NamedTuple):
    """The files at or below a place.

    Attributes:
        fs: The file system.
        files: Its information on each file by path relative to the place, sorted by that path.
            Where the place is a file, its own name is the only key.
        dangling: Links to nothing, by path relative to the place, as all that follow.
        loops: Links to a folder that they lie in; not followed.
        odd: Pipes, sockets and devices; never opened.
        empty: Folders without any file.
    """

    fs: Any
    files: dict[str, dict[str, Any]]
    dangling: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """One sentence for each kind of entry that cannot be read."""
        said = []
        if self.dangling:
            said.append(f"{plural(len(self.dangling), 'link')} to nothing: {some(self.dangling)}")
        if self.loops:
            count = plural(len(self.loops), "link")
            said.append(f"{count} to a folder around it, not followed: {some(self.loops)}")
        if self.odd:
            said.append(f"no regular file, not opened: {some(self.odd)}")
        return said


def list_files(place: str) -> Listing:
    """Lists the files at or below `place`, without hidden ones; local links are followed.

    Raises:
        SourceError: Nothing is at `place`.
    """
    fs, root = open_place(place)
    with reaching(place):
        info = fs.info(root)
        if info["type"] != "directory" and not fs.isdir(root):
            return Listing(fs, {root.rpartition("/")[2]: info})
        if not is_remote(place):
            return _local(fs, root)
        found = fs.find(root, detail=True)
    files = {_text(name[len(root) :].lstrip("/")): info for name, info in found.items()}
    return Listing(fs, {name: files[name] for name in sorted(files) if not _hidden(name)})


def digest_files(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of the names, sizes and times of change of `files`, 16 hex digits."""
    return digest_of((name, *stamp(info)) for name, info in files.items())


def is_image_name(name: str) -> bool:
    """Whether a file may be an image: its suffix is not that of another kind of file."""
    return PurePosixPath(name).suffix.lower() not in _NO_IMAGES


def kinds_of_files(names: Iterable[str]) -> str:
    """Says how many files there are of each suffix, and names one of each."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in names:
        suffix = PurePosixPath(name).suffix.lower() or "no suffix"
        counts[suffix] += 1
        first.setdefault(suffix, name)
    return some(f"{count} {kind} ({first[kind]})" for kind, count in counts.most_common())


def folders_of(names: Iterable[str]) -> set[str]:
    """All folders that lie on the way to some files."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def is_pattern(place: str) -> bool:
    """Whether `place` is a pattern such as `data/train-*.parquet`, and not the name of a thing.

    What lies on this machine under exactly that name is never a pattern, and the `?` of a web
    address begins its query.
    """
    if is_remote(place):
        return "*" in place or ("?" in place and not place.startswith(("http://", "https://")))
    return ("*" in place or "?" in place) and not os.path.lexists(open_place(place)[1])


def match_files(pattern: str) -> tuple[Listing, str]:
    """Lists the files that `pattern` matches, by path relative to the first folder it leaves open.

    Returns:
        The listing, and the place of that folder.

    Raises:
        SourceError: The folder is not there.
    """
    fs, path = open_place(pattern)
    if is_remote(pattern):
        with reaching(pattern):
            found = fs.glob(path, detail=True)
        fixed = re.split(r"[*?]", path, maxsplit=1)[0].rpartition("/")[0]
        files = {name[len(fixed) :].lstrip("/"): info for name, info in sorted(found.items())}
        files = {name: info for name, info in files.items() if info["type"] == "file"}
        return Listing(fs, files), fixed
    root, wanted = _open_end(path)
    listing = list_files(root)
    from fsspec.utils import glob_translate

    matches = re.compile(glob_translate(wanted)).match
    return listing._replace(files={n: i for n, i in listing.files.items() if matches(n)}), root


def _open_end(path: str) -> tuple[str, str]:
    """Splits a local pattern into the folder that is there and the rest that is open."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        following = "/".join(parts[: count + 1])
        if set("*?") & set(parts[count]) and not os.path.lexists(following):
            return "/".join(parts[:count]) or "/", "/".join(parts[count:])
    return path, "*"


def _local(fs: Any, root: str) -> Listing:
    """Walks a folder of this machine, through links, but never round in a circle."""
    files: dict[str, dict[str, Any]] = {}
    dangling, loops, odd, empty = [], [], [], []

    def walk(folder: str, inside: str, around: frozenset[tuple[int, int]]) -> bool:
        """Lists one folder; returns whether it holds any file."""
        holds = False
        for entry in _entries(folder):
            name = _text(f"{inside}{entry.name}")
            try:
                status = entry.stat()
            except FileNotFoundError:
                dangling.append(name)
                continue
            except OSError:  # a link to itself
                loops.append(name)
                continue
            here = (status.st_dev, status.st_ino)
            if entry.is_dir():
                if here in around:
                    loops.append(name)
                elif walk(entry.path, f"{name}/", around | {here}):
                    holds = True
                else:
                    empty.append(name)
            elif entry.is_file():
                holds = True
                files[name] = {
                    "name": entry.path,
                    "size": status.st_size,
                    "type": "file",
                    "mtime": status.st_mtime,
                }
            else:
                odd.append(name)
        return holds

    status = Path(root).stat()
    walk(root, "", frozenset({(status.st_dev, status.st_ino)}))
    return Listing(
        fs,
        {name: files[name] for name in sorted(files)},
        *(tuple(sorted(names)) for names in (dangling, loops, odd, empty)),
    )


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not _hidden(entry.name))


def copied_links(place: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Small files that hold the path of something that is there, and nothing else.

    Git writes a link so where links are switched off, and so do some archives.

    Args:
        place: Folder that was listed.
        files: Its files, as `Listing` has them.

    Returns:
        What each of them names, by its path relative to the local folder `place`.
    """
    if is_remote(place):
        return {}
    found = {}
    small = [name for name, info in files.items() if 0 < info["size"] < _LINK_BYTES]
    for name in small[:_LINKS_READ]:
        file = Path(files[name]["name"])
        with reaching(place):
            text = file.read_bytes().decode("utf-8", "replace")
        alike = PurePosixPath(text).suffix.lower() == file.suffix.lower()
        if alike and text.isprintable() and (file.parent / text).exists():
            found[name] = text
    return found


def _text(name: str) -> str:
    """A file name that Parquet can hold: bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _hidden(name: str) -> bool:
    """Whether a file belongs to a system's bookkeeping and not to the data."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in name.split("/"))
