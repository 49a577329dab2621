"""CUB-200-2011: photos of 200 kinds of bird, about 60 of each."""

from data_catalog.published.folders import plain
from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    Download,
    PublishedDataset,
    Reading,
    Row,
    TemplateSet,
)
from data_catalog.published.splitting import DRAWN, fifth_for_val
from data_catalog.published.templates import PHOTO
from data_catalog.published.tree import LayoutError, Tree

_ARCHIVE = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
_BIRD = "a photo of a {}, a type of bird."


def read(tree: Tree) -> Reading:
    """Rows of the official lists, which share the number of an image."""
    names = {
        number: plain(folder.partition(".")[2])
        for number, folder in _numbered(tree, "classes.txt").items()
    }
    images, labels = _numbered(tree, "images.txt"), _numbered(tree, "image_class_labels.txt")
    splits = _numbered(tree, "train_test_split.txt")
    place = tree.need("images.txt")[: -len("images.txt")]
    rows: dict[str, list[Row]] = {"0": [], "1": []}
    for number, path in images.items():
        label, split = labels.get(number), splits.get(number)
        if label not in names or split not in rows:
            raise LayoutError(
                f"image {number} ({path}) has class {label!r} and split {split!r}: needed is a "
                "number of classes.txt, and 1 for train or 0 for test"
            )
        row = Row(f"{place}images/{path}", int(label) - 1, names[label], None)
        rows[split].append(row)
    return Reading(fifth_for_val(rows["1"], rows["0"]), RULE, DRAWN)


def _numbered(tree: Tree, name: str) -> dict[str, str]:
    """What a list has after each number."""
    path, found = tree.need(name), {}
    for number, line in enumerate(tree.lines(path), start=1):
        key, _, value = line.partition(" ")
        if not key.isdecimal() or not value:
            raise LayoutError(f"line {number} of {path} is {line!r}, and no number with a value")
        found[key] = value
    return found


DATASET = PublishedDataset(
    name="cub200",
    title="CUB-200-2011",
    description="Photos of 200 kinds of bird.",
    license="not stated; for non-commercial research",
    citation="Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011",
    homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    trouble=(
        "Some photos are in ImageNet too, on which many backbones were trained. Names lose the "
        "apostrophe (Brewer Blackbird), as in the files."
    ),
    template_sets={
        "clip": TemplateSet(_BIRD, (), "Radford et al., ICML 2021; that of Birdsnap"),
        "photo": TemplateSet(PHOTO, (), "Radford et al., ICML 2021"),
    },
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 4794, "val": 1200, "test": 5794},
        OFFICIAL: {"train": 5994, "test": 5794},
    },
    reader=read,
    layout="images/, images.txt, classes.txt, image_class_labels.txt, train_test_split.txt",
    by_hand=f"Fetch {_ARCHIVE}, unpack it, and give CUB_200_2011/",
    downloads=(
        Download(
            url=_ARCHIVE,
            holds="images and lists, in CUB_200_2011/",
            sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            md5="97eceeb196236b17998738112f37df78",
            size_bytes=1_150_585_339,
            checked_by="tensorflow/datasets, url_checksums/caltech_birds2011.txt; md5 in Avalanche",
        ),
    ),
)
