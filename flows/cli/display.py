"""How a run and a board look in a terminal and on a page."""

import html
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.cli.common import err, print_table


class TerminalReporter:
    """Live bars in a terminal, one line a stage elsewhere. A context manager."""

    def __init__(self, console: Console = err) -> None:
        self.console = console
        self.lock = threading.Lock()
        self.bars: dict[str, Any] = {}
        self.progress = Progress(
            TextColumn("{task.description}"),
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
            self.bars[stage] = self.progress.add_task(stage, total=total)

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """See `Reporter`."""
        with self.lock:
            self.progress.update(self.bars[stage], completed=done, total=total)

    def end(self, stage: str, summary: str) -> None:
        """See `Reporter`."""
        with self.lock:
            bar = self.bars.pop(stage, None)
            if bar is not None:
                self.progress.remove_task(bar)
            self.console.print(f"  {stage}: {summary}", markup=False)

    def say(self, text: str) -> None:
        """See `Reporter`."""
        self.console.print(f"  {text}", markup=False, soft_wrap=True)


def board_tables(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The board as one table for each protocol, dataset and backbone.

    Args:
        rows: As `tasks.reports.board_rows` gives them.

    Returns:
        Title, column names and rows of each table: methods down, shots and splits across,
        accuracy in percent with the standard deviation over seeds. Base and new accuracies
        are followed by their harmonic mean, taken of the means.
    """
    tables = []
    for (protocol, dataset, backbone), group in _grouped(rows, "protocol", "dataset", "backbone"):
        columns = sorted({(row["shots"], row["split"]) for row in group})
        cells: dict[tuple[str, str], dict[tuple[int, str], Mapping[str, Any]]] = {}
        for row in group:
            key = (row["method"], row["variant"] or "")
            cells.setdefault(key, {})[row["shots"], row["split"]] = row
        both = {shots for shots, split in columns if split == "new"}
        heads: list[tuple[int, str]] = sorted(
            [*columns, *((shots, "H") for shots in both)], key=_order
        )
        body = []
        for (method, variant), found in sorted(cells.items(), key=_best_last):
            body.append([method, *(_cell(found, head) for head in heads), variant])
        names = [f"{shots} {'shot' if shots == 1 else 'shots'}" for shots, _ in heads]
        marks = ["" if split == "all" else f" {split}" for _, split in heads]
        titles = [name + mark for name, mark in zip(names, marks, strict=True)]
        tables.append(
            (f"{dataset} · {protocol} · {backbone}", ["method", *titles, "settings"], body)
        )
    return tables


def print_board(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the board."""
    for title, columns, body in board_tables(rows):
        print_table(columns, body, title=f"\n{title}   accuracy in %, mean ± std over seeds")


def board_page(rows: Sequence[Mapping[str, Any]], title: str = "Shotboard") -> str:
    """The board as one HTML page that needs no other file."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(title)}</title>",
        "<meta name='viewport' content='width=device-width'>",
        "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;"
        "padding:0 1rem;color:#222;background:#fff}table{border-collapse:collapse;margin:.5rem 0 "
        "2rem}th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd;"
        "font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}"
        "td:last-child{color:#777;text-align:left}@media(prefers-color-scheme:dark){body{"
        "color:#ddd;background:#181818}th,td{border-color:#444}}</style>",
        f"<h1>{html.escape(title)}</h1>",
        "<p>Accuracy in %, mean ± standard deviation over seeds; H is the harmonic mean of the "
        "base and new means.</p>",
    ]
    for heading, columns, body in board_tables(rows):
        parts.append(f"<h2>{html.escape(heading)}</h2><table><tr>")
        parts += [f"<th>{html.escape(column)}</th>" for column in columns]
        parts.append("</tr>")
        for row in body:
            parts.append(
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            )
        parts.append("</table>")
    return "\n".join([*parts, "</html>"])


def _cell(found: Mapping[tuple[int, str], Mapping[str, Any]], head: tuple[int, str]) -> str:
    from tasks.reports import percent

    shots, split = head
    if split != "H":
        return percent(dict(found[head])) if head in found else ""
    base, new = found.get((shots, "base")), found.get((shots, "new"))
    if base is None or new is None or not base["mean"] + new["mean"]:
        return ""
    return f"{100 * 2 * base['mean'] * new['mean'] / (base['mean'] + new['mean']):.1f}"


def _order(head: tuple[int, str]) -> tuple[int, int]:
    return head[0], ("all", "base", "new", "H").index(head[1]) if head[1] in (
        "all",
        "base",
        "new",
        "H",
    ) else 9


def _best_last(item: tuple[Any, Mapping[tuple[int, str], Mapping[str, Any]]]) -> tuple[float, str]:
    """Methods in order of their accuracy at most shots: the baseline on top, the best below."""
    (method, _), found = item
    return found[max(found)]["mean"], method


def _grouped(
    rows: Iterable[Mapping[str, Any]], *keys: str
) -> Iterable[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups.items()
