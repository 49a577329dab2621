"""The files of a published dataset as they lie on disk, for readers of original layouts."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from data_catalog.json_text import JSONError, load_json
from data_catalog.wording import some

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class LayoutError(ValueError):
    """The files are not those of the dataset; the message names the one that is missing."""


@dataclass(frozen=True)
class Tree:
    """Files at or below a place, by path relative to it, `/` between folders.

    Attributes:
        place: What to call it in messages.
        names: Paths of all files, sorted.
        fetch: Reads one of them.
        opened: Paths that readers have read so far, in their order.
    """

    place: str
    names: Sequence[str]
    fetch: Callable[[str], bytes]
    opened: list[str] = field(default_factory=list)

    def find(self, name: str) -> str | None:
        """The file whose path is `name`, or ends with it; the nearest to the place, else None."""
        ends = [path for path in self._by_name.get(posixpath.basename(name), ()) if _is(path, name)]
        return min(ends, key=lambda path: (path.count("/"), path), default=None)

    def need(self, name: str) -> str:
        """As `find`.

        Raises:
            LayoutError: There is none.
        """
        found = self.find(name)
        if found is None:
            there = some(sorted({path.partition("/")[0] for path in self.names}))
            raise LayoutError(f"no {name} in {self.place}, where there is {there or 'nothing'}")
        return found

    def folder(self, name: str) -> str | None:
        """Path of the folder called `name`, with a slash at its end; the nearest, else None.

        One with images below it goes before those without, such as the annotations of ImageNet,
        whose folders are called as those of its images.

        Raises:
            LayoutError: Several are equally near, as where datasets lie side by side.
        """
        for folders in (self._image_folders, self._folders):
            ends = [path for path in folders if _is(path[:-1], name)]
            depth = min((path.count("/") for path in ends), default=0)
            nearest = sorted(path for path in ends if path.count("/") == depth)
            if len(nearest) > 1:
                raise LayoutError(
                    f"{len(nearest)} folders in {self.place} are called {name}: "
                    f"{some(nearest, 3)}; give the folder of this dataset alone"
                )
            if nearest:
                return nearest[0]
        return None

    def need_folder(self, *names: str) -> str:
        """As `folder`, of the first of these names that is there.

        Raises:
            LayoutError: None of them is, or several folders could be meant.
        """
        found = next(filter(None, map(self.folder, names)), None)
        if found is None:
            there = some(sorted({path.partition("/")[0] for path in self.names}))
            raise LayoutError(
                f"no folder {' or '.join(names)} in {self.place}, where there is "
                f"{there or 'nothing'}"
            )
        return found

    def below(self, folder: str) -> Iterator[str]:
        """Paths of the files below a folder, which ends with a slash."""
        return (name for name in self.names if name.startswith(folder))

    def has(self, path: str) -> bool:
        """Whether a file is at exactly this path."""
        return path in self._known

    def content(self, path: str) -> bytes:
        """The bytes of a file."""
        self.opened.append(path)
        return self.fetch(path)

    def lines(self, path: str) -> list[str]:
        """Lines of a text without white space around them; empty ones are left out.

        Raises:
            LayoutError: It is no text in UTF-8.
        """
        try:
            text = self.content(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LayoutError(
                f"{self.place}/{path} is no text in UTF-8 from byte {error.start} on; fetch it "
                "again, or save it as UTF-8"
            ) from error
        return [line.strip() for line in text.splitlines() if line.strip()]

    def parsed(self, path: str) -> Any:
        """What a JSON file holds.

        Raises:
            LayoutError: It is none.
        """
        try:
            return load_json(self.content(path))
        except JSONError as error:
            raise LayoutError(f"{self.place}/{path} is no JSON: {error}") from error

    def matlab(self, path: str, *variables: str) -> dict[str, Any]:
        """The variables of a MATLAB file, up to version 7.2.

        Args:
            path: Of the file.
            *variables: The only ones that are unpacked; none for all.

        Raises:
            LayoutError: It is none.
        """
        from io import BytesIO

        from scipy.io import loadmat

        try:
            return loadmat(
                BytesIO(self.content(path)), squeeze_me=True, variable_names=variables or None
            )
        except Exception as error:  # scipy raises many kinds
            raise LayoutError(f"{self.place}/{path} is no MATLAB file: {error}") from error

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.names:
            found.setdefault(posixpath.basename(path), []).append(path)
        return found

    @cached_property
    def _folders(self) -> frozenset[str]:
        return _above(self.names)

    @cached_property
    def _image_folders(self) -> frozenset[str]:
        return _above(name for name in self.names if name.lower().endswith(IMAGE_SUFFIXES))


def _above(names: Iterable[str]) -> frozenset[str]:
    """Every folder with one of these files below it, with a slash at its end."""
    found: set[str] = set()
    for path in names:
        end = path.rfind("/")
        while end > 0 and path[: end + 1] not in found:
            found.add(path[: end + 1])
            end = path.rfind("/", 0, end)
    return frozenset(found)


def _is(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")
