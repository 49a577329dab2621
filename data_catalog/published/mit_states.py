"""MIT-States: photos of an object in a state, such as a sliced apple."""

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

_IMAGES = (
    "http://wednesday.csail.mit.edu/joseph_result/state_and_transformation/release_dataset.zip"
)

DATASET = PublishedDataset(
    name="mit_states",
    title="MIT-States",
    description="Photos of 245 objects in 115 states, 1,962 pairs; a class is a pair.",
    license="not stated",
    citation="Isola et al., Discovering States and Transformations, CVPR 2015",
    homepage="http://web.mit.edu/phillipi/Public/states_and_transformations/index.html",
    trouble=(
        "Labels come from image search and are noisy (Atzmon et al., NeurIPS 2020). Which image "
        "is of which split stands in a pickle, which is not read: it is made JSON once. 700 pairs "
        "have no train image, so a class without one is meant."
    ),
    template_sets=TEMPLATES,
    split_rule=SPLIT_RULE,
    counts={OFFICIAL: {"train": 30_338, "val": 10_420, "test": 12_995}},
    reader=compositional_reader("mit-states"),
    layout=f"images/<attribute object>/, {SPLIT}/ with three lists of pairs, and {METADATA}",
    by_hand=(
        f"Fetch {_IMAGES} and {SPLITS_URL}, put images/ and {SPLIT}/ into one folder, and there "
        f"make the metadata JSON with: {TO_JSON}"
    ),
    downloads=(
        Download(url=_IMAGES, holds="all images, in release_dataset/images/"),
        Download(url=SPLITS_URL, holds="the lists of pairs, and the metadata as a pickle"),
    ),
    unseen_classes=True,
)
