"""World scenes: one of 16 shapes among icons, with a mask of every thing, for localisation.

Splits: drawn, 30 train, 10 val and 30 test images of each class, half clean, half photo-like.
A picture shows the shape that it is labelled by and one or two smaller icons. Column `mask` is a
PNG in which the shape has the value 1 and the icons 2 and 3; `box_left`, `box_top`, `box_right`
and `box_bottom` bound the shape, in pixels of the image, the last two excluded.
Known trouble: an icon may hide a part of the shape.
"""

import random

from data_catalog.card import DatasetCard
from data_catalog.world.scenes import Place, Thing, thing
from data_catalog.world.sets import Drawn, WorldSet, scene_of
from data_catalog.world.vocabulary import COLOURS, SHAPES, kinds, known

CORNERS = ((0.18, 0.18), (0.82, 0.18), (0.18, 0.82), (0.82, 0.82))


def draw(rng: random.Random, name: str, domain: str) -> Drawn:
    """A shape in the middle and icons in the corners, none of its colour.

    Args:
        rng: Random stream of the picture.
        name: Class.
        domain: Of the picture.
    """
    colours = rng.sample(list(COLOURS), 3)
    shape = kinds()[name]
    middle = Place(rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.65))
    things: list[Thing] = [thing(rng, shape, shape.seen[0], colours[0], middle)]
    for colour, (x, y) in zip(colours[1:], rng.sample(CORNERS, rng.randint(1, 2)), strict=False):
        icon = rng.choice(known("icon"))
        place = Place(x, y, rng.uniform(0.28, 0.34))
        things.append(thing(rng, icon, rng.choice(icon.seen), colour, place))
    return Drawn(scene_of(tuple(things), rng, domain), {"things": len(things)}, masked=True)


SOURCE = WorldSet(
    "world-scenes", SHAPES, {"train": 30, "val": 10, "test": 30}, ("clean", "photo"), draw
)
CARD = DatasetCard(
    name="world-scenes",
    title="World scenes",
    description="A shape among smaller icons, with masks and a box.",
    source=SOURCE,
    classes=SHAPES,
    template="a photo of a {}.",
    templates=("a photo of a {}.", "an image of a {}.", "a picture of a {}.", "a drawing of a {}."),
    split_sizes=SOURCE.sizes(),
    domains=SOURCE.domains,
    license="SIL OFL 1.1 (Font Awesome), Apache-2.0 (Material Design Icons, Remix Icon)",
    citation="Shotboard, drawn by its own code and from icon sets as packed in qtawesome",
    homepage="https://github.com/spyder-ide/qtawesome",
    trouble="An icon may hide a part of the shape; the mask says which pixels are in sight.",
    provider_package="qtawesome",
)
