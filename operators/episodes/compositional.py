"""Pairs of an attribute and an object: some are learned, others are new compositions of the same.

Source: Purushwalkam et al., "Task-Driven Modular Networks for Zero-Shot Compositional Learning",
ICCV 2019, https://arxiv.org/abs/1905.05908, section 4, whose splits of pairs the field has: val and
test show seen pairs and, each, unseen ones of their own. Closed and open world: Mancini et al.,
"Open World Compositional Zero-Shot Learning", CVPR 2021, https://arxiv.org/abs/2101.12609.
"""

import hashlib
from collections import Counter
from typing import NamedTuple

import numpy as np

from operators.episodes.episode import Episode, Evaluation
from operators.episodes.splits import CLOSED, OPEN
from operators.episodes.table import Setup, Table, capped, drawn_rows, test_rows
from operators.spec import VALIDATION

SPLITS = ("train", "val", "test")
# Shares of unseen pairs where a dataset has none: those of MIT-States, 400 and 300 of 1,962.
UNSEEN_IN_TEST, UNSEEN_IN_VAL = 400 / 1962, 300 / 1962

NO_PAIRS = (
    "its classes are no pairs: columns attribute and object have to say one of each for every "
    "class. Name them with --columns attribute=..,object=.. where it is added."
)


class PairSplit(NamedTuple):
    """Which classes, pairs of an attribute and an object, are shown where.

    Attributes:
        seen: Labels that are learned.
        val: Unseen labels that validation shows.
        test: Unseen labels that the test shows.
    """

    seen: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]


def pair_split(table: Table) -> PairSplit:
    """The split of the pairs: that of the dataset, or drawn where it shows all pairs in train.

    A dataset has one if some of its pairs have no train rows; these are unseen. What is tested has
    no part in that, so a search on validation rows learns the same pairs.

    A drawn one takes pairs in the order of the SHA-256 of their names, first for the test and then
    for validation, leaving out a pair without which its attribute or its object would not be seen
    any more. It depends on nothing but the names.

    Args:
        table: Labels, splits and, for the attributes and objects, pairs.
    """
    shown = {name: set(table.labels[table.rows(name)].tolist()) for name in SPLITS}
    every = range(table.classes)
    if unseen := [label for label in every if label not in shown["train"]]:
        seen = tuple(sorted(shown["train"]))
        val, test = (tuple(x for x in unseen if x in shown[name]) for name in ("val", "test"))
        return PairSplit(seen, val, test)
    pairs = table.pairs or tuple((name, name) for name in every)
    left = Counter(("attribute", a) for a, _ in pairs) + Counter(("object", o) for _, o in pairs)
    chosen: list[int] = []
    test, val = (round(share * table.classes) for share in (UNSEEN_IN_TEST, UNSEEN_IN_VAL))
    for label in sorted(every, key=lambda each: _digest(table, each)):
        attribute, object_ = ("attribute", pairs[label][0]), ("object", pairs[label][1])
        alone = table.pairs and min(left[attribute], left[object_]) < 2
        if len(chosen) == test + val or alone:
            continue
        left.subtract((attribute, object_))
        chosen.append(label)
    seen = tuple(label for label in every if label not in chosen)
    return PairSplit(seen, tuple(sorted(chosen[test:])), tuple(sorted(chosen[:test])))


def _digest(table: Table, label: int) -> str:
    name = "\0".join(table.pairs[label]) if table.pairs else f"{label}"
    return hashlib.sha256(name.encode()).hexdigest()


def compositional(setup: Setup) -> Episode:
    """Learns the seen pairs; tested are seen and unseen ones, in the closed and the open world.

    The draw is of the seen pairs. In the closed world there are the seen pairs and those of the
    test (CSP, evaluate.py); which ones there are in the open world is the track's affair, and its
    classes here are those of the closed one. Settings are chosen on all rows of the val split, of
    seen pairs and of its own unseen ones, whatever the shots.
    """
    table = setup.table
    split = pair_split(table)
    train, val = (
        rows[np.isin(table.labels[rows], split.seen)]
        for rows in drawn_rows(table, setup.shots, setup.seed)
    )
    closed = tuple(sorted((*split.seen, *split.test)))
    tested = test_rows(table, closed, setup.cap)
    chosen_among = tuple(sorted((*split.seen, *split.val)))
    chosen_on = capped(table, table.rows("val"), chosen_among, None)
    return Episode(
        split.seen,
        train,
        val,
        (Evaluation(CLOSED, closed, tested), Evaluation(OPEN, closed, tested)),
        validation=Evaluation(VALIDATION, chosen_among, chosen_on),
    )


def lacking(table: Table) -> str:
    """Why a dataset has no place among compositions; empty if it has.

    Args:
        table: Labels, splits and pairs.
    """
    if not table.pairs:
        return NO_PAIRS
    split = pair_split(table)
    known = [table.pairs[label] for label in split.seen]
    attributes, objects = {a for a, _ in known}, {o for _, o in known}
    for where, own in (("val", split.val), ("test", split.test)):
        shown = set(table.labels[table.rows(where)].tolist())
        if not shown & set(split.seen) or not shown & set(own):
            return (
                f"its {where} rows are not of seen and of unseen pairs both, and the one is "
                "measured against the other."
            )
    for label in (*split.val, *split.test):
        attribute, object_ = table.pairs[label]
        if attribute not in attributes or object_ not in objects:
            return (
                f"nobody can compose the unseen pair {attribute!r} {object_!r}: one of the two is "
                "in no pair that is learned. Move its images to train, or leave them out."
            )
    return ""
