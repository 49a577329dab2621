"""SVHN: photos of digits of house numbers, cropped to 32 x 32 pixels."""

import numpy as np

from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    Download,
    PublishedDataset,
    Reading,
    TemplateSet,
)
from data_catalog.published.packed import Pack, unpacked
from data_catalog.published.tree import LayoutError, Tree

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SITE = "http://ufldl.stanford.edu/housenumbers"
_FILES = {
    "train_32x32.mat": (
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        182_040_794,
    ),
    "test_32x32.mat": (
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        64_275_384,
    ),
}
# "writte" stands in the published file.
_BENCHMARK = (
    "a photo of the number {} written on a sign",
    "an outdoor house number {}",
    "the number {} in the center of the image",
    "an outdoor number {} writte on a sign",
    "an outdoor number {}",
    "a centered image of the number {}",
)


def read(tree: Tree) -> Reading:
    """Images and labels of both MATLAB files; 10 is the digit 0."""
    train, test = (_pack(tree, name) for name in _FILES)
    return unpacked([train], [test], CLASSES)


def _pack(tree: Tree, name: str) -> Pack:
    path = tree.need(name)
    labels = np.atleast_1d(tree.matlab(path, "y").get("y", ()))
    if not np.isin(labels, range(1, len(CLASSES) + 1)).all() or not labels.size:
        raise LayoutError(f"{path} has no y with labels 1 to 10")

    def pixels() -> np.ndarray:
        values = np.asarray(tree.matlab(path, "X").get("X", ()))
        if values.shape != (32, 32, 3, len(labels)):
            raise LayoutError(f"{path} has no X of 32 x 32 x 3 x {len(labels):,}")
        return np.ascontiguousarray(values.transpose(3, 0, 1, 2))

    return Pack(path, labels.astype(np.int64) % len(CLASSES), pixels)


DATASET = PublishedDataset(
    name="svhn",
    title="SVHN (cropped digits)",
    description="Photos of digits of house numbers, cropped to 32 x 32 pixels.",
    license="for non-commercial use only",
    citation="Netzer et al., Reading Digits in Natural Images, NIPS Workshop 2011",
    homepage=f"{_SITE}/",
    trouble=(
        "The files call the digit 0 label 10; here it is label 0, as in torchvision. Crops show "
        "parts of neighbouring digits. extra_32x32.mat is not read."
    ),
    template_sets={
        "clip-benchmark": TemplateSet(
            _BENCHMARK[0], _BENCHMARK, "CLIP_benchmark, en_zeroshot_classification_templates.json"
        ),
        "photo": TemplateSet("a photo of a {}.", (), "Radford et al., ICML 2021"),
    },
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 58_606, "val": 14_651, "test": 26_032},
        OFFICIAL: {"train": 73_257, "test": 26_032},
    },
    reader=read,
    layout="train_32x32.mat and test_32x32.mat",
    by_hand=f"Fetch {_SITE}/train_32x32.mat and {_SITE}/test_32x32.mat into one folder",
    downloads=tuple(
        Download(
            url=f"{_SITE}/{name}",
            holds=f"the {name.partition('_')[0]} images",
            sha256=sha256,
            size_bytes=size,
            checked_by="tensorflow/datasets, url_checksums/svhn_cropped.txt",
        )
        for name, (sha256, size) in _FILES.items()
    ),
    classes=CLASSES,
    cleaned=lambda name: dict(zip("0123456789", CLASSES, strict=True)).get(name, name),
)
