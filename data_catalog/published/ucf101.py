"""UCF101: the middle frames of videos of 101 actions."""

import re

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
    "split_zhou_UCF101.json",
    drive="1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
    md5="3a70ae2e43036a21111f3692a43fc839",
    size_bytes=1_557_485,
    ordered=True,
)
_FRAMES = "UCF-101-midframes"
_ON_DRIVE = "10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"
_LISTS = "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip"
_SIZES = {"train": 7639, "val": 1898, "test": 3783}


def words(action: str) -> str:
    """`ApplyEyeMakeup` as `Apply_Eye_Makeup`."""
    return "_".join(re.findall("[A-Z][^A-Z]*", action)) if "_" not in action else action


def read(tree: Tree) -> Reading:
    """Rows of the split file, else of the first official lists of videos."""
    images = tree.need_folder(_FRAMES)
    read = FILE.read(tree, images)
    if read is not None:
        return read
    labels, listed = {}, tree.need("ucfTrainTestlist/classInd.txt")
    for line in tree.lines(listed):
        number, _, action = line.partition(" ")
        if not number.isdecimal():
            raise LayoutError(f"{listed} says {line!r}, and no number with an action")
        labels[action] = int(number) - 1
    return FILE.drawn(
        fifth_for_val(
            _listed(tree, "ucfTrainTestlist/trainlist01.txt", images, labels),
            _listed(tree, "ucfTrainTestlist/testlist01.txt", images, labels),
        )
    )


def _listed(tree: Tree, name: str, images: str, labels: dict[str, int]) -> list[Row]:
    """Rows of a list of videos, whose lines are `<action>/<video>.avi` and perhaps a label."""
    path, rows = tree.need(name), []
    for number, line in enumerate(tree.lines(path), start=1):
        action, _, video = line.split()[0].partition("/")
        if action not in labels:
            raise LayoutError(f"line {number} of {path} is {line!r}, and classInd.txt has no such")
        frame = f"{images}{words(action)}/{video.removesuffix('.avi')}.jpg"
        rows.append(Row(frame, labels[action], words(action), None))
    return rows


DATASET = PublishedDataset(
    name="ucf101",
    title="UCF101 middle frames",
    description="The middle frames of videos of 101 actions.",
    license="not stated by its authors; frames of YouTube videos",
    citation="Soomro et al., UCF101, CRCV-TR-12-01, 2012",
    homepage="https://www.crcv.ucf.edu/data/UCF101.php",
    trouble=(
        "CoOp classifies one frame a video. Only its archive has the frames that its numbers are "
        "of; mirrors have all frames, or videos."
    ),
    template_sets=coop_template_sets("a photo of a person doing {}."),
    split_rule="First official test list; val is a fifth of each class of the first train list.",
    counts={SPLIT_FILE: _SIZES, RULE: _SIZES, OFFICIAL: {"train": 9537, "test": 3783}},
    reader=read,
    layout=f"{_FRAMES}/<class>/ and split_zhou_UCF101.json, else ucfTrainTestlist/",
    by_hand=(
        "Fetch UCF-101-midframes.zip of CoOp's authors from "
        f"https://drive.google.com/file/d/{_ON_DRIVE}/view, unpack it, put their "
        f"split_zhou_UCF101.json, or ucfTrainTestlist/ of {_LISTS}, beside it, and give that folder"
    ),
    downloads=(
        Download(
            url=f"https://drive.google.com/uc?id={_ON_DRIVE}",
            holds=f"middle frames, in {_FRAMES}/",
            file="UCF-101-midframes.zip",
        ),
        Download(
            url=_LISTS,
            holds="the official lists of videos, in ucfTrainTestlist/",
            sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
            size_bytes=113_943,
            checked_by="TFDS, url_checksums/ucf101.txt",
        ),
        *FILE.downloads(),
    ),
    classes=class_names("ucf101"),
    cleaned=words,
)
