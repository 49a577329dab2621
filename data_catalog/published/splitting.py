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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_catalog.published.form import RULE, SPLIT_FILE, Reading, Row
from data_catalog.published.tree import LayoutError, Tree
from data_catalog.split_lists import listed_rows
from data_catalog.splits import TEST, TRAIN, TRAIN_SHARE, VAL, VAL_SHARE

SEED = 1
DRAWN = "drawn as CoOp's code does, seed 1"


@dataclass(frozen=True)
class SplitFile:
    """A split file that CoOp's code publishes.

    Attributes:
        name: Of the file.
        md5: Of its content; empty where no public source has it, then any file is taken for it.
        ordered: Whether the rule, over the files of the authors, draws the same rows.
    """

    name: str
    md5: str = ""
    ordered: bool = False

    def read(self, tree: Tree, images: str) -> Reading | None:
        """The rows of the file in their order, else None where it is not there.

        Args:
            tree: All files.
            images: Folder that its paths start at, with a slash at its end, or empty.

        Raises:
            LayoutError: It is no split file, or none of its images is there.
        """
        path = tree.find(self.name)
        if path is None:
            return None
        content = tree.content(path)
        try:
            listed = listed_rows(content, f"{tree.place}/{path}")
        except ValueError as error:
            raise LayoutError(str(error).rstrip(".")) from error
        rows = [Row(images + row.path.replace("\\", "/"), *row[1:]) for row in listed]
        if not any(tree.has(row.path) for row in rows):
            raise LayoutError(f"no image of {path} is in {tree.place}, such as {rows[0].path}")
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if not self.md5 or md5 == self.md5:
            return Reading(rows, SPLIT_FILE, f"of {self.name}, md5 {md5[:8]}")
        note = (
            f"{path} is not the published file: it has md5 {md5}, that has {self.md5}; its classes "
            "and counts are taken as they are, and no published number is comparable"
        )
        return Reading(rows, "", f"of another {self.name}, md5 {md5[:8]}", notes=(note,))

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


def _by_label(rows: Iterable[Row]) -> dict[int | None, list[Row]]:
    members: dict[int | None, list[Row]] = {}
    for row in rows:
        members.setdefault(row.label, []).append(row)
    return members


def _named(parts: dict[str, list[Row]]) -> list[Row]:
    return [row._replace(split=split) for split, rows in parts.items() for row in rows]
