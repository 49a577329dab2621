"""RESISC45: satellite images of 45 kinds of scene, 700 of each."""

from data_catalog.published.folders import by_class_folder
from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    Download,
    PublishedDataset,
    Reading,
    TemplateSet,
)
from data_catalog.published.names import class_names
from data_catalog.published.splitting import DRAWN, half_for_train
from data_catalog.published.tree import LayoutError, Tree

CLASSES = class_names("resisc45")
_SPLITS = ("train", "val", "test")
_MIRROR = (
    "https://huggingface.co/datasets/isaaccorley/resisc45/resolve/"
    "883edc0eee77b2c84225472f10f126e3ed83fa6e"
)
_LISTS = {
    "train": "b5a4c05a37de15e4ca886696a85c403e",
    "val": "a0770cee4c5ca20b8c32bbd61e114805",
    "test": "3dda9e4988b47eb1de9f07993653eb08",
}
_CHECKED = "torchgeo, datasets/resisc45.py"
_VIEWS = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo")

# The 18 prompts of CLIP's `data/prompts.md`, in its order.
_CLIP = tuple(
    f"{view} of {word}{{}}."
    for word in ("", "a ", "the ")
    for view in (*_VIEWS, "satellite view", "aerial view")
)


def read(tree: Tree) -> Reading:
    """Rows of the published lists where they are there, else 50/20/30 of each class."""
    place = tree.need_folder("airplane")[: -len("airplane/")]
    rows = by_class_folder(
        tree, place, {name.replace(" ", "_"): name for name in CLASSES}, split=None
    )
    if tree.find("resisc45-train.txt") is None:
        return Reading(half_for_train(rows), RULE, DRAWN)
    known = {row.path.rpartition("/")[2]: row for row in rows}
    listed = []
    for split in _SPLITS:
        path = tree.need(f"resisc45-{split}.txt")
        for name in tree.lines(path):
            if name not in known:
                raise LayoutError(f"{path} names {name}, which is not in {tree.place}/{place}")
            listed.append(known[name]._replace(split=split))
    return Reading(listed, OFFICIAL, "of resisc45-train.txt, -val.txt and -test.txt")


DATASET = PublishedDataset(
    name="resisc45",
    title="NWPU-RESISC45",
    description="Satellite images of 45 kinds of scene, 256 x 256 pixels.",
    license="CC BY-NC 4.0",
    citation="Cheng et al., Remote Sensing Image Scene Classification, Proc. IEEE 2017",
    homepage="https://gcheng-nwpu.github.io/#Datasets",
    trouble=(
        "It has no official split. The lists are those of Neumann et al., arXiv 1911.06721; VTAB "
        "and others cut it otherwise."
    ),
    template_sets={
        "clip": TemplateSet(_CLIP[0], _CLIP, "Radford et al., ICML 2021; data/prompts.md"),
        "photo": TemplateSet("a photo of a {}.", (), "Radford et al., ICML 2021"),
    },
    split_rule="The lists of Neumann et al. (60/20/20); without them, CoOp's 50/20/30 of a class.",
    counts={
        OFFICIAL: {"train": 18_900, "val": 6_300, "test": 6_300},
        RULE: {"train": 15_750, "val": 6_300, "test": 9_450},
    },
    reader=read,
    layout="NWPU-RESISC45/airplane/ and so on, and resisc45-train.txt, -val.txt, -test.txt",
    by_hand=(
        f"Fetch {_MIRROR}/NWPU-RESISC45.zip and the three lists beside it, unpack it, and give the "
        "folder that has them"
    ),
    downloads=(
        Download(
            url=f"{_MIRROR}/NWPU-RESISC45.zip",
            holds="all images, in NWPU-RESISC45/",
            mirror=True,
            md5="75206b2e16446591afa88e2628744886",
            checked_by=_CHECKED,
        ),
        *(
            Download(
                url=f"{_MIRROR}/resisc45-{split}.txt",
                holds=f"the list of {split}",
                mirror=True,
                md5=md5,
                checked_by=_CHECKED,
            )
            for split, md5 in _LISTS.items()
        ),
        Download(
            url="hf://datasets/mteb/resisc45",
            holds="all images, as Parquet",
            mirror=True,
            revision="a5b7c0d47eb6544fb2ef0d380b9c105f3c6dc259",
            checked_by="mteb, tasks/classification/eng/resisc45_classification.py",
        ),
    ),
    classes=CLASSES,
)
