"""A dataset of the Hugging Face hub, as the files of one commit."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from data_catalog.sources import columns as cols
from data_catalog.sources.base import Example, digest_of, examples_from
from data_catalog.sources.parquet import ParquetImages
from data_catalog.sources.texts import TextTables, holds_texts

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")


@dataclass(frozen=True)
class HuggingFace:
    """The Parquet files of `repo` at the commit `revision`; of texts, also CSV and JSON Lines.

    A branch or tag can move, and the numbers of a benchmark with it: only a commit is taken.
    A repository without Parquet files has them in its branch `refs/convert/parquet`, whose
    commit serves as well.

    Attributes:
        repo: `owner/name` of the dataset.
        revision: Commit, 40 hexadecimal digits.
        files: Pattern of the files inside the repository; empty for all.
        columns: Column by part, as in `ParquetImages`.
        root: Where repositories are; a mirror holds `<root>/<repo>@<revision>/`.
        kind: `image` or `text`; empty for what its files hold.
    """

    repo: str
    revision: str
    files: str = ""
    columns: Mapping[str, str] | None = None
    root: str = "hf://datasets"
    kind: str = ""

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo):
            raise ValueError(f"dataset {self.repo!r} is not of the form owner/name.")
        if not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(
                f"revision {self.revision!r} of {self.repo} is not a commit of 40 hexadecimal "
                "digits, and a branch or tag can move. The hub shows it under Files and "
                "versions, History; give it as revision."
            )
        cols.check_roles(self.columns)

    def holds(self) -> str:
        """The kind of data, which is looked for in the repository where nobody has said it."""
        return self.kind or _kind_at(self._place(), tuple((self.columns or {}).items()))

    def examples(self) -> Iterator[Example]:
        """Yields every row, file by file in order of name; see `Source.examples`."""
        yield from self._tables().examples()

    def examples_from(self, start: int) -> Iterator[Example]:
        """Yields every row but the first ones; see `Seekable`."""
        yield from examples_from(self._tables(), start)

    def listed(self) -> Iterator[Example]:
        """Yields every row without its content; see `Outlined.listed`."""
        yield from self._tables().listed()

    def notes(self) -> list[str]:
        """Files and columns that are not read; see `Outlined.notes`."""
        return self._tables().notes()

    def total(self) -> int | None:
        """Rows of all files, from their footers; None for texts."""
        return self._tables().total()

    def signature(self) -> str:
        """Digest of repository, commit and pattern: a commit does not change."""
        return digest_of([self.repo, self.revision, self.files])

    def describe(self) -> str:
        """Repository and commit."""
        files = f", files {self.files}" if self.files else ""
        return f"Hugging Face dataset {self.repo} at {self.revision}{files}"

    def _place(self) -> str:
        place = f"{self.root}/{self.repo}@{self.revision}"
        return f"{place}/{self.files}" if self.files else place

    def _tables(self) -> ParquetImages | TextTables:
        reader = TextTables if self.holds() == "text" else ParquetImages
        return reader(self._place(), self.columns)


@lru_cache(maxsize=64)  # a commit does not change, and looking asks the hub for many files
def _kind_at(place: str, columns: tuple[tuple[str, str], ...]) -> str:
    return "text" if holds_texts(place, dict(columns)) else "image"
