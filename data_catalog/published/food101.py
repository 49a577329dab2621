"""Food101: photos of 101 dishes, 1,000 of each, of people who eat out."""

from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    SPLIT_FILE,
    Download,
    PublishedDataset,
)
from data_catalog.published.names import class_names
from data_catalog.published.splitting import HALF_RULE, PublishedSplit, halved_folders
from data_catalog.published.templates import coop_template_sets

FILE = PublishedSplit(
    "split_zhou_Food101.json",
    drive="1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
    git_blob="39557040ee6501bd32aa8b5dfd75f7941a32f0a7",
)
CLASSES = class_names("food101")
_URL = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"
_SIZES = {"train": 50500, "val": 20200, "test": 30300}


DATASET = PublishedDataset(
    name="food101",
    title="Food-101",
    description="Photos of 101 dishes.",
    license="not stated; photos of Foodspotting's users, for research",
    citation="Bossard et al., Food-101: Mining Discriminative Components, ECCV 2014",
    homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    trouble=(
        "CoOp's splits mix the official train images, of which some have wrong labels, with the "
        "cleaned test images. Its split file is given by git blob: no public source has its md5."
    ),
    template_sets=coop_template_sets(
        "a photo of {}, a type of food.", tcp="a photo of a {}, a type of food."
    ),
    split_rule=HALF_RULE,
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, OFFICIAL: {"train": 75750, "test": 25250}},
    reader=halved_folders(FILE, ["images"], {name: name for name in CLASSES}),
    layout="images/<class>/ and split_zhou_Food101.json",
    by_hand=(
        f"Fetch {_URL}, unpack it, put CoOp's split_zhou_Food101.json beside images/ if you have "
        "it, and give that folder"
    ),
    downloads=(
        Download(
            url=_URL,
            holds="all images, in food-101/images/",
            md5="85eeb15f3717b99a5da872d97d918f87",
            sha256="d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
            size_bytes=4_996_278_331,
            checked_by="torchvision, datasets/food101.py; TFDS, url_checksums/food101.txt",
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/food101",
            holds="all images and the official splits, as Parquet",
            mirror=True,
            revision="7cca05bfde8fdad4a9b39ed14a881c800cc1dca2",
            checked_by="mteb, tasks/classification/eng/food101_classification.py",
        ),
    ),
    classes=CLASSES,
)
