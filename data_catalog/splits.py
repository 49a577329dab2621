"""Which rows are train, val and test where the source does not say, or not fully.

A carved split is decided by the images or texts themselves: the rows of a class are ordered by the
SHA-256 of their bytes, so the listing order of a file system cannot move one. Copies of
one stay together, so carving never leaks a training example into test.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
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
        splits: One of train, val and test a row.
        rule: One sentence on how they came about.
    """

    splits: list[str]
    rule: str


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


def hidden_splits(given: Sequence[str | None], labelled: Sequence[bool]) -> dict[str, int]:
    """Rows of each split without any label, beside others that have them; challenges hide them.

    Args:
        given: Split of each row in the source's spelling, or None.
        labelled: Whether each row has a label.
    """
    rows, with_label = (
        Counter(given),
        Counter(split for split, known in zip(given, labelled, strict=True) if known),
    )
    if None in rows or not with_label:
        return {}
    return {split: count for split, count in rows.items() if split and not with_label[split]}


def assign_splits(
    given: Sequence[str | None], labels: Sequence[int], digests: Sequence[str]
) -> Assignment:
    """Completes the splits of a source to train, val and test.

    Args:
        given: Split of each row in the source's spelling, or None.
        labels: Class of each row.
        digests: SHA-256 of each row's content, in hex.

    Raises:
        ValueError: A split has an unknown name, or only some rows have one.

    Source: the shares and the rounding are those of CoOp (protocol.md, 1.2), there drawn at
    random; a class of fewer than five rows keeps one row for train, then one for test.
    """
    if {(name or "").strip().lower() for name in given} == {_NO_SPLIT}:
        given = [None] * len(given)
    found = [_spelled(name) for name in given]
    present = {name for name in found if name is not None}
    if not present:
        return Assignment(_carve(labels, digests, _three_ways), CARVED_ALL)
    if None in found:
        count = found.count(None)
        raise ValueError(
            f"{count:,} of {len(found):,} rows have no split, while others are in "
            f"{', '.join(sorted(present))}. Give every row a split, or none."
        )
    splits = [name for name in found if name is not None]
    if present == {TRAIN}:
        return Assignment(_carve(labels, digests, _three_ways), CARVED_TRAIN_ONLY)
    if TRAIN not in present:
        only_val = TEST not in present
        return Assignment([TEST] * len(splits) if only_val else splits, EVALUATION_ONLY)
    if present == set(SPLITS):
        return Assignment(splits, AS_GIVEN)
    train = [row for row, name in enumerate(splits) if name == TRAIN]
    carved = _carve([labels[row] for row in train], [digests[row] for row in train], _two_ways)
    completed = [TEST] * len(splits)
    for row, name in zip(train, carved, strict=True):
        completed[row] = name
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
    labels: Sequence[int], digests: Sequence[str], bounds: Callable[[int], tuple[int, int]]
) -> list[str]:
    """Splits each class at the ranks that `bounds` gives for its size."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        members[label].append(row)
    splits = [""] * len(labels)
    for rows in members.values():
        begin, end = bounds(len(rows))
        ranks: dict[str, int] = {}
        for rank, row in enumerate(sorted(rows, key=lambda row: digests[row])):
            first = ranks.setdefault(digests[row], rank)  # copies go where the first one goes
            splits[row] = TRAIN if first < begin else VAL if first < end else TEST
    return splits
