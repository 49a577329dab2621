"""A published dataset as its original files lie on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_catalog.sources.base import Example, SourceError, digest_of, read_images, stamp
from data_catalog.sources.listing import Listing, is_image_name, list_files
from data_catalog.wording import did_you_mean, plural, some

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset, Reading, Tree


@dataclass(frozen=True)
class Published:
    """The files of a dataset of `PUBLISHED`, in the layout of its authors or of CoOp's code.

    Attributes:
        dataset: Name in `PUBLISHED`.
        path: Place of its files.
    """

    dataset: str
    path: str

    def examples(self) -> Iterator[Example]:
        """Yields the rows of train, then val, then test; see `Source.examples`."""
        yield from self.picked(range(len(self.reading().rows)))

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields some rows; see `Picking.picked`."""
        listing, _, reading = self._read()
        rows = [reading.rows[position] for position in positions]
        if reading.contents is not None:
            chosen = set(positions)
            every = enumerate(reading.contents())
            contents = ((content, "") for position, content in every if position in chosen)
        else:
            # A row without a file is a bad image, for ingestion to quarantine.
            known = {name: info["name"] for name, info in listing.files.items()}
            root = self._root(listing)
            paths = (known.get(row.path, f"{root}{row.path}") for row in rows)
            contents = read_images(listing.fs, self.path, paths)
        for row, (content, error) in zip(rows, contents, strict=True):
            yield Example(content, *row, error=error)

    def listed(self) -> Iterator[Example]:
        """Yields every row without its content; see `Outlined.listed`."""
        yield from (Example(b"", *row) for row in self.reading().rows)

    def total(self) -> int:
        """Rows of all splits."""
        return len(self.reading().rows)

    def signature(self) -> str:
        """Digest of the files that are read, their sizes and times of change, and of the reader."""
        listing, tree, reading = self._read()
        files = [*tree.opened, *(row.path for row in reading.rows)]
        infos = (listing.files.get(name) for name in dict.fromkeys(files))
        dataset = self.known()
        return digest_of(
            [dataset.name, dataset.revision, *(info and stamp(info) for info in infos)]
        )

    def holds(self) -> str:
        """The kind of data of the dataset."""
        return self.known().kind

    def describe(self) -> str:
        """The dataset, its place, and how its splits came about."""
        return f"{self.known().title} at {self.path}, splits {self.reading().rule}"

    def notes(self) -> list[str]:
        """What the reader says, and images that are missing or not read; see `Outlined.notes`."""
        listing, tree, reading = self._read()
        said = [*listing.notes(), *reading.notes]
        if reading.contents is not None:
            return said
        named = {row.path for row in reading.rows}
        missing = sorted(named - listing.files.keys())
        others = listing.files.keys() - named - set(tree.opened)
        images = sorted(name for name in others if is_image_name(name))
        if missing:
            said.append(f"{plural(len(missing), self.holds())} missing: {some(missing, 3)}")
        if images:
            said.append(f"{plural(len(images), 'file')} in no split, not read: {some(images, 3)}")
        return said

    def known(self) -> "PublishedDataset":
        """What is known of the dataset.

        Raises:
            SourceError: Nothing is, under this name.
        """
        from data_catalog.published import PUBLISHED  # most commands need none of them

        if self.dataset not in PUBLISHED:
            raise SourceError(
                f"no published dataset is known as {self.dataset!r}. "
                f"{did_you_mean(self.dataset, PUBLISHED)}"
            )
        return PUBLISHED[self.dataset]

    def reading(self) -> "Reading":
        """All rows, and how they come to their splits.

        Raises:
            SourceError: The files are not those of the dataset; the message says how to get them.
        """
        return self._read()[2]

    def _read(self) -> "tuple[Listing, Tree, Reading]":
        from data_catalog.published import LayoutError, Tree

        dataset = self.known()
        listing = list_files(self.path)
        tree = Tree(
            self.path,
            list(listing.files),
            lambda name: bytes(listing.fs.cat_file(listing.files[name]["name"])),
        )
        try:
            return listing, tree, dataset.read(tree)
        except LayoutError as error:
            raise SourceError(f"{dataset.name}: {error}. {dataset.by_hand}.") from error

    def _root(self, listing: Listing) -> str:
        name, info = next(iter(listing.files.items()))
        return info["name"][: len(info["name"]) - len(name)]
