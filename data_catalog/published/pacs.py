"""PACS: seven kinds of object as photo, art painting, cartoon and sketch."""

from data_catalog.published.folders import by_domain_folder
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset, Reading, Row
from data_catalog.published.templates import photo_sets
from data_catalog.published.tree import LayoutError, Tree

CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
DOMAINS = {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}
_SPLITS = {"train": "train", "crossval": "val"}


def read(tree: Tree) -> Reading:
    """Rows of the official lists where they are there, else of DomainBed's folders."""
    if tree.find("photo_train_kfold.txt") is None:
        folders = {domain: (domain,) for domain in DOMAINS}
        rows = by_domain_folder(tree, folders, {name: name for name in CLASSES})
        return Reading(rows, OFFICIAL, "to be carved: no list is here")
    rows = []
    for list_, split in _SPLITS.items():
        for domain in DOMAINS:
            rows += _listed(tree, f"{domain}_{list_}_kfold.txt", domain, split)
    return Reading(rows, OFFICIAL, "of the official train and crossval lists")


def _listed(tree: Tree, name: str, domain: str, split: str) -> list[Row]:
    """Rows of a list whose lines are `<domain>/<class>/<file> <label from 1>`."""
    path, images = tree.need(name), tree.need_folder(domain)
    rows = []
    for number, line in enumerate(tree.lines(path), start=1):
        image, _, label = line.rpartition(" ")
        below = image.partition(f"{domain}/")[2]
        if not below or label not in map(str, range(1, len(CLASSES) + 1)):
            raise LayoutError(
                f"line {number} of {path} is {line!r}, and no image of {domain} with a label from "
                f"1 to {len(CLASSES)}"
            )
        index = int(label) - 1
        rows.append(Row(f"{images}{below}", index, CLASSES[index], split, domain))
    return rows


DATASET = PublishedDataset(
    name="pacs",
    title="PACS",
    description="Seven kinds of object as photo, art painting, cartoon and sketch.",
    license="not stated; for research",
    citation="Li et al., Deeper, Broader and Artier Domain Generalization, ICCV 2017",
    homepage="http://www.eecs.qmul.ac.uk/~dl307/project_iccv2017",
    trouble=(
        "sketch/dog/n02103406_4068-1.png is broken in early copies; Dassl passes it over, here it "
        "is put aside where it cannot be decoded. The archives are on Google Drive, which no "
        "program can rely on."
    ),
    template_sets=photo_sets(),
    split_rule=(
        "With the official lists, their train list is learned from and crossval is tested; without "
        "them, 50/20/30 of each class. A domain that is left out is tested whole, as in Dassl."
    ),
    counts={},
    reader=read,
    layout="images/<domain>/<class>/ and splits/, or DomainBed's <domain>/<class>/",
    by_hand=(
        "Fetch Dassl's pacs.zip "
        "(https://drive.google.com/file/d/1m4X4fROCCXMO0lRLrr6Zz9Vb3974NWhE/view) "
        "or DomainBed's PACS.zip "
        "(https://drive.google.com/file/d/1JFr8f805nMUelQWWmfnJR3y4_SYoN5Pd/view)"
        ", unpack it, and give the folder that has the four domains below it"
    ),
    downloads=(
        Download(
            url="hf://datasets/flwrlabs/pacs/data/train-00000-of-00001.parquet",
            holds="all images with domains, as Parquet, without the official lists",
            mirror=True,
            revision="394113073258ead631f617d2e13bb377c0715c4b",
            sha256="4fc041ee92eec6043fe6e2859e8bdd138e5f958bc621afd153879812cbe65ff5",
            size_bytes=191_395_900,
            checked_by="several public repositories that pin it",
        ),
    ),
    classes=CLASSES,
    domains=DOMAINS,
)
