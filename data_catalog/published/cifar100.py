"""CIFAR-100: 60,000 images of 32 x 32 pixels, a hundred kinds of thing."""

from data_catalog.published.cifar import SITE, binary_reader, cifar_templates
from data_catalog.published.form import OFFICIAL, RULE, Download, PublishedDataset
from data_catalog.published.names import class_names

CLASSES = class_names("cifar100")
_ARCHIVE = "cifar-100-binary.tar.gz"

DATASET = PublishedDataset(
    name="cifar100",
    title="CIFAR-100",
    description="Images of 32 x 32 pixels, a hundred kinds of thing.",
    license="not stated",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage=f"{SITE}/cifar.html",
    trouble=(
        "About 10 % of the test images have a near copy among the train images. The 20 "
        "superclasses are not read."
    ),
    template_sets=cifar_templates(),
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 40_000, "val": 10_000, "test": 10_000},
        OFFICIAL: {"train": 50_000, "test": 10_000},
    },
    reader=binary_reader(("train.bin",), "test.bin", 2, CLASSES, _ARCHIVE),
    layout="train.bin and test.bin",
    by_hand=f"Fetch {SITE}/{_ARCHIVE}, unpack it, and give its folder",
    downloads=(
        Download(
            url=f"{SITE}/{_ARCHIVE}",
            holds="all images, in cifar-100-binary/",
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            size_bytes=168_513_733,
            checked_by="tensorflow/datasets, url_checksums/cifar100.txt",
        ),
        Download(
            url="hf://datasets/mteb/cifar100",
            holds="all images, as Parquet",
            mirror=True,
            revision="ac5511f885f65fb75d31a9d8810a8440913f7721",
            checked_by="mteb, tasks/classification/eng/cifar.py",
        ),
    ),
    classes=CLASSES,
)
