"""World icons: 48 everyday things in an icon style that mini-clip's pretraining never saw.

Splits: drawn, 30 train, 10 val and 25 test images of each class; half clean, half photo-like.
Known trouble: an icon set may draw a thing in its own way (the head of a dog, or all of it), so
some classes look alike or unlike their namesakes in the pretraining styles.
"""

from data_catalog.card import DatasetCard
from data_catalog.world.sets import WorldSet, held_out_look

CLASSES = (
    "airplane", "anchor", "bed", "bell", "bicycle", "book", "briefcase", "bug", "bus", "cake",
    "calculator", "camera", "car", "cat", "clock", "cloud", "coffee cup", "crown", "dog", "door",
    "envelope", "eye", "fish", "flag", "flame", "flower", "ghost", "gift", "globe", "hand",
    "headphones", "horse", "house", "key", "leaf", "light bulb", "magnet", "moon", "padlock",
    "pencil", "rocket", "scissors", "shield", "snowflake", "train", "trophy", "truck", "umbrella",
)  # fmt: skip


SOURCE = WorldSet(
    "world-icons", CLASSES, {"train": 30, "val": 10, "test": 25}, ("clean", "photo"), held_out_look
)
CARD = DatasetCard(
    name="world-icons",
    title="World icons",
    description="Icons of 48 everyday things, drawn in the Phosphor style.",
    source=SOURCE,
    classes=CLASSES,
    template="a photo of a {}.",
    templates=("a photo of a {}.", "an image of a {}.", "a picture of a {}.", "an icon of a {}."),
    split_sizes=SOURCE.sizes(),
    domains=SOURCE.domains,
    license="MIT (Phosphor icons)",
    citation="Shotboard, drawn from Phosphor Icons 1.3 as packed in qtawesome",
    homepage="https://phosphoricons.com",
    trouble="The style is held out of mini-clip's pretraining; the kinds are not.",
    provider_package="qtawesome",
)
