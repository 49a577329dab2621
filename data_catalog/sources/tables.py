"""One table for each split, such as `train.csv` and `test.csv`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data_catalog.sources import columns as cols
from data_catalog.sources.base import Example, digest_of
from data_catalog.sources.manifest import Manifest, notes_of


@dataclass(frozen=True)
class SplitTables:
    """Tables that each name the images of one split, read one after the other as a `Manifest`.

    A split that a table has a column for goes before that of the table.

    Attributes:
        path: Folder of the tables.
        tables: Table of each split, relative to the folder.
        columns: Column by part, where the usual names do not fit; the same in all tables.
    """

    path: str
    tables: Mapping[str, str]
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        cols.check_roles(self.columns)

    def examples(self) -> Iterator[Example]:
        """Yields the rows of each table; see `Source.examples`."""
        for table in self._tables():
            yield from table.examples()

    def listed(self) -> Iterator[Example]:
        """Yields every row without its image; see `Outlined.listed`."""
        for table in self._tables():
            yield from table.listed()

    def total(self) -> int:
        """Rows of all tables."""
        return sum(table.total() for table in self._tables())

    def signature(self) -> str:
        """Digest of the signatures of the tables."""
        return digest_of((table.split, table.signature()) for table in self._tables())

    def describe(self) -> str:
        """The tables and where they are."""
        tables = ", ".join(f"{split} {table}" for split, table in self.tables.items())
        return f"image files named by a table for each split ({tables}) in {self.path}"

    def notes(self) -> list[str]:
        """Images that are missing, found elsewhere or in no row; see `Outlined.notes`."""
        return notes_of(self._tables())

    def _tables(self) -> list[Manifest]:
        """The table of each split, in the order of the card."""
        return [
            Manifest(f"{self.path}/{table}", self.columns, root=self.path, split=split)
            for split, table in self.tables.items()
        ]
