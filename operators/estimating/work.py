"""How often a method passes the towers; what a trial takes follows from it."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from operators.estimating.towers import TowerOperations

TABLE = Path(__file__).with_name("work.json")  # of the methods that ship
_DIGITS = 4  # more an estimate does not hold


@dataclass(frozen=True)
class Passes:
    """Plain passes through a tower, forward, by what they grow with.

    Attributes:
        texts: Of the text tower, for each class.
        images: Of the image tower, for each image.
        pairs: Of the text tower, for each image and class.
    """

    texts: float = 0.0
    images: float = 0.0
    pairs: float = 0.0

    def operations(self, tower: TowerOperations, *, classes: int, images: int) -> float:
        """Floating-point operations.

        Args:
            tower: What a pass takes.
            classes: How many.
            images: How many.
        """
        by_text = (self.texts + self.pairs * images) * classes
        return max(0.0, by_text * tower.text + self.images * images * tower.image)


@dataclass(frozen=True)
class Work:
    """What a method takes.

    Attributes:
        once: Before its first step; images are those that it learns from.
        step: Each step; images are those of a batch.
        answer: To classify images, whose own features are kept and not encoded again.
    """

    once: Passes
    step: Passes
    answer: Passes

    def to_json(self) -> dict[str, dict[str, float]]:
        """Rounded to what an estimate can hold; what is nothing is left out."""
        return {
            part: {
                name: rounded
                for name, value in passes.items()
                if (rounded := float(f"{value:.{_DIGITS}g}")) and abs(value) > 1e-9
            }
            for part, passes in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, float]]) -> "Work":
        """What `to_json` gave."""
        return cls(**{part: Passes(**passes) for part, passes in values.items()})


class Size(NamedTuple):
    """How large a trial is.

    Attributes:
        classes: That are learned.
        images: That are learned from.
        answers: Classes and test images of each split.
        tuned_on: Images of each run of the tuning loop; empty for all of them once.
    """

    classes: int
    images: int
    answers: tuple[tuple[int, int], ...]
    tuned_on: tuple[int, ...] = ()


def steps_of(size: Size, hyperparameters: Mapping[str, Any]) -> int:
    """Optimiser steps of a trial: as the tuning loop makes them: epochs times batches, or so many.

    Args:
        size: Of the trial.
        hyperparameters: Of its method; without epochs there are none.
    """
    runs = size.tuned_on or (size.images,)
    if steps := hyperparameters.get("total_steps", 0):
        return steps * len(runs)
    epochs, batch = hyperparameters.get("epochs", 0), hyperparameters.get("batch_size", 1)
    found = 0
    for images in runs:
        whole, rest = divmod(images, batch)
        kept = bool(rest) and (not whole or not hyperparameters.get("drop_last", True))
        found += epochs * (whole + kept)
    return found


def operations_of(
    work: Work, size: Size, hyperparameters: Mapping[str, Any], tower: TowerOperations
) -> float:
    """Floating-point operations of a trial in the towers: fit and evaluation, encoding apart.

    Args:
        work: What its method takes.
        size: Of the trial.
        hyperparameters: Of its method.
        tower: Of its backbone.
    """
    steps = steps_of(size, hyperparameters)
    batch = min(size.images, hyperparameters.get("batch_size", size.images))
    return math.fsum(
        (
            work.once.operations(tower, classes=size.classes, images=size.images),
            steps * work.step.operations(tower, classes=size.classes, images=batch),
            *(
                work.answer.operations(tower, classes=classes, images=images)
                for classes, images in size.answers
            ),
        )
    )


@cache
def known_work() -> dict[str, Work]:
    """What the methods that ship take, by id: counted once, and written down."""
    found = json.loads(TABLE.read_text("utf-8"))
    return {name: Work.from_json(values) for name, values in found.items()}


def write_known(works: Iterable[tuple[str, Work]]) -> None:
    """Writes the table anew."""
    lines = (f"{json.dumps(name)}: {json.dumps(work.to_json())}" for name, work in works)
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
