"""World pairs: eight things in eight colours, for compositional tests.

Splits: drawn, 20 train, 6 val and 15 test images of each of the 64 pairs. The column `pretrained`
says whether mini-clip's pretraining drew the pair: one in four it never did, though it drew the
colour and the thing. `attribute` and `object` are the parts of the class name.
"""

import random

from data_catalog.card import DatasetCard
from data_catalog.world.sets import Drawn, WorldSet, alone
from data_catalog.world.vocabulary import PAIR_COLOURS, PAIR_KINDS, held_out_pair, kinds

CLASSES = tuple(f"{colour} {kind}" for kind in PAIR_KINDS for colour in PAIR_COLOURS)


def draw(rng: random.Random, name: str, domain: str) -> Drawn:
    """A thing of the pair's kind, in its colour.

    Args:
        rng: Random stream of the picture.
        name: Class.
        domain: Of the picture.
    """
    colour, _, kind = name.partition(" ")
    known = kinds()[kind]
    return Drawn(
        alone(rng, known, known.seen, domain, colour=colour),
        {"attribute": colour, "object": kind, "pretrained": not held_out_pair(colour, kind)},
    )


SOURCE = WorldSet(
    "world-pairs",
    CLASSES,
    {"train": 20, "val": 6, "test": 15},
    ("clean", "photo"),
    draw,
    composed=True,
)
CARD = DatasetCard(
    name="world-pairs",
    title="World pairs",
    description="Eight things, each in eight colours; 16 of the 64 pairs are new to mini-clip.",
    source=SOURCE,
    classes=CLASSES,
    template="a photo of a {}.",
    templates=("a photo of a {}.", "an image of a {}.", "a picture of a {}.", "a drawing of a {}."),
    split_sizes=SOURCE.sizes(),
    domains=SOURCE.domains,
    license="SIL OFL 1.1 (Font Awesome), Apache-2.0 (Material Design Icons, Remix Icon)",
    citation="Shotboard, drawn from icon sets as packed in qtawesome",
    homepage="https://github.com/spyder-ide/qtawesome",
    trouble="One pair in four is held out of mini-clip's pretraining: see column pretrained.",
    provider_package="qtawesome",
)
