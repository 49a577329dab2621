"""The protocols: which rows are learned from and what is tested. One function each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.episodes.episode import Episode, Evaluation
from operators.episodes.sampling import base_and_new, draw


@dataclass(frozen=True)
class Table:
    """What a protocol needs to know of a dataset.

    Attributes:
        labels: (n,) label of each row.
        splits: (n,) `train`, `val` or `test`.
        classes: Number of classes.
    """

    labels: np.ndarray
    splits: np.ndarray
    classes: int

    def rows(self, split: str) -> np.ndarray:
        """Row ids of one split, in the dataset's order."""
        return np.flatnonzero(self.splits == split)


@dataclass(frozen=True)
class Protocol:
    """A way to ask a method for numbers.

    Attributes:
        title: One line for listings.
        episode: (table, shots, seed, test_rows_per_class) -> episode.
        track: Key of `TRACKS`.
        learns: Whether methods are given labelled images; shots is 0 otherwise.
        minimum_classes: Fewest classes that make sense.
        new_classes: Whether the tuned method is asked about classes it has not seen.
        revision: Moves when the rows that it draws or tests, or the metrics, do.
    """

    title: str
    episode: Callable[[Table, int, int, int | None], Episode]
    learns: bool
    minimum_classes: int = 2
    new_classes: bool = False
    revision: int = 1
    track: str = "image-classification"


def test_rows(table: Table, classes: tuple[int, ...], cap: int | None) -> np.ndarray:
    """Test rows of `classes`, at most `cap` of each, evenly spaced in the dataset's order."""
    rows = table.rows("test")
    kept = []
    for label in classes:
        members = rows[table.labels[rows] == label]
        if cap is not None and len(members) > cap:
            members = members[np.arange(cap) * len(members) // cap]
        kept.append(members)
    return np.sort(np.concatenate(kept))


def zero_shot(table: Table, shots: int, seed: int, cap: int | None) -> Episode:
    """All test rows among all classes; nothing to learn from."""
    every = tuple(range(table.classes))
    nothing = np.empty(0, dtype=np.int64)
    return Episode(
        every, nothing, nothing, (Evaluation("all", every, test_rows(table, every, cap)),)
    )


def few_shot(table: Table, shots: int, seed: int, cap: int | None) -> Episode:
    """The draw over all classes, tested among all classes (CoOp, section 4.1)."""
    every = tuple(range(table.classes))
    train, val = drawn_rows(table, shots, seed)
    return Episode(every, train, val, (Evaluation("all", every, test_rows(table, every, cap)),))


def base_to_new(table: Table, shots: int, seed: int, cap: int | None) -> Episode:
    """Learns the first half of the classes; each half is tested among itself (CoCoOp, 4.1).

    The draw is over all classes and cut to the base afterwards, as published.
    """
    base, new = base_and_new(range(table.classes))
    train, val = drawn_rows(table, shots, seed)
    evaluations = tuple(
        Evaluation(split, classes, test_rows(table, classes, cap))
        for split, classes in (("base", base), ("new", new))
    )
    return Episode(
        base,
        train[np.isin(table.labels[train], base)],
        val[np.isin(table.labels[val], base)],
        evaluations,
    )


class Domain(NamedTuple):
    """Images that may be learned from without labels.

    Attributes:
        classes: Labels that the images may have.
        rows: Row ids.
    """

    classes: tuple[int, ...]
    rows: np.ndarray


def domain_of(table: Table, episode: Episode, *, clean: bool) -> Domain:
    """The train split of an episode's dataset.

    As published for base-to-new (PromptKD) it is whole, and the names of all its classes are
    known, the new ones too.

    Args:
        table: Labels and splits.
        episode: Says which classes are learned.
        clean: Whether images and names are those of the learned classes alone, so that nothing
            of the new ones is seen before they are tested.
    """
    rows = table.rows("train")
    if clean:
        return Domain(episode.classes, rows[np.isin(table.labels[rows], episode.classes)])
    return Domain(tuple(range(table.classes)), rows)


def drawn_rows(table: Table, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row ids of the draw; none for 0 shots, which only training-free methods ask for."""
    if shots == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    train, val = table.rows("train"), table.rows("val")
    drawn = draw(table.labels[train].tolist(), table.labels[val].tolist(), shots=shots, seed=seed)
    return train[np.array(drawn.train, dtype=np.int64)], val[np.array(drawn.val, dtype=np.int64)]


PROTOCOLS: dict[str, Protocol] = {
    "zero_shot": Protocol("no labelled image; all classes", zero_shot, learns=False),
    "few_shot": Protocol("k labelled images a class; all classes", few_shot, learns=True),
    "base_to_new": Protocol(
        "learn half of the classes; test on them and, apart, on the others",
        base_to_new,
        learns=True,
        minimum_classes=4,
        new_classes=True,
    ),
}
