"""Rows of test that train or val has too, byte for byte or nearly.

Hashes within a radius of each other are found exactly, without comparing all pairs: of the parts
that a hash is cut into, one differs in no more bits than its share of the radius, so only rows
that agree in a part up to so many bits are compared. Those that are near get a second look.

Source of the search: Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
2012, https://arxiv.org/abs/1307.2982, section 3.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple, Protocol

import numpy as np

from data_catalog.kinds import Kind

PART_BITS = 16
MOST_COMPARED = 4_000_000_000  # pairs of hashes, half a minute; above, the search is left out
_BLOCK = 1 << 19  # pairs in memory
_LOOKS = 8192  # looks in memory


class Looks(Protocol):
    """The looks of rows, wherever they are."""

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The looks of some rows, uint8 of shape (n, look_bytes); zeros where a row has none."""
        ...


class Twins(NamedTuple):
    """Rows, each with the one that is nearest to it.

    Attributes:
        rows: Row ids, ascending, int64 of shape (n,).
        others: The nearest row of each, the first of several.
        distances: Bits in which their hashes differ; 0 for equal contents.
    """

    rows: np.ndarray
    others: np.ndarray
    distances: np.ndarray


def exact_twins(digests: np.ndarray, asked: np.ndarray) -> Twins:
    """Rows whose content a row of the other side has.

    Args:
        digests: Of every row, of any type that sorts.
        asked: Whether a row is of the side that is asked about, bool of shape (rows,).
    """
    rows, others = np.flatnonzero(asked), np.flatnonzero(~asked)
    order = np.argsort(digests[others], kind="stable")
    sorted_digests = digests[others][order]
    places = np.searchsorted(sorted_digests, digests[rows])
    there = places < len(others)
    there[there] = sorted_digests[places[there]] == digests[rows][there]
    found = others[order[places[there]]]
    return Twins(rows[there], found, np.zeros(len(found), np.uint8))


def near_twins(kind: Kind, looks: Looks, asked: np.ndarray, exact: Twins) -> Twins | None:
    """Rows that look like one of the other side, without those that are equal to one.

    Args:
        kind: Says what is near.
        looks: Of every row.
        asked: See `exact_twins`.
        exact: What it found.

    Returns:
        None where so many hashes are near that it was not looked for.
    """
    if not kind.look_bytes:  # of a kind that looks for none
        return Twins(*(part[:0] for part in exact))
    hashes, seen = _hashes(kind, looks, len(asked))
    wanted = asked & seen
    wanted[exact.rows] = False
    rows, others = np.flatnonzero(wanted), np.flatnonzero(~asked & seen)
    best = np.full(len(rows), kind.radius + 1, np.uint8)
    nearest = np.full(len(rows), -1, np.int64)
    parts = [_Part(hashes[rows], hashes[others], shift) for shift in _shifts(kind.radius)]
    flips = _flips(kind.radius // len(parts))
    if sum(part.pairs(flip) for part in parts for flip in flips) > MOST_COMPARED:
        return None
    for part in parts:
        for flip in flips:
            for left, right in part.blocks(flip):
                distances = np.bitwise_count(hashes[rows[left]] ^ hashes[others[right]])
                better = (distances < best[left]) | (
                    (distances == best[left]) & (others[right] < nearest[left])
                )
                left, right, distances = left[better], right[better], distances[better]
                same = _second_look(kind, looks, rows[left], others[right])
                left, right, distances = left[same], right[same], distances[same]
                order = np.lexsort((right, distances, left))
                first = order[np.r_[True, np.diff(left[order]) > 0]] if len(order) else order
                best[left[first]] = distances[first]
                nearest[left[first]] = others[right[first]]
    found = nearest >= 0
    return Twins(rows[found], nearest[found], best[found])


def _hashes(kind: Kind, looks: Looks, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The hash of each row, and whether it has a look."""
    hashes, seen = np.zeros(count, np.uint64), np.zeros(count, bool)
    for start in range(0, count, _LOOKS):
        rows = np.arange(start, min(start + _LOOKS, count))
        block = np.asarray(looks.of(rows))
        hashes[rows], seen[rows] = kind.hashes(block), block.any(axis=1)
    return hashes, seen


def _second_look(kind: Kind, looks: Looks, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether pairs of rows look alike, bool of shape (n,)."""
    same = np.zeros(len(rows), bool)
    for start in range(0, len(rows), _LOOKS):
        block = slice(start, start + _LOOKS)
        same[block] = kind.alike(looks.of(rows[block]), looks.of(others[block]))
    return same


def _shifts(radius: int) -> range:
    """Where the parts of a hash begin; one is enough for equal hashes."""
    return range(0, 64 if radius else PART_BITS, PART_BITS)


def _flips(bits: int) -> list[int]:
    """Every change of a part in at most so many bits."""
    return [
        sum(1 << place for place in places)
        for count in range(bits + 1)
        for places in combinations(range(PART_BITS), count)
    ]


class _Part:
    """One part of all hashes, in which rows are looked up.

    Args:
        asked: Hashes that are looked for.
        others: Those among which they are.
        shift: Where the part begins.
    """

    def __init__(self, asked: np.ndarray, others: np.ndarray, shift: int) -> None:
        size = 1 << PART_BITS
        self.asked, keys = (
            (hashes >> np.uint64(shift)).astype(np.int64) & (size - 1) for hashes in (asked, others)
        )
        self.order = np.argsort(keys, kind="stable")
        self.counts = np.bincount(keys, minlength=size)
        self.starts = np.cumsum(self.counts) - self.counts

    def pairs(self, flip: int) -> int:
        """Number of pairs that agree in the part but for some bits."""
        return int(self.counts[self.asked ^ flip].sum())

    def blocks(self, flip: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields those pairs, as places in `asked` and `others`."""
        keys = self.asked ^ flip
        ends = np.cumsum(self.counts[keys])
        start = 0
        while start < len(keys):
            before = ends[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
            counts = self.counts[keys[start:end]]
            left = np.repeat(np.arange(start, end), counts)
            within = np.arange(len(left)) - np.repeat(ends[start:end] - counts - before, counts)
            yield left, self.order[np.repeat(self.starts[keys[start:end]], counts) + within]
            start = end
