"""Where everything that the command line says leaves this process.

Names, paths and errors come from users and their data, so nothing printed here is read as
markup, as an emoji or as an escape sequence: consoles show text as it is.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tasks.plain_text import plain, without_secrets


class Terminal(Console):
    """A console that shows every text as it is, on a line of its own length."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **asked: Any) -> None:
        """See `Console`; text is not wrapped, for what wraps it cannot be copied or searched."""
        asked.setdefault("soft_wrap", all(isinstance(each, str) for each in objects))
        super().print(*objects, **asked)

    def render_str(self, text: str, **asked: Any) -> Text:
        """See `Console`; every text that is printed comes by here."""
        style, justify = asked.get("style", ""), asked.get("justify")
        return Text(plain(text), style=style, justify=justify, overflow=asked.get("overflow"))

    def on_broken_pipe(self) -> None:
        """Ends quietly where nobody reads the answer; a run goes on where nobody reads along."""
        _to_nowhere(self.file)
        if not self.stderr:
            sys.exit(0)


out = Terminal()
err = Terminal(stderr=True)


def write_out(text: str) -> None:
    """Writes rows or JSON to standard output as they are, but harmless where that is a terminal.

    Raises:
        OSError: It could not be written; a pipe that nobody reads ends the process quietly.
    """
    try:
        sys.stdout.write(plain(text) if sys.stdout.isatty() else without_secrets(text))
        sys.stdout.flush()
    except BrokenPipeError:
        out.on_broken_pipe()


def print_json(value: Any) -> None:
    """Writes JSON to standard output."""
    write_out(json.dumps(value, indent=1, default=str) + "\n")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    title: str = "",
    numeric: Sequence[bool] | None = None,
    ahead: int | None = None,
) -> None:
    """Prints rows as a table; numbers to the right, nothing folded away.

    Args:
        columns: Heads.
        rows: Values for each of them.
        title: A line above.
        numeric: Which columns hold numbers; default: those whose values all are.
        ahead: Rows that columns are as wide as; later ones are printed as they come, and one that
            is wider stands out. Default: all.
    """
    coming = iter(rows)
    rows = list(islice(coming, ahead))
    if numeric is None:
        numeric = [
            bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
            for index in range(len(columns))
        ]
    head = [plain(column) for column in columns]
    body = [[plain(shown(value)) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(head, *body, strict=True)]
    if title:
        out.print(title)
    # A file or a pipe has no width; nothing is worse there than a folded table.
    if out.is_terminal and sum(widths) + 2 * len(widths) > out.width:
        _print_folded(head, body, numeric)
        return
    out.print(_line(head, widths, numeric), style="bold")
    while body:
        write_out("".join(f"{_line(row, widths, numeric)}\n" for row in body))
        body = [[plain(shown(value)) for value in row] for row in islice(coming, ahead)]


def print_card(values: dict[str, Any]) -> None:
    """Prints what is known of one thing, a line a key; empty values are left out."""
    rows = [[k, _text(v)] for k, v in values.items() if v not in (None, "", [], {}, ())]
    print_table(["", ""], rows)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items() if v not in (None, "", []))
    if isinstance(value, list | tuple):
        shown = [_text(item) for item in value[:12]]
        return ", ".join(shown) + (f", .. {len(value)} in all" if len(value) > 12 else "")
    return str(value)


def shown(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        if 0 < abs(value) < 0.001:  # such as a p value, which is not 0
            return f"{value:.2g}"
        return f"{value + 0.0:.4f}".rstrip("0").rstrip(".")  # -0.0 is 0
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value))
    return str(value)


def _print_folded(
    head: Sequence[str], body: Sequence[Sequence[str]], numeric: Sequence[bool]
) -> None:
    from rich.table import Table

    table = Table(header_style="bold", box=None)
    for column, number in zip(head, numeric, strict=True):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    out.print(table)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    """A row as text; a cell of several lines makes several lines of it."""
    if any("\n" in cell for cell in cells):
        parts = [cell.split("\n") for cell in cells]
        depth = max(map(len, parts))
        lines = zip(*([*part, *[""] * (depth - len(part))] for part in parts), strict=True)
        return "\n".join(_line(line, widths, numeric) for line in lines)
    padded = []
    for cell, width, number in zip(cells, widths, numeric, strict=True):
        gap = " " * (width - _width(cell))  # none for a cell that is wider
        padded.append(f" {gap}{cell} " if number else f" {cell}{gap} ")
    return "".join(padded).rstrip()


def _width(cell: str) -> int:
    """Places that a cell takes in a terminal."""
    if "\n" in cell:
        return max(map(_width, cell.split("\n")))
    return len(cell) if cell.isascii() else cell_len(cell)


def _to_nowhere(file: Any) -> None:
    """Lets a file that nobody reads take what is still to come."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)
