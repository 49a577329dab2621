"""The ways to a whole published data set: its authors' files, and what others keep of it."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from data_catalog.fetching.checksum import Checksum, checksum
from data_catalog.fetching.files import RemoteFile
from data_catalog.fetching.hub import HUB, hub_files
from data_catalog.sources.archive import SUFFIXES
from data_catalog.sources.base import absolute
from data_catalog.wording import some

if TYPE_CHECKING:
    from data_catalog.published import Download, PublishedDataset


@dataclass(frozen=True)
class Part:
    """A file of an offer, and what becomes of it.

    Attributes:
        file: The file, by its path below the folder of the data set.
        into: Folder that its content is unpacked into, likewise; empty for itself.
        unpacks: Whether it is an archive that is unpacked.
        optional: Whether the data set can be read without it.
    """

    file: RemoteFile
    into: str
    unpacks: bool
    optional: bool = False

    def digest(self) -> str:
        """What tells this archive from another of its name."""
        return str(self.file.checksum or self.file.size or "as it came")


class Sourced(NamedTuple):
    """A download, and all places that have it.

    Attributes:
        download: As it is known.
        places: URLs or paths, in the order in which they are asked.
    """

    download: "Download"
    places: tuple[str, ...]

    def parts(self) -> list[Part]:
        """Its files; a repository of a hub is asked for its own.

        Raises:
            SourceError: The hub does not give it.
            SourceUnavailable: It cannot be reached.
        """
        known = self.download
        if _is_repository(self.places[0]):
            files = hub_files(self.places[0], known.revision, known.into)
            named = known.url != _home(known.url)  # else shards, which are read as they are
            return [Part(file, known.into, named and _is_packed(file.name)) for file in files]
        name = f"{known.into}/{file_name(known)}" if known.into else file_name(known)
        file = RemoteFile(name, self.places, known.size_bytes, published_checksum(known))
        return [Part(file, known.into, _is_packed(name), known.optional)]


class Offer(NamedTuple):
    """One way to all of a data set.

    Attributes:
        title: Whose files these are, for people.
        sources: The downloads that it takes.
        folder: Below that of the data set, where they go; empty for itself. Files that are not
            those of the authors lie apart from these.
    """

    title: str
    sources: Sequence[Sourced]
    folder: str = ""


def offers(dataset: "PublishedDataset", chosen: str = "") -> list[Offer]:
    """All ways to a data set, the authors' files first; none where nothing may be fetched.

    A mirror of one file, by its name and folder, is a further place of it. Others are ways of
    their own, those of one repository or folder together.

    Args:
        dataset: What is known of it.
        chosen: A part of the address of a mirror; or a URL or folder that has the authors' files
            under their names. Empty for all ways.

    Raises:
        ValueError: Neither a mirror nor a place is called so.
    """
    own, copies, title = _own(dataset)
    same = {(file_name(each), each.into) for each in own}
    sourced = []
    for each in own:
        key = file_name(each), each.into
        others = [c.url for c in copies if (file_name(c), c.into) == key]
        sourced.append(Sourced(each, (each.url, *others)))
    found = [Offer(title, sourced)] if sourced else []
    groups: dict[str, list[Download]] = {}
    for each in copies:
        if (file_name(each), each.into) not in same:
            groups.setdefault(_home(each.url), []).append(each)
    for home, members in groups.items():
        folder = "-".join(filter(str.isprintable, home.split("://")[-1].split("/")[-2:]))
        sources = [Sourced(each, (each.url,)) for each in members]
        found.append(Offer(home, sources, f"mirror-{folder}"))
    return _chosen(dataset, found, chosen) if chosen else found


def _own(dataset: "PublishedDataset") -> tuple[list["Download"], list["Download"], str]:
    """The authors' files, what others keep, and whose the first are.

    Where the authors give nothing, the first copy stands for what they gave.
    """
    own = [each for each in dataset.downloads if not each.mirror]
    copies = [each for each in dataset.downloads if each.mirror]
    if own or not copies or _is_repository(copies[0].url):
        return own, copies, "the authors' files"
    home = _home(copies[0].url)
    first = [each for each in copies if _home(each.url) == home]
    return first, [each for each in copies if each not in first], home


def _chosen(dataset: "PublishedDataset", found: list[Offer], chosen: str) -> list[Offer]:
    """The ways of one mirror, or of a place that nobody knew."""
    fitting = []
    for offer in found:
        sources = [
            Sourced(download, tuple(place for place in places if chosen in place))
            for download, places in offer.sources
        ]
        if all(places for _, places in sources):
            fitting.append(Offer(offer.title, sources, offer.folder))
    if fitting:
        return fitting
    own = _own(dataset)[0]
    if own and ("://" in chosen or Path(posixpath.expanduser(chosen)).is_dir()):
        base = absolute(chosen).rstrip("/")
        sources = [Sourced(each, (f"{base}/{file_name(each)}",)) for each in own]
        return [Offer(base, sources)]
    known = dict.fromkeys(_host(each.url) for each in dataset.downloads)
    raise ValueError(
        f"--from {chosen}: no mirror of {dataset.name} is called so, and no folder here. There is: "
        f"{some(known, 10) or 'none'}; or give a URL or folder with the files that `shotboard "
        f"datasets show {dataset.name}` names."
    )


def published_checksum(download: "Download") -> Checksum | None:
    """The strongest digest that is published; None where there is none."""
    for kind in ("sha256", "md5"):
        if digits := getattr(download, kind):
            return checksum(kind, digits)
    return None


def file_name(download: "Download") -> str:
    """What the file of a download is called; of a repository, its own name."""
    return download.file or unquote(PurePosixPath(urlsplit(download.url).path).name)


def _is_packed(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_repository(place: str) -> bool:
    """Whether a place is one of a hub, which gives its files by commit."""
    return place.startswith(HUB)


def _home(url: str) -> str:
    """The repository or the folder that a file lies in."""
    if _is_repository(url):
        return "/".join(url.split("/")[:5])
    return url.rpartition("/")[0]


def _host(url: str) -> str:
    return _home(url).removeprefix(HUB) if _is_repository(url) else urlsplit(url).netloc
