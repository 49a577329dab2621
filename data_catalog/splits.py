"""Which rows are train, val and test where the source does not say, or not fully.

A carved split is decided by the images or texts themselves: the rows of a class are ordered by the
SHA-256 of their bytes, so the listing order of a file system cannot move one. Copies of
one stay together, so carving never leaks a training example into test.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_catalog.marks import Marks

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
_TEST = SPLITS.index(TEST)
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2  # of a class, the rest is test: CoOp's 50/20/30

_SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "trn": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
    "tst": TEST,
}

_NO_SPLIT = "all"  # what sets without an official split call theirs
_WORD = re.compile(r"[A-Za-z]+")

AS_GIVEN = "as the source gives them"
CARVED_ALL = "no official split: 50/20/30 train/val/test of each class, in SHA-256 order"
CARVED_TRAIN_ONLY = "only train given: 50/20/30 train/val/test of each class, in SHA-256 order"
CARVED_VAL = "train and test as given; val is 20 % of each train class, in SHA-256 order"
VAL_IS_TEST = "the given val is test; val is 20 % of each train class, in SHA-256 order"
EVALUATION_ONLY = "no train rows are given: for evaluation only; a val given alone is test"


class Assignment(NamedTuple):
    """The split of each row.

    Attributes:
        codes: Place in `SPLITS` of the split of each row, int8 of shape (rows,).
        rule: One sentence on how they came about.
    """

    codes: np.ndarray
    rule: str

    def of(self, split: str) -> np.ndarray:
        """Whether each row is of one split, bool of shape (rows,)."""
        return self.codes == SPLITS.index(split)

    def counts(self) -> dict[str, int]:
        """Rows by split."""
        return {split: int(np.count_nonzero(self.of(split))) for split in SPLITS}


def known_split(name: str) -> str | None:
    """Returns train, val or test for any usual spelling of it, else None."""
    return _SPELLINGS.get(name.strip().lower())


def split_in(name: str) -> str | None:
    """The one split that a longer name speaks of, such as `partial-train` or `test_images`."""
    found = {known_split(word) for word in _WORD.findall(name)} - {None}
    return known_split(name) or (found.pop() if len(found) == 1 else None)


def chosen_split(given: str | None, names: Mapping[str, str | Sequence[str]] | None) -> str | None:
    """What a split of the source is for a card that names the wanted ones.

    Args:
        given: The source's name of the split, or None.
        names: `split_names` of the card; without it, splits are as given.

    Returns:
        Train, val or test; None where the split is left out.
    """
    if names is None:
        return given
    for split, wanted in names.items():
        listed = [wanted] if isinstance(wanted, str) else wanted
        if given is not None and given.strip().lower() in {name.lower() for name in listed}:
            return split
    return None


def hidden_splits(marks: Marks) -> dict[str, int]:
    """Rows of each split without any label, beside others that have them; challenges hide them."""
    rows: Counter[str | None] = Counter()
    with_label: Counter[str | None] = Counter()
    for mark, count in zip(marks.distinct, marks.counts(), strict=True):
        rows[mark.split] += count
        with_label[mark.split] += count if mark.has_label() else 0
    if None in rows or not with_label.total():
        return {}
    return {split: count for split, count in rows.items() if split and not with_label[split]}


def assign_splits(marks: Marks, labels: np.ndarray, digests: np.ndarray) -> Assignment:
    """Completes the splits of a source to train, val and test.

    Args:
        marks: Split of each row in the source's spelling, or None.
        labels: Class of each row, whole numbers of shape (rows,).
        digests: SHA-256 of each row's content, of shape (rows,) and any type that sorts as its
            hex digits do.

    Raises:
        ValueError: A split has an unknown name, or only some rows have one.

    Source: the shares and the rounding are those of CoOp (protocol.md, 1.2), there drawn at
    random; a class of fewer than five rows keeps one row for train, then one for test.
    """
    given: list[str | None] = [mark.split for mark in marks.distinct]
    if {(name or "").strip().lower() for name in given} == {_NO_SPLIT}:
        given = [None] * len(given)
    found = [_spelled(name) for name in given]
    present = {name for name in found if name is not None}
    if not present:
        return Assignment(_carve(labels, digests, _three_ways), CARVED_ALL)
    if None in found:
        bare = [name is None for name in found]
        count = sum(rows for rows, none in zip(marks.counts(), bare, strict=True) if none)
        raise ValueError(
            f"{count:,} of {len(marks):,} rows have no split, while others are in "
            f"{', '.join(sorted(present))}. Give every row a split, or none."
        )
    places = [SPLITS.index(name) for name in found if name is not None]
    splits = np.array(places, np.int8)[marks.codes]
    if present == {TRAIN}:
        return Assignment(_carve(labels, digests, _three_ways), CARVED_TRAIN_ONLY)
    if TRAIN not in present:
        only_val = TEST not in present
        return Assignment(np.full_like(splits, _TEST) if only_val else splits, EVALUATION_ONLY)
    if present == set(SPLITS):
        return Assignment(splits, AS_GIVEN)
    train = splits == SPLITS.index(TRAIN)
    completed = np.full_like(splits, _TEST)
    completed[train] = _carve(labels[train], digests[train], _two_ways)
    return Assignment(completed, CARVED_VAL if TEST in present else VAL_IS_TEST)


def _spelled(name: str | None) -> str | None:
    if name is None or not name.strip():
        return None
    known = split_in(name)
    if known is None:
        raise ValueError(
            f"split {name!r} is none of train, val and test. Accepted spellings: "
            f"{', '.join(_SPELLINGS)}. Say what it is, as in --splits train={name},test=..; "
            "splits that this does not name are left out."
        )
    return known


def _three_ways(count: int) -> tuple[int, int]:
    """First and last rank of val in a class of `count` rows without any split."""
    train = max(1, round(count * TRAIN_SHARE))
    val = max(0, min(round(count * VAL_SHARE), count - train - 1))
    return train, train + val


def _two_ways(count: int) -> tuple[int, int]:
    """First and last rank of val in a class of `count` train rows."""
    return max(1, count - round(count * VAL_SHARE)), count


def _carve(
    labels: np.ndarray, digests: np.ndarray, bounds: Callable[[int], tuple[int, int]]
) -> np.ndarray:
    """Splits each class at the ranks that `bounds` gives for its size, int8 of shape (rows,)."""
    splits = np.empty(len(labels), np.int8)
    if not len(labels):
        return splits
    order = np.argsort(digests, kind="stable")
    order = order[np.argsort(labels[order], kind="stable")]  # by class, then digest, then row
    sorted_labels, sorted_digests = labels[order], digests[order]
    starts = np.flatnonzero(np.r_[True, sorted_labels[1:] != sorted_labels[:-1]])
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        own = sorted_digests[start:end]
        new = np.r_[True, own[1:] != own[:-1]]
        first = np.maximum.accumulate(np.where(new, np.arange(len(own)), 0))
        begin, stop = bounds(int(end - start))  # copies go where the first one goes
        splits[order[start:end]] = (first >= begin).astype(np.int8) + (first >= max(begin, stop))
    return splits
