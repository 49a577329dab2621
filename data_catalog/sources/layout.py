"""What the levels of a tree of images stand for, and what speaks against the first guess."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from data_catalog.sources.base import SourceError
from data_catalog.splits import TRAIN, known_split, split_in
from data_catalog.wording import plural, some

LEVELS = ("split", "domain", "class", "class+", "group")
_CONTAINERS = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "pics",
        "photo",
        "photos",
        "jpegimages",
        "frames",
        "data",
        "dataset",
        "label",
        "labels",
        "annotation",
        "annotations",
        "mask",
        "masks",
        "segmentation",
        "segmentations",
        "bbox",
        "boxes",
        "meta",
        "metadata",
        "raw",
        "original",
        "originals",
        "thumbnails",
        "misc",
        "other",
        "extra",
        "files",
    ]
)
_PART = re.compile(
    r"(.*[ _-])?(part|batch|chunk|shard|folder|dir|directory|volume|vol|disk|image|images|img|imgs|"
    r"photo|photos|data|subset|fold)[ _-]?\(?\d+\)?",
    re.IGNORECASE,
)
_HASH = re.compile(r"(?=.*\d)[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Folder = tuple[str, ...]


class Layout(NamedTuple):
    """How a tree is read.

    Attributes:
        below: Folder that wraps all the others, relative to the place; empty for none.
        levels: What each level of folders is, such as `split/class`; see `ImageFolder`.
    """

    below: str
    levels: str


class Doubt(SourceError):
    """The folders are read in one way, but something speaks against it; the user must say."""


def check_levels(layout: str) -> list[str]:
    """The levels of a layout, one word each.

    Raises:
        ValueError: A word is unknown or stands where it makes no sense.
    """
    levels = layout.split("/")
    classes = [level for level in levels if level.startswith("class")]
    once = [level for level in levels if level != "group"]
    if (
        len(classes) != 1
        or len(set(once)) != len(once)
        or set(levels) - {*LEVELS}
        or ("class+" in levels and levels[-1] != "class+")
    ):
        raise ValueError(
            f"layout {layout!r} is not made of class, at most one split and one domain, and any "
            "group, which says nothing, joined by slashes; class+ at the end takes all folders "
            "from there. Write for instance split/class, domain/class or group/class."
        )
    return levels


def guess_layout(images: Iterable[str], place: str, above: str = "") -> Layout:
    """Says what the folders of a tree are, from their names alone.

    Args:
        images: Paths of the files that may be images, relative to `place`.
        place: What to call the tree in errors.
        above: Levels from the path of the user down to `place`, such as `group/`, for errors.

    Raises:
        Doubt: The names allow several readings, or speak against the only one.
        SourceError: There are no class folders.
    """
    folders = sorted({tuple(name.split("/")[:-1]) for name in images})
    below, folders = _unwrap(folders)
    if not [folder for folder in folders if folder]:
        where = f"{place}/{below}" if below else place
        raise SourceError(
            f"all images lie in one folder, {where}, and no folder has the name of a class. Put "
            "the images of each class into a folder of its name, or give a table of paths and "
            "labels (--table)."
        )
    above += "group/" * len(below.split("/")) if below else ""
    splits, folders = _split_level(folders, place, above)
    rests = [folder for folder in folders if folder]
    if not rests:
        raise SourceError(
            f"{place}: the split folders hold images and no class folders. Put the images of each "
            "class into a folder of its name, or give a table of paths and labels (--table)."
        )
    if splits and _wrapped_alike(rests):  # such as train/images/cat
        splits, rests = f"{splits}group/", [folder[1:] for folder in rests]
    return Layout(below, f"{splits}{_class_levels(rests, splits, place, above)}")


def doubt_names(names: Sequence[str], place: str, levels: str) -> None:
    """Refuses folders that are called like parts of a set and not like classes.

    Args:
        names: Of the folders.
        place: What to call the tree in errors.
        levels: The layout that takes them as classes all the same.

    Raises:
        Doubt: All are parts, hashes, or what folders of files are usually called.
    """
    for what, doubtful in (
        ("parts of one set", lambda name: _PART.fullmatch(name)),
        ("hashes", lambda name: _HASH.fullmatch(name)),
        ("folders of files", lambda name: name.lower() in _CONTAINERS),
    ):
        if all(map(doubtful, names)):
            raise Doubt(
                f"{place}: the folders {some(names)} are called like {what} and not like classes. "
                "Give the table that has the labels (--table), or take the folders as classes all "
                f"the same (--layout {levels})."
            )


def name_notes(names: Sequence[str]) -> list[str]:
    """Sentences on class names that make poor prompts, though they may be meant."""
    odd = [name for name in names if name.lower() in _CONTAINERS or known_split(name)]
    said = []
    if odd:
        said.append(f"{some(odd)} is taken as a class, though it is called like a folder of files")
    return said


def _unwrap(folders: list[Folder]) -> tuple[str, list[Folder]]:
    """Goes down the single folders that are wrapped around all class folders."""
    below: list[str] = []
    while True:
        firsts = {folder[0] for folder in folders if folder}
        deeper = [folder for folder in folders if len(folder) > 1]
        if len(firsts) != 1 or known_split(min(firsts)):
            break
        if not deeper:
            if len(folders) > 1:  # images beside the only class folder
                break
            return "/".join([*below, *firsts]), [()]
        below += firsts
        folders = [folder[1:] for folder in folders if folder]
    return "/".join(below), folders


def _split_level(folders: list[Folder], place: str, above: str) -> tuple[str, list[Folder]]:
    """`split/` and the folders below it where the first level is made of splits."""
    firsts = {folder[0]: split_in(folder[0]) for folder in folders if folder}
    plain = [name for name in firsts if known_split(name)]
    if len(plain) == len(firsts) or (
        all(firsts.values()) and len(set(firsts.values())) > 1 and TRAIN in firsts.values()
    ):
        return "split/", [folder[1:] for folder in folders if folder]
    if plain:
        others = [name for name in firsts if name not in plain]
        raise Doubt(
            f"{place} holds split folders ({some(sorted(plain))}) beside {some(others)}: which are "
            f"classes? Move the others away, or give --layout {above}split/class or --layout "
            f"{above}class."
        )
    return "", folders


def _wrapped_alike(rests: list[Folder]) -> bool:
    """Whether each split wraps all of its class folders in one that says nothing."""
    return all(len(folder) > 1 for folder in rests) and (
        len({folder[0] for folder in rests}) == 1 or all(split_in(folder[0]) for folder in rests)
    )


def _class_levels(folders: list[Folder], before: str, place: str, above: str) -> str:
    """The levels from the class folders down; `folders` are below the split level."""
    prefix = f"{above}{before}"
    children: dict[str, set[Folder]] = defaultdict(set)
    for folder in folders:
        children[folder[0]].add(folder[1:])
    names = sorted(children)
    nested = {name: {rest for rest in rests if rest} for name, rests in children.items()}
    if not any(nested.values()):
        doubt_names(names, place, f"{prefix}class")
        return "class"
    below = {rest[0] for rests in nested.values() for rest in rests}
    if not before and all(map(known_split, below)) and all(() not in c for c in children.values()):
        if inner := _same_classes({n: [r[1:] for r in rests] for n, rests in nested.items()}):
            doubt_names(inner, place, f"{prefix}domain/split/class")
            return "domain/split/class"
        doubt_names(names, place, f"{prefix}class/split")
        return "class/split"
    if _is_alphabet(nested):
        return "group/class+"
    direct = [name for name, rests in children.items() if () in rests]
    if direct or len(below) == 1:  # further folders below a class folder, or one in each
        doubt_names(names, place, f"{prefix}class")
        return "class"
    if inner := _same_classes(nested):
        levels = "group/class" if all(map(_PART.fullmatch, names)) else "domain/class"
        doubt_names(inner, place, f"{prefix}{levels}")
        return levels
    alike = [name for name in below if sum(name in {r[0] for r in n} for n in nested.values()) > 1]
    hint = f"--layout {prefix}domain/class" if alike else f"--layout {prefix}group/class"
    inner = some(sorted("/".join(rest) for rest in nested[names[0]]), 3)
    raise Doubt(
        f"{place}: images lie two folders deep ({names[0]}/ holds {inner}; "
        f"{plural(len(names), 'folder')} like it). Which level is the class? If the outer one: "
        f"--layout {prefix}class. If the inner one: --layout {prefix}group/class, or "
        f"--layout {prefix}domain/class where the outer ones are domains; if all of them: "
        f"--layout {prefix}class+."
        + (
            f" {some(sorted(alike), 3)} is in several of them, so {hint} is likely."
            if alike
            else ""
        )
    )


def _same_classes(nested: Mapping[str, Iterable[Folder]]) -> list[str]:
    """The folders that each of several others holds, if all hold the same two or more.

    So are sets for domain generalization published, as PACS with `photo/dog` and `sketch/dog`.
    """
    held = [frozenset(rest[0] if rest else "" for rest in rests) for rests in nested.values()]
    same = len(held) > 1 and len(set(held)) == 1 and len(held[0]) > 1 and "" not in held[0]
    return sorted(held[0]) if same else []


def _is_alphabet(nested: dict[str, set[Folder]]) -> bool:
    """Whether folders only sort others by their first letter, as in SUN397's `a/abbey`."""
    return len(nested) > 1 and all(
        len(letter) == 1
        and rests
        and all(rest[0].lower().startswith(letter.lower()) for rest in rests)
        for letter, rests in nested.items()
    )
