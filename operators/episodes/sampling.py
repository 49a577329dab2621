"""The few-shot draw, row for row as the field publishes it."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

VAL_SHOTS = 4  # validation images a class, at most


class Draw(NamedTuple):
    """Positions of the drawn rows within the labels of the splits they are drawn from."""

    train: list[int]
    val: list[int]


def sample_few_shot(labels: Sequence[int], *, shots: int, generator: random.Random) -> list[int]:
    """Draws up to `shots` rows of every class, without replacement.

    Classes are visited in order of first appearance, and a class with fewer rows than
    `shots` gives all of them, in their order, without touching the generator: this
    reproduces the published subsets row for row. Only the arguments decide the draw.

    Args:
        labels: Class of each row, in the dataset's order.
        shots: Rows a class, at least 1.
        generator: Draws from here; pass the same one on for the validation rows.

    Returns:
        Positions in `labels`, class by class, in the order drawn.

    Raises:
        ValueError: `shots` is below 1.

    Source: Dassl, `DatasetBase.generate_fewshot_dataset`.
    """
    if shots < 1:
        raise ValueError(f"shots={shots}: a few-shot episode needs at least 1 row a class.")
    members: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    return [
        row
        for rows in members.values()
        for row in (generator.sample(rows, shots) if len(rows) >= shots else rows)
    ]


def draw(train: Sequence[int], val: Sequence[int], *, shots: int, seed: int) -> Draw:
    """Draws the train rows and then, from the same generator, the validation rows.

    Validation has min(shots, 4) rows a class. A generator of its own is seeded, so any
    seed will do, 0 included, and nothing else that draws can change the episode.

    Args:
        train: Labels of the train split, in the dataset's order.
        val: Labels of the validation split; may be empty.
        shots: Labelled rows a class, at least 1.
        seed: The published seeds are 1, 2 and 3.

    Source: CoOp, `datasets/oxford_pets.py`, and Dassl, `set_random_seed`.
    """
    generator = random.Random(seed)
    drawn = sample_few_shot(train, shots=shots, generator=generator)
    held_out = sample_few_shot(val, shots=min(shots, VAL_SHOTS), generator=generator)
    return Draw(drawn, held_out)


def draw_twice(train: Sequence[int], *, shots: int, seed: int) -> Draw:
    """Draws the rows to learn from and as many to choose on, both from the train split.

    All rows are shuffled; of each class the first `shots` are learned from and the next `shots`
    are chosen on, so a class with fewer than twice as many has fewer to choose on. numpy's older
    generator is used, whose numbers never change: over the authors' files, in their order, it
    gives the authors' rows.

    Args:
        train: Labels of the train split, in the dataset's order.
        shots: Labelled rows a class, at least 1, for each of the two.
        seed: The published seeds are 13, 21, 42, 87 and 100.

    Raises:
        ValueError: `shots` is below 1.

    Source: Gao et al., "Making Pre-trained Language Models Better Few-shot Learners", ACL 2021,
    https://arxiv.org/abs/2012.15723; LM-BFF, `tools/generate_k_shot_data.py`.
    """
    if shots < 1:
        raise ValueError(f"shots={shots}: a few-shot episode needs at least 1 row a class.")
    members: dict[int, list[int]] = {}
    for row in np.random.RandomState(seed).permutation(len(train)).tolist():
        members.setdefault(train[row], []).append(row)
    first = [row for rows in members.values() for row in rows[:shots]]
    second = [row for rows in members.values() for row in rows[shots : 2 * shots]]
    return Draw(first, second)


def drawn_order(rows: np.ndarray, seed: int) -> np.ndarray:
    """Some rows in an order that says nothing of their classes, as that of a dataset often does.

    The numbers of numpy's older generator never change.

    Args:
        rows: Row ids.
        seed: Of the trial; any from 0 to 2^32 - 1.
    """
    return np.random.RandomState(seed).permutation(rows)


def base_and_new(classes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cuts the sorted class labels in two: the first half, the larger if odd, is the base.

    Source: CoOp, `OxfordPets.subsample_classes`.
    """
    ordered = sorted(classes)
    half = math.ceil(len(ordered) / 2)
    return tuple(ordered[:half]), tuple(ordered[half:])
