"""ImageNet-R: art, cartoons, toys and other renditions of 200 classes of ImageNet."""

from data_catalog.published.folders import evaluation_only
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset
from data_catalog.published.names import wordnet_names
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.wordnet import VARIANT_RULE, wordnet_place

CLASSES = wordnet_names("imagenet_r")
_URL = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"

DATASET = PublishedDataset(
    name="imagenet_r",
    title="ImageNet-R",
    description="Renditions of 200 classes of ImageNet: art, cartoons, toys, tattoos and others.",
    license="MIT for the list; the images belong to their owners",
    citation="Hendrycks et al., The Many Faces of Robustness, ICCV 2021",
    homepage="https://github.com/hendrycks/imagenet-r",
    trouble=(
        "Many images are found in the data of web-trained backbones. A classifier is asked among "
        "the 200 classes alone, as in CoOp's code."
    ),
    template_sets=coop_template_sets(PHOTO, seven_alone=True),
    split_rule=VARIANT_RULE,
    counts={OFFICIAL: {"test": 30_000}},
    reader=evaluation_only("ImageNet-R", wordnet_place("imagenet-r"), CLASSES),
    layout="imagenet-r/ with 200 folders called by WordNet id",
    by_hand=f"Fetch {_URL}, unpack it, and give its folder or the one above it",
    downloads=(
        Download(
            url=_URL,
            holds="all images, in imagenet-r/",
            sha256="18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
            size_bytes=2_191_079_936,
            checked_by="tensorflow/datasets, url_checksums/imagenet_r.txt",
        ),
    ),
    classes=tuple(CLASSES.values()),
)
