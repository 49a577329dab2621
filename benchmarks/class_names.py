"""Class names as long as real ones, for benchmarks of text towers.

A class name of one token leaves out more of a padded text than one of six, so what is saved
depends on how long names are. Lengths here are those of real data sets, counted in tokens of
CLIP's vocabulary.
"""

import json
import random
from collections.abc import Mapping
from functools import cache
from itertools import islice, product

# How many class names have how many tokens: EuroSAT, Oxford Pets, Caltech-101, ImageNet.
EUROSAT: Mapping[int, int] = {1: 2, 2: 1, 3: 4, 5: 2, 6: 1}
PETS: Mapping[int, int] = {1: 9, 2: 16, 3: 9, 4: 3}
CALTECH: Mapping[int, int] = {1: 60, 2: 24, 3: 8, 4: 5, 5: 3}
IMAGENET: Mapping[int, int] = {1: 246, 2: 508, 3: 154, 4: 50, 5: 22, 6: 10, 7: 8, 9: 1, 12: 1}
BY_CLASSES = {10: EUROSAT, 37: PETS, 100: CALTECH}


def name_lengths(classes: int) -> list[int]:
    """Tokens of each class name; those of ImageNet where no data set has so many classes."""
    counts = BY_CLASSES.get(classes, IMAGENET)
    lengths = [length for length, count in counts.items() for _ in range(count)]
    random.Random(0).shuffle(lengths)
    if classes > len(lengths):
        raise ValueError(f"{classes} classes: lengths of at most {len(lengths)} names are known.")
    return lengths[:classes]


@cache
def names(classes: int) -> tuple[str, ...]:
    """Different class names of `name_lengths` tokens in the vocabulary of mini-clip."""
    words = _words()
    # Each length has its own combinations, from another first word on: no two names are alike.
    pools = {1: iter(words)}
    found = []
    for length in name_lengths(classes):
        if length not in pools:
            rotated = words[7 * length :] + words[: 7 * length]
            pools[length] = map(" ".join, islice(product(rotated, repeat=length), 0, None, 5))
        found.append(next(pools[length]))
    return tuple(found)


@cache
def _words() -> list[str]:
    """Words that mini-clip's tokenizer reads as one token."""
    from operators.backbones.formats.clip_files import EMBEDDED

    text = (EMBEDDED / "mini_clip" / "tokenizer.json").read_text(encoding="utf-8")
    tokens = json.loads(text)["model"]["vocab"]
    ends = "</w>"  # marks a token that ends a word; without any before it, it is the word
    words = (token.removesuffix(ends) for token in tokens if token.endswith(ends))
    return sorted(word for word in words if word.isascii() and word.isalpha() and len(word) > 2)
