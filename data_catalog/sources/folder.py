"""Images in folders named by their class, as most archives unpack."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from data_catalog.sources.base import (
    Example,
    SourceError,
    digest_files,
    list_files,
    read_images,
)
from data_catalog.splits import known_split
from data_catalog.wording import some

_LEVELS = ("split", "domain", "class")


@dataclass(frozen=True)
class ImageFolder:
    """`root/<class>/*.jpg` or `root/<split>/<class>/*.jpg`, in order of path.

    Every file below a class folder is an image of it, at any depth and of any suffix: what
    does not decode is quarantined by ingestion, and never passed over in silence. Files
    above the class folders and hidden files are not images.

    Attributes:
        path: Place of the root.
        layout: What the levels of folders are, such as `domain/class`. Empty: `split/class`
            where all folders of the root are named like splits, else `class`.
    """

    path: str
    layout: str = ""

    def __post_init__(self) -> None:
        levels = self.layout.split("/") if self.layout else ["class"]
        if "class" not in levels or len(set(levels)) != len(levels) or set(levels) - {*_LEVELS}:
            raise ValueError(
                f"layout {self.layout!r} is not made of class, and at most once each split and "
                "domain, joined by slashes. Write for instance split/class or domain/class."
            )

    def examples(self) -> Iterator[Example]:
        """Yields every image in order of path; see `Source.examples`."""
        fs, files, levels = self._files()
        contents = read_images(fs, self.path, (info["name"] for info in files.values()))
        for name, (image, error) in zip(files, contents, strict=True):
            parts = dict(zip(levels, name.split("/"), strict=False))
            yield Example(
                image=image,
                path=name,
                class_name=parts["class"],
                split=parts.get("split"),
                domain=parts.get("domain"),
                error=error,
            )

    def labelled(self) -> Iterator[tuple[None, str]]:
        """Yields the class folder of every image; see `Labelled`."""
        _, files, levels = self._files()
        for name in files:
            yield None, name.split("/")[levels.index("class")]

    def total(self) -> int:
        """Files below the class folders."""
        return len(self._files()[1])

    def signature(self) -> str:
        """Digest of the names, sizes and times of change of all files."""
        return digest_files(self._files()[1])

    def describe(self) -> str:
        """The place and what its folders stand for."""
        levels = "/".join(f"<{level}>" for level in self._files()[2])
        return f"images in folders {levels} at {self.path}"

    def _files(self) -> tuple[Any, dict[str, dict[str, Any]], list[str]]:
        """File system, files by relative path, and the meaning of each level of folders."""
        fs, listed = list_files(self.path)
        levels = self.layout.split("/") if self.layout else self._levels(listed)
        files = {name: info for name, info in listed.items() if name.count("/") >= len(levels)}
        if not files:
            expected = "/".join(f"<{level}>" for level in levels)
            what = f"only files such as {some(listed, 3)}" if listed else "no file"
            raise SourceError(
                f"no image below {self.path}/{expected}: the folder holds {what}. Put the images "
                "of each class into a folder of its name, or give a CSV manifest."
            )
        return fs, files, levels

    def _levels(self, listed: dict[str, dict[str, Any]]) -> list[str]:
        folders = dict.fromkeys(name.split("/")[0] for name in listed if "/" in name)
        splits = [folder for folder in folders if known_split(folder)]
        if len(splits) < len(folders) and any(known_split(name) == "train" for name in splits):
            others = [folder for folder in folders if folder not in splits]
            raise SourceError(
                f"{self.path} holds split folders ({some(splits)}) beside {some(others)}: which "
                "are classes? Move the others away, or give layout='split/class' or 'class'."
            )
        return ["split", "class"] if folders and len(splits) == len(folders) else ["class"]
