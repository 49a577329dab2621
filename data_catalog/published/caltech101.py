"""Caltech101: photos and drawings of 100 kinds of things, 31 to 800 of each."""

from data_catalog.published.form import RULE, SPLIT_FILE, Download, PublishedDataset
from data_catalog.published.names import class_names
from data_catalog.published.splitting import HALF_RULE, PublishedSplit, halved_folders
from data_catalog.published.templates import PHOTO, coop_template_sets

FILE = PublishedSplit(
    "split_zhou_Caltech101.json",
    drive="1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
    md5="385cabeb25ebeebaa36167d7028ebc52",
    size_bytes=809_184,
)
RENAMED = {
    "airplanes": "airplane",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
}
PASSED_OVER = ("BACKGROUND_Google", "Faces_easy")
_FOLDERS = {name: folder for folder, name in RENAMED.items()}
CLASSES = {_FOLDERS.get(name, name): name for name in class_names("caltech101")}
_ZIP = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
_SIZES = {"train": 4128, "val": 1649, "test": 2465}


DATASET = PublishedDataset(
    name="caltech101",
    title="Caltech-101",
    description="Photos and drawings of 100 kinds of things, without the folder of backgrounds.",
    license="CC BY 4.0",
    citation="Fei-Fei et al., Learning Generative Visual Models from Few Examples, CVPRW 2004",
    homepage="https://data.caltech.edu/records/mzrjq-6wc02",
    trouble=(
        "Classes are far from balanced, and published averages are over images, not classes. "
        "Mirrors have 102 classes, with backgrounds and Faces_easy; CoOp's has 100."
    ),
    template_sets=coop_template_sets(PHOTO),
    split_rule=f"{HALF_RULE} BACKGROUND_Google and Faces_easy are left out.",
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES},
    reader=halved_folders(FILE, ["101_ObjectCategories"], CLASSES, PASSED_OVER),
    layout="101_ObjectCategories/<class>/ and split_zhou_Caltech101.json",
    by_hand=(
        f"Fetch {_ZIP}, unpack it and the 101_ObjectCategories.tar.gz in it, put CoOp's "
        "split_zhou_Caltech101.json beside 101_ObjectCategories/ if you have it, and give that "
        "folder"
    ),
    downloads=(
        Download(url=_ZIP, holds="an archive of archives with all images"),
        Download(
            url=(
                "https://drive.google.com/uc?export=download&id=137RyRjvTBkBiIfeYBNZBtViDHQ6_Ewsp"
            ),
            holds="all images, in 101_ObjectCategories/",
            file="101_ObjectCategories.tar.gz",
            mirror=True,
            sha256="af6ece2f339791ca20f855943d8b55dd60892c0a25105fcd631ee3d6430f9926",
            size_bytes=131_740_031,
            checked_by="TFDS, url_checksums/caltech101.txt",
        ),
        *FILE.downloads(),
    ),
    classes=tuple(CLASSES.values()),
    cleaned=lambda name: RENAMED.get(name, name),
)
