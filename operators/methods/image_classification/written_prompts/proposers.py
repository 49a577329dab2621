"""Who writes templates for a black-box search: a chat model of a user's own, or mutation.

A proposer is called as `proposer(best, worst, count, generator)`: with templates that classified
the most and the fewest labelled images right, best and worst first, how many new ones are wanted,
and a `torch.Generator` for whatever it draws. It gives a list of templates, each with one `{}` for
the class name; what has none is not scored.

What ships knows no language. It has a bank of templates that people wrote, and mutates the best.
"""

from collections.abc import Sequence

import torch

from operators.blocks.imagenet_templates import IMAGENET_60, PHOTOS_8, SELECTED_7
from operators.functions import Functions, texts_of

PLACE = "{}"
LONGEST = 14  # words: the authors ask for fewer than 15
BANK = tuple(dict.fromkeys((*SELECTED_7, *PHOTOS_8, *IMAGENET_60)))
ATTEMPTS = 20  # at a template that nobody has seen


def is_template(text: str) -> bool:
    """Whether a text has one place for the class name, and nothing else in braces."""
    return text.count(PLACE) == 1 and not set("{}") & set(text.replace(PLACE, ""))


def drawn_templates(count: int, generator: torch.Generator) -> list[str]:
    """Templates to start from: of the bank in a random order, then pairs of them, crossed.

    Args:
        count: How many, all different; fewer where no more can be made.
        generator: On the CPU.
    """
    found = [BANK[place] for place in torch.randperm(len(BANK), generator=generator).tolist()]
    if count > len(BANK):
        known, words = set(BANK), [_words(text) for text in BANK]
        pairs = dict.fromkeys(_joined(_crossed(one, other)) for one in words for other in words)
        new = [text for text in pairs if text not in known]
        found += [new[place] for place in torch.randperm(len(new), generator=generator).tolist()]
    return found[:count]


def mutated(
    best: Sequence[str], worst: Sequence[str], count: int, generator: torch.Generator
) -> list[str]:
    """New templates from the best: a word is left out, replaced or put in, or two are crossed.

    Words come from the bank, and none that only the worst have.

    Args:
        best: The best first.
        worst: The worst first.
        count: How many.
        generator: On the CPU.
    """
    spoiled = {word for text in worst for word in _words(text)}
    spoiled -= {word for text in best for word in _words(text)} | {PLACE}
    bank = dict.fromkeys(word for text in BANK for word in _words(text) if word != PLACE)
    words = [word for word in bank if word not in spoiled]
    seen, found = {*best, *worst}, []
    for _ in range(count):
        child = best[0]
        for _ in range(ATTEMPTS):
            parent, other = (_words(best[_below(len(best), generator)]) for _ in range(2))
            child = _joined(_changed(parent, other, words, generator))
            if child not in seen:
                break
        seen.add(child)
        found.append(child)
    return found


PROPOSERS = Functions(
    "a proposer of templates",
    ("best", "worst", "count", "generator"),
    "a list of templates, each with one {} for the class name",
    {"mutation": mutated},
    reads=texts_of,
)


def _changed(
    parent: list[str], other: list[str], words: list[str], generator: torch.Generator
) -> list[str]:
    """One of four changes of a template, as words."""
    kind = _below(4, generator)
    place, word = _below(len(parent), generator), words[_below(len(words), generator)]
    if kind == 0:
        return _crossed(parent, other)
    if kind == 1 and len(parent) > 2 and parent[place] != PLACE:
        return parent[:place] + parent[place + 1 :]
    if kind == 2 and parent[place] != PLACE:
        return [*parent[:place], word, *parent[place + 1 :]]
    return [*parent[:place], word, *parent[place:]] if len(parent) < LONGEST else parent


def _crossed(one: list[str], other: list[str]) -> list[str]:
    """What one has up to the class name, then what the other has behind it."""
    return one[: one.index(PLACE) + 1] + other[other.index(PLACE) + 1 :]


def _words(template: str) -> list[str]:
    """Its words, the class name and what stands right beside it apart, without the full stop."""
    return template.removesuffix(".").replace(PLACE, f" {PLACE} ").split()


def _joined(words: list[str]) -> str:
    return f"{' '.join(words)}."


def _below(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))
