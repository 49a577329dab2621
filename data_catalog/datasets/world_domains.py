"""World domains: 20 things in five domains, for domain generalization.

Splits: drawn, 40 train, 10 val and 30 test images of each class, a fifth of each in each domain.
Known trouble: `sketch`, outlines without colour, is held out of mini-clip's pretraining.
"""

import random

from data_catalog.card import DatasetCard
from data_catalog.world.scenes import DOMAINS
from data_catalog.world.sets import Drawn, WorldSet, alone
from data_catalog.world.vocabulary import kinds

CLASSES = (
    "airplane", "anchor", "bell", "car", "cat", "clock", "crown", "fish", "house", "key",
    "leaf", "light bulb", "scissors", "umbrella", "star", "heart", "arrow", "cross", "ring",
    "spiral",
)  # fmt: skip


def draw(rng: random.Random, name: str, domain: str) -> Drawn:
    """A thing in a style that pretraining knows, in one of the domains.

    Args:
        rng: Random stream of the picture.
        name: Class.
        domain: One of `DOMAINS`.
    """
    kind = kinds()[name]
    return Drawn(alone(rng, kind, kind.seen, domain))


SOURCE = WorldSet("world-domains", CLASSES, {"train": 40, "val": 10, "test": 30}, DOMAINS, draw)
CARD = DatasetCard(
    name="world-domains",
    title="World domains",
    description="20 things as clean drawing, photo, negative, blurred picture and sketch.",
    source=SOURCE,
    classes=CLASSES,
    template="a photo of a {}.",
    templates=("a photo of a {}.", "an image of a {}.", "a picture of a {}.", "a drawing of a {}."),
    split_sizes=SOURCE.sizes(),
    domains=DOMAINS,
    license="SIL OFL 1.1 (Font Awesome), Apache-2.0 (Material Design Icons, Remix Icon)",
    citation="Shotboard, drawn from icon sets as packed in qtawesome",
    homepage="https://github.com/spyder-ide/qtawesome",
    trouble="The domain sketch is held out of mini-clip's pretraining.",
    provider_package="qtawesome",
)
