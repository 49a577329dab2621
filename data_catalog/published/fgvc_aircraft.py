"""FGVCAircraft: photos of 100 variants of aircraft, 100 of each."""

from data_catalog.published.form import OFFICIAL, Download, PublishedDataset, Reading, Row
from data_catalog.published.names import class_names
from data_catalog.published.templates import coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

_URL = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"


def read(tree: Tree) -> Reading:
    """Rows of the official lists of variants, train, val and test."""
    variants = tree.need("variants.txt")
    folder = variants.rpartition("variants.txt")[0]
    labels = {name: label for label, name in enumerate(tree.lines(variants))}
    rows = [
        row
        for split in ("train", "val", "test")
        for row in _listed(tree, f"{folder}images_variant_{split}.txt", folder, labels, split)
    ]
    return Reading(rows, OFFICIAL, "of its authors")


def _listed(tree: Tree, path: str, folder: str, labels: dict[str, int], split: str) -> list[Row]:
    """Rows of a list whose lines are the number of an image and a variant."""
    rows = []
    for number, line in enumerate(tree.lines(tree.need(path)), start=1):
        image, _, name = line.partition(" ")
        if name not in labels:
            raise LayoutError(f"line {number} of {path} is {line!r}, and variants.txt has no such")
        rows.append(Row(f"{folder}images/{image}.jpg", labels[name], name, split))
    return rows


DATASET = PublishedDataset(
    name="fgvc_aircraft",
    title="FGVC-Aircraft",
    description="Photos of 100 variants of aircraft, such as 737-200.",
    license="for research that is not commercial, as its authors say",
    citation="Maji et al., Fine-Grained Visual Classification of Aircraft, arXiv 1306.5151, 2013",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    trouble="A line of 20 pixels with the photographer's name is at the bottom of each photo.",
    template_sets=coop_template_sets(
        "a photo of a {}, a type of aircraft.", tcp="a photo of an aircraft {}."
    ),
    split_rule="The official lists of variants.",
    counts={OFFICIAL: {"train": 3334, "val": 3333, "test": 3333}},
    reader=read,
    layout="images/, variants.txt and images_variant_{train,val,test}.txt",
    by_hand=f"Fetch {_URL}, unpack it, and give its folder data/",
    downloads=(
        Download(
            url=_URL,
            holds="all images and lists, in fgvc-aircraft-2013b/data/",
            sha256="d5f68b1b81d6d7831eb9d5c5517074176b5dfbce6bcb43dc14ed1c66a87b8d75",
            size_bytes=2_770_575_360,
            checked_by="TFDS, url_checksums/fgvc.txt",
        ),
    ),
    classes=class_names("fgvc_aircraft"),
)
