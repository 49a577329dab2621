"""Split files as CoOp's code publishes them: JSON with a list of images for each split.

Source of the form: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, whose
code publishes such a file for ten of its data sets.
"""

from typing import Any, NamedTuple

from data_catalog.json_text import JSONError, load_json
from data_catalog.splits import SPLITS, known_split


class Listed(NamedTuple):
    """One line of a split file: path below the folder of images, label, class name, split."""

    path: str
    label: int
    class_name: str
    split: str


def read_splits(content: bytes) -> dict[str, list[Any]] | None:
    """The lists of a split file by split, train, val, test; None where the JSON is another."""
    try:
        lists = load_json(content)
    except JSONError:
        return None
    if not isinstance(lists, dict) or not lists:
        return None
    named = {known_split(name): rows for name, rows in lists.items()}
    if None in named or len(named) != len(lists) or "train" not in named:
        return None
    for rows in named.values():
        first = rows[0] if isinstance(rows, list) and rows else [""]
        if not isinstance(rows, list) or not isinstance(first, list):
            return None
    if not any(named.values()):
        return None
    return {split: named[split] for split in SPLITS if split in named}


def listed_rows(content: bytes, place: str) -> list[Listed]:
    """The rows of train, then val, then test, in their order.

    Args:
        content: Of the file.
        place: What to call it in errors.

    Raises:
        ValueError: It is no split file, or an entry has another form.
    """
    splits = read_splits(content)
    if splits is None:
        raise ValueError(
            f"{place} is no split file: needed is a JSON object of train, val and test, each a "
            "list of [path, label, class name]."
        )
    return [_row(entry, split, place) for split, entries in splits.items() for entry in entries]


def _row(entry: Any, split: str, place: str) -> Listed:
    match entry:
        case [str(path), int(label), str(name)] if not isinstance(label, bool):
            return Listed(path, label, name, split)
    raise ValueError(
        f"{place}: {entry!r} in {split} is not [path, label, class name], such as "
        '["images/1.jpg", 0, "abyssinian"].'
    )
