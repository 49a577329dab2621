"""World letters: the alphabet in font families that mini-clip's pretraining never saw.

Splits: drawn, 30 train, 10 val and 30 test images of each letter, capital and lowercase, half
clean, half photo-like.
Known trouble: a capital and a lowercase l, an I and a J are hard to tell apart in some faces.
"""

import string

from data_catalog.card import DatasetCard
from data_catalog.world.sets import WorldSet, held_out_look

CLASSES = tuple(string.ascii_lowercase)


SOURCE = WorldSet(
    "world-letters",
    CLASSES,
    {"train": 30, "val": 10, "test": 30},
    ("clean", "photo"),
    held_out_look,
)
CARD = DatasetCard(
    name="world-letters",
    title="World letters",
    description="Capital and lowercase letters in the font families Caladea and Manrope.",
    source=SOURCE,
    classes=CLASSES,
    template="a photo of the letter {}.",
    templates=(
        "a photo of the letter {}.",
        "an image of the letter {}.",
        "a picture of the letter {}.",
        "a drawing of the letter {}.",
    ),
    split_sizes=SOURCE.sizes(),
    domains=SOURCE.domains,
    license="SIL OFL 1.1",
    citation="Shotboard, drawn from Caladea and Manrope as packed on PyPI",
    homepage="https://fonts.google.com/specimen/Manrope",
    trouble="The fonts are held out of mini-clip's pretraining; the letters are not.",
    provider_package="font-manrope",
)
