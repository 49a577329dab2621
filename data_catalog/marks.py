"""What a source says of its rows beside their content: each distinct mark once, a number a row.

A million rows have few distinct marks, so labels, classes and splits are resolved on these, and
what is kept of a row is four bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np


class Marked(Protocol):
    """An example, of which the content does not matter; see `data_catalog.sources.Example`."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> int | None: ...  # noqa: D102
    @property
    def class_name(self) -> str | None: ...  # noqa: D102
    @property
    def split(self) -> str | None: ...  # noqa: D102
    @property
    def domain(self) -> str | None: ...  # noqa: D102


class Mark(NamedTuple):
    """Label, class name, split and domain as the source gives them; see `Example`."""

    label: int | None
    class_name: str | None
    split: str | None
    domain: str

    def has_label(self) -> bool:
        """Whether it says what a row shows; a label below 0 is how hidden ones are written."""
        return bool((self.class_name or "").strip()) if self.label is None else self.label >= 0


class Marks:
    """The marks of some rows, in their order.

    Attributes:
        distinct: Every mark that a row has, once, in the order of first rows.
        codes: Place in `distinct` of the mark of each row, int32 of shape (rows,).

    Args:
        paths: Gives the path of every row in order, for errors.
    """

    def __init__(
        self, distinct: list[Mark], codes: np.ndarray, paths: Callable[[], Iterable[str]]
    ) -> None:
        self.distinct = distinct
        self.codes = codes
        self._paths = paths

    def __len__(self) -> int:
        return len(self.codes)

    def counts(self) -> list[int]:
        """Number of rows that have each distinct mark."""
        return np.bincount(self.codes, minlength=len(self.distinct)).tolist()

    def paths(self, places: Iterable[int]) -> Iterator[str]:
        """Paths of the rows that have one of some distinct marks, for errors.

        Args:
            places: Places in `distinct`.
        """
        chosen = np.isin(self.codes, list(places))
        return (path for path, told in zip(self._paths(), chosen, strict=True) if told)


class MarkCodes:
    """Numbers marks in the order in which they come."""

    def __init__(self) -> None:
        self.codes: dict[Mark, int] = {}

    def of(self, row: Marked) -> int:
        """The number of the mark of a row."""
        mark = Mark(row.label, row.class_name, row.split, row.domain or "")
        return self.codes.setdefault(mark, len(self.codes))


def marks_of(rows: Iterable[Marked]) -> Marks:
    """The marks of examples that are in memory."""
    listed, codes = list(rows), MarkCodes()
    numbers = np.fromiter((codes.of(row) for row in listed), np.int32, len(listed))
    return Marks(list(codes.codes), numbers, lambda: (row.path for row in listed))
