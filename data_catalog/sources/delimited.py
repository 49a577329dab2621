"""Tables as text: which separator they use, and that no row of them is lost.

What is read is what a spreadsheet shows. Where a file can be read in two ways, or a quote that was
never closed would swallow rows, it is refused with the line.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import PurePosixPath
from typing import NamedTuple

from data_catalog.sources.base import IMAGE_SUFFIXES, SourceError
from data_catalog.wording import plural, some

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_SELDOM = {" ": "a blank", ":": "a colon", "#": "a number sign", "~": "a tilde", "^": "a caret"}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_EXCEL = re.compile(r"sep=(.)\r?\n?")  # a first line that names the separator, as Excel writes it
HEADER_FIRST = "The first line of a table is its header, and names its columns."
_ABSENT = frozenset({"nan", "<na>"})  # how pandas writes a gap as text


class DelimitedTable(NamedTuple):
    """A table of texts.

    Attributes:
        header: Name of each column.
        rows: A text by column, or None where nothing is written, for each row.
        lines: The line of the file that each row begins at, from 1.
        separator: What stands between the fields.
    """

    header: tuple[str, ...]
    rows: list[dict[str, str | None]]
    lines: list[int]
    separator: str = ","


def read_table(
    content: bytes, suffix: str, place: str, *, known: Collection[str], prose: bool = False
) -> DelimitedTable:
    """Reads a table with a header.

    Args:
        content: Of the file; UTF-8, or UTF-16 with its mark.
        suffix: `.csv` or `.tsv`, which says the usual separator.
        place: What to call the file in errors.
        known: Names of columns in lower case, by which a header is known.
        prose: Whether fields may be sentences, in which quotes are what was said: between tabs
            they are letters where each line is a row and reading them as quotes fails.

    Raises:
        SourceError: It is no such table; the message has the line.
    """
    text = _decoded(content, place)
    named = _EXCEL.match(text)
    skipped = 1 if named else 0
    if named:
        text = text[named.end() :]
    usual = named[1] if named else DELIMITERS[suffix]
    separator = usual if named else _separator(text, usual, place, known)
    read = _prose if prose and separator == "\t" else _records
    records = list(read(text, separator, place, skipped))
    if len(records) < 2:
        raise SourceError(f"{place} has no rows below its header. Give one row an example.")
    header = _header(records[0][1], records, place)
    for line, fields in records[1:]:
        if len(fields) != len(records[0][1]):
            raise SourceError(
                f"{place}, line {line}: {plural(len(fields), 'field')}, while the header names "
                f"{len(records[0][1])}. Quote fields that hold the separator, which is "
                f"{_called(separator)}."
            )
    rows = [
        {name: _value(fields[column]) for column, name in header.items()}
        for _, fields in records[1:]
    ]
    return DelimitedTable(
        tuple(header.values()), rows, [line for line, _ in records[1:]], separator
    )


def refuse_line_breaks(table: DelimitedTable, parts: Collection[str | None], place: str) -> None:
    """Refuses what a quote that opens in one row and closes in another makes of the rows between.

    Args:
        table: As read.
        parts: Columns that play a part, such as that of class names.
        place: What to call the table in errors.

    Raises:
        SourceError: A value of `parts` has a line break, or one of another column has a line that
            looks like a row.
    """
    for line, row in zip(table.lines, table.rows, strict=True):
        for name, value in row.items():
            if value is None or not ("\n" in value or "\r" in value):
                continue
            inner = re.split(r"\r\n|\r|\n", value)
            if name in parts or _hold_rows(inner[1:]):
                raise SourceError(
                    f"{place}, line {line}: the {name} holds a line break, so that "
                    f"{plural(len(inner), 'line')} are one row: {inner[0]!r}, {inner[1]!r}. Remove "
                    'the quote that opens there, or write it twice ("").'
                )


def refuse_swallowed_rows(table: DelimitedTable, text: str, label: str | None, place: str) -> None:
    """Refuses texts of several lines, of which one looks like a row of the table.

    A quote that opens in one row and closes in another makes one text of all rows between.

    Args:
        table: As read.
        text: Column of texts, which may have line breaks of their own.
        label: Column of labels.
        place: What to call the table in errors.

    Raises:
        SourceError: A line has as many fields as the table, one that may be its label among them.
    """
    if label is None:
        return
    labels = {row[label] or "" for row in table.rows}
    numbers = all(each.strip().isdecimal() for each in labels)
    position = table.header.index(label)
    for line, row in zip(table.lines, table.rows, strict=True):
        inner = re.split(r"\r\n|\r|\n", row[text] or "")
        for each in inner[1:]:
            fields = each.split(table.separator)
            if len(fields) != len(table.header):
                continue
            value = fields[position].strip(' "')
            if value in labels or (numbers and value.isdecimal()):
                raise SourceError(
                    f"{place}, line {line}: the {text} holds a line break, and a line in it looks "
                    f"like a row: {each!r}. Remove the quote that opens there, or write it twice "
                    '("").'
                )


def _prose(text: str, separator: str, place: str, skipped: int) -> Iterable[tuple[int, list[str]]]:
    """Records in which quotes are letters where reading them as quotes fails or joins lines."""
    plain = _unquoted(text, separator, skipped)
    try:
        quoted = list(_records(text, separator, place, skipped))
    except SourceError:
        if plain:
            return plain
        raise
    return plain if plain and len(plain) != len(quoted) else quoted


def _unquoted(text: str, separator: str, skipped: int) -> list[tuple[int, list[str]]]:
    """Records of a table in which each line is a row, whatever quotes are in it; else none."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    records = [(at, line.split(separator)) for at, line in enumerate(lines, 1 + skipped) if line]
    return records if len({len(fields) for _, fields in records}) == 1 else []


def _hold_rows(lines: Sequence[str]) -> bool:
    """Whether a line names an image at its beginning or after a separator, as rows do."""
    return any(_is_image(field) for line in lines for field in re.split(r"[,;\t|]", line))


def _is_image(field: str) -> bool:
    return PurePosixPath(field.strip().strip('"')).suffix.lower() in IMAGE_SUFFIXES


def _decoded(content: bytes, place: str) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        raise SourceError(
            f"{place} holds zero bytes, as UTF-16 without its mark does. Save it as UTF-8."
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line, odd = content[: error.start].count(b"\n") + 1, content[error.start : error.end]
        raise SourceError(
            f"{place} is not UTF-8 text: line {line} holds {odd!r}, as Latin-1 and the code pages "
            "of Windows have it. Save it as UTF-8."
        ) from error


def _separator(text: str, usual: str, place: str, known: Collection[str]) -> str:
    """The separator with which the first line is a header.

    Raises:
        SourceError: The first line is no header, or may be one in two ways.
    """
    first = next((line for line in StringIO(text, newline="") if line.strip()), "").rstrip("\r\n")
    heads = {
        separator: _split(first, separator) for separator in dict.fromkeys([usual, *_SEPARATORS])
    }
    fitting = [separator for separator, fields in heads.items() if _are_known(fields, known)]
    if not any(len(fields) > 1 for fields in heads.values()):  # else a letter of names
        fitting = [each for each in _SELDOM if _are_known(_split(first, each), known)]
    if usual in fitting:
        return usual
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SourceError(
            f"{place}: the first line, {first!r}, may be separated by "
            f"{' or by '.join(_called(separator) for separator in fitting)}. Write one of them."
        )
    for separator, fields in heads.items():
        if len(fields) > 1 and any(map(_is_image, fields)):
            raise SourceError(
                f"{place} has no header: its first line, {first!r}, names an image. Put a line "
                f"above it that names the columns, such as {separator.join(['path', 'label'])!r}."
            )
    others = [separator for separator, fields in heads.items() if len(fields) > 1]
    if others and usual not in others:
        raise SourceError(
            f"{place} has no {_SEPARATORS[usual][2:]} in its first line, {first!r}, which seems to "
            f"be separated by {_SEPARATORS[others[0]]}, and names no column that is known there. "
            "Put a header above the rows, such as path,label."
        )
    return usual


def _called(separator: str) -> str:
    return (_SEPARATORS | _SELDOM).get(separator, repr(separator))


def _are_known(fields: Sequence[str], known: Collection[str]) -> bool:
    return len(fields) > 1 and sum(field.strip().lower() in known for field in fields) > 1


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # told where all records are read
        return []


def _records(
    text: str, separator: str, place: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """The line that each record begins at, and its fields; empty lines are passed over."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = 1
    try:
        for fields in reader:
            if fields:
                _refuse_quote_after_blank(fields, place, begin + skipped)
                yield begin + skipped, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        line = begin + skipped
        if "unexpected end of data" in str(error):
            what = f"a quote opens on line {line} and never closes, so the rows after it are lost"
        elif "expected after" in str(error):
            what = f"from line {line} on, a quote closes before the end of a field"
        else:
            what = f"line {line} cannot be read ({error})"
        raise SourceError(
            f'{place}: {what}. Remove the quote, or quote the whole field and write it twice ("") '
            "inside."
        ) from error


def _refuse_quote_after_blank(fields: Sequence[str], place: str, line: int) -> None:
    for field in fields:
        if field[:1].isspace() and field.lstrip().startswith('"'):
            raise SourceError(
                f"{place}, line {line}: a blank stands before the quote of {field!r}, so the quote "
                "would be part of the text. Remove the blank."
            )


def _header(
    fields: Sequence[str], records: Sequence[tuple[int, list[str]]], place: str
) -> dict[int, str]:
    """Name of each column by position, without nameless ones that are empty."""
    names = {column: field.strip() for column, field in enumerate(fields)}
    for column, name in list(names.items()):
        rows = records[1:]
        if not name and all(not row[column].strip() for _, row in rows if len(row) > column):
            del names[column]
    listed = list(names.values())
    repeated = [name for name in dict.fromkeys(listed) if listed.count(name) > 1]
    if repeated:
        raise SourceError(
            f"{place}: the header names {some(map(repr, repeated))} more than once. Give each "
            "column a name of its own."
        )
    return names


def _value(field: str) -> str | None:
    return None if not field.strip() or field.strip().lower() in _ABSENT else field
