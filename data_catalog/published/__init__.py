"""Published datasets that are known and that users bring: facts, and readers of their files.

Adding one is one file with a `DATASET`, and one line in `PUBLISHED`. A reader gets the files as
they lie on disk and gives rows; it opens no image, and no pickle is ever read. Nothing here knows
cards or sources: `data_catalog.sources.published` reads the images, `data_catalog.known` makes
the card.
"""

from data_catalog.published import oxford_pets
from data_catalog.published.form import Download, PublishedDataset, Reading, Row, TemplateSet
from data_catalog.published.tree import LayoutError, Tree

PUBLISHED: dict[str, PublishedDataset] = {
    "oxford_pets": oxford_pets.DATASET,
}

__all__ = [
    "PUBLISHED",
    "Download",
    "LayoutError",
    "PublishedDataset",
    "Reading",
    "Row",
    "TemplateSet",
    "Tree",
]
