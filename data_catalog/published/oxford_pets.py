"""OxfordPets: photos of 37 breeds of cat and dog, about 200 of each."""

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
from data_catalog.published.splitting import PublishedSplit, fifth_for_val
from data_catalog.published.templates import coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

FILE = PublishedSplit(
    "split_zhou_OxfordPets.json",
    drive="1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
    md5="fadad0caba06c4d0d2baf192015f50b4",
    size_bytes=724_217,
    ordered=True,
)
_DATA = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
_CHECKED_BY = "torchvision, datasets/oxford_iiit_pet.py; TFDS, url_checksums/oxford_iiit_pet.txt"
_SIZES = {"train": 2944, "val": 736, "test": 3669}


def read(tree: Tree) -> Reading:
    """Rows of the split file, else of the official lists; breeds are called in lower case."""
    images = tree.need_folder("images")
    return FILE.read(tree, images) or FILE.drawn(
        fifth_for_val(
            _listed(tree, "annotations/trainval.txt", images),
            _listed(tree, "annotations/test.txt", images),
        )
    )


def _listed(tree: Tree, name: str, images: str) -> list[Row]:
    """Rows of a list whose lines are image, class from 1, species and breed within it."""
    path, rows = tree.need(name), []
    for number, line in enumerate(tree.lines(path), start=1):
        match line.split():
            case [image, label, _, _] if label.isdecimal():
                breed = image.rpartition("_")[0].lower()
                rows.append(Row(f"{images}{image}.jpg", int(label) - 1, breed, None))
            case _:
                raise LayoutError(
                    f"line {number} of {path} is {line!r}, and no image with three numbers"
                )
    return rows


DATASET = PublishedDataset(
    name="oxford_pets",
    title="Oxford-IIIT Pet",
    description="Photos of 37 breeds of cat and dog.",
    license="CC BY-SA 4.0",
    citation="Parkhi et al., Cats and Dogs, CVPR 2012",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    trouble=(
        "Some files called .jpg are PNG or GIF inside: they are decoded by content. Test classes "
        "have 88 to 100 images."
    ),
    template_sets=coop_template_sets("a photo of a {}, a type of pet."),
    split_rule="Official test list; val is a fifth of each class of the official trainval list.",
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, OFFICIAL: {"train": 3680, "test": 3669}},
    reader=read,
    layout="images/ and split_zhou_OxfordPets.json, else annotations/trainval.txt and test.txt",
    by_hand=(
        f"Fetch {_DATA}/images.tar.gz and {_DATA}/annotations.tar.gz, unpack both into one folder, "
        "put CoOp's split_zhou_OxfordPets.json beside them if you have it, and give that folder"
    ),
    downloads=(
        Download(
            url=f"{_DATA}/images.tar.gz",
            holds="all images, in images/",
            md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            size_bytes=791_918_971,
            checked_by=_CHECKED_BY,
        ),
        Download(
            url=f"{_DATA}/annotations.tar.gz",
            holds="the official lists, in annotations/",
            md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            size_bytes=19_173_078,
            checked_by=_CHECKED_BY,
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/OxfordPets",
            holds="all images and the official splits, as Parquet",
            mirror=True,
            revision="557b480fae8d69247be74d9503b378a09425096f",
            checked_by="mteb, tasks/classification/eng/oxford_pets_classification.py",
        ),
    ),
    classes=class_names("oxford_pets"),
    cleaned=str.lower,
)
