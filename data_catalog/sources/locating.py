"""Where the images of a table are, when they are not exactly where it says."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from data_catalog.sources.base import IMAGE_SUFFIXES, Example
from data_catalog.sources.listing import is_image_name, kinds_of_files, list_files
from data_catalog.splits import known_split
from data_catalog.wording import plural, some


class Neighbours:
    """Images at or below a folder, found by path, else by the end of it, else by name alone.

    Tables often name files that an archive has put into folders of parts, and often without
    their suffix. Only what is unambiguous is found.

    Args:
        names: Paths of all files, relative to the folder.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in sorted(filter(is_image_name, self._names)):
            last = name.rpartition("/")[2]
            self._by_last[last].append(name)
            stem = last.rpartition(".")[0]
            if stem:
                self._by_last[stem].append(name)

    def find(self, path: str, split: str | None = None) -> str | None:
        """The file that `path` means, relative to the folder; None where none or several may be.

        Args:
            path: As a table has it, with forward slashes.
            split: Its split; of several files, the one in a folder of that name is meant.
        """
        path = path.removeprefix("./")
        if path in self._names:
            return path
        found = self._by_last.get(path.rpartition("/")[2], [])
        if "/" in path:
            stem_or_name = [
                name for name in found if f"/{name}".rpartition(".")[0].endswith(f"/{path}")
            ]
            found = [name for name in found if f"/{name}".endswith(f"/{path}")] or stem_or_name
        if len(found) > 1 and split:
            wanted = known_split(split)
            found = [n for n in found if wanted in map(known_split, n.split("/")[:-1])]
        return found[0] if len(found) == 1 else None


class Agreement(NamedTuple):
    """How the rows of a table compare to the class folders that its images lie in.

    Attributes:
        matched: Images that both know.
        same: Whether both tell the same images apart, by names or by numbers, and the table has
            no split that the folders have not.
        difference: One sentence on where they differ.
    """

    matched: int
    same: bool
    difference: str = ""


def agreement(
    rows: Iterable[Example], folders: Iterable[Example], names: Iterable[str], below: str
) -> Agreement:
    """Compares what a table and what folders say of the same images.

    Args:
        rows: Rows of the table.
        folders: Images in class folders.
        names: Paths of all files.
        below: What stands before the paths of `folders` in `names`, with its slash.
    """
    neighbours = Neighbours(names)
    by_folder = {f"{below}{image.path}": image for image in folders}
    pairs: Counter[tuple[str, str]] = Counter()
    seen, other_splits = set(), set()
    named = False
    for row in rows:
        found = neighbours.find(row.path, row.split)
        if found is not None and found in by_folder:
            image = by_folder[found]
            seen.add(found)
            pairs[image.class_name or "", row.class_name or str(row.label)] += 1
            named |= row.class_name is not None
            if row.split and known_split(row.split) != known_split(image.split or ""):
                other_splits.add(row.split)
    one_to_one = len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    renamed = sorted(pair for pair in pairs if named and _letters(pair[0]) != _letters(pair[1]))
    tells = sorted({label for _, label in pairs})
    kinds = sorted({folder for folder, _ in pairs})
    difference = ""
    if not one_to_one:
        difference = (
            f"it has {plural(len(tells), 'label')} ({some(tells, 3)}) for the images in "
            f"{plural(len(kinds), 'folder')} ({some(kinds, 3)})."
        )
    elif other_splits:
        difference = f"it has splits ({some(sorted(other_splits))}) that the folders have not."
    elif renamed:
        difference = f"what the folders call {renamed[0][0]!r} is {renamed[0][1]!r} there."
    elif len(seen) < len(by_folder):
        difference = f"it names {len(seen):,} of the {len(by_folder):,} images in the folders."
    return Agreement(pairs.total(), not difference, difference)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def beside(folder: str, used: Collection[str]) -> list[str]:
    """Sentences on what lies with the images of a table and is not named by it.

    Args:
        folder: Place of a folder.
        used: Paths in it that are read.
    """
    listing = list_files(folder)
    others = [name for name in listing.files if name not in used]
    images = [name for name in others if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    said = listing.notes()
    if images:
        said.append(f"{plural(len(images), 'image')} in no row, not read: {some(images, 3)}")
    if others := [name for name in others if name not in images]:
        said.append(f"{plural(len(others), 'other file')}, not read: {kinds_of_files(others)}")
    return said
