"""ImageNetV2: a test set of ImageNet's 1,000 classes, collected anew, ten photos of each."""

from data_catalog.published.folders import evaluation_only
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset
from data_catalog.published.names import class_names
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.tree import Tree

CLASSES = {str(label): name for label, name in enumerate(class_names("imagenet"))}
_FOLDER = "imagenetv2-matched-frequency-format-val"
_ARCHIVE = "imagenetv2-matched-frequency.tar.gz"
_SHA256 = "a32004f9e773279307499059d320336a23ccdc62cb32063da29bae9bd04c122c"
_BY = "tensorflow/datasets, url_checksums/imagenet_v2.txt"


def _place(tree: Tree) -> str:
    """The folder of the numbered class folders: that of the matched-frequency set, or the place."""
    return tree.folder(_FOLDER) or ("" if tree.folder("0") == "0/" else tree.need_folder(_FOLDER))


DATASET = PublishedDataset(
    name="imagenetv2",
    title="ImageNetV2 (matched frequency)",
    description="A second test set for ImageNet, collected as the first one was.",
    license="MIT for the list; the photos belong to their owners",
    citation="Recht et al., Do ImageNet Classifiers Generalize to ImageNet?, ICML 2019",
    homepage="https://github.com/modestyachts/ImageNetV2",
    trouble=(
        "Its folders are called by label, 0 to 999, not by WordNet id; sorted as text, 10 comes "
        "before 2, and readers that do so score 0. Papers use the matched-frequency set of the "
        "three that there are. Two pairs of classes share a name."
    ),
    template_sets=coop_template_sets(PHOTO, seven_alone=True),
    split_rule="All images are test images; nothing can be learned from them.",
    counts={OFFICIAL: {"test": 10_000}},
    reader=evaluation_only("ImageNetV2", _place, CLASSES),
    layout=f"{_FOLDER}/ with 1,000 folders called 0 to 999",
    by_hand=(
        f"Fetch https://s3-us-west-2.amazonaws.com/imagenetv2public/{_ARCHIVE}, unpack it, and "
        "give its folder or the one above it"
    ),
    downloads=(
        Download(
            url=f"https://s3-us-west-2.amazonaws.com/imagenetv2public/{_ARCHIVE}",
            holds=f"all images, in {_FOLDER}/",
            sha256=_SHA256,
            size_bytes=1_253_959_680,
            checked_by=_BY,
        ),
        Download(
            url=f"https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/{_ARCHIVE}",
            holds=f"all images, in {_FOLDER}/",
            mirror=True,
        ),
    ),
    classes=tuple(CLASSES.values()),
    duplicate_class_names=True,
)
