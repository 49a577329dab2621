"""Stanford Dogs: photos of 120 breeds, from ImageNet."""

import numpy as np

from data_catalog.published.folders import plain
from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    Download,
    PublishedDataset,
    Reading,
    Row,
    TemplateSet,
)
from data_catalog.published.names import class_names
from data_catalog.published.splitting import DRAWN, fifth_for_val
from data_catalog.published.templates import PHOTO
from data_catalog.published.tree import LayoutError, Tree

CLASSES = class_names("stanford_dogs")
_SITE = "http://vision.stanford.edu/aditya86/ImageNetDogs"
_CHECKED = "tensorflow/datasets, url_checksums/stanford_dogs.txt"


def read(tree: Tree) -> Reading:
    """Rows of the official lists; a breed is called as the folder of its photos."""
    images = tree.need_folder("Images", "images")
    train = _listed(tree, "train_list.mat", images)
    return Reading(fifth_for_val(train, _listed(tree, "test_list.mat", images)), RULE, DRAWN)


def breed(folder: str) -> str:
    """The breed of a folder, such as `n02085620-Chihuahua`."""
    return plain(folder.partition("-")[2] if folder.startswith("n0") else folder)


def _listed(tree: Tree, name: str, images: str) -> list[Row]:
    path = tree.need(name)
    found = tree.matlab(path, "file_list", "labels")
    files = np.atleast_1d(found.get("file_list", ())).tolist()
    labels = np.atleast_1d(found.get("labels", ())).tolist()
    if not files or len(files) != len(labels):
        raise LayoutError(
            f"{path} has {len(files):,} names in file_list and {len(labels):,} labels"
        )
    try:
        return [
            Row(f"{images}{file}", int(label) - 1, breed(file.split("/")[0]), None)
            for file, label in zip(files, labels, strict=True)
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise LayoutError(f"{path} is not the official one: {error!r}") from error


DATASET = PublishedDataset(
    name="stanford_dogs",
    title="Stanford Dogs",
    description="Photos of 120 breeds of dog.",
    license="ImageNet's terms: for non-commercial research",
    citation="Khosla et al., Novel Dataset for Fine-Grained Image Categorization, 2011",
    homepage=f"{_SITE}/",
    trouble="All photos are train photos of ImageNet, those of test too; many backbones know them.",
    template_sets={
        "photo": TemplateSet(PHOTO, (), "Radford et al., ICML 2021"),
        "dog": TemplateSet("a photo of a {}, a type of dog.", (), "as CLIP's prompt of pets"),
    },
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 9600, "val": 2400, "test": 8580},
        OFFICIAL: {"train": 12_000, "test": 8580},
    },
    reader=read,
    layout="Images/, train_list.mat and test_list.mat",
    by_hand=f"Fetch {_SITE}/images.tar and {_SITE}/lists.tar, unpack both into one folder",
    downloads=(
        Download(
            url=f"{_SITE}/images.tar",
            holds="all images, in Images/",
            sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
            size_bytes=793_579_520,
            checked_by=_CHECKED,
        ),
        Download(
            url=f"{_SITE}/lists.tar",
            holds="the official lists",
            sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
            size_bytes=481_280,
            checked_by=_CHECKED,
        ),
    ),
    classes=CLASSES,
    cleaned=breed,
)
