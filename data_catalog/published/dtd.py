"""DTD: pictures of 47 textures that people describe by a word, 120 of each."""

from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    SPLIT_FILE,
    Download,
    PublishedDataset,
)
from data_catalog.published.names import class_names
from data_catalog.published.splitting import HALF_RULE, PublishedSplit, halved_folders
from data_catalog.published.templates import coop_template_sets

FILE = PublishedSplit(
    "split_zhou_DescribableTextures.json",
    drive="1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
    md5="02ff57f1bbd002a43320737a3ecbc113",
    size_bytes=563_702,
)
CLASSES = class_names("dtd")
_URL = "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz"
_SIZES = {"train": 2820, "val": 1128, "test": 1692}


DATASET = PublishedDataset(
    name="dtd",
    title="Describable Textures (DTD)",
    description="Pictures of 47 textures that people describe by a word, such as banded.",
    license="not stated; for research, as its authors say",
    citation="Cimpoi et al., Describing Textures in the Wild, CVPR 2014",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    trouble=(
        "Few images a class, so that seeds differ by points. CoOp's splits are none of the ten "
        "official ones, so its numbers are not those of other fields."
    ),
    template_sets=coop_template_sets(
        "{} texture.",
        kgcoop="a photo of a {}, a type of texture.",
        tcp="a photo of a {}, a type of texture.",
    ),
    split_rule=HALF_RULE,
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, OFFICIAL: {"train": 3760, "test": 1880}},
    reader=halved_folders(FILE, ["images"], {name: name for name in CLASSES}),
    layout="images/<class>/ and split_zhou_DescribableTextures.json",
    by_hand=(
        f"Fetch {_URL}, unpack it, put CoOp's split_zhou_DescribableTextures.json beside images/ "
        "if you have it, and give that folder"
    ),
    downloads=(
        Download(
            url=_URL,
            holds="all images, in dtd/images/",
            md5="fff73e5086ae6bdbea199a49dfb8a4c1",
            sha256="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
            size_bytes=625_239_812,
            checked_by="torchvision, datasets/dtd.py; TFDS, url_checksums/dtd.txt",
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/dtd",
            holds="all images, the first official train and val as train, as Parquet",
            mirror=True,
            revision="96726183040de9e64a590d08eaac8de940dfcbdf",
            checked_by="mteb, tasks/classification/eng/dtd_classification.py",
        ),
    ),
    classes=CLASSES,
)
