"""ImageNet-A: photos of 200 classes of ImageNet that a ResNet-50 takes for something else."""

from data_catalog.published.folders import evaluation_only
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset
from data_catalog.published.names import wordnet_names
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.wordnet import VARIANT_RULE, wordnet_place

CLASSES = wordnet_names("imagenet_a")
_URL = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar"

DATASET = PublishedDataset(
    name="imagenet_a",
    title="ImageNet-A",
    description="Photos of 200 classes of ImageNet that fool a ResNet-50.",
    license="MIT for the list; the photos belong to their owners",
    citation="Hendrycks et al., Natural Adversarial Examples, CVPR 2021",
    homepage="https://github.com/hendrycks/natural-adv-examples",
    trouble=(
        "Chosen against ResNet-50, so low numbers of such a backbone mean little. A classifier is "
        "asked among the 200 classes alone, as in CoOp's code."
    ),
    template_sets=coop_template_sets(PHOTO, seven_alone=True),
    split_rule=VARIANT_RULE,
    counts={OFFICIAL: {"test": 7500}},
    reader=evaluation_only("ImageNet-A", wordnet_place("imagenet-a"), CLASSES),
    layout="imagenet-a/ with 200 folders called by WordNet id",
    by_hand=f"Fetch {_URL}, unpack it, and give its folder or the one above it",
    downloads=(
        Download(
            url=_URL,
            holds="all images, in imagenet-a/",
            sha256="3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
            size_bytes=687_552_512,
            checked_by="tensorflow/datasets, url_checksums/imagenet_a.txt",
        ),
    ),
    classes=tuple(CLASSES.values()),
)
