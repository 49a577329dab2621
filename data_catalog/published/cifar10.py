"""CIFAR-10: 60,000 images of 32 x 32 pixels, ten kinds of animal and vehicle."""

from data_catalog.published.cifar import SITE, binary_reader, cifar_templates
from data_catalog.published.form import OFFICIAL, RULE, Download, PublishedDataset

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_ARCHIVE = "cifar-10-binary.tar.gz"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))

DATASET = PublishedDataset(
    name="cifar10",
    title="CIFAR-10",
    description="Images of 32 x 32 pixels, ten kinds of animal and vehicle.",
    license="not stated",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage=f"{SITE}/cifar.html",
    trouble="About 3 % of the test images have a near copy among the train images.",
    template_sets=cifar_templates(),
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 40_000, "val": 10_000, "test": 10_000},
        OFFICIAL: {"train": 50_000, "test": 10_000},
    },
    reader=binary_reader(_TRAIN, "test_batch.bin", 1, CLASSES, _ARCHIVE),
    layout="data_batch_1.bin to data_batch_5.bin and test_batch.bin",
    by_hand=f"Fetch {SITE}/{_ARCHIVE}, unpack it, and give its folder",
    downloads=(
        Download(
            url=f"{SITE}/{_ARCHIVE}",
            holds="all images, in cifar-10-batches-bin/",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size_bytes=170_052_171,
            checked_by="tensorflow/datasets, url_checksums/cifar10.txt",
        ),
        Download(
            url="hf://datasets/mteb/cifar10",
            holds="all images, as Parquet",
            mirror=True,
            revision="69a62dd171e24a133d193073e73fda4dbb823266",
            checked_by="mteb, tasks/classification/eng/cifar.py",
        ),
    ),
    classes=CLASSES,
)
