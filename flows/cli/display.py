"""How a run and a board look in a terminal."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.cli.terminal import err, out, print_table
from operators.episodes.shots import shots_order, shots_said, shots_word
from operators.episodes.splits import ALL, BESIDE, ORDER
from tasks.plain_text import plain

NOTE_SECONDS = 30.0  # between two lines of a stage where there is no terminal


class TerminalReporter:
    """Live bars in a terminal, one line a stage elsewhere. A context manager."""

    def __init__(self, console: Console = err) -> None:
        self.console = console
        self.lock = threading.Lock()
        self.bars: dict[str, Any] = {}
        self.noted: dict[str, float] = {}
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "TerminalReporter":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, stage: str, total: int | None) -> None:
        """See `Reporter`."""
        with self.lock:
            self.bars[stage] = self.progress.add_task(plain(stage), total=total)

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """See `Reporter`."""
        with self.lock:
            self.progress.update(self.bars[stage], completed=done, total=total)

    def note(self, stage: str, text: str) -> None:
        """See `Reporter`; a line now and then where there is no bar."""
        with self.lock:
            bar = self.bars.get(stage)
            if bar is not None and self.console.is_terminal:
                self.progress.update(bar, description=plain(f"{stage}  {text}"))
            elif time.monotonic() - self.noted.get(stage, 0.0) >= NOTE_SECONDS:
                self.noted[stage] = time.monotonic()
                self.console.print(f"  {stage}: {text}")

    def end(self, stage: str, summary: str) -> None:
        """See `Reporter`."""
        with self.lock:
            bar = self.bars.pop(stage, None)
            if bar is not None:
                self.progress.remove_task(bar)
            self.console.print(f"  {stage}: {summary}")

    def say(self, text: str) -> None:
        """See `Reporter`."""
        self.console.print(f"  {text}")


class BoardTable(NamedTuple):
    """One table of the board, ready to be shown.

    Attributes:
        title: Dataset, protocol and backbone.
        columns: Names of the columns; the first is that of the method.
        rows: A text for each column.
        quantity: What its figures are, such as `accuracy in %`.
        notes: What differs from the published settings, one line a method.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    quantity: str
    notes: list[str]


def board_tables(rows: Sequence[Mapping[str, Any]]) -> list[BoardTable]:
    """The board as one table for each protocol, dataset and backbone.

    Methods go down, shots and splits across.

    Args:
        rows: As `tasks.pages.reports.board_rows` gives them.
    """
    from tasks.pages.reports import quantity, seen

    tables = []
    for (protocol, dataset, backbone), group in _grouped(rows, "protocol", "dataset", "backbone"):
        columns = {(row["shots"], row["split"]) for row in group}
        heads = sorted(columns, key=_order)
        names = ["method", *(_heading(shots, split) for shots, split in heads)]
        lines = sorted(_lines(group), key=_best_first)
        body = [[line.name, *(_cell(line.cells, head) for head in heads)] for line in lines]
        notes = seen(group) + _notes({line.name: line.settings for line in lines})
        title = f"{dataset} · {protocol} · {backbone}"
        tables.append(BoardTable(title, names, body, quantity(group[0]), notes))
    return tables


def print_board(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the board."""
    shown = None
    for table in board_tables(rows):
        if table.quantity != shown:
            out.print(f"\n{table.quantity}, mean ± standard deviation over seeds")
            shown = table.quantity
        print_table(table.columns, table.rows, title=f"\n{table.title}")
        for note in table.notes:
            out.print(f"   {note}", style="dim")


def _cell(found: Mapping[tuple[int, str], Mapping[str, Any]], head: tuple[int, str]) -> str:
    from tasks.pages.reports import score

    return score(found[head]) if head in found else ""


class _Line(NamedTuple):
    name: str
    settings: str
    cells: dict[tuple[int, str], Mapping[str, Any]]


def _lines(group: Iterable[Mapping[str, Any]]) -> list[_Line]:
    """One line a method; one for each of its settings where two were run with the same shots."""
    lines = []
    for (method,), rows in _grouped(group, "method"):
        places = [(row["shots"], row["split"]) for row in rows]
        alike = len(set(places)) == len(places)
        for _, members in [(None, rows)] if alike else _grouped(rows, "variant"):
            cells = {(row["shots"], row["split"]): row for row in members}
            settings = max((row["variant"] or "" for row in members), key=len)
            name = method if alike else f"{method} [{settings or 'published'}]"
            lines.append(_Line(name, settings if alike else "", cells))
    return lines


def _notes(settings: Mapping[str, str]) -> list[str]:
    """A line for what all methods share, then one for each that differs further."""
    words = {name: text.split() for name, text in settings.items()}
    shared = [w for w in next(iter(words.values())) if all(w in other for other in words.values())]
    own = {name: [w for w in found if w not in shared] for name, found in words.items()}
    notes = [f"all methods: {' '.join(shared)}"] if shared else []
    return notes + [f"{name}: {' '.join(found)}" for name, found in own.items() if found]


def _heading(shots: int, split: str) -> str:
    """`16 shots`, or `16 base` where the split says more."""
    return shots_said(shots) if split == ALL else f"{shots_word(shots)} {split}"


def _order(head: tuple[int, str]) -> tuple[int, int, str]:
    shots, split = head
    return shots_order(shots), ORDER.index(split) if split in ORDER else len(ORDER), split


def _best_first(line: _Line) -> tuple[float, str]:
    """Methods in order of their score at most shots, the best first."""
    from tasks.pages.reports import goodness

    shots = max((shots for shots, _ in line.cells), key=shots_order)
    most = [
        goodness(row)
        for (k, split), row in line.cells.items()
        if k == shots and split not in BESIDE
    ]
    return -min(most), line.name


def _grouped(
    rows: Iterable[Mapping[str, Any]], *keys: str
) -> Iterable[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups.items()
