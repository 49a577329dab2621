"""Images inside Parquet files, as Hugging Face and most exports write them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from data_catalog.reasons import EMPTY
from data_catalog.sources import columns as cols
from data_catalog.sources.base import (
    Example,
    SourceError,
    reaching,
)
from data_catalog.sources.cells import as_text, whole
from data_catalog.sources.listing import (
    digest_files,
    is_pattern,
    kinds_of_files,
    list_files,
    match_files,
)
from data_catalog.splits import known_split, split_in
from data_catalog.wording import plural, some

BATCH_ROWS = 16
_PREFIX = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class ParquetImages:
    """One Parquet file, a folder of them, or a pattern such as `data/train-*.parquet`.

    The image column holds encoded bytes or a struct of bytes and path. The split is a
    column, else what the name of the file or of its folder starts with
    (`train-00000-of-00004.parquet`, `test/0000.parquet`). Names of labels come from a
    column, else from the `ClassLabel` of Hugging Face's metadata.

    Attributes:
        path: Place of the file, folder or pattern.
        columns: Column by part (`image`, `label`, `class_name`, `split`, `domain`, `path`),
            where the usual names do not fit.
    """

    path: str
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        cols.check_roles(self.columns)

    def examples(self) -> Iterator[Example]:
        """Yields every row, file by file in order of name; see `Source.examples`."""
        yield from self._examples(images=True)

    def examples_from(self, start: int) -> Iterator[Example]:
        """Yields every row but the first ones, whose row groups are not read; see `Seekable`."""
        yield from self._examples(images=True, start=start)

    def listed(self) -> Iterator[Example]:
        """Yields every row without its image, whose column is not read; see `Outlined.listed`."""
        yield from self._examples(images=False)

    def notes(self) -> list[str]:
        """Files and columns that are not read, and splits that are partial; see `Outlined`."""
        (fs, files), listing = self._files(), self._listed()[1]
        said = []
        if aside := [name for name in listing if name not in files]:
            said.append(f"tables without images, not read: {some(aside)}")
        if partial := sorted({split for n in files if (split := _partial_split(n))}):
            said.append(f"only a part of the rows of {some(partial)}, as its name says: partial-..")
        with open_parquet(fs, next(iter(files.values()))["name"], self.path) as file:
            if left_out := self._columns(file).left_out:
                said.append(f"columns not kept: {some(left_out)}")
        return said if is_pattern(self.path) else said + _others(self.path)

    def total(self) -> int:
        """Rows of all files, from their footers."""
        fs, files = self._files()
        count = 0
        for info in files.values():
            with open_parquet(fs, info["name"], self.path) as file:
                count += file.metadata.num_rows
        return count

    def signature(self) -> str:
        """Digest of the names, sizes and times of change of the files."""
        return digest_files(self._listed()[1])

    def describe(self) -> str:
        """The place and the number of files."""
        return f"images in {plural(len(self._files()[1]), 'Parquet file')} at {self.path}"

    def _listed(self) -> tuple[Any, dict[str, dict[str, Any]]]:
        """Every Parquet file, by path relative to the place."""
        return list_parquet(self.path)

    def _files(self) -> tuple[Any, dict[str, dict[str, Any]]]:
        """The Parquet files that hold images; a table of classes beside them is passed over."""
        fs, listed = self._listed()
        kinds = {name: self._kinds(fs, info["name"]) for name, info in listed.items()}
        chosen = (self.columns or {}).get("image")
        files = {
            name: info
            for name, info in listed.items()
            if chosen in kinds[name] or (chosen is None and cols.has_images(kinds[name]))
        }
        if not files:
            name, found = next(iter(kinds.items()))
            needed = f"the {chosen}" if chosen else "an image, img, jpg or png"
            raise SourceError(
                f"no Parquet file at {self.path} has a column of images; {name} has "
                f"{', '.join(found)}. Needed is {needed} column that holds encoded bytes; say "
                "which one is meant (--columns image=..)."
            )
        return fs, files

    def _examples(self, *, images: bool, start: int = 0) -> Iterator[Example]:
        """Every row, file by file; a split of another name is called as its file or folder is."""
        fs, files = self._files()
        self._refuse_unlabelled(fs, files)
        splits = {name: split_of_file(name) for name in files}
        if any(splits.values()):
            splits = {name: split or _first_word(name) for name, split in splits.items()}
        for name, info in files.items():
            with open_parquet(fs, info["name"], self.path) as file:
                rows = file.metadata.num_rows
                if start < rows or not rows:
                    yield from self._rows(file, name, splits[name], images=images, start=start)
                start = max(0, start - rows)

    def _kinds(self, fs: Any, path: str) -> dict[str, str]:
        with open_parquet(fs, path, self.path) as file:
            return cols.kinds_of(file.schema_arrow)

    def _columns(self, file: Any) -> cols.Columns:
        kinds = cols.kinds_of(file.schema_arrow)
        return cols.find_columns(kinds, place=self.path, chosen=self.columns, unlabelled=True)

    def _refuse_unlabelled(self, fs: Any, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuses files of which none has labels; those of a hidden test split may lack them."""
        refusals = []
        for info in files.values():
            try:
                kinds = self._kinds(fs, info["name"])
                cols.find_columns(kinds, place=self.path, chosen=self.columns)
                return
            except SourceError as error:
                refusals.append(error)
        raise refusals[0]

    def _class_of(
        self, row: Mapping[str, Any], found: cols.Columns, names: tuple[str, ...] | None
    ) -> tuple[int | None, str | None]:
        label = whole(row[found.label], place=self.path) if found.label else None
        class_name = found.class_of(row)
        if class_name is None and names and label is not None and label >= 0:
            class_name = named_label(names, label, self.path)
        return label, class_name

    def _rows(
        self, file: Any, name: str, file_split: str | None, *, images: bool, start: int = 0
    ) -> Iterator[Example]:
        """Every row of one file from `start` on, in record batches, with or without its image."""
        found = self._columns(file)
        names = cols.class_label_names(file.schema_arrow, found.label)
        wanted = found.parts() + list(found.extras)
        if not images:
            wanted = [column for column in wanted if column != found.image]
        groups, number = _groups_from(file.metadata, start)
        size = BATCH_ROWS if images else 65536
        for batch in file.iter_batches(size, row_groups=groups, columns=wanted):
            for row in batch.to_pylist():
                if number < start:
                    number += 1
                    continue
                image, inner = _unpack(row[found.image]) if images else (None, None)
                label, class_name = self._class_of(row, found, names)
                yield Example(
                    content=image or b"",
                    path=(as_text(row[found.path]) if found.path else inner) or f"{name}#{number}",
                    label=label,
                    class_name=class_name,
                    split=as_text(row[found.split]) if found.split else file_split,
                    domain=as_text(row[found.domain]) if found.domain else None,
                    extras=found.kept_of(row),
                    error="" if image or not images else _no_bytes(inner),
                )
                number += 1


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:
    """Row groups of a file from the one that holds a row on, and the first row of that."""
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if first + rows > start:
            return list(range(group, metadata.num_row_groups)), first
        first += rows
    return [], first


def _others(place: str) -> list[str]:
    """A sentence on what lies beside the Parquet files of a folder."""
    files = list_files(place).files
    others = [name for name in files if not name.lower().endswith(".parquet")]
    if not others or len(files) == 1:
        return []
    return [f"{plural(len(others), 'other file')}, not read: {kinds_of_files(others)}"]


def list_parquet(place: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The Parquet files of a file, a folder or a pattern such as `data/train-*.parquet`.

    Returns:
        The file system, and its information on each file by path relative to `place`, sorted.

    Raises:
        SourceError: There is none.
    """
    if is_pattern(place):
        fs, files, *_ = match_files(place)[0]
    else:
        fs, files, *_ = list_files(place)
        if len(files) > 1:
            files = {n: info for n, info in files.items() if n.lower().endswith(".parquet")}
    if not files:
        raise SourceError(f"no Parquet file at {place}. Give the folder that holds them.")
    return fs, files


@contextmanager
def open_parquet(fs: Any, path: str, place: str) -> Iterator[Any]:
    """Opens a `pyarrow.parquet.ParquetFile`, memory-mapped where it is local.

    Args:
        fs: File system of the path.
        path: Path as `fs` uses it.
        place: What to call the source if it cannot be reached.

    Raises:
        SourceError: The file is missing, not Parquet, or damaged where it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        try:
            with reaching(place):
                mapped = "file" in fs.protocol
                handle = path if mapped else stack.enter_context(fs.open(path))
                file = stack.enter_context(pq.ParquetFile(handle, memory_map=mapped))
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the machine
            raise SourceError(
                f"{path} is not a whole Parquet file ({error}). Fetch or write it again."
            ) from error
        try:
            yield file
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the machine
            reason = " ".join(str(error).split())
            raise SourceError(
                f"{path} is damaged, or holds what cannot be read ({reason}). Fetch or write it "
                "again."
            ) from error


def split_of_file(name: str) -> str | None:
    """The split that a file's name, else a folder above it, starts with or else speaks of."""
    parts = name.split("/")
    parts[-1] = parts[-1].partition(".")[0]
    for part in reversed(parts):
        word = _PREFIX.match(part)
        if word and known_split(word[0]):
            return word[0]
        if split := split_in(part):
            return split
    return None


def _first_word(name: str) -> str | None:
    """What a file, else its folder, is called up to its number, such as `unsupervised`."""
    for part in reversed(name.partition(".")[0].split("/")):
        if word := _PREFIX.match(part):
            return word[0]
    return None


def _partial_split(name: str) -> str | None:
    """The split that the viewer of the hub has converted in part, such as `partial-train/`."""
    return next((split_in(part) for part in name.split("/") if part.startswith("partial-")), None)


def _unpack(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and path of an image cell."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return value, None


def _no_bytes(path: str | None) -> str:
    """Why an image cell is empty; of images that were never put into the table it has paths."""
    return f"{EMPTY}: the image column holds no bytes" + (f", only the path {path}" if path else "")


def named_label(names: tuple[str, ...], label: int, place: str) -> str:
    """The name of a label.

    Args:
        names: In label order.
        label: 0 or more.
        place: What to call the table in errors.

    Raises:
        SourceError: It has none.
    """
    if label >= len(names):
        raise SourceError(
            f"{place}: label {label} has no name, its metadata names {len(names)} labels. "
            "Correct the metadata, or give a class_name column."
        )
    return names[label]
