"""The protocols: which rows are learned from and what is tested. One function each.

A new one is a function from a `Setup` to an `Episode` and a line in `PROTOCOLS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from operators.episodes.compositional import compositional, lacking
from operators.episodes.episode import Episode, Evaluation, Pool
from operators.episodes.sampling import base_and_new, draw_twice, drawn_order
from operators.episodes.shots import ALL_SHOTS
from operators.episodes.splits import ALL, BASE, CLOSED, NEW, OPEN
from operators.episodes.table import Setup, Table, drawn_rows, test_rows
from operators.episodes.transfer import cross_dataset, domain_generalization, multi_task


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
        joins: Whether those other datasets are learned together with it.
        revision: Moves when the rows that it draws or tests do.
        unlabelled: Which examples it hands on without labels: those of the `train` split, or those
            that are to be tested; empty where methods that ask for some have the train split.
        stream: Whether test examples come one after the other, in a drawn order, and what was seen
            of them may be kept.
        inductive: Key of the protocol with the same labels and the same test rows, of which nothing
            is seen beforehand; empty for those that are.
        lacking: From a table to why it has no place in it; empty if it has.
        splits: What is tested apart, the split that methods are ranked by first; empty for what
            follows from the above: all test rows, or those of base and of new classes.
        pairs: Whether classes are read as pairs of an attribute and an object, which are then part
            of the identity of its trials.
    """

    title: str
    episode: Callable[[Setup], Episode]
    learns: bool
    minimum_classes: int = 2
    new_classes: bool = False
    targets: bool = False
    held_out: bool = False
    joins: bool = False
    revision: int = 1
    track: str = "image-classification"
    unlabelled: Literal["", "train", "test"] = ""
    stream: bool = False
    inductive: str = ""
    lacking: Callable[[Table], str] = lambda _: ""
    splits: tuple[str, ...] = ()
    pairs: bool = False

    @property
    def tested_apart(self) -> tuple[str, ...]:
        """The splits of a trial; of `targets` that of the learned dataset."""
        if self.splits:
            return self.splits
        return (BASE, NEW) if self.new_classes and not self.targets else (ALL,)

    @property
    def inference(self) -> str:
        """What methods may see of the test examples, before or while they are asked about them.

        `inductive`: each by itself; `transductive`: all of them at once, without labels;
        `test-time`: those that came before, without labels.
        """
        if self.unlabelled == "test":
            return "transductive"
        return "test-time" if self.stream else "inductive"


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


def unsupervised(setup: Setup) -> Episode:
    """All images of the train split and no label; tested among all classes.

    Source: Menghini et al., "Enhancing CLIP with CLIP", NeurIPS 2023, section 3 (unsupervised
    learning).
    """
    episode = zero_shot(setup)
    rows = drawn_order(setup.table.rows("train"), setup.seed)
    return replace(episode, unlabelled=Pool(episode.classes, rows))


def transductive(setup: Setup) -> Episode:
    """The few-shot draw, and the images that are tested, all at once and without labels.

    Source: Vapnik, "Statistical Learning Theory", 1998, chapter 8; as vision-language models are
    asked: Zanella et al., "Boosting Vision-Language Models with Transduction", NeurIPS 2024.
    """
    episode = few_shot(setup)
    rows = drawn_order(episode.tested(), setup.seed)
    return replace(episode, unlabelled=Pool(episode.classes, rows))


def transductive_zero_shot(setup: Setup) -> Episode:
    """Labels of the first half of the classes, and the train images of the others without any.

    The names of all are known, and each half is tested among all classes: what learns from labels
    alone leans to those that had some.

    Source: Menghini et al., "Enhancing CLIP with CLIP", NeurIPS 2023, section 3 (transductive
    zero-shot learning); theirs has 62 % of the classes, drawn by a seed, with all of their labels.
    """
    table, episode = setup.table, base_to_new(setup)
    every = tuple(range(table.classes))
    new = tuple(label for label in every if label not in episode.classes)
    rows = table.rows("train")
    unnamed = drawn_order(rows[np.isin(table.labels[rows], new)], setup.seed)
    tested = tuple(replace(each, classes=every) for each in episode.evaluations)
    return replace(episode, evaluations=tested, unlabelled=Pool(new, unnamed))


def test_time(setup: Setup) -> Episode:
    """No label and nothing to learn from beforehand; test images come one after the other.

    Their order is drawn from the seed. It is that of the rows of the evaluation, so it is part of
    the fingerprint of the episode, and predictions stand in it.

    Source: Karmanov et al., "Efficient Test-Time Adaptation of Vision-Language Models", CVPR 2024,
    section 3 (a stream of test samples).
    """
    episode = zero_shot(setup)
    (tested,) = episode.evaluations
    return replace(
        episode, evaluations=(replace(tested, rows=drawn_order(tested.rows, setup.seed)),)
    )


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
    "multi_task": Protocol(
        "learn all classes of several datasets at once; test each among its own classes",
        multi_task,
        learns=True,
        new_classes=True,
        targets=True,
        joins=True,
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
    "unsupervised": Protocol(
        "all images of the train split and no label; all classes",
        unsupervised,
        learns=False,
        unlabelled="train",
        inductive="zero_shot",
    ),
    "transductive": Protocol(
        "k labelled images a class, and the test images without labels; all classes",
        transductive,
        learns=True,
        unlabelled="test",
        inductive="few_shot",
    ),
    "transductive_zero_shot": Protocol(
        "learn half of the classes, and images of the others without labels; all classes at once",
        transductive_zero_shot,
        learns=True,
        minimum_classes=4,
        new_classes=True,
        unlabelled="train",
    ),
    "test_time": Protocol(
        "no labelled image; test images in a drawn order, of which what was seen may be kept",
        test_time,
        learns=False,
        stream=True,
        inductive="zero_shot",
    ),
    "compositional": Protocol(
        "learn some pairs of attribute and object; test on them and on new compositions, among the "
        "pairs of the test (closed world) and among all that are feasible (open world)",
        compositional,
        learns=True,
        minimum_classes=5,
        new_classes=True,
        track="compositional",
        lacking=lacking,
        splits=(CLOSED, OPEN),
        pairs=True,
    ),
}
