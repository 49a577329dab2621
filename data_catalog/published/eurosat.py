"""EuroSAT: 64 x 64 satellite pictures of ten kinds of land use in Europe."""

from data_catalog.published.form import RULE, SPLIT_FILE, Download, PublishedDataset
from data_catalog.published.names import class_names
from data_catalog.published.splitting import HALF_RULE, PublishedSplit, halved_folders
from data_catalog.published.templates import coop_template_sets

FILE = PublishedSplit(
    "split_zhou_EuroSAT.json",
    drive="1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
    md5="989e1eca757dec43cfcee28faf6b28fc",
    size_bytes=3_006_492,
)
FOLDERS: tuple[str, ...] = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
CLASSES: dict[str, str] = dict(zip(FOLDERS, class_names("eurosat"), strict=True))
_ZIP = "EuroSAT.zip"
_SIZES = {"train": 13500, "val": 5400, "test": 8100}


DATASET = PublishedDataset(
    name="eurosat",
    title="EuroSAT",
    description="Satellite pictures of 64 x 64 pixels of ten kinds of land use, from Sentinel-2.",
    license="MIT",
    citation="Helber et al., EuroSAT, IEEE JSTARS 2019",
    homepage="https://github.com/phelber/eurosat",
    trouble=(
        "Seeds differ by several points, new classes most; names and prompt matter more than on "
        "others, and many papers differ by tens of points for one method."
    ),
    template_sets=coop_template_sets("a centered satellite photo of {}."),
    split_rule=HALF_RULE,
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, "mteb": {"train": 16200, "test": 5400}},
    reader=halved_folders(FILE, ["2750", "EuroSAT_RGB"], CLASSES),
    layout="2750/<class>/ and split_zhou_EuroSAT.json",
    by_hand=(
        "Fetch EuroSAT.zip from https://huggingface.co/datasets/torchgeo/eurosat, unpack it, put "
        "CoOp's split_zhou_EuroSAT.json beside 2750/ if you have it, and give that folder"
    ),
    downloads=(
        Download(
            url=f"http://madm.dfki.de/files/sentinel/{_ZIP}",
            holds="all images, in 2750/",
            sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
            size_bytes=94_280_567,
            checked_by="TFDS, url_checksums/eurosat.txt",
        ),
        Download(
            url=(
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                f"c877bcd43f099cd0196738f714544e355477f3fd/{_ZIP}"
            ),
            holds="all images, in 2750/",
            mirror=True,
            md5="c8fa014336c82ac7804f0398fcb19387",
            revision="c877bcd43f099cd0196738f714544e355477f3fd",
            checked_by="torchvision, datasets/eurosat.py",
        ),
        *FILE.downloads(),
        Download(
            url="hf://datasets/mteb/eurosat-rgb",
            holds="21,600 images in splits of its own, as Parquet",
            mirror=True,
            revision="da02b77448e750b3b034e0b5da008167b9706571",
            checked_by="mteb, tasks/classification/eng/euro_sat_classification.py",
        ),
    ),
    classes=tuple(CLASSES.values()),
    cleaned=lambda name: CLASSES.get(name, name),
)
