"""World novel: 18 things that mini-clip's pretraining never saw and whose names it never read.

Splits: drawn, 30 train, 10 val and 30 test images of each class, half clean, half photo-like.
Known trouble: zero-shot is near chance by design, since the names mean nothing to the text tower.
"""

from data_catalog.card import DatasetCard
from data_catalog.world.sets import WorldSet, held_out_look

CLASSES = (
    "carrot", "church", "feather", "frog", "glasses", "guitar", "hammer", "helicopter",
    "mushroom", "penguin", "rabbit", "skull", "snowman", "spider", "sword", "tent", "tooth",
    "tractor",
)  # fmt: skip


SOURCE = WorldSet(
    "world-novel", CLASSES, {"train": 30, "val": 10, "test": 30}, ("clean", "photo"), held_out_look
)
CARD = DatasetCard(
    name="world-novel",
    title="World novel",
    description="18 things that mini-clip has never seen, in any style.",
    source=SOURCE,
    classes=CLASSES,
    template="a photo of a {}.",
    templates=("a photo of a {}.", "an image of a {}.", "a picture of a {}.", "an icon of a {}."),
    split_sizes=SOURCE.sizes(),
    domains=SOURCE.domains,
    license="SIL OFL 1.1 (Font Awesome), Apache-2.0 (Material Design Icons, Remix Icon)",
    citation="Shotboard, drawn from icon sets as packed in qtawesome",
    homepage="https://github.com/spyder-ide/qtawesome",
    trouble="Zero-shot is near chance by design: few-shot learning has all to gain.",
    provider_package="qtawesome",
)
