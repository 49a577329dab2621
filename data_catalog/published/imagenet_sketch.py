"""ImageNet-Sketch: black and white sketches of the 1,000 classes of ImageNet, about 50 of each."""

from data_catalog.published.folders import evaluation_only
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset
from data_catalog.published.names import wordnet_names
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.wordnet import VARIANT_RULE, wordnet_place

CLASSES = wordnet_names()

DATASET = PublishedDataset(
    name="imagenet_sketch",
    title="ImageNet-Sketch",
    description="Sketches of the 1,000 classes of ImageNet, found by image search.",
    license="not stated; the images belong to their owners",
    citation="Wang et al., Learning Robust Global Representations, NeurIPS 2019",
    homepage="https://github.com/HaohanWang/ImageNet-Sketch",
    trouble="Some classes have fewer than 50 images, and two pairs of classes share a name.",
    template_sets=coop_template_sets(PHOTO, seven_alone=True),
    split_rule=VARIANT_RULE,
    counts={OFFICIAL: {"test": 50_889}},
    reader=evaluation_only("ImageNet-Sketch", wordnet_place("images", "sketch"), CLASSES),
    layout="images/ or sketch/ with 1,000 folders called by WordNet id",
    by_hand=(
        "Fetch ImageNet-Sketch.zip, whose address is at "
        "https://github.com/HaohanWang/ImageNet-Sketch, unpack it, and give the folder that has "
        "sketch/ (images/ in CoOp's layout)"
    ),
    downloads=(
        Download(
            url=(
                "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/"
                "ImageNet-Sketch.zip"
            ),
            holds="all images, in sketch/",
            mirror=True,
        ),
    ),
    classes=tuple(CLASSES.values()),
    duplicate_class_names=True,
)
