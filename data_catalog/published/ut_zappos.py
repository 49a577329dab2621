"""UT-Zappos50K: photos of shoes by material and kind, such as suede slippers."""

from data_catalog.published.compositions import (
    METADATA,
    SPLIT,
    SPLIT_RULE,
    SPLITS_URL,
    TEMPLATES,
    TO_JSON,
    compositional_reader,
)
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset

_IMAGES = "http://vision.cs.utexas.edu/projects/finegrained/utzap50k/ut-zap50k-images.zip"

DATASET = PublishedDataset(
    name="ut_zappos",
    title="UT-Zappos50K",
    description="Photos of 12 kinds of shoe in 16 materials, 116 pairs; a class is a pair.",
    license="for academic, non-commercial use",
    citation="Yu and Grauman, Fine-Grained Visual Comparisons with Local Learning, CVPR 2014",
    homepage="https://vision.cs.utexas.edu/projects/finegrained/utzap50k/",
    trouble=(
        "Materials are often not to be seen. Which image is of which split stands in a pickle, "
        "which is not read: it is made JSON once. 33 pairs have no train image, so a class "
        "without one is meant."
    ),
    template_sets=TEMPLATES,
    split_rule=SPLIT_RULE,
    counts={OFFICIAL: {"train": 22_998, "val": 3_214, "test": 2_914}},
    reader=compositional_reader("ut-zap50k", "ut-zappos"),
    layout=f"images/ or ut-zap50k-images/, {SPLIT}/ with three lists of pairs, and {METADATA}",
    by_hand=(
        f"Fetch {_IMAGES} and {SPLITS_URL}, put ut-zap50k-images/ and {SPLIT}/ into one folder, "
        f"and there make the metadata JSON with: {TO_JSON}"
    ),
    downloads=(
        Download(url=_IMAGES, holds="all images, in ut-zap50k-images/"),
        Download(url=SPLITS_URL, holds="the lists of pairs, and the metadata as a pickle"),
    ),
    unseen_classes=True,
)
