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
    digest_files,
    list_files,
    open_place,
    reaching,
)
from data_catalog.splits import known_split
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
        fs, files = self._files()
        for name, info in files.items():
            with open_parquet(fs, info["name"], self.path) as file:
                yield from self._rows(file, name)

    def labelled(self) -> Iterator[tuple[int | None, str | None]]:
        """Yields label and class name of every row; reads these columns alone. See `Labelled`."""
        fs, files = self._files()
        for info in files.values():
            with open_parquet(fs, info["name"], self.path) as file:
                found = self._columns(file)
                names = cols.class_label_names(file.schema_arrow, found.label)
                wanted = [name for name in (found.label, found.class_name) if name]
                for batch in file.iter_batches(65536, columns=wanted):
                    for row in batch.to_pylist():
                        yield self._class_of(row, found, names)

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
        """The place, the number of files, and what of them is not read."""
        fs, listed = self._listed()
        _, files = self._files()
        text = f"images in {plural(len(files), 'Parquet file')} at {self.path}"
        aside = [name for name in listed if name not in files]
        if aside:
            text += f"; tables without images, not read: {some(aside)}"
        with open_parquet(fs, next(iter(files.values()))["name"], self.path) as file:
            left_out = self._columns(file).left_out
        return f"{text}; columns not kept: {some(left_out)}" if left_out else text

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
                f"{', '.join(found)}. Needed is {needed} column that holds encoded bytes."
            )
        return fs, files

    def _kinds(self, fs: Any, path: str) -> dict[str, str]:
        with open_parquet(fs, path, self.path) as file:
            return cols.kinds_of(file.schema_arrow)

    def _columns(self, file: Any) -> cols.Columns:
        kinds = cols.kinds_of(file.schema_arrow)
        return cols.find_columns(kinds, place=self.path, chosen=self.columns)

    def _class_of(
        self, row: Mapping[str, Any], found: cols.Columns, names: tuple[str, ...] | None
    ) -> tuple[int | None, str | None]:
        label = cols.whole(row[found.label], place=self.path) if found.label else None
        class_name = row[found.class_name] if found.class_name else None
        if class_name is None and names and label is not None and label >= 0:
            class_name = _named(names, label, self.path)
        return label, class_name

    def _rows(self, file: Any, name: str) -> Iterator[Example]:
        """Every row of one file, read in record batches."""
        found = self._columns(file)
        names = cols.class_label_names(file.schema_arrow, found.label)
        file_split = split_of_file(name)
        wanted = [column for column in found[:7] if column is not None] + list(found.extras)
        number = 0
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                image, inner = _unpack(row[found.image])
                label, class_name = self._class_of(row, found, names)
                yield Example(
                    image=image or b"",
                    path=(row[found.path] if found.path else inner) or f"{name}#{number}",
                    label=label,
                    class_name=class_name,
                    split=row[found.split] if found.split else file_split,
                    domain=row[found.domain] if found.domain else None,
                    extras={column: row[column] for column in found.extras},
                    error="" if image else f"{EMPTY}: the image column holds no bytes",
                )
                number += 1


def list_parquet(place: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The Parquet files of a file, a folder or a pattern such as `data/train-*.parquet`.

    Returns:
        The file system, and its information on each file by path relative to `place`, sorted.

    Raises:
        SourceError: There is none.
    """
    if "*" in place or "?" in place:
        fs, pattern = open_place(place)
        with reaching(place):
            found = fs.glob(pattern, detail=True)
        fixed = re.split(r"[*?]", pattern, maxsplit=1)[0].rpartition("/")[0]
        files = {
            name[len(fixed) :].lstrip("/"): found[name]
            for name in sorted(found)
            if found[name]["type"] == "file"
        }
    else:
        fs, files = list_files(place)
        if len(files) > 1:
            files = {name: info for name, info in files.items() if name.endswith(".parquet")}
    if not files:
        raise SourceError(f"no Parquet file at {place}. Give the folder that holds them.")
    return fs, files


@contextmanager
def open_parquet(fs: Any, path: str, place: str) -> Iterator[Any]:
    """Opens a `pyarrow.parquet.ParquetFile`, memory-mapped where it is local.

    Raises:
        SourceError: The file is missing or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        try:
            with reaching(place):
                mapped = "file" in fs.protocol
                handle = path if mapped else stack.enter_context(fs.open(path))
                file = stack.enter_context(pq.ParquetFile(handle, memory_map=mapped))
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{path} is not a whole Parquet file ({error}). Fetch or write it again."
            ) from error
        yield file


def split_of_file(name: str) -> str | None:
    """The split that a file's name, else a folder above it, starts with."""
    for part in reversed(name.split("/")):
        word = _PREFIX.match(part)
        if word and known_split(word[0]):
            return word[0]
    return None


def _unpack(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and path of an image cell."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return value, None


def _named(names: tuple[str, ...], label: int, place: str) -> str:
    if label >= len(names):
        raise SourceError(
            f"{place}: label {label} has no name, its metadata names {len(names)} labels. "
            "Correct the metadata, or give a class_name column."
        )
    return names[label]
