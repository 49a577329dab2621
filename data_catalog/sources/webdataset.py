"""Tar shards of WebDataset: members that share a name up to its first dot are one sample."""

import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from typing import Any

from data_catalog.reasons import EMPTY
from data_catalog.sources.base import Example, SourceError, is_remote, reaching
from data_catalog.sources.listing import (
    Listing,
    digest_files,
    is_pattern,
    kinds_of_files,
    list_files,
    match_files,
)
from data_catalog.sources.parquet import split_of_file
from data_catalog.sources.unpacking import refuse_cut
from data_catalog.wording import plural, some

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
IMAGE_PARTS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "img"})
LABEL_PART = "cls"
NAMES_FILE = "classnames.txt"
_PEEKED = 12  # members that tell what a tar holds


@dataclass(frozen=True)
class WebDataset:
    """Shards such as `train/0.tar`, whose samples are an image and a `.cls` with its label.

    The split is what the name of a shard or of its folder starts with. Names of labels come from
    `classnames.txt` beside the shards, one a line, where it is there. Other parts of samples, such
    as captions, are counted and not read.

    Attributes:
        path: Place of a folder, a shard or a pattern such as `imagenet-train-*.tar`.
    """

    path: str

    def examples(self) -> Iterator[Example]:
        """Yields every sample, shard by shard in order of name; see `Source.examples`."""
        listing, shards = self._shards()
        names = self._class_names(listing)
        for shard, info in shards.items():
            for key, parts in self._samples(listing.fs, info, images=True):
                yield self._example(shard, key, parts, names)

    def listed(self) -> Iterator[Example] | None:
        """Yields every sample without its image; None where that means reading all shards."""
        if is_remote(self.path):
            return None
        return self._listed()

    def total(self) -> int | None:
        """Samples of all shards; None where they are not on this machine."""
        listed = self.listed()
        return None if listed is None else sum(1 for _ in listed)

    def signature(self) -> str:
        """Digest of the names, sizes and times of change of the shards and of the class names."""
        listing, shards = self._shards()
        names = {name: info for name, info in listing.files.items() if name == NAMES_FILE}
        return digest_files(shards | names)

    def describe(self) -> str:
        """The number of shards and where they are."""
        return f"images in {plural(len(self._shards()[1]), 'WebDataset shard')} at {self.path}"

    def notes(self) -> list[str]:
        """Files and parts of samples that are not read; see `Outlined.notes`."""
        listing, shards = self._shards()
        others = [name for name in listing.files if name not in shards and name != NAMES_FILE]
        said = listing.notes()
        if others:
            said.append(f"{plural(len(others), 'other file')}, not read: {kinds_of_files(others)}")
        if not is_remote(self.path):
            parts = Counter(
                part
                for info in shards.values()
                for _, sample in self._samples(listing.fs, info, images=False)
                for part in sample
                if part not in IMAGE_PARTS and part != LABEL_PART
            )
            if parts:
                listed = some(f"{count} .{part}" for part, count in parts.most_common())
                said.append(f"parts of samples that are not read: {listed}")
        return said

    def _listed(self) -> Iterator[Example]:
        listing, shards = self._shards()
        names = self._class_names(listing)
        for shard, info in shards.items():
            for key, parts in self._samples(listing.fs, info, images=False):
                yield self._example(shard, key, parts, names)._replace(content=b"", error="")

    def _shards(self) -> tuple[Listing, dict[str, dict[str, Any]]]:
        listing = match_files(self.path)[0] if is_pattern(self.path) else list_files(self.path)
        shards = {n: i for n, i in listing.files.items() if n.lower().endswith(SHARD_SUFFIXES)}
        if not shards:
            raise SourceError(f"no .tar shard at {self.path}. Give the folder that holds them.")
        return listing, shards

    def _class_names(self, listing: Listing) -> list[str]:
        info = listing.files.get(NAMES_FILE)
        if info is None:
            return []
        with reaching(self.path):
            text = bytes(listing.fs.cat_file(info["name"])).decode("utf-8-sig", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _samples(
        self, fs: Any, info: Mapping[str, Any], *, images: bool
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Key and parts of each sample; parts that are not needed are empty bytes."""
        key, parts = "", {}
        with open_shard(fs, info["name"], self.path) as shard:
            for member in shard:
                if not member.isfile():
                    continue
                name, part = split_key(member.name)
                if name != key and parts:
                    yield key, parts
                    parts = {}
                key = name
                wanted = part == LABEL_PART or (images and part in IMAGE_PARTS)
                content = shard.extractfile(member) if wanted else None
                parts[part] = content.read() if content else b""
            refuse_cut(shard, info["name"])
        if parts:
            yield key, parts

    def _example(
        self, shard: str, key: str, parts: Mapping[str, bytes], names: list[str]
    ) -> Example:
        """One sample; a label that is no number is a class name."""
        image = next((content for part, content in parts.items() if part in IMAGE_PARTS), b"")
        text = parts.get(LABEL_PART, b"").decode("utf-8", "replace").strip()
        label = int(text) if text.lstrip("-").isdecimal() else None
        name = text if label is None else None
        if label is not None and names and label >= 0:
            if label >= len(names):
                raise SourceError(
                    f"{self.path}: sample {key} of {shard} has label {label}, and {NAMES_FILE} "
                    f"names {len(names)} classes. Correct one of the two."
                )
            name = names[label]
        return Example(
            content=image,
            path=f"{shard}/{key}",
            label=label,
            class_name=name or None,
            split=split_of_file(shard),
            error="" if image else f"{EMPTY}: the sample has no image",
        )


def split_key(name: str) -> tuple[str, str]:
    """The key of a member's sample and the part that it is: `a/1.cls` is `cls` of `a/1`."""
    folder, slash, last = name.rpartition("/")
    key, _, part = last.partition(".")
    return f"{folder}{slash}{key}", part.lower()


def is_shard(fs: Any, path: str, place: str) -> bool:
    """Whether the first members of a tar are samples of an image and a label.

    Args:
        fs: File system of the path.
        path: Path as `fs` uses it.
        place: What to call it in errors.
    """
    parts: set[str] = set()
    with open_shard(fs, path, place) as shard:
        for _, member in zip(range(_PEEKED), shard, strict=False):
            parts.add(split_key(member.name)[1])
    return LABEL_PART in parts and bool(parts & IMAGE_PARTS)


@contextmanager
def open_shard(fs: Any, path: str, place: str) -> Iterator[tarfile.TarFile]:
    """Opens a tar for reading in order.

    Args:
        fs: File system of the path.
        path: Path as `fs` uses it.
        place: What to call it in errors.

    Raises:
        SourceError: It is missing, damaged or no tar.
    """
    try:
        with reaching(place), fs.open(path, "rb") as file, tarfile.open(fileobj=file) as shard:
            yield shard
    except (tarfile.TarError, EOFError, zlib.error, LZMAError) as error:
        raise SourceError(f"{path} is no whole tar ({error}). Fetch it again.") from error
