"""Texts with labels in tables, as most sets for text classification are published."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from data_catalog.sources import columns as cols
from data_catalog.sources.base import IMAGE_SUFFIXES, Example, SourceError
from data_catalog.sources.cells import as_text, whole
from data_catalog.sources.delimited import HEADER_FIRST, refuse_line_breaks, refuse_swallowed_rows
from data_catalog.sources.layout import Doubt
from data_catalog.sources.listing import (
    digest_files,
    is_pattern,
    kinds_of_files,
    list_files,
    match_files,
)
from data_catalog.sources.parquet import named_label, split_of_file
from data_catalog.sources.records import SUFFIXES, Records, open_records
from data_catalog.wording import plural, some

_SHARD = re.compile(r"([-_.]?\d+)?([-_.]of[-_.]\d+)?(-[0-9a-f]{16})?$")
_OF_IMAGES = {*IMAGE_SUFFIXES, ".tar", ".tgz"}  # beside which a table is about images
_TABLES_LOOKED_AT = 20  # of a folder, to say whether it is one of texts


class _Tables(NamedTuple):
    """The tables of a place.

    Attributes:
        fs: The file system.
        read: Its information on each table that is read, by path relative to the place.
        columns: What the columns of the first of them are taken for.
        rivals: Columns of it that may hold the texts as well.
        others: Files that are not read.
    """

    fs: Any
    read: dict[str, dict[str, Any]]
    columns: cols.Columns
    rivals: list[str]
    others: list[str]


@dataclass(frozen=True)
class TextTables:
    """One table of texts and labels, or those of a folder: CSV, TSV, JSON Lines, JSON, Parquet.

    A row is a text, its label (a number, or a word) and perhaps its split, its domain and more.
    The split is a column, else what the name of the file or of its folder starts with
    (`train.csv`, `data/test-00000-of-00001.parquet`). Names of labels come from a column, else
    from the `ClassLabel` of Hugging Face's metadata.

    Attributes:
        path: Place of the table, the folder, or a pattern such as `data/*.jsonl`.
        columns: Column by part (`text`, `label`, `class_name`, `split`, `domain`), where the usual
            names do not fit.
    """

    path: str
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        cols.check_roles(self.columns)

    def holds(self) -> str:
        """The kind of data."""
        return "text"

    def examples(self) -> Iterator[Example]:
        """Yields every row, table by table in order of name; see `Source.examples`."""
        tables = self._tables()
        for name, info in tables.read.items():
            place = self._place(name)
            with open_records(tables.fs, info["name"], place, self.columns) as records:
                yield from self._rows(records, name, place)

    def listed(self) -> Iterator[Example]:
        """Yields every row without its text; see `Outlined.listed`."""
        return (example._replace(content=b"") for example in self.examples())

    def total(self) -> int | None:
        """None: counting rows means reading the tables."""
        return None

    def signature(self) -> str:
        """Digest of the names, sizes and times of change of the tables."""
        return digest_files(self._tables().read)

    def describe(self) -> str:
        """The place, the number of tables, and what their columns are taken for."""
        tables = self._tables()
        classes = tables.columns.label or tables.columns.class_name
        said = f"texts in column {tables.columns.text!r}, classes in {classes!r}"
        return f"{said}, of {plural(len(tables.read), 'table')} at {self.path}"

    def notes(self) -> list[str]:
        """Files and columns that are not read; see `Outlined.notes`."""
        tables = self._tables()
        said = []
        if tables.others:
            others = plural(len(tables.others), "other file")
            said.append(f"{others}, not read: {kinds_of_files(tables.others)}")
        if tables.rivals:
            said.append(
                f"column {some(map(repr, tables.rivals))} may hold the texts too, and is not read: "
                f"if it is meant, give --columns text={tables.rivals[0]}"
            )
        if tables.columns.left_out:
            said.append(f"columns not kept: {some(tables.columns.left_out)}")
        return said

    def _place(self, name: str) -> str:
        """What to call a table in errors."""
        return self.path if self.path.endswith(f"/{name}") else f"{self.path}/{name}"

    def _columns(self, records: Records, place: str, *, unlabelled: bool) -> cols.Columns:
        try:
            return cols.find_columns(
                records.kinds, place=place, chosen=self.columns, unlabelled=unlabelled, texts=True
            )
        except cols.UnknownColumns as error:
            if records.table is None:
                raise
            raise cols.UnknownColumns(f"{error} {HEADER_FIRST}") from error

    def _tables(self) -> _Tables:
        """The tables of texts; others beside them, such as one of classes, are passed over.

        Raises:
            SourceError: There is none, none has labels, or one split is there twice.
        """
        listing = match_files(self.path)[0] if is_pattern(self.path) else list_files(self.path)
        read: dict[str, dict[str, Any]] = {}
        unlabelled: list[SourceError] = []
        refused: list[SourceError] = []
        chosen: tuple[cols.Columns, list[str]] | None = None
        for name, info in listing.files.items():
            if not name.lower().endswith(SUFFIXES):
                continue
            try:
                with open_records(
                    listing.fs, info["name"], self._place(name), self.columns
                ) as records:
                    found = self._columns(records, self._place(name), unlabelled=True)
                    read[name] = info
                    self._columns(records, self._place(name), unlabelled=False)
                    chosen = chosen or (found, _rivals(records, found))
            except cols.UnknownColumns as error:  # as a table of classes, or a hidden test split
                (unlabelled if name in read else refused).append(error)
            except SourceError as error:  # JSON beside the tables may say anything
                if not name.lower().endswith(".json"):
                    raise
                refused.append(error)
        if chosen is None:
            missing = SourceError(
                f"no table of texts at {self.path}: a table ends in {', '.join(SUFFIXES)}. There "
                f"is {kinds_of_files(listing.files) or 'no file'}."
            )
            raise next(iter([*unlabelled, *refused]), missing)
        _refuse_twice(list(read), self.path)
        others = [name for name in listing.files if name not in read]
        return _Tables(listing.fs, read, *chosen, others)

    def _rows(self, records: Records, name: str, place: str) -> Iterator[Example]:
        """Every row of one table."""
        found = self._columns(records, place, unlabelled=True)
        text = found.text or ""
        if records.table is not None:
            label = found.label or found.class_name
            refuse_line_breaks(records.table, [p for p in found.parts() if p != text], place)
            refuse_swallowed_rows(records.table, text, label, place)
        names = records.names_of(found.label)
        split = split_of_file(name)
        for number, row in enumerate(records.rows):
            label = whole(row.get(found.label), place=place) if found.label else None
            class_name = as_text(row.get(found.class_name)) if found.class_name else None
            if class_name is None and names and label is not None and label >= 0:
                class_name = named_label(names, label, place)
            yield Example(
                content=_encoded(row.get(text)),
                path=f"{name}#{number}",
                label=label,
                class_name=class_name,
                split=(as_text(row.get(found.split)) if found.split else None) or split,
                domain=as_text(row.get(found.domain)) if found.domain else None,
                extras={column: row.get(column) for column in found.extras},
            )


def holds_texts(place: str, columns: Mapping[str, str] | None) -> bool:
    """Whether what lies at a place are tables of texts and no images, by names and columns.

    Args:
        place: A file, a folder or a pattern.
        columns: Column by part, as the user named them; one for `text` says it.
    """
    if "text" in (columns or {}):
        return True
    listing = match_files(place)[0] if is_pattern(place) else list_files(place)
    tables = [name for name in listing.files if name.lower().endswith(SUFFIXES)]
    if not tables or set(columns or ()) & {"image", "file", "path"}:
        return False
    if any(PurePosixPath(name).suffix.lower() in _OF_IMAGES for name in listing.files):
        return False
    kinds = [_kinds(listing.fs, listing.files[n]["name"], n) for n in tables[:_TABLES_LOOKED_AT]]
    return any(map(cols.seems_of_texts, kinds)) and not any(map(cols.has_images, kinds))


def _rivals(records: Records, found: cols.Columns) -> list[str]:
    """Further columns that are called like one of texts."""
    return [
        name
        for name in found.extras
        if records.kinds[name] == cols.TEXT and cols.is_usual("text", name, texts=True)
    ]


def _kinds(fs: Any, path: str, name: str) -> dict[str, str]:
    """Type of each column; empty where the file is no table."""
    try:
        with open_records(fs, path, name) as records:
            return records.kinds
    except SourceError:
        return {}


def _refuse_twice(names: Sequence[str], place: str) -> None:
    """Refuses tables that may be the same rows in two formats, configurations or versions."""
    groups: dict[str | None, dict[str, str]] = defaultdict(dict)
    for name in names:
        stem, _, suffix = name.rpartition(".")
        groups[split_of_file(name)].setdefault(f"{_SHARD.sub('', stem)}.{suffix}", name)
    for split, of_split in groups.items():
        if len(of_split) > 1:
            first = next(iter(of_split.values()))
            what = f"the split {split}" if split else "rows without a split"
            raise Doubt(
                f"{place} holds {what} in several tables: {some(of_split.values())}. If one of "
                f"them is meant, give it (--table {first}); if all are, give them as a pattern, "
                f"in one folder and called after their split, such as train-0.csv and train-1.csv."
            )
    if None in groups and len(groups) > 1:
        raise Doubt(
            f"{place} holds {some(groups[None].values())} beside tables that are called after a "
            f"split, so its rows may be in these too. Say which table is meant (--table), or call "
            "it after its split."
        )


def _encoded(value: Any) -> bytes:
    """A cell as UTF-8; bytes are taken as they are, for the check of texts to judge.

    Half of a surrogate pair, as JSON may hold, is no character, and makes what is no UTF-8.
    """
    text = value if isinstance(value, bytes) else (as_text(value) or "")
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
