"""SUN397: photos of 397 kinds of places."""

from data_catalog.published.form import RULE, SPLIT_FILE, Download, PublishedDataset, Reading, Row
from data_catalog.published.names import class_names
from data_catalog.published.splitting import PublishedSplit, fifth_for_val
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

FILE = PublishedSplit(
    "split_zhou_SUN397.json",
    drive="1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq",
    git_blob="8d5725db8f70bcf02245665304f863e68f96a24c",
    ordered=True,  # as the others of official lists; its file is too large to have been compared
)
_SUN = "vision.princeton.edu/projects/2010/SUN"
_SIZES = {"train": 15880, "val": 3970, "test": 19850}


def place_first(path: str) -> str:
    """`/a/apse/indoor` as `indoor apse`: without the letter, the words in reverse."""
    return " ".join(reversed(path.strip("/").split("/")[1:])) if "/" in path else path


def read(tree: Tree) -> Reading:
    """Rows of the split file, else of the first official partition."""
    images = tree.folder("SUN397") or ""
    read = FILE.read(tree, images)
    if read is not None:
        return read
    labels = {path: label for label, path in enumerate(tree.lines(tree.need("ClassName.txt")))}
    return FILE.drawn(
        fifth_for_val(
            _listed(tree, "Training_01.txt", images, labels),
            _listed(tree, "Testing_01.txt", images, labels),
        )
    )


def _listed(tree: Tree, name: str, images: str, labels: dict[str, int]) -> list[Row]:
    """Rows of a partition, whose lines are paths of images."""
    path, rows = tree.need(name), []
    for number, line in enumerate(tree.lines(path), start=1):
        place = line.rpartition("/")[0]
        if place not in labels:
            raise LayoutError(f"line {number} of {path} is {line!r}, and ClassName.txt has no such")
        rows.append(Row(f"{images}{line.lstrip('/')}", labels[place], place_first(place), None))
    return rows


DATASET = PublishedDataset(
    name="sun397",
    title="SUN397",
    description="Photos of 397 kinds of places, indoor and outdoor.",
    license="for research, as its authors say",
    citation="Xiao et al., SUN Database, CVPR 2010",
    homepage="https://vision.princeton.edu/projects/2010/SUN/",
    trouble=(
        "Its archive of 39 GB is not served any more as of 2026 (torchvision's issue 9348). CoOp "
        "reads the first of ten official partitions, 50 train and 50 test images a class. Its "
        "split file is given by git blob: no public source has its md5."
    ),
    template_sets=coop_template_sets(PHOTO),
    split_rule="First official partition; val is a fifth of each class of its train images.",
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, "mteb": {"train": 76127, "test": 21750}},
    reader=read,
    layout="SUN397/<letter>/<class>/ and split_zhou_SUN397.json, else the lists of Partitions.zip",
    by_hand=(
        f"Fetch http://{_SUN}/SUN397.tar.gz, or a copy of it since it is often gone, and "
        f"https://{_SUN}/download/Partitions.zip, unpack both into one folder, put CoOp's "
        "split_zhou_SUN397.json there if you have it, and give that folder"
    ),
    downloads=(
        Download(
            url=f"http://{_SUN}/SUN397.tar.gz",
            holds="all images, in SUN397/",
            md5="8ca2778205c41d23104230ba66911c7a",
            sha256="f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec",
            size_bytes=39_077_296_924,
            checked_by="torchvision, datasets/sun397.py; TFDS, url_checksums/sun397.txt",
        ),
        Download(
            url=f"https://{_SUN}/download/Partitions.zip",
            holds="the official lists",
            sha256="e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9",
            size_bytes=18_293_705,
            checked_by="TFDS, url_checksums/sun397.txt",
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/sun397",
            holds="most images in splits of its own, as Parquet",
            mirror=True,
            revision="c684cff33166060e2ae05525a5c4abdf5e6d7bce",
            checked_by="mteb, tasks/classification/eng/sun397_classification.py",
        ),
    ),
    classes=class_names("sun397"),
    cleaned=place_first,
)
