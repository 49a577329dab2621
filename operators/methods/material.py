"""What a method is given to learn from, as it is known before any example is read."""

from typing import NamedTuple


class Material(NamedTuple):
    """What there is to learn from; the same for every seed of a cell.

    Attributes:
        templates: Hand-written prompts of the dataset's card.
        present: Classes that have a labelled training example.
        train: Labelled training examples.
        unlabelled: Examples without labels; 0 where the method is given none.
    """

    templates: tuple[str, ...]
    present: int
    train: int
    unlabelled: int
