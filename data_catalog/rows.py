"""What ingestion has settled of each row, in arrays."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_catalog.labels import Labelling
from data_catalog.marks import Marks
from data_catalog.splits import Assignment

_BLOCK = 1024


class Rows(NamedTuple):
    """Class, split, domain and digest of each row.

    Attributes:
        labels: Class of each row, int32 of shape (rows,).
        classes: Their names, in label order.
        splits: Place in `SPLITS` of the split of each row, int8 of shape (rows,).
        domain_codes: Place in `domains` of the domain of each row, int32 of shape (rows,).
        domains: Every domain once; the empty text for rows without one.
        digests: SHA-256 of each content, `S32` of shape (rows,).
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    splits: np.ndarray
    domain_codes: np.ndarray
    domains: tuple[str, ...]
    digests: np.ndarray

    def hex_digests(self, start: int = 0, end: int | None = None) -> Iterator[str]:
        """Yields the digests of rows next to each other, as 64 hex digits.

        Args:
            start: First row.
            end: The row behind the last; None for all.
        """
        size = self.digests.itemsize
        for begin in range(start, len(self.digests) if end is None else end, _BLOCK):
            stop = min(begin + _BLOCK, len(self.digests) if end is None else end)
            text = self.digests[begin:stop].tobytes().hex()  # also of one that ends in zeros
            yield from (text[at : at + 2 * size] for at in range(0, len(text), 2 * size))


def rows_of(
    marks: Marks, labelling: Labelling, assignment: Assignment, digests: np.ndarray
) -> Rows:
    """Joins what was found of some rows.

    Args:
        marks: Give the domains.
        labelling: Gives labels and class names.
        assignment: Gives the splits.
        digests: Of the contents.
    """
    domains = tuple(dict.fromkeys(mark.domain for mark in marks.distinct))
    places = np.array([domains.index(mark.domain) for mark in marks.distinct], np.int32)
    return Rows(
        labelling.labels,
        labelling.classes,
        assignment.codes,
        places[marks.codes],
        domains,
        digests,
    )
