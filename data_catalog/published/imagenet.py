"""ImageNet: photos of 1,000 things, called by WordNet id."""

from data_catalog.published.folders import by_class_folder
from data_catalog.published.form import OFFICIAL, PublishedDataset, Reading, Row
from data_catalog.published.names import class_names, wordnet_names
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

_SOLUTION = "LOC_val_solution.csv"  # of Kaggle's copy, whose val images lie in one folder


def read(tree: Tree) -> Reading:
    """Train rows by class folder, sorted; the official val rows, as val and again as test."""
    names = _names(tree)
    train = by_class_folder(tree, tree.need_folder("train"), names, "train")
    held_out = _validation(tree, names)
    rows = [*train, *(row._replace(split=split) for split in ("val", "test") for row in held_out)]
    return Reading(rows, OFFICIAL, "of its authors, whose val is val and test, as in CoOp's code")


def _names(tree: Tree) -> dict[str, str]:
    """Name of each class by its WordNet id: those of CoOp's classnames.txt, which may be there."""
    path = tree.find("classnames.txt")
    if path is None:
        return wordnet_names()
    named = [line.partition(" ") for line in tree.lines(path)]
    if not named:
        raise LayoutError(f"{path} is empty, and should name the classes: remove it, or fetch it")
    return {wordnet: name for wordnet, _, name in sorted(named)}


def _validation(tree: Tree, names: dict[str, str]) -> list[Row]:
    """The val images by class folder, else as Kaggle's list says; in the order of folders."""
    place, solution = tree.need_folder("val"), tree.find(_SOLUTION)
    if any("/" in path[len(place) :] for path in tree.below(place)):
        return by_class_folder(tree, place, names, "test")
    if solution is None:
        raise LayoutError(
            f"{place} has no class folders, and no {_SOLUTION} of Kaggle's copy says the classes; "
            "sort its images into folders, as torchvision.datasets.ImageNet does"
        )
    labels = {wordnet: label for label, wordnet in enumerate(names)}
    rows = []
    for line in tree.lines(solution)[1:]:
        image, _, boxes = line.partition(",")
        wordnet = boxes.split(" ")[0]
        if wordnet not in labels:
            raise LayoutError(f"{solution} says {line!r}, and no class is {wordnet!r}")
        rows.append(Row(f"{place}{image}.JPEG", labels[wordnet], names[wordnet], "test"))
    return sorted(rows, key=lambda row: (row.label, row.path))


DATASET = PublishedDataset(
    name="imagenet",
    title="ImageNet (ILSVRC 2012)",
    description="Photos of 1,000 things.",
    license="for research and teaching that are not commercial, by its terms of access",
    citation="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015",
    homepage="https://image-net.org/challenges/LSVRC/2012/",
    trouble=(
        "CoOp's code lists train images in the order of a disk, so that its draws differ between "
        "machines; here they are sorted. Its val is its test: what is chosen on val is chosen on "
        "test images, unless --splits train=train,test=test has val made of train. Two pairs of "
        "classes share the names missile and sunglasses."
    ),
    template_sets=coop_template_sets(PHOTO, seven_alone=True),
    split_rule="Official train; the 50,000 official val images are val and test.",
    counts={
        OFFICIAL: {"train": 1_281_167, "val": 50_000, "test": 50_000},
        "mteb": {"train": 1_281_167, "test": 50_000},
    },
    reader=read,
    layout="train/<WordNet id>/ and val/<WordNet id>/, in images/ or anywhere",
    # Not fetched: its terms are agreed to by a person, and its archives hold others. Digests and
    # sizes are those of torchvision's datasets/imagenet.py and TFDS's url_checksums/.
    by_hand=(
        "Sign up at https://image-net.org, fetch ILSVRC2012_img_train.tar (147,897,477,120 bytes, "
        "md5 1d675b47d978889d74fa0da5fadfb00e) and ILSVRC2012_img_val.tar (6,744,924,160 bytes, "
        "md5 29b22e2961454d5413ddabcf34fc5622), unpack them to train/ and val/ with a folder for "
        "each class, as torchvision.datasets.ImageNet does, and give the folder around them"
    ),
    classes=class_names("imagenet"),
    duplicate_class_names=True,
)
