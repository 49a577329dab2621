"""The protocols: which rows are learned from and what is tested. One function each.

A new one is a function from a `Setup` to an `Episode` and a line in `PROTOCOLS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.episodes.episode import Episode, Evaluation
from operators.episodes.sampling import base_and_new, draw_twice
from operators.episodes.shots import ALL_SHOTS
from operators.episodes.table import Setup, Table, drawn_rows, test_rows
from operators.episodes.transfer import cross_dataset, domain_generalization


@dataclass(frozen=True)
class Protocol:
    """A way to ask a method for numbers.

    Attributes:
        title: One line for listings.
        episode: Which rows are learned from, and what is tested.
        track: Key of `TRACKS`.
        learns: Whether methods are given labelled examples; shots is 0 otherwise.
        minimum_classes: Fewest classes that make sense.
        new_classes: Whether the tuned method is asked about classes it has not seen.
        targets: Whether other datasets are tested than the one that is learned.
        held_out: Whether, where there are none, each domain of that one is left out in turn.
        revision: Moves when the rows that it draws or tests do.
    """

    title: str
    episode: Callable[[Setup], Episode]
    learns: bool
    minimum_classes: int = 2
    new_classes: bool = False
    targets: bool = False
    held_out: bool = False
    revision: int = 1
    track: str = "image-classification"


def zero_shot(setup: Setup) -> Episode:
    """All test rows among all classes; nothing to learn from."""
    every = tuple(range(setup.table.classes))
    nothing = np.empty(0, dtype=np.int64)
    tested = Evaluation("all", every, test_rows(setup.table, every, setup.cap))
    return Episode(every, nothing, nothing, (tested,))


def few_shot(setup: Setup) -> Episode:
    """The draw over all classes, tested among all classes (CoOp, section 4.1)."""
    every = tuple(range(setup.table.classes))
    train, val = drawn_rows(setup.table, setup.shots, setup.seed)
    tested = Evaluation("all", every, test_rows(setup.table, every, setup.cap))
    return Episode(every, train, val, (tested,))


def base_to_new(setup: Setup) -> Episode:
    """Learns the first half of the classes; each half is tested among itself (CoCoOp, 4.1).

    The draw is over all classes and cut to the base afterwards, as published.
    """
    table = setup.table
    base, new = base_and_new(range(table.classes))
    train, val = drawn_rows(table, setup.shots, setup.seed)
    evaluations = tuple(
        Evaluation(split, classes, test_rows(table, classes, setup.cap))
        for split, classes in (("base", base), ("new", new))
    )
    return Episode(
        base,
        train[np.isin(table.labels[train], base)],
        val[np.isin(table.labels[val], base)],
        evaluations,
    )


def text_few_shot(setup: Setup) -> Episode:
    """Learns k texts a class and chooses on k others of the train split (LM-BFF, section 3).

    The val split is left alone: a setting that was chosen on thousands of texts is not few-shot.
    Where all of the train split is learned, there are no others, and the val split is chosen on.
    """
    table = setup.table
    every = tuple(range(table.classes))
    train = val = np.empty(0, dtype=np.int64)
    if setup.shots == ALL_SHOTS:
        train, val = drawn_rows(table, setup.shots, setup.seed)
    elif setup.shots:
        rows = table.rows("train")
        drawn = draw_twice(table.labels[rows].tolist(), shots=setup.shots, seed=setup.seed)
        train, val = (rows[np.array(part, dtype=np.int64)] for part in drawn)
    tested = Evaluation("all", every, test_rows(table, every, setup.cap))
    return Episode(every, train, val, (tested,))


class Pool(NamedTuple):
    """Images that may be learned from without labels.

    Attributes:
        classes: Labels that the images may have.
        rows: Row ids.
    """

    classes: tuple[int, ...]
    rows: np.ndarray


def pool_of(table: Table, episode: Episode, *, clean: bool) -> Pool:
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
        return Pool(episode.classes, rows[np.isin(table.labels[rows], episode.classes)])
    return Pool(tuple(range(table.classes)), rows)


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
    "cross_dataset": Protocol(
        "learn all classes of one dataset; test on others among the classes of each",
        cross_dataset,
        learns=True,
        new_classes=True,
        targets=True,
    ),
    "domain_generalization": Protocol(
        "learn one dataset, test on variants of it; or leave each of its domains out and test that",
        domain_generalization,
        learns=True,
        targets=True,
        held_out=True,
    ),
    "text_zero_shot": Protocol(
        "no labelled text; all classes", zero_shot, learns=False, track="text-classification"
    ),
    "text_few_shot": Protocol(
        "k labelled texts a class to learn, k to choose on; all classes",
        text_few_shot,
        learns=True,
        track="text-classification",
    ),
}
