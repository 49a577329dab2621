"""Flowers102: photos of 102 flowers that are common in the United Kingdom."""

from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    SPLIT_FILE,
    Download,
    PublishedDataset,
    Reading,
    Row,
)
from data_catalog.published.names import class_names
from data_catalog.published.splitting import HALF_RULE, PublishedSplit, half_for_train
from data_catalog.published.templates import coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

FILE = PublishedSplit(
    "split_zhou_OxfordFlowers.json",
    drive="1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
    md5="cfeaf0508c398ca993bf48ca5f034569",
    size_bytes=771_139,
    ordered=True,
)
CLASSES = class_names("flowers102")
_DATA = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
_CHECKED_BY = "torchvision, datasets/flowers102.py; TFDS, url_checksums/oxford_flowers102.txt"
_SIZES = {"train": 4093, "val": 1633, "test": 2463}


def read(tree: Tree) -> Reading:
    """Rows of the split file, else of the official labels by the rule."""
    images = tree.need_folder("jpg")
    return FILE.read(tree, images) or FILE.drawn(half_for_train(_labelled(tree, images)))


def _labelled(tree: Tree, images: str) -> list[Row]:
    """Images in order of their number; labels count from 1, names are those of cat_to_name.json."""
    path, named = tree.need("imagelabels.mat"), tree.find("cat_to_name.json")
    names = {str(number): name for number, name in enumerate(CLASSES, start=1)}
    if named is not None:
        names = tree.parsed(named)
    try:
        labels = tree.matlab(path)["labels"].tolist()
        return [
            Row(f"{images}image_{number:05d}.jpg", label - 1, names[str(label)], None)
            for number, label in enumerate(labels, start=1)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise LayoutError(f"{path} or {named} is not the official one: {error!r}") from error


DATASET = PublishedDataset(
    name="flowers102",
    title="Oxford Flowers-102",
    description="Photos of 102 flowers that are common in the United Kingdom.",
    license="not stated by its authors",
    citation="Nilsback and Zisserman, Automated Flower Classification, ICVGIP 2008",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    trouble=(
        "Classes have 40 to 258 images. CoOp's splits are not the official ones, whose test set is "
        "by far the largest. The first class of the split file has label 76."
    ),
    template_sets=coop_template_sets("a photo of a {}, a type of flower."),
    split_rule=HALF_RULE,
    counts={
        SPLIT_FILE: _SIZES,
        RULE: _SIZES,
        OFFICIAL: {"train": 1020, "val": 1020, "test": 6149},
        "mteb": {"train": 7169, "test": 1020},
    },
    reader=read,
    layout="jpg/ and split_zhou_OxfordFlowers.json, else imagelabels.mat",
    by_hand=(
        f"Fetch {_DATA}/102flowers.tgz and {_DATA}/imagelabels.mat into one folder, unpack the "
        "first, put CoOp's split_zhou_OxfordFlowers.json beside jpg/ if you have it, and give that "
        "folder"
    ),
    downloads=(
        Download(
            url=f"{_DATA}/102flowers.tgz",
            holds="all images, in jpg/",
            md5="52808999861908f626f3c1f4e79d11fa",
            sha256="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            size_bytes=344_862_509,
            checked_by=_CHECKED_BY,
        ),
        Download(
            url=f"{_DATA}/imagelabels.mat",
            holds="all labels",
            md5="e0620be6f572b9609742df49c70aed4d",
            sha256="4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            size_bytes=502,
            checked_by=_CHECKED_BY,
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/oxford-flowers",
            holds="all images in splits of its own, as Parquet",
            mirror=True,
            revision="df976877feae05654b0fcd8b394baff731b00652",
            checked_by="mteb, tasks/classification/eng/oxford_flowers_classification.py",
        ),
    ),
    classes=CLASSES,
)
