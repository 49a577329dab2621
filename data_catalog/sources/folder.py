"""Images in folders named by their class, as most archives unpack."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from data_catalog.sources.base import Example, SourceError, read_images
from data_catalog.sources.layout import check_levels, name_notes
from data_catalog.sources.listing import (
    Listing,
    digest_files,
    folders_of,
    is_image_name,
    kinds_of_files,
    list_files,
)
from data_catalog.splits import known_split, split_in
from data_catalog.wording import plural, some


@dataclass(frozen=True)
class ImageFolder:
    """`root/<class>/*.jpg` or `root/<split>/<class>/*.jpg`, in order of path.

    Every file below a class folder is an image of it, at any depth, unless its suffix is that
    of another kind of file, such as `.txt`: what does not decode is quarantined by ingestion,
    and what is passed over is counted and named. Links are followed.

    Attributes:
        path: Place of the root.
        layout: What the levels of folders are, such as `domain/class`; a `group` says nothing,
            and `class+` is all folders from there on, whose names make the class, the last one
            first. Empty: `split/class` where all folders of the root are named like splits, else
            `class`.
    """

    path: str
    layout: str = ""

    def __post_init__(self) -> None:
        if self.layout:
            check_levels(self.layout)

    def examples(self) -> Iterator[Example]:
        """Yields every image in order of path; see `Source.examples`."""
        yield from self.examples_from(0)

    def examples_from(self, start: int) -> Iterator[Example]:
        """Yields every image but the first ones; see `Seekable`."""
        listing, files, levels = self._files()
        places = (info["name"] for info in islice(files.values(), start, None))
        contents = read_images(listing.fs, self.path, places)
        for name, (image, error) in zip(islice(files, start, None), contents, strict=True):
            yield _example(name, levels)._replace(content=image, error=error)

    def listed(self) -> Iterator[Example]:
        """Yields every image without its bytes; see `Outlined.listed`."""
        _, files, levels = self._files()
        yield from (_example(name, levels) for name in files)

    def picked(self, positions: Sequence[int]) -> Iterator[Example]:
        """Yields some images; see `Picking.picked`."""
        listing, files, levels = self._files()
        every = list(files)
        names = [every[position] for position in positions]
        contents = read_images(listing.fs, self.path, (files[name]["name"] for name in names))
        for name, (image, error) in zip(names, contents, strict=True):
            yield _example(name, levels)._replace(content=image, error=error)

    def total(self) -> int:
        """Files below the class folders that may be images."""
        return len(self._files()[1])

    def signature(self) -> str:
        """Digest of the names, sizes and times of change of all files."""
        return digest_files(self._files()[1])

    def levels(self) -> list[str]:
        """What each level of folders is, such as split and class."""
        return self._files()[2]

    def describe(self) -> str:
        """The place and what its folders stand for."""
        levels = "/".join(f"<{level}>" for level in self._files()[2])
        return f"images in folders {levels} at {self.path}"

    def notes(self) -> list[str]:
        """What is passed over, and names that make poor prompts; see `Outlined.notes`."""
        listing, files, levels = self._files()
        said = listing.notes()
        above = [
            name for name in listing.files if is_image_name(name) and name.count("/") < len(levels)
        ]
        others = [name for name in listing.files if not is_image_name(name)]
        if above:
            said.append(
                f"{plural(len(above), 'file')} above the class folders, not read: {some(above, 3)}"
            )
        if others:
            said.append(
                f"{plural(len(others), 'file')} of other kinds, not read: {kinds_of_files(others)}"
            )
        if bare := sorted(
            folders_of([*listing.files, *(f"{folder}/" for folder in listing.empty)])
            - folders_of([*files, *above])
        ):
            said.append(f"folders without images, so no classes: {some(bare)}")
        deeper = {
            "/".join(name.split("/")[:-1])
            for name in files
            if "class+" not in levels and name.count("/") > len(levels)
        }
        if deeper:
            said.append(
                "images in folders below a class folder are counted to it: "
                f"{some(sorted(deeper), 3)}"
            )
        if "domain" in levels:
            domains = sorted({_example(name, levels).domain or "" for name in files})
            said.append(
                f"the folders {some(domains)} are taken as domains; if they are the classes, or "
                "say nothing, give --layout class or group/class"
            )
        return said + name_notes(
            sorted({_example(name, levels).class_name or "" for name in files})
        )

    def _files(self) -> tuple[Listing, dict[str, dict[str, Any]], list[str]]:
        """All files, those that may be images, and the meaning of each level of folders."""
        listing = list_files(self.path)
        images = {name: info for name, info in listing.files.items() if is_image_name(name)}
        levels = self.layout.split("/") if self.layout else usual_levels(images, self.path)
        files = {name: info for name, info in images.items() if name.count("/") >= len(levels)}
        if not files:
            expected = "/".join(f"<{level}>" for level in levels)
            what = f"only files such as {some(listing.files, 3)}" if listing.files else "no file"
            raise SourceError(
                f"no image below {self.path}/{expected}: the folder holds {what}. Put the images "
                "of each class into a folder of its name, or give a CSV manifest."
            )
        return listing, files, levels


def usual_levels(images: Iterable[str], place: str) -> list[str]:
    """What the levels are where no layout is given: split and class, or class alone.

    Args:
        images: Paths relative to the place.
        place: What to call the tree in errors.

    Raises:
        SourceError: Folders of splits lie beside others.
    """
    folders = dict.fromkeys(name.split("/")[0] for name in images if "/" in name)
    splits = [folder for folder in folders if known_split(folder)]
    if len(splits) < len(folders) and any(known_split(name) == "train" for name in splits):
        others = [folder for folder in folders if folder not in splits]
        raise SourceError(
            f"{place} holds split folders ({some(splits)}) beside {some(others)}: which are "
            "classes? Move the others away, or give layout='split/class' or 'class'."
        )
    return ["split", "class"] if folders and len(splits) == len(folders) else ["class"]


def _example(name: str, levels: list[str]) -> Example:
    """What the path of an image says of it."""
    folders = name.split("/")[:-1]
    parts = dict(zip(levels, folders, strict=False))
    if "class+" in parts:
        parts["class"] = " ".join(reversed(folders[len(levels) - 1 :]))
    split = parts.get("split")
    return Example(
        content=b"",
        path=name,
        class_name=parts["class"],
        split=split if split is None or known_split(split) else split_in(split) or split,
        domain=parts.get("domain"),
    )
