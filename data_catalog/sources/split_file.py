"""Images and classes named by a split file: JSON with a list of images for each split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_catalog.sources.base import Example, SourceError, digest_of, read_images, stamp
from data_catalog.sources.listing import (
    Listing,
    is_image_name,
    kinds_of_files,
    list_files,
)
from data_catalog.split_lists import listed_rows, read_splits
from data_catalog.wording import plural, some

_PROBED = 50  # images of the file that are looked for below a folder
_FILE_BYTES = 512 << 20


@dataclass(frozen=True)
class SplitFile:
    """The layout of CoOp's data: `split_zhou_<set>.json` beside a folder of images.

    The file holds an object of train, val and test, each a list of `[path, label, class name]`.
    Paths are relative to one folder below that of the file, which is looked for. Classes, their
    order and the order of the rows are those of the file.

    Source of the layout: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022,
    whose code publishes such a file for ten of its data sets.

    Attributes:
        path: Place of the folder.
        file: Path of the JSON file, relative to it.
    """

    path: str
    file: str

    def examples(self) -> Iterator[Example]:
        """Yields the rows of train, then val, then test; see `Source.examples`."""
        yield from self.picked(range(len(self._rows()[1])))

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields some rows; see `Picking.picked`."""
        listing, every, below = self._rows()
        rows = [every[position] for position in positions]
        # A row without a file is a bad image, for ingestion to quarantine.
        root = listing.files[self.file]["name"][: -len(self.file)]
        known = {name: info["name"] for name, info in listing.files.items()}
        paths = (known.get(f"{below}{row.path}", f"{root}{below}{row.path}") for row in rows)
        for row, (image, error) in zip(
            rows, read_images(listing.fs, self.path, paths), strict=True
        ):
            yield row._replace(content=image, error=error)

    def listed(self) -> Iterator[Example]:
        """Yields every row without its image; see `Outlined.listed`."""
        yield from self._rows()[1]

    def total(self) -> int:
        """Rows of all splits."""
        return len(self._rows()[1])

    def signature(self) -> str:
        """Digest of the file and of each image's size and time of change."""
        listing, rows, below = self._rows()
        infos = (listing.files.get(f"{below}{row.path}") for row in rows)
        return digest_of(
            [stamp(listing.files[self.file]), *(info and stamp(info) for info in infos)]
        )

    def describe(self) -> str:
        """The file, and the folder that its paths start at."""
        below = self._rows()[2]
        where = f"{self.path}/{below}".rstrip("/")
        return f"images, classes and splits named by {self.path}/{self.file}, images in {where}"

    def notes(self) -> list[str]:
        """Images that are missing or not in the file; see `Outlined.notes`."""
        listing, rows, below = self._rows()
        named = {f"{below}{row.path}" for row in rows}
        missing = sorted(named - listing.files.keys())
        others = sorted(listing.files.keys() - named - {self.file})
        images = [name for name in others if is_image_name(name)]
        others = [name for name in others if not is_image_name(name)]
        said = listing.notes()
        if missing:
            said.append(f"{plural(len(missing), 'image')} of the file missing: {some(missing, 3)}")
        if images:
            said.append(
                f"{plural(len(images), 'image')} not in the file, not read: {some(images, 3)}"
            )
        if others:
            said.append(
                f"{plural(len(others), 'file')} of other kinds, not read: {kinds_of_files(others)}"
            )
        return said

    def _rows(self) -> tuple[Listing, list[Example], str]:
        """All files, the rows without images, and the folder of the images, with its slash."""
        listing = list_files(self.path)
        info = listing.files.get(self.file)
        if info is None:
            raise SourceError(f"no file {self.file} in {self.path}. Check the name.")
        try:
            listed = listed_rows(_content(listing.fs, info), f"{self.path}/{self.file}")
        except ValueError as error:
            raise SourceError(str(error)) from error
        rows = [Example(b"", *row) for row in listed]
        if not any("\\" in name for name in listing.files):  # else a file may be called so
            rows = [row._replace(path=row.path.replace("\\", "/")) for row in rows]
        return listing, rows, self._folder(listing, rows)

    def _folder(self, listing: Listing, rows: list[Example]) -> str:
        """The folder at which most of the first paths are there; the nearest, if several."""
        probes = [row.path for row in rows[:: max(1, len(rows) // _PROBED)]]
        ends = {
            name[: len(name) - len(probe)]
            for probe in probes[:5]
            for name in listing.files
            if name == probe or name.endswith(f"/{probe}")
        }
        found = {end: sum(f"{end}{probe}" in listing.files for probe in probes) for end in ends}
        best = max(sorted(found, key=len), key=lambda end: found[end], default=None)
        if best is None:
            raise SourceError(
                f"none of the {plural(len(rows), 'image')} of {self.path}/{self.file} is in "
                f"{self.path}: looked for {probes[0]}. Put the images below that folder."
            )
        return best


def is_split_file(fs: Any, info: Mapping[str, Any]) -> bool:
    """Whether a file holds the lists of a split file.

    Args:
        fs: File system of the file.
        info: Its information on the file.
    """
    return read_splits(_content(fs, info)) is not None


def _content(fs: Any, info: Mapping[str, Any]) -> bytes:
    """The bytes of a file; none where it is far too large for a split file."""
    if info["size"] is None or info["size"] > _FILE_BYTES:
        return b""
    return bytes(fs.cat_file(info["name"]))
