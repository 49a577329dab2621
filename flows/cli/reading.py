"""`shotboard board`, `sql` and `doctor`: reading what is there."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.answers import (
    Format,
    as_csv,
    format_of,
    print_answer,
    refuse_store_files,
    write_answer,
    write_file,
)
from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    commands,
    one_each,
    one_sentence,
    pairs,
)
from flows.cli.terminal import err, out, print_json, print_table, write_out
from operators.episodes.shots import shots_of, shots_word
from tasks.storage.store import Store

app = commands()


class BoardFormat(StrEnum):
    """How the board is written."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


@app.command()
def board(
    protocol: Annotated[
        str | None, typer.Option(help="Only this protocol; a page begins with it.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page that needs no other file.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only this backbone.")] = None,
    shots: Annotated[
        str | None, typer.Option(metavar="N|all", help="Only this number of shots.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table.")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make it anew from the trial folders first.")
    ] = False,
    plot: Annotated[
        str | None,
        typer.Option(
            help="Draw curves, intervals, heat-map, base-to-new, cost, critical-difference, "
            "published or loss into -o FILE (.svg, .png, .pdf, .json), or tell it in words."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file of --plot or --format.")
    ] = None,
    format: Annotated[
        BoardFormat, typer.Option(help="How it is written; markdown and latex as in papers.")
    ] = BoardFormat.table,
    folder: Annotated[
        Path | None,
        typer.Option("--export", help="Write all tables and views to a new folder, as Parquet."),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Ours beside published numbers, and where papers differ."),
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(help="What else --plot shows, such as split=H or cost=tune_flops."),
    ] = None,
    theme: Annotated[str, typer.Option(help="Of --plot: light or dark.")] = "light",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the leaderboard, or draw a plot of it."""
    with one_sentence():
        from tasks.pages.reports import COLUMNS, board_rows

        store = Store.at(home)
        for file in filter(None, (html, csv_file, output)):
            refuse_store_files(file, store.home)
        if plot is None and (where is not None or theme != "light"):
            raise ValueError(
                "--where and --theme say how --plot draws: add --plot, or leave them out."
            )
        if rebuild:
            _rebuild(store)
        count = None if shots is None else shots_of(shots)
        asked = {"protocol": protocol, "dataset": dataset, "backbone": backbone, "shots": count}
        if plot is not None:
            from flows.cli.picturing import draw

            more = one_each("--where", pairs("--where", where)) or {}
            draw(store, plot, output, {**asked, **more}, theme)
            return
        if folder is not None:
            _export(store, folder)
            return
        chosen = BoardFormat.json if as_json else format
        if reference:
            _refer(store, asked, chosen, output, (html, csv_file))
            return
        rows = _only(board_rows(store), asked)
        if html is not None:
            from tasks.site import page

            write_file(html, page(store, begin=protocol))
        if csv_file is not None:
            write_file(csv_file, as_csv([COLUMNS, *(row.values() for row in rows)]).encode())
        if chosen is not BoardFormat.table or output or not (html or csv_file):
            _put(store, rows, chosen, output)


def _refer(
    store: Store,
    asked: dict[str, Any],
    format: BoardFormat,
    output: Path | None,
    others: tuple[Path | None, ...],
) -> None:
    """Prints the board beside published numbers, or writes it to a file."""
    from flows.cli.referring import put_reference

    if any(others):
        raise ValueError(
            "--reference is written by --format and -o, and every page has it: leave out --html "
            "and --csv."
        )
    put_reference(store, asked, format, output)


def _rebuild(store: Store) -> None:
    from flows.cli.display import TerminalReporter
    from tasks.pages.rebuilding import rebuild_board
    from tasks.progress import reporting_to

    with TerminalReporter() as reporter, reporting_to(reporter):
        rebuild_board(store, full=True)


def _export(store: Store, folder: Path) -> None:
    from tasks.pages.export import export

    done = export(store, folder)
    err.print(f"wrote {done.folder}: {len(done.rows)} Parquet files and a README")


def _put(
    store: Store, rows: list[dict[str, Any]], format: BoardFormat, output: Path | None
) -> None:
    """Prints the board, or writes it to a file."""
    if format is not BoardFormat.table:
        text = _written(store, rows, format)
        write_file(output, text.encode()) if output else write_out(text)
        return
    if output is not None:
        raise ValueError("-o takes what --format or --plot makes: add one of them.")
    from flows.cli.display import print_board

    print_board(rows)
    if not rows:
        out.print("the board is empty: run `shotboard run`.")


def _written(store: Store, rows: list[dict[str, Any]], format: BoardFormat) -> str:
    """The board as text for programs, or as tables for papers."""
    from tasks.pages.reports import COLUMNS, average_rows

    if format is BoardFormat.json:
        return json.dumps(rows, indent=1, default=str) + "\n"
    if format is BoardFormat.csv:
        return as_csv([COLUMNS, *(row.values() for row in rows)])
    from tasks.pages.tables import latex, markdown, method_tables

    tables = method_tables(rows, average_rows(store))
    return latex(tables) if format is BoardFormat.latex else markdown(tables)


def _only(rows: list[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with some values; a protocol may be one that the board has nothing of yet.

    Raises:
        LookupError: The code has no such protocol, or the board no such value.
    """
    from tasks.pages.known import protocol_rows
    from tasks.planning.resolve import resolve

    if protocol := asked["protocol"]:
        resolve("protocol", protocol, {row["protocol"]: row for row in protocol_rows()})
    for name, value in asked.items():
        known = list(dict.fromkeys(row[name] for row in rows))
        if value is not None and name != "protocol" and value not in known:
            said = shots_word if name == "shots" else str
            quoted = said(value) if isinstance(value, int) else repr(value)
            raise LookupError(
                f"the board has no {name} {quoted} here: it has {', '.join(map(said, known))}."
            )
        rows = [row for row in rows if value is None or row[name] == value]
    return rows


@app.command()
def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT statement; without it a shell, or what is piped in."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How rows are written.")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Ask the board with SQL; it is read only and works while a run is writing."""
    with one_sentence():
        from tasks.pages.asking import ask

        store = Store.at(home)
        chosen = Format.json if as_json else format
        output = None if output == Path("-") else output
        if chosen is Format.parquet and output is None:
            raise ValueError("--format parquet needs a file: add -o FILE.")
        if query is None and sys.stdin.isatty():
            _open_shell(store, chosen, output)
            return
        asked = sys.stdin.read() if query is None else query
        if output is not None:
            chosen = format_of(output) if chosen is Format.table else chosen
            refuse_store_files(output, store.home)
        with ask(store, asked) as answer:
            if output is None:
                print_answer(answer, chosen)
            else:
                write_answer(answer, chosen, output)


def _open_shell(store: Store, mode: Format, output: Path | None) -> None:
    """Questions one after the other; see `flows.cli.shell`."""
    if not out.is_terminal or output is not None:
        raise ValueError(
            "a shell needs a terminal. Give a query, such as: shotboard sql "
            '"SELECT * FROM averages"'
        )
    from flows.cli.shell import Shell

    Shell(store, mode).run()


@app.command()
def doctor(
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Recompute the board's accuracies and compare with MLflow."),
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, devices, disk, ports and the store; each trouble comes with its remedy."""
    with one_sentence():
        from tasks.health.doctor import audit_numbers, diagnose

        store = Store.at(home)
        checks = diagnose(store)
        if audit:
            checks = [*checks, *audit_numbers(store)]
        if as_json:
            print_json([check._asdict() for check in checks])
        else:
            print_table(
                ["status", "check", "detail", "remedy"],
                [[c.status, c.name, c.detail, c.remedy or ""] for c in checks],
            )
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(TRIALS_FAILED)
