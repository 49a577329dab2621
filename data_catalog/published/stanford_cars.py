"""StanfordCars: photos of 196 models of car, each with its year."""

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
from data_catalog.published.templates import PHOTO, coop_template_sets
from data_catalog.published.tree import LayoutError, Tree

FILE = PublishedSplit(
    "split_zhou_StanfordCars.json",
    drive="1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
    md5="91255fab2e15280e6d9d9d24cc87efdb",
    size_bytes=1_855_652,
    ordered=True,
)
_CAR196 = "http://ai.stanford.edu/~jkrause/car196"
_CHECKED_BY = "TFDS, url_checksums/cars196.txt"
_SIZES = {"train": 6509, "val": 1635, "test": 8041}


def year_first(name: str) -> str:
    """`Audi TTS Coupe 2012` as `2012 Audi TTS Coupe`; a year that is first stays there."""
    model, _, year = name.rpartition(" ")
    return f"{year} {model}" if year.isdecimal() and len(year) == 4 else name


def read(tree: Tree) -> Reading:
    """Rows of the split file, else of the annotations of the devkit."""
    tree.need_folder("cars_train")
    return FILE.read(tree, "") or FILE.drawn(
        fifth_for_val(
            _annotated(tree, "cars_train", "devkit/cars_train_annos.mat"),
            _annotated(tree, "cars_test", "cars_test_annos_withlabels.mat"),
        )
    )


def _annotated(tree: Tree, folder: str, file: str) -> list[Row]:
    """Rows of a file of annotations, whose classes count from 1."""
    path, meta = tree.need(file), tree.need("devkit/cars_meta.mat")
    try:
        names = [year_first(str(name)) for name in tree.matlab(meta)["class_names"]]
        return [
            Row(
                tree.find(f"{folder}/{each['fname']}") or f"{folder}/{each['fname']}",
                int(each["class"]) - 1,
                names[int(each["class"]) - 1],
                None,
            )
            for each in tree.matlab(path)["annotations"]
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise LayoutError(f"{path} and {meta} are not those of the devkit: {error!r}") from error


DATASET = PublishedDataset(
    name="stanford_cars",
    title="Stanford Cars",
    description="Photos of 196 models of car, each with its year.",
    license="not stated; for research, as its authors say",
    citation="Krause et al., 3D Object Representations for Fine-Grained Categorization, 3dRR 2013",
    homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    trouble=(
        "The homepage and its archives are gone since 2023; torchvision's issue 7545 says where "
        "copies are. Names have the year first, as in CoOp's code."
    ),
    template_sets=coop_template_sets(PHOTO),
    split_rule="Official test images; val is a fifth of each class of the official train images.",
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, OFFICIAL: {"train": 8144, "test": 8041}},
    reader=read,
    layout="cars_train/, cars_test/ and split_zhou_StanfordCars.json, else devkit/ with the labels",
    by_hand=(
        "Its own site is gone: take a copy of cars_train/, cars_test/, devkit/ and "
        "cars_test_annos_withlabels.mat as https://github.com/pytorch/vision/issues/7545 says, put "
        "them and CoOp's split_zhou_StanfordCars.json into one folder, and give that folder"
    ),
    downloads=(
        Download(
            url=f"{_CAR196}/cars_train.tgz",
            holds="train images, in cars_train/",
            sha256="512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
            size_bytes=979_269_282,
            checked_by=_CHECKED_BY,
        ),
        Download(
            url=f"{_CAR196}/cars_test.tgz",
            holds="test images, in cars_test/",
            sha256="bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
            size_bytes=977_350_468,
            checked_by=_CHECKED_BY,
        ),
        Download(
            url="https://ai.stanford.edu/~jkrause/cars/car_devkit.tgz",
            holds="train labels and names, in devkit/",
            sha256="b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
            size_bytes=330_960,
            checked_by=_CHECKED_BY,
        ),
        Download(
            url=f"{_CAR196}/cars_test_annos_withlabels.mat",
            holds="test labels",
            sha256="790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
            size_bytes=185_758,
            checked_by=_CHECKED_BY,
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/StanfordCars",
            holds="all images and the official splits, as Parquet",
            mirror=True,
            revision="09ffe9bc7864d3f1e851529e5c4b7e05601a04fb",
            checked_by="mteb, tasks/classification/eng/stanford_cars_classification.py",
        ),
    ),
    classes=class_names("stanford_cars"),
    cleaned=year_first,
)
