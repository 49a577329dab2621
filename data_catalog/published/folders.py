"""Readers of the layouts in which folders say the class, the domain and the split of an image."""

from collections.abc import Callable, Collection, Iterable, Mapping

from data_catalog.published.form import OFFICIAL, Reading, Row
from data_catalog.published.tree import IMAGE_SUFFIXES, LayoutError, Tree


def plain(folder: str) -> str:
    """The class name of a folder, with spaces."""
    return folder.replace("_", " ")


def image_paths(tree: Tree, folder: str = "") -> Iterable[str]:
    """Paths of the images below a folder; files of notes are passed over.

    Args:
        tree: All files.
        folder: With a slash at its end; empty for all.
    """
    return (path for path in tree.below(folder) if path.lower().endswith(IMAGE_SUFFIXES))


def by_class_folder(
    tree: Tree,
    place: str,
    classes: Mapping[str, str],
    split: str | None,
    domain: str | None = None,
    passed_over: Collection[str] = (),
) -> list[Row]:
    """The images of `<place><class folder>/`, class by class, sorted within each.

    Args:
        tree: All files.
        place: Folder that has the class folders, with a slash at its end, or empty.
        classes: Name of each class by its folder, in label order.
        split: Of all of them; None leaves it to ingestion.
        domain: Likewise.
        passed_over: Folders that are no class, and not read.

    Raises:
        LayoutError: A class has no folder, or a folder is no class.
    """
    members: dict[str, list[str]] = {folder: [] for folder in classes}
    for path in image_paths(tree, place):
        folder, slash, _ = path[len(place) :].partition("/")
        if not slash or folder in passed_over:
            continue
        if folder not in members:
            raise LayoutError(
                f"{place}{folder} in {tree.place} is none of the {len(classes)} classes, such as "
                f"{next(iter(classes))}"
            )
        members[folder].append(path)
    if missing := [folder for folder, paths in members.items() if not paths]:
        raise LayoutError(
            f"{len(missing)} of {len(classes)} class folders are missing or empty in "
            f"{tree.place}/{place}: {', '.join(missing[:3])}"
        )
    return [
        Row(path, label, classes[folder], split, domain)
        for label, (folder, paths) in enumerate(members.items())
        for path in sorted(paths)
    ]


def by_domain_folder(
    tree: Tree,
    spellings: Mapping[str, Iterable[str]],
    classes: Mapping[str, str],
    *,
    splits: Mapping[str, str] | None = None,
) -> list[Row]:
    """The images of `<domain>/<class>/`, or of `<domain>/<split>/<class>/`.

    Args:
        tree: All files.
        spellings: How the folder of each domain may be called.
        classes: Name of each class by its folder, in label order.
        splits: What the folders of splits are called, where domains have them; others, such as
            the `full` of VLCS, are copies and not read.

    Raises:
        LayoutError: A domain or a class is missing.
    """
    rows: list[Row] = []
    for domain, names in spellings.items():
        place = tree.need_folder(*names)
        if splits is None:
            rows += by_class_folder(tree, place, classes, None, domain)
        for folder, split in (splits or {}).items():
            rows += by_class_folder(tree, f"{place}{folder}/", classes, split, domain)
    return rows


def evaluation_only(
    dataset: str, folders: Callable[[Tree], str], classes: Mapping[str, str]
) -> Callable[[Tree], Reading]:
    """The reader of a dataset whose every image is for testing, one folder a class.

    Args:
        dataset: What it is called in the rule.
        folders: Finds the folder that has the class folders.
        classes: Name of each class by its folder, in label order.
    """

    def read(tree: Tree) -> Reading:
        rows = by_class_folder(tree, folders(tree), classes, "test")
        return Reading(rows, OFFICIAL, f"of {dataset}, which has test images alone")

    return read
