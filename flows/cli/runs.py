"""`shotboard runs`: what was executed, and how it ended."""

from typing import Annotated

import typer

from flows.cli.common import AsJson, Home, commands, one_sentence
from flows.cli.terminal import out, print_json, print_table
from tasks.storage.store import Store

app = commands()


@app.command()
def runs(
    suite: Annotated[str | None, typer.Option(help="Only of this suite.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List runs: status, times, what was new, what failed.

    The latest comes first. A run that is running counts what it has done so far; one whose process
    is gone has crashed, and the same command goes on from there. In SQL the table is `runs`.
    """
    with one_sentence():
        from tasks.pages.run_list import run_rows

        store = Store.at(home)
        found = run_rows(store)
        if suite is not None:
            from tasks.planning.resolve import resolve

            resolve("suite with a run", suite, {row["suite"]: row for row in found})
            found = [row for row in found if row["suite"] == suite]
        if as_json:
            print_json(found)
            return
        if not found:
            out.print(f"no run yet in {store.home}: run `shotboard run`.")
            return
        heads = [
            "run",
            "suite",
            "status",
            "started (UTC)",
            "took",
            "trials",
            "there already",
            "new",
            "by others",
        ]
        print_table(
            [*heads, "failed", "missing now", "from", ""],
            [
                [
                    row["run_id"],
                    f"{row['suite']}{', in part' if row['partial'] else ''}",
                    row["status"],
                    f"{row['started_at']:%Y-%m-%d %H:%M}",
                    "" if row["seconds"] is None else _took(row["seconds"]),
                    *(row[name] for name in ("planned", "reused", "computed", "elsewhere")),
                    row["failed"],
                    row["missing"],
                    row["origin"] or "here",
                    row["error"] or "",
                ]
                for row in found
            ],
        )


def _took(seconds: float) -> str:
    """`4.2 s`, `3 min`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
