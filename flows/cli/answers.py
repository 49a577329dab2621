"""How an answer of the board leaves: to a terminal, a pipe or a file, row by row."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from flows.cli.terminal import err, out, print_table, shown, write_out
from tasks.plain_text import markdown_lines, markdown_table

if TYPE_CHECKING:
    from tasks.pages.asking import Answer

ROWS_SHOWN = 200  # of an answer in a terminal
ROWS_AHEAD = 2048  # of an answer in a pipe, before the first is written
_OF_USERS = (  # suffixes of answers that are kept at the head of a store
    *(".csv", ".json", ".md", ".parquet", ".html", ".txt"),
    *(".svg", ".png", ".pdf"),
)
_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    parquet = "parquet"


def print_answer(answer: "Answer", format: Format) -> None:
    """Prints an answer: as a table, or as text for machines.

    A terminal gets the first rows of a long table and is told how many there are more.
    """
    if format is Format.table:
        _print_table(answer)
        return
    for part in _parts(answer, format):
        write_out(part)


def write_answer(answer: "Answer", format: Format, path: Path) -> None:
    """Writes an answer to a file, whole or not at all.

    Raises:
        ValueError: There is no place for the file.
    """
    if format is Format.parquet:
        with _file(path) as file:
            count = _write_parquet(answer, file)
    else:
        counts: list[int] = []
        with _file(path) as file:
            for part in _parts(answer, format, counts):
                file.write(part.encode())
        count = sum(counts)
    err.print(f"wrote {path}: {count:,} row{'' if count == 1 else 's'} as {format.name}")


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that the user asked for, whole or not at all, and says so.

    Args:
        path: Where.
        content: All of it.

    Raises:
        ValueError: There is no place for the file.
    """
    with _file(path) as file:
        file.write(content)
    err.print(f"wrote {path}")


def format_of(path: Path) -> Format:
    """The format that the name of a file asks for; CSV for a name that asks for none.

    Raises:
        ValueError: It asks for one that is not written here.
    """
    suffix = path.suffix.lower()
    if suffix in ("", ".txt", ".csv"):
        return Format.csv
    if suffix == ".md":
        return Format.markdown
    if suffix not in (".json", ".parquet"):
        raise ValueError(
            f"{path}: {suffix} is not written here. Name a file .csv, .json, .md or .parquet, or "
            "add --format."
        )
    return Format(suffix[1:])


def refuse_store_files(path: Path, home: Path) -> None:
    """Keeps what a user asks for from taking the place of what the store is made of.

    Raises:
        ValueError: The file is there, and is one of the store's own.
    """
    place, home = path.resolve(), home.resolve()
    own = place.parent != home or place.suffix.lower() not in _OF_USERS
    if place.is_file() and place.is_relative_to(home) and own:
        raise ValueError(f"{path} is a part of the store {home}. Name another file.")


def as_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV: nothing between the commas for NULL, `""` for a text that is empty."""
    return "".join(",".join(map(_csv_cell, row)) + "\n" for row in rows)


def as_read(rows: Iterable[Iterable[Any]]) -> Iterator[list[str]]:
    """Rows as people read them."""
    return ([shown(value) for value in row] for row in rows)


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if not text or _QUOTED.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _print_table(answer: "Answer") -> None:
    rows = chain.from_iterable(answer.values())
    names = [column.name for column in answer.columns]
    kept = islice(rows, ROWS_SHOWN) if out.is_terminal else rows
    numeric = [column.numeric for column in answer.columns]
    print_table(names, kept, numeric=numeric, ahead=ROWS_AHEAD)
    left = sum(1 for _ in rows)
    if left:
        err.print(
            f"the first {ROWS_SHOWN} of {ROWS_SHOWN + left:,} rows. All of them: add -o FILE "
            "(.csv, .json or .parquet), or pipe into another program."
        )


def _parts(answer: "Answer", format: Format, counts: list[int] | None = None) -> Iterator[str]:
    """The text of an answer, in parts; how many rows each has is added to `counts`."""
    counts = [] if counts is None else counts
    names = [column.name for column in answer.columns]
    if format is Format.csv:
        yield as_csv([names])
        for batch in answer.texts():
            counts.append(len(batch))
            yield as_csv(batch)
        return
    if format is Format.markdown:
        yield markdown_table(names, (), [column.numeric for column in answer.columns])
        for batch in answer.values():
            counts.append(len(batch))
            yield markdown_lines(as_read(batch))
        return
    yield "["
    for batch in answer.plain():
        texts = (json.dumps(dict(zip(names, row, strict=True)), indent=1) for row in batch)
        part = ",\n".join(texts)
        yield ("\n" if not counts else ",\n") + "\n".join(f" {line}" for line in part.split("\n"))
        counts.append(len(batch))
    yield "\n]\n" if counts else "]\n"


def _write_parquet(answer: "Answer", file: IO[bytes]) -> int:
    import pyarrow.parquet as pq

    reader, count = answer.arrow(), 0
    with pq.ParquetWriter(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place when the block ends; what is no file is written as it goes."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            err.print(f"made the folder {path.parent}")
        if path.is_relative_to("/dev") or path.is_fifo():  # /dev/stdout may be a file: add to it
            with path.open("ab") as file:
                yield file
            return
        place = path.resolve()  # through a link
        draft = place.with_name(f".{place.name}.{uuid4().hex}")
        try:
            with draft.open("wb") as file:
                yield file
            draft.replace(place)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    except BrokenPipeError:
        sys.exit(0)  # `-o` on a pipe that nobody reads
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror}. Name another file."
        ) from error
