"""A published data set, fetched: what its authors give, else a copy that others keep."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data_catalog.fetching.checksum import Noted
from data_catalog.fetching.files import KEPT, Ways, alone, fetch_file
from data_catalog.fetching.offers import Offer, Part, offers
from data_catalog.fetching.unpacked import is_unpacked, unpack_into
from data_catalog.sources import SourceError, SourceUnavailable

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset

_SPARE_BYTES = 256 << 20  # that a disk has left when all is there


class Telling(NamedTuple):
    """Who is told how far it is.

    Attributes:
        fetching: Takes the name of a file; its ways hold while it is fetched.
        say: Takes a sentence.
    """

    fetching: Callable[[str], AbstractContextManager[Ways]]
    say: Callable[[str], None]


def get_published(
    dataset: "PublishedDataset",
    folder: Path,
    noted: Noted,
    telling: Telling,
    *,
    chosen: str = "",
    keep_archives: bool = False,
) -> Path:
    """Brings all files of a published data set below `folder`, and unpacks its archives.

    What is there is checked and not fetched again, so that a process that was stopped is followed
    by another that goes on.

    Args:
        dataset: What is known of it.
        folder: Where its files go.
        noted: Digests of what was fetched before.
        telling: Who is told how far it is.
        chosen: A mirror, or a place with files of the same names; empty asks the authors first.
        keep_archives: Whether archives stay when they are unpacked.

    Returns:
        The folder that its card reads.

    Raises:
        SourceError: It cannot be fetched; the message says what to fetch by hand, and where.
        ValueError: No mirror is called as `chosen`.
        OSError: The disk has no room.
    """
    failures: list[SourceError] = []
    found = offers(dataset, chosen)
    for number, offer in enumerate(found):
        try:
            return _get(offer, folder / offer.folder, noted, telling, keep_archives=keep_archives)
        except SourceError as error:
            failures.append(error)
            if number + 1 < len(found):
                telling.say(f"{error} Next is {found[number + 1].title}.")
    by_hand = f"{dataset.by_hand}: shotboard datasets add {dataset.name} --path FOLDER."
    if not failures:
        raise SourceError(by_hand)
    again = any(isinstance(each, SourceUnavailable) for each in failures)
    reasons = " ".join(map(str, failures))
    raise (SourceUnavailable if again else SourceError)(f"{reasons} By hand: {by_hand}")


def _get(
    offer: Offer, folder: Path, noted: Noted, telling: Telling, *, keep_archives: bool
) -> Path:
    parts = [part for source in offer.sources for part in source.parts()]
    missing = [part for part in parts if not _is_there(part, folder)]
    _refuse_full(missing, folder)
    for part in missing:
        kept = folder / KEPT / f"{part.file.name}.archive"
        kept.parent.mkdir(parents=True, exist_ok=True)
        with alone(kept, lambda: telling.say("another process fetches the same; waiting.")):
            if _is_there(part, folder):
                continue
            try:
                with telling.fetching(part.file.name) as ways:
                    file = fetch_file(part.file, folder, noted, ways)
            except SourceError as error:
                if not part.optional:
                    raise
                telling.say(f"{error} It goes on without.")
                continue
            if part.unpacks:
                telling.say(f"unpacks {part.file.name}")
                unpack_into(file, folder / part.into, _receipt(part, folder), part.digest())
                if not keep_archives:
                    file.unlink()
    return folder


def _is_there(part: Part, folder: Path) -> bool:
    """Whether an archive is unpacked; all other files are looked at when they are fetched."""
    return part.unpacks and is_unpacked(folder / part.into, _receipt(part, folder), part.digest())


def _receipt(part: Part, folder: Path) -> Path:
    return folder / KEPT / f"{part.file.name}.unpacked"


def _refuse_full(parts: Sequence[Part], folder: Path) -> None:
    """Refuses a disk that has no room for what is to come, as far as sizes are known.

    Raises:
        OSError: As said. Pictures are about as large as the archive that they are in, which goes
            when they are there.
    """
    files = [(part, part.file.size) for part in parts if part.file.size is not None]
    if not files:
        return
    need = sum(size for part, size in files if not (folder / part.file.name).is_file())
    need += max((size for part, size in files if part.unpacks), default=0)
    for part, _ in files:
        with suppress(OSError):
            need -= (folder / KEPT / f"{part.file.name}.part").stat().st_size
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    if need + _SPARE_BYTES > free:
        raise OSError(
            f"{folder} needs about {need / 2**30:.2g} GiB more, and {free / 2**30:.2g} GiB are "
            "free there. Make room, or give a folder on another disk with --to."
        )


def download_bytes(dataset: "PublishedDataset") -> int | None:
    """Bytes that `get_published` would fetch of the authors' files; None where one is not known."""
    found = offers(dataset)
    sizes = [source.download.size_bytes for source in found[0].sources] if found else [None]
    return None if None in sizes else sum(filter(None, sizes))
