"""What lies at a place: folders, tables, a split file, shards; and what speaks against a guess.

The first reading that fits is taken only where nothing contradicts it. Else the answer is a
refusal that names both readings and the option that settles which one is meant.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from data_catalog.sources.base import IMAGE_SUFFIXES, Example, Source, SourceError
from data_catalog.sources.candidates import TABLE_SUFFIXES, Candidate, candidates, table_source
from data_catalog.sources.folder import ImageFolder, usual_levels
from data_catalog.sources.layout import Doubt, guess_layout
from data_catalog.sources.listing import (
    Listing,
    copied_links,
    is_image_name,
    kinds_of_files,
    list_files,
)
from data_catalog.sources.locating import Agreement, agreement
from data_catalog.sources.manifest import Manifest
from data_catalog.sources.parquet import ParquetImages, split_of_file
from data_catalog.sources.split_file import SplitFile, is_split_file
from data_catalog.sources.tables import SplitTables
from data_catalog.sources.texts import TextTables, holds_texts
from data_catalog.sources.webdataset import SHARD_SUFFIXES, WebDataset, is_shard
from data_catalog.splits import TRAIN, known_split, split_in
from data_catalog.wording import did_you_mean, some

_TELLING = (*TABLE_SUFFIXES, *SHARD_SUFFIXES, ".json")  # files that may say what images show


class Hints(NamedTuple):
    """What a user says of a place; empty where nothing was said. See `source_for`."""

    table: str = ""
    columns: Mapping[str, str] | None = None
    layout: str = ""
    kind: str = ""

    def given(self) -> dict[str, Any]:
        """What was said, by name."""
        return {name: value for name, value in self._asdict().items() if value}

    def refuse_unused(self, why: str, allowed: Collection[str] = ()) -> None:
        """Refuses what would go unused.

        Args:
            why: What makes it useless.
            allowed: Names of what is used.

        Raises:
            ValueError: Something was said that is not in `allowed`.
        """
        unused = [name for name in self.given() if name not in (*allowed, "kind")]
        if unused:
            raise ValueError(f"{' and '.join(unused)} was given, but {why}. Leave it out.")


def look(place: str, hints: Hints, above: str = "") -> Source:
    """The source for a folder or a file that is neither archive, pattern nor hub.

    Args:
        place: Where it is.
        hints: What the user said of it.
        above: Levels from the path of the user down to `place`, such as `group/`.

    Raises:
        SourceError: As `source_for`.
    """
    listing = list_files(place)
    files = listing.files
    if not files:
        raise SourceError(f"{place} is empty. Give a folder of class folders, or a table.")
    guess = not (hints.kind or hints.layout)
    if hints.kind == "text" or (guess and holds_texts(place, hints.columns)):
        return _texts(place, listing, hints)
    info = next(iter(files.values()))
    if list(files) == [place.rstrip("/").rpartition("/")[2]] and listing.fs.isfile(info["name"]):
        hints.refuse_unused("the path is a single file", allowed=("columns",))
        return table_source(listing.fs, info["name"], place, hints.columns)
    if links := copied_links(place, files):
        name, target = next(iter(links.items()))
        raise SourceError(
            f"{place}/{name} is a text that says {target!r}: a link that was copied as a file "
            f"({len(links)} of them: {some(links)}). Put the link, or what it names, in its place."
        )
    if hints.layout:
        hints.refuse_unused("a layout is one of folders", allowed=("layout",))
        source = ImageFolder(place, hints.layout)
        source.describe()
        return source
    if hints.table:
        return _named_table(place, listing, hints)
    source = _recognised(place, listing, hints, above)
    if hints.columns and getattr(source, "columns", None) is None:
        hints.refuse_unused(f"{place} is read as {source.describe()}, which has no columns")
    return source


def _texts(place: str, listing: Listing, hints: Hints) -> Source:
    """The source for tables of texts."""
    hints.refuse_unused("texts are read from tables", allowed=("table", "columns"))
    if hints.table:
        place = f"{place}/{_inside(place, listing, hints.table)}"
    return _checked(TextTables(place, hints.columns))


def _inside(place: str, listing: Listing, table: str) -> str:
    """The table that the user names, relative to the place."""
    name = table.removeprefix("./").removeprefix(f"{place}/")
    inside = [each for each in listing.files if each.endswith(f"/{name}")]
    if name not in listing.files and len(inside) == 1:  # below a folder that wraps all
        (name,) = inside
    if name not in listing.files:
        tables = [n for n in listing.files if n.lower().endswith((*TABLE_SUFFIXES, ".json"))]
        raise SourceError(f"no file {table} in {place}. {did_you_mean(table, tables)}")
    return name


def _named_table(place: str, listing: Listing, hints: Hints) -> Source:
    """The source for the table that the user names."""
    name = _inside(place, listing, hints.table)
    info = listing.files[name]
    if name.lower().endswith(".json"):
        hints.refuse_unused("a split file has no columns", allowed=("table",))
        return _checked(SplitFile(place, name))
    source = table_source(listing.fs, info["name"], f"{place}/{name}", hints.columns)
    if isinstance(source, Manifest) and "/" in name:
        return replace(source, root=place)
    return source


def _recognised(place: str, listing: Listing, hints: Hints, above: str) -> Source:
    """What the names and tables of a folder say."""
    files = listing.files
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in files)
    loose = bool(IMAGE_SUFFIXES & suffixes.keys())
    if suffixes[".parquet"] and not loose:
        return _parquet_folder(listing, place, hints.columns)
    if wrapper := _wrapper(name for name in files if _tells(name)):
        return look(f"{place}/{wrapper}", hints, f"{above}group/")
    if not loose and (shards := [n for n in files if n.lower().endswith(SHARD_SUFFIXES)]):
        return _shards(place, listing, shards)
    if splits := [name for name in files if _is_split_file(listing, name)]:
        if len(splits) > 1:
            raise Doubt(
                f"{place} has several split files: {some(splits)}. Say which one is meant "
                f"(--table {splits[0]})."
            )
        return _checked(SplitFile(place, splits[0]))
    return _tables_or_folders(place, listing, hints, above)


def _tells(name: str) -> bool:
    """Whether a file may be part of the data: an image, or what names images."""
    return is_image_name(name) or name.lower().endswith(_TELLING)


def _wrapper(names: Iterable[str]) -> str | None:
    """The one folder that all of some files lie in, folders of classes below it among them."""
    inside = [name.partition("/") for name in names]
    tops = {top for top, slash, _ in inside if slash}
    if len(tops) != 1 or not all(slash for _, slash, _ in inside):
        return None
    (top,) = tops
    bare = any("/" not in rest and is_image_name(rest) for _, _, rest in inside)
    tables = any("/" not in rest and not is_image_name(rest) for _, _, rest in inside)
    return None if known_split(top) or (bare and not tables) else top


def _tables_or_folders(place: str, listing: Listing, hints: Hints, above: str) -> Source:
    """Weighs the tables beside images against the folders that these lie in."""
    tables = candidates(place, listing, hints.columns)
    images = [name for name in listing.files if is_image_name(name)]
    folder, problem = _folders(place, images, above)
    if not tables and folder is None:
        tables = candidates(place, listing, hints.columns, deep=True)
    usable = [table for table in tables if table.source]
    by_split = {table.split: table.name for table in usable if table.split}
    if len(by_split) > 1 and TRAIN in by_split and len(by_split) == len(usable):
        ordered = {s: by_split[s] for s in ("train", "val", "test") if s in by_split}
        return SplitTables(place, ordered, hints.columns)
    if not usable:
        if folder:
            return folder
        raise Doubt(_no_way(place, problem, tables, listing))
    compared = {table.name: _compared(table, folder, listing, place) for table in usable}
    meant = [table for table in usable if compared[table.name].matched]
    if not meant and folder:
        return folder  # tables of something else; its notes name them
    meant = meant or usable
    if len(meant) > 1:
        raise Doubt(
            f"{place} has several tables that name its images: {some(t.name for t in meant)}. Say "
            f"which one has the labels (--table {_likely(meant).name})."
        )
    (table,) = meant
    if folder and compared[table.name].same:
        return folder
    if folder:
        wrapped = "group/" * folder.path.removeprefix(place).count("/")
        raise Doubt(
            f"{place}: the table {table.name} and the folders do not say the same: "
            f"{compared[table.name].difference} Say which is meant: --table {table.name} or "
            f"--layout {above}{wrapped}{'/'.join(folder.levels())}."
        )
    return _source_of(table)


def _source_of(table: Candidate) -> Source:
    if table.source is None:
        raise SourceError(table.problem)
    return table.source


def _compared(
    table: Candidate, folder: ImageFolder | None, listing: Listing, place: str
) -> Agreement:
    """How far a table is about the images here, and whether it says what their folders say."""
    if not isinstance(table.source, Manifest):
        return Agreement(1, same=False, difference="the table holds images of its own.")
    below = f"{folder.path}/".removeprefix(f"{place}/") if folder else ""
    images = folder.listed() if folder else map(_named_by_path, listing.files)
    return agreement(table.source.listed(), images, listing.files, below)


def _named_by_path(name: str) -> Example:
    return Example(b"", name, class_name=name)


def _no_way(place: str, problem: Exception, tables: list[Candidate], listing: Listing) -> str:
    """Why nothing could be made of tables, folders and other files; a fault of a table first."""
    if not tables:
        others = [name for name in listing.files if not is_image_name(name)]
        passed = f" Of the other files nothing is read: {kinds_of_files(others)}." if others else ""
        return f"{problem}{passed}"
    likely = _likely(tables)
    refused = "; ".join(f"{table.name}: {table.problem}" for table in tables)
    if not likely.unknown:
        return likely.problem if len(tables) == 1 else refused
    return (
        f"{problem} Or say what the columns of {likely.name} are: --table {likely.name} --columns "
        f"file=..,label=.. ({refused})"
    )


def _likely(tables: Sequence[Candidate]) -> Candidate:
    """The table that may have the labels: that of train, else the first."""
    return next((table for table in tables if table.split == TRAIN), tables[0])


def _folders(place: str, images: list[str], above: str) -> tuple[ImageFolder | None, SourceError]:
    """The class folders, or why there are none."""
    try:
        below, levels = guess_layout(images, place, above)
        inside = f"{below}/" if below else ""
        root = f"{place}/{below}" if below else place
        usual = usual_levels([n[len(inside) :] for n in images if n.startswith(inside)], root)
        return ImageFolder(root, "" if usual == levels.split("/") else levels), SourceError("")
    except SourceError as error:
        return None, error


def _parquet_folder(listing: Listing, place: str, columns: Mapping[str, str] | None) -> Source:
    names = [name for name in listing.files if name.lower().endswith(".parquet")]
    if len(names) == 1:
        path = str(listing.files[names[0]]["name"])
        source = table_source(listing.fs, path, f"{place}/{names[0]}", columns)
        return ParquetImages(place, columns) if isinstance(source, ParquetImages) else source
    configurations: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder = name.split("/")[0] if "/" in name and not split_in(name.split("/")[0]) else ""
        if split := split_of_file(name):
            configurations[split].add(folder)
    several = next((folders for folders in configurations.values() if len(folders) > 1), None)
    if several:
        one = min(folder for folder in several if folder)
        raise Doubt(
            f"{place} holds the same split in several folders: {some(sorted(several))}. If they "
            f"are configurations of one data set, give one: {place}/{one}. If they are parts of "
            f"it, give all as a pattern: '{place}/**/*.parquet'."
        )
    return _checked(ParquetImages(place, columns))


def _shards(place: str, listing: Listing, shards: list[str]) -> Source:
    if is_shard(listing.fs, listing.files[shards[0]]["name"], place):
        return _checked(WebDataset(place))
    raise SourceError(
        f"{place} holds archives and no images: {some(shards)}. They are no WebDataset shards of "
        "images and .cls labels; give one archive as the path, or unpack them."
    )


def _is_split_file(listing: Listing, name: str) -> bool:
    return (
        "/" not in name
        and name.lower().endswith(".json")
        and is_split_file(listing.fs, listing.files[name])
    )


def _checked(source: Any) -> Any:
    source.describe()  # refuses what cannot be read
    return source
