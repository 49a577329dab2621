"""A file of a published data set: fetched from one place after another, resumed and checked.

Until it is whole and has its digest it is a part in a hidden folder. Then it is renamed.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from data_catalog.fetching.checksum import Checksum, Digests, Noted, chunks_of
from data_catalog.fetching.transport import Answer, Broken, opened
from data_catalog.json_text import JSONError, load_json
from data_catalog.sources import SourceError, SourceUnavailable

KEPT = ".downloads"  # below the folder of a data set: parts, locks and what was set aside
TRIES = 5  # of one place, without a further byte
LONGEST_WAIT = 90.0  # seconds; a server that asks for more is left for the next place


@dataclass(frozen=True)
class RemoteFile:
    """A file that is wanted.

    Attributes:
        name: Its path in the folder of the data set, with forward slashes.
        places: Where it may be had, asked in turn: URLs, or paths of this machine.
        size: Its bytes, as published; None where they are not.
        checksum: As published; None where there is none.
        headers: Of requests to a place, such as one with a token.
    """

    name: str
    places: tuple[str, ...]
    size: int | None = None
    checksum: Checksum | None = None
    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in self.name:
            raise ValueError(f"the download {self.name!r} would land outside of its folder.")
        if not self.places:
            raise ValueError(f"the download {self.name!r} has no place. Name at least one.")


@dataclass(frozen=True)
class Ways:
    """How files are fetched, and who is told.

    Attributes:
        progress: Takes the bytes of a file that are there, and their total, None if unknown.
        say: Takes sentences for people: what is tried next, and why.
        wait: Waits some seconds.
    """

    progress: Callable[[int, int | None], None] = lambda _done, _total: None
    say: Callable[[str], None] = lambda _text: None
    wait: Callable[[float], None] = time.sleep


def fetch_file(wanted: RemoteFile, folder: Path, noted: Noted, ways: Ways) -> Path:
    """The file in `folder`, fetched now if it is not there.

    One that is there already, as after a download by hand, is checked and taken. Two processes
    that want the same file wait for each other.

    Args:
        wanted: The file.
        folder: Of the data set.
        noted: Digests of what was fetched before and has no published one.
        ways: How it is fetched.

    Raises:
        SourceError: No place gives the file as it was published; says of each why.
        SourceUnavailable: Likewise, and another try may succeed.
    """
    kept = folder / KEPT / wanted.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with alone(kept, lambda: ways.say(f"{wanted.name}: another process fetches it; waiting.")):
        target = folder / wanted.name
        if target.is_file() and _taken(wanted, target, kept, noted, ways):
            return target
        return _fetched(wanted, target, kept, noted, ways)


@contextmanager
def alone(place: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Holds the lock of `place` until the block ends.

    The system gives it back when the process ends, however it ends.

    Args:
        place: What is locked, by a file beside it.
        busy: Called before waiting for another process that has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(place.with_name(f"{place.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        busy()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _taken(wanted: RemoteFile, target: Path, kept: Path, noted: Noted, ways: Ways) -> bool:
    """Whether a file that is there is the wanted one; another is set aside."""
    size, digests = target.stat().st_size, Digests(wanted.checksum)
    done = 0
    for chunk in chunks_of(target):
        digests.update(chunk)
        done += len(chunk)
        ways.progress(done, size)
    try:
        _check(target, digests, wanted.checksum or _first(noted, wanted.places), kept, str(target))
    except SourceError as error:
        ways.say(f"{error} It is fetched again.")
        return False
    return True


def _first(noted: Noted, places: Iterable[str]) -> Checksum | None:
    """The digest that one of the places had before; None where nothing came from any."""
    return next(filter(None, map(noted.of, places)), None)


def _fetched(wanted: RemoteFile, target: Path, kept: Path, noted: Noted, ways: Ways) -> Path:
    failures: list[SourceError] = []
    for place in wanted.places:
        if failures:
            ways.say(f"{failures[-1]} Next is {place}.")
        try:
            part = _fetched_from(place, wanted, kept, ways)
            part.forget()  # it is the file now, or is set aside
            expected = wanted.checksum or noted.of(place)
            _check(part.file, part.digests, expected, kept, place)
        except SourceError as error:
            failures.append(error)
            continue
        if expected is None:
            noted.note(place, part.digests.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.file.replace(target)
        return target
    raise _failure(wanted, target, failures)


def _fetched_from(place: str, wanted: RemoteFile, kept: Path, ways: Ways) -> "_Part":
    """The whole file as one place gives it, beginning with what is there of it.

    Raises:
        SourceError: The place does not give it.
    """
    with _Part(wanted, kept) as part:
        mixed = part.adopt(place)
        _complete(place, wanted, part, ways)
        if mixed and wanted.checksum and not part.digests.fit(wanted.checksum, part.file):
            ways.say(f"{wanted.name}: what another place gave does not fit; it starts again.")
            part.restart("")
            _complete(place, wanted, part, ways)
    return part


def _complete(place: str, wanted: RemoteFile, part: "_Part", ways: Ways) -> None:
    """Brings a part to its end; what fails for a moment is tried again.

    Raises:
        SourceError: The place does not give the file.
    """
    stuck = 0
    while wanted.size is None or part.size != wanted.size:
        before = part.size
        try:
            with opened(place, before, part.version, wanted.headers.get(place)) as answer:
                _take(answer, place, wanted, part, ways)
            break
        except Broken as error:
            stuck = 0 if part.size > before else stuck + 1
            wait = error.wait_seconds if error.wait_seconds is not None else 2.0**stuck
            if stuck >= TRIES or wait > LONGEST_WAIT:
                raise
            ways.say(f"{error} Goes on in {wait:.0f} s.")
            ways.wait(wait)
    part.settle()


def _take(answer: Answer, place: str, wanted: RemoteFile, part: "_Part", ways: Ways) -> None:
    """Appends what a place gives to a part.

    Raises:
        SourceError: It is not as large as was published.
        Broken: It ended early.
    """
    total = answer.size if answer.size is not None else wanted.size
    if wanted.size is not None and total != wanted.size:
        raise SourceError(
            f"{place} has {total:,} bytes, and {wanted.size:,} were published: it is another file."
        )
    if answer.start != part.size or (part.version and answer.version != part.version):
        if part.size:
            ways.say(f"{place} cannot go on where it was: it starts again.")
        if answer.start:
            part.restart("")
            raise Broken(f"{place} has changed since it was begun.", 0.0)
        part.restart(answer.version)
    part.version = answer.version
    part.remember(place)
    for chunk in answer.chunks:
        part.write(chunk)
        ways.progress(part.size, total)
        if total is not None and part.size > total:
            break
    if total is not None and part.size != total:
        size = part.size
        if size > total:
            part.restart("")
        raise Broken(f"{place} gave {size:,} bytes of {total:,}.")


def _check(
    file: Path, digests: Digests, expected: Checksum | None, kept: Path, origin: str
) -> None:
    """Sets a file aside that is not as it was published, or as it was when it was first fetched.

    Args:
        file: That was read whole.
        digests: Of its bytes.
        expected: The digest that it should have; None takes it as it comes.
        kept: Where its parts are.
        origin: Where it came from.

    Raises:
        SourceError: Names both digests, and where the file is now.
    """
    if expected is None or digests.fit(expected, file):
        return
    found = digests.found(expected.kind, file)
    aside = kept.with_name(f"{kept.name}.wrong-{digests.sha256[:8]}")
    file.replace(aside)
    raise SourceError(
        f"{origin} has {found}, and {expected.source} is {expected}: it was changed or damaged, "
        f"and is set aside as {aside}."
    )


def _failure(wanted: RemoteFile, target: Path, failures: list[SourceError]) -> SourceError:
    """One error of those of all places."""
    reasons = " ".join(map(str, failures))
    again = any(isinstance(each, SourceUnavailable) for each in failures)
    way = "The same command goes on from here" if again else "Name another place with --from"
    told = f"{reasons} {way}; or fetch {wanted.name} by hand, put it at {target}, and ask again."
    return (SourceUnavailable if again else SourceError)(told)


class _Part:
    """What is there of a file that is being fetched. A context manager.

    Args:
        wanted: The file.
        kept: Its place among the parts, without suffix.
    """

    def __init__(self, wanted: RemoteFile, kept: Path) -> None:
        self.file = kept.with_name(f"{kept.name}.part")
        self._about = kept.with_name(f"{kept.name}.part.json")
        self._wanted = wanted
        self._open: IO[bytes] | None = None
        self.digests = Digests(wanted.checksum)
        self.size = 0
        self.place = self.version = ""

    def __enter__(self) -> "_Part":
        with suppress(OSError, JSONError, AttributeError):
            about: Any = load_json(self._about.read_bytes())
            self.place, self.version = str(about.get("place")), str(about.get("version"))
        if self.file.is_file() and self.place:
            for chunk in chunks_of(self.file):
                self.digests.update(chunk)
                self.size += len(chunk)
        self._open = self.file.open("ab" if self.size else "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()

    def adopt(self, place: str) -> bool:
        """Takes up what is there, where one can be sure that it is of the same file.

        Returns:
            Whether bytes of another place are in it. Only a published digest, which is looked at
            in the end, allows that.
        """
        if place != self.place:
            self.version = ""
        known = self._wanted.checksum is not None or self.version
        if not known or self.size > (self._wanted.size or self.size):
            self.restart("")
        return self.size > 0 and place != self.place

    def write(self, chunk: bytes) -> None:
        """Appends bytes."""
        self._file().write(chunk)
        self.digests.update(chunk)
        self.size += len(chunk)

    def restart(self, version: str) -> None:
        """Empties the part."""
        self._file().seek(0)
        self._file().truncate()
        self.digests = Digests(self._wanted.checksum)
        self.size, self.version = 0, version

    def remember(self, place: str) -> None:
        """Notes whose bytes these are, before the first of them is written."""
        self.place = place
        self._about.write_text(json.dumps({"place": place, "version": self.version}))

    def settle(self) -> None:
        """Closes the file; all that was written is in it."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def forget(self) -> None:
        """Takes away what was noted of a part that is whole."""
        self._about.unlink(missing_ok=True)

    def _file(self) -> IO[bytes]:
        if self._open is None:
            self._open = self.file.open("ab")
        return self._open
