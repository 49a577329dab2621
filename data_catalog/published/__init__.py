"""Published datasets that are known and that users bring: facts, and readers of their files.

Adding one is one file with a `DATASET`, and one line in `PUBLISHED`. A reader gets the files as
they lie on disk and gives rows; it opens no image, and no pickle is ever read. Nothing here knows
cards or sources: `data_catalog.sources.published` reads the images, `data_catalog.known` makes
the card.
"""

from data_catalog.published import (
    caltech101,
    cifar10,
    cifar100,
    cub200,
    domainnet,
    dtd,
    eurosat,
    fgvc_aircraft,
    flowers102,
    food101,
    imagenet,
    imagenet_a,
    imagenet_r,
    imagenet_sketch,
    imagenetv2,
    mit_states,
    mnist,
    office_home,
    oxford_pets,
    pacs,
    resisc45,
    stanford_cars,
    stanford_dogs,
    sun397,
    svhn,
    terra_incognita,
    ucf101,
    ut_zappos,
    vlcs,
)
from data_catalog.published.form import (
    Download,
    PublishedDataset,
    Reading,
    Row,
    TemplateSet,
    check_domains,
)
from data_catalog.published.tree import LayoutError, Tree

PUBLISHED: dict[str, PublishedDataset] = {
    "imagenet": imagenet.DATASET,
    "caltech101": caltech101.DATASET,
    "oxford_pets": oxford_pets.DATASET,
    "stanford_cars": stanford_cars.DATASET,
    "flowers102": flowers102.DATASET,
    "food101": food101.DATASET,
    "fgvc_aircraft": fgvc_aircraft.DATASET,
    "sun397": sun397.DATASET,
    "dtd": dtd.DATASET,
    "eurosat": eurosat.DATASET,
    "ucf101": ucf101.DATASET,
    "imagenetv2": imagenetv2.DATASET,
    "imagenet_sketch": imagenet_sketch.DATASET,
    "imagenet_a": imagenet_a.DATASET,
    "imagenet_r": imagenet_r.DATASET,
    "pacs": pacs.DATASET,
    "vlcs": vlcs.DATASET,
    "office_home": office_home.DATASET,
    "terra_incognita": terra_incognita.DATASET,
    "domainnet": domainnet.DATASET,
    "cifar10": cifar10.DATASET,
    "cifar100": cifar100.DATASET,
    "resisc45": resisc45.DATASET,
    "mnist": mnist.DATASET,
    "svhn": svhn.DATASET,
    "cub200": cub200.DATASET,
    "stanford_dogs": stanford_dogs.DATASET,
    "mit_states": mit_states.DATASET,
    "ut_zappos": ut_zappos.DATASET,
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
    "check_domains",
]
