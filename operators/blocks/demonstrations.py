"""Which labelled texts are shown in front of a question, and in which order."""

from collections.abc import Sequence

import torch

from operators.backbones.language import LanguageModel, Template
from operators.backbones.language.template import demonstrations

SHARE = 0.5  # of what a model reads goes to the examples at most: the rest is for the text


def chosen_examples(labels: Sequence[int], generator: torch.Generator) -> list[int]:
    """Positions of all examples in an order of chance, one of each class in turn.

    Args:
        labels: Class of each example.
        generator: Draws the order within each class and of the classes in each turn.
    """
    waiting: dict[int, list[int]] = {}
    for position in torch.randperm(len(labels), generator=generator).tolist():
        waiting.setdefault(labels[position], []).append(position)
    found: list[int] = []
    while waiting:
        turn = list(waiting)
        for place in torch.randperm(len(turn), generator=generator).tolist():
            found.append(waiting[turn[place]].pop())
        waiting = {label: rest for label, rest in waiting.items() if rest}
    return found


def fitting_examples(
    backbone: LanguageModel,
    template: Template,
    texts: Sequence[str],
    words: Sequence[str],
    most: int,
) -> list[int]:
    """Positions of the first examples that a model has room for, in the order given.

    Args:
        backbone: Reads half of its context at most as examples.
        template: Of the question, which the examples share.
        texts: Of the examples.
        words: Answer of each example.
        most: Examples wanted.

    Raises:
        ValueError: There is room for none.
    """
    room = int(backbone.context_length * SHARE)
    found: list[int] = []
    for position, (text, word) in enumerate(zip(texts, words, strict=True)):
        length = len(backbone.reader.read_text(demonstrations(template, [text], [word])))
        if length <= room and len(found) < most:
            found.append(position)
            room -= length
    if not found:
        raise ValueError(
            f"no example fits into the {backbone.context_length} tokens that {backbone.card.name} "
            "reads, half of which are for the text: use a model that reads more."
        )
    return found
