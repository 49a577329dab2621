"""The rules by which splits are completed, pinned."""

import random
from typing import NamedTuple

import numpy as np
import pytest

from data_catalog import Example, splits
from data_catalog.marks import marks_of
from data_catalog.splits import assign_splits


def assign(given, labels, digests):
    """Names of splits and rule, of rows with these splits."""
    rows = [
        Example(b"", "", label, None, split) for split, label in zip(given, labels, strict=True)
    ]
    found = assign_splits(marks_of(rows), np.array(labels), np.array(digests))
    return Splits([splits.SPLITS[code] for code in found.codes], found.rule)


class Splits(NamedTuple):
    splits: list[str]
    rule: str


DIGESTS = [f"{number:02d}" for number in range(10)]


def test_without_splits_a_class_is_cut_in_the_order_of_its_digests():
    found = assign([None] * 10, [0] * 10, DIGESTS)
    assert found.splits == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    assert found.rule == splits.CARVED_ALL


def test_every_class_is_cut_by_itself():
    found = assign([None] * 10, [0, 1] * 5, DIGESTS)
    assert found.splits[0::2] == found.splits[1::2]


def test_the_listing_order_moves_no_image():
    order = random.Random(1).sample(range(10), 10)
    found = assign([None] * 10, [0] * 10, [DIGESTS[row] for row in order])
    straight = assign([None] * 10, [0] * 10, DIGESTS).splits
    assert found.splits == [straight[row] for row in order]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (2, 0, 1)), (4, (2, 1, 1)), (5, (2, 1, 2))],
)
def test_a_small_class_keeps_a_train_row_then_a_test_row(size, expected):
    found = assign([None] * size, [0] * size, DIGESTS[:size]).splits
    assert tuple(found.count(name) for name in splits.SPLITS) == expected


def test_copies_of_an_image_stay_in_one_split():
    digests = ["00", "01", "02", "03", "04", "04", "04", "07", "08", "09"]
    found = assign([None] * 10, [0] * 10, digests).splits
    assert found[4:7] == ["train"] * 3


def test_val_is_a_fifth_of_train_where_only_train_and_test_are_given():
    found = assign(["train"] * 10 + ["test"] * 2, [0] * 12, [*DIGESTS, "a", "b"])
    assert found.splits == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert found.rule == splits.CARVED_VAL


def test_val_becomes_test_where_only_train_and_val_are_given():
    found = assign(["train"] * 10 + ["validation"] * 2, [0] * 12, [*DIGESTS, "a", "b"])
    assert found.splits == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert found.rule == splits.VAL_IS_TEST


def test_train_alone_counts_as_no_split():
    found = assign(["train"] * 10, [0] * 10, DIGESTS)
    assert found.splits.count("test") == 3
    assert found.rule == splits.CARVED_TRAIN_ONLY


def test_three_given_splits_stay_in_any_spelling():
    found = assign(["Training", "dev", "TEST"], [0] * 3, DIGESTS[:3])
    assert found == Splits(["train", "val", "test"], splits.AS_GIVEN)


def test_test_rows_alone_are_for_evaluation_only():
    found = assign(["test"] * 3, [0, 1, 2], DIGESTS[:3])
    assert found == Splits(["test"] * 3, splits.EVALUATION_ONLY)


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(ValueError, match="split 'extra' is none of train, val and test"):
        assign(["train", "extra"], [0, 0], DIGESTS[:2])


def test_splits_for_some_rows_only_are_refused():
    with pytest.raises(ValueError, match="1 of 2 rows have no split"):
        assign(["train", None], [0, 0], DIGESTS[:2])
