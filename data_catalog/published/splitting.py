"""Splits as CoOp's code has them: read from the file that it publishes, or drawn by its rule.

The rule draws from Python's generator, seeded with 1 and used for nothing before. Over the lists
of OxfordPets, StanfordCars, Flowers102 and UCF101 it gives the published files, row for row. The
other files were drawn over folders in the order in which a disk listed their images, which nobody
knows; here these are sorted.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022; its code,
`datasets/oxford_pets.py` (a fifth of the official train list) and `datasets/dtd.py` (50/20/30).
"""

import hashlib
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_catalog.published.folders import by_class_folder
from data_catalog.published.form import RULE, SPLIT_FILE, Download, Reading, Row
from data_catalog.published.tree import LayoutError, Tree
from data_catalog.split_lists import listed_rows
from data_catalog.splits import TEST, TRAIN, TRAIN_SHARE, VAL, VAL_SHARE

SEED = 1
_COPIES = (
    "https://raw.githubusercontent.com/linzhiqiu/cross_modal_adaptation/"
    "ac9077ee4e422f768c9b9109551468605e33ec9a/splits"
)
HALF_RULE = "No official split is used; 50/20/30 train, val and test of each class."
DRAWN = "drawn as CoOp's code does, seed 1"


@dataclass(frozen=True)
class PublishedSplit:
    """A split file that CoOp's code publishes.

    Attributes:
        name: Of the file.
        drive: Its id on Google Drive, where its authors keep it.
        md5: Of its content; empty where no public source has it.
        git_blob: Its id in repositories that keep it, which is a digest too.
        size_bytes: Of its content; None where no public source has it.
        ordered: Whether the rule, over the files of the authors, draws the same rows.
    """

    name: str
    drive: str
    md5: str = ""
    git_blob: str = ""
    size_bytes: int | None = None
    ordered: bool = False

    def read(self, tree: Tree, images: str) -> Reading | None:
        """The rows of the file in their order, else None where it is not there.

        Args:
            tree: All files.
            images: Folder that its paths start at, with a slash at its end, or empty.

        Raises:
            LayoutError: It is no split file.
        """
        path = tree.find(self.name)
        if path is None:
            return None
        content = tree.content(path)
        try:
            listed = listed_rows(content, f"{tree.place}/{path}")
        except ValueError as error:
            raise LayoutError(str(error).rstrip(".")) from error
        rows = [Row(_place(tree, images, row.path), *row[1:]) for row in listed]
        digest, expected = self._digests(content)
        if digest == expected:
            return Reading(rows, SPLIT_FILE, f"of {self.name}, the published file")
        note = (
            f"{path} is not the published file: it has {digest}, that has {expected}; its classes "
            "and counts are taken as they are. Published numbers are of other images: under a name "
            "of its own (--published says what it is) none of them stands beside yours"
        )
        return Reading(rows, "", f"of another {self.name}, {digest}", notes=(note,))

    def _digests(self, content: bytes) -> tuple[str, str]:
        """The digest of a content, and that of the published file, in words."""
        if self.md5:
            return f"md5 {_hex('md5', content)}", f"md5 {self.md5}"
        blob = b"blob %d\0" % len(content) + content
        return f"git blob {_hex('sha1', blob)}", f"git blob {self.git_blob}"

    def downloads(self) -> tuple[Download, ...]:
        """Where it is: its authors' place, and a repository that keeps a copy."""
        holds = f"the split file {self.name}"
        pinned: dict[str, Any] = {"md5": self.md5, "size_bytes": self.size_bytes}
        if self.md5:
            pinned["checked_by"] = "linzhiqiu/cross_modal_adaptation and YBZh/DMN, equal"
        return (
            Download(
                url=f"https://drive.google.com/uc?id={self.drive}",
                holds=holds,
                file=self.name,
                optional=True,
                **pinned,
            ),
            Download(
                url=f"{_COPIES}/{self.name}", holds=holds, mirror=True, optional=True, **pinned
            ),
        )

    def drawn(self, rows: Sequence[Row]) -> Reading:
        """Rows that the rule has split, with a word on the file that is not there.

        Args:
            rows: All, with their splits, train before val before test.
        """
        same = (
            "by the rule that made it, which gives the same rows"
            if self.ordered
            else "by its rule over sorted file names, which gives other rows than that file"
        )
        note = f"no {self.name} here, so the splits are {DRAWN}, {same}"
        return Reading(rows, RULE, DRAWN, notes=() if self.ordered else (note,))


def _hex(algorithm: str, content: bytes) -> str:
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def _place(tree: Tree, images: str, path: str) -> str:
    """Where an image of a split file is: below its folder, else where a file ends so."""
    name = path.replace("\\", "/")
    expected = f"{images}{name}"
    return expected if tree.has(expected) else tree.find(name) or expected


def fifth_for_val(train: Iterable[Row], test: Iterable[Row]) -> list[Row]:
    """Takes a fifth of each class of an official train list for validation.

    Args:
        train: In the order of the official list.
        test: Likewise.
    """
    generator = random.Random(SEED)
    parts: dict[str, list[Row]] = {TRAIN: [], VAL: []}
    for rows in _by_label(train).values():
        generator.shuffle(rows)
        first = round(len(rows) * VAL_SHARE)
        parts[VAL] += rows[:first]
        parts[TRAIN] += rows[first:]
    return _named({**parts, TEST: list(test)})


def half_for_train(rows: Iterable[Row]) -> list[Row]:
    """Splits each class 50/20/30 into train, val and test.

    Args:
        rows: Classes are drawn in order of first appearance, their rows in the order given.
    """
    generator = random.Random(SEED)
    parts: dict[str, list[Row]] = {TRAIN: [], VAL: [], TEST: []}
    for members in _by_label(rows).values():
        generator.shuffle(members)
        train = round(len(members) * TRAIN_SHARE)
        val = train + round(len(members) * VAL_SHARE)
        parts[TRAIN] += members[:train]
        parts[VAL] += members[train:val]
        parts[TEST] += members[val:]
    return _named(parts)


def halved_folders(
    file: PublishedSplit,
    folders: Sequence[str],
    classes: Mapping[str, str],
    passed_over: Collection[str] = (),
) -> Callable[[Tree], Reading]:
    """The reader of a dataset with one folder a class: by its split file, else halved by the rule.

    Args:
        file: Its split file.
        folders: How the folder that has the class folders may be called.
        classes: Name of each class by its folder, in label order.
        passed_over: Folders that are no class, and not read.
    """

    def read(tree: Tree) -> Reading:
        images = tree.need_folder(*folders)
        return file.read(tree, images) or file.drawn(
            half_for_train(by_class_folder(tree, images, classes, None, passed_over=passed_over))
        )

    return read


def _by_label(rows: Iterable[Row]) -> dict[int | None, list[Row]]:
    members: dict[int | None, list[Row]] = {}
    for row in rows:
        members.setdefault(row.label, []).append(row)
    return members


def _named(parts: dict[str, list[Row]]) -> list[Row]:
    return [row._replace(split=split) for split, rows in parts.items() for row in rows]
