"""Pairs of an attribute and an object, with the splits of compositional zero-shot learning.

Source: Purushwalkam et al., "Task-Driven Modular Networks for Zero-Shot Compositional Learning",
ICCV 2019, whose `compositional-split-natural` CSP (Nayak et al., ICLR 2023) and others read.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from data_catalog.published.form import OFFICIAL, Reading, Row, TemplateSet
from data_catalog.published.tree import LayoutError, Tree
from data_catalog.wording import plural

SPLIT = "compositional-split-natural"
METADATA = f"metadata_{SPLIT}.json"
SPLIT_RULE = (
    "compositional-split-natural: train shows the seen pairs; val and test show seen and unseen "
    "ones."
)
SPLITS_URL = (
    "https://senthilpurushwalkam.com/publications/compositional/compositional_split_natural.tar.gz"
)
TEMPLATES = {
    "csp": TemplateSet("a photo of {}", (), "Nayak et al., ICLR 2023; CSP, evaluate.py"),
    "photo": TemplateSet("a photo of a {}.", (), "Radford et al., ICML 2021"),
}
_PICKLE = f"metadata_{SPLIT}.t7"
TO_JSON = (
    f"""python -c "import json, torch; json.dump(torch.load('{_PICKLE}', weights_only=True), """
    f"""open('{METADATA}', 'w'))" """
).strip()
_SETS = ("train", "val", "test")


def compositional_reader(*folders: str) -> Callable[[Tree], Reading]:
    """The reader of rows of the metadata whose pair is in a list of pairs; the class is the pair.

    Labels are the pairs of all three lists in sorted order, as in CSP. `extras` has the attribute
    and the object, and whether the pair is seen, that is, in train.

    Args:
        *folders: What the archive of the splits, which has those of several datasets, may call the
            folder of this one.
    """

    def read(tree: Tree) -> Reading:
        return _read(_Lists(tree, folders))

    return read


class _Lists(NamedTuple):
    """Lists of pairs and metadata of a dataset, where others may lie beside it."""

    tree: Tree
    folders: tuple[str, ...]

    def find(self, name: str) -> str | None:
        """The file of this name, that in the dataset's own folder first."""
        places = (*(f"{folder}/{name}" for folder in self.folders), name)
        return next(filter(None, map(self.tree.find, places)), None)

    def need(self, name: str) -> str:
        """As `find`; refused where there is none."""
        return self.find(name) or self.tree.need(name)


def _read(lists: _Lists) -> Reading:
    tree = lists.tree
    pairs = {split: _pairs(lists, split) for split in _SETS}
    known = sorted({pair for listed in pairs.values() for pair in listed})
    labels = {pair: label for label, pair in enumerate(known)}
    seen = frozenset(pairs["train"])
    rows: dict[str, list[Row]] = {split: [] for split in _SETS}
    for entry in _metadata(lists):
        pair, split = (entry["attr"], entry["obj"]), entry["set"]
        if split not in rows or pair not in labels:
            continue  # not labelled, or not of this split
        attribute, object_ = map(as_prompted, pair)
        extras = {"attribute": attribute, "object": object_, "seen": pair in seen}
        name = f"{attribute} {object_}"
        path = _place(tree, entry)
        rows[split].append(Row(path, labels[pair], name, split, extras=extras))
    told = f"{plural(len(seen), 'seen pair')}, {len(known) - len(seen):,} unseen"
    in_order = [row for split in _SETS for row in rows[split]]
    return Reading(in_order, OFFICIAL, f"of {SPLIT}", notes=(told,))


def as_prompted(name: str) -> str:
    """An attribute or object as CSP writes it into a prompt, such as `faux leather`."""
    return name.replace(".", " ").replace("_", " ").lower()


def _pairs(lists: _Lists, split: str) -> list[tuple[str, str]]:
    path = lists.need(f"{SPLIT}/{split}_pairs.txt")
    found = []
    for number, line in enumerate(lists.tree.lines(path), start=1):
        match line.split():
            case [attribute, object_]:
                found.append((attribute, object_))
            case _:
                raise LayoutError(
                    f"line {number} of {path} is {line!r}, and no attribute with an object"
                )
    return found


def _metadata(lists: _Lists) -> list[dict[str, Any]]:
    """What is known of each image.

    Raises:
        LayoutError: It is there as a pickle alone, is missing, or has another form.
    """
    if lists.find(METADATA) is None and (pickled := lists.find(_PICKLE)):
        raise LayoutError(
            f"{pickled} is a pickle, and these are never read since they may run code; make a "
            f"JSON file of it, beside it, with: {TO_JSON}"
        )
    path = lists.need(METADATA)
    entries = lists.tree.parsed(path)
    fields = ("attr", "image", "obj", "set")
    if not isinstance(entries, list) or not all(
        isinstance(each, dict) and all(isinstance(each.get(field), str) for field in fields)
        for each in entries
    ):
        raise LayoutError(f"{path} is no list of objects with {', '.join(fields)}, each a text")
    return entries


def _place(tree: Tree, entry: Mapping[str, Any]) -> str:
    """Where an image lies: as CSP's script orders it, as the archive has it, or as listed."""
    image, original = str(entry["image"]), entry.get("_image")
    folder, slash, file = image.rpartition("/")
    spaced = f"{folder.replace('_', ' ', 1)}{slash}{file}"
    inside = [f"{tree.folder('images') or 'images/'}{name}" for name in (image, spaced)]
    if original:
        for name in ("_images", "ut-zap50k-images"):
            inside.append(f"{tree.folder(name) or f'{name}/'}{original}")
    return next(filter(tree.has, inside), inside[0])
