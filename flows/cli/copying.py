"""`shotboard copy`: a store at another place."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import AsJson, commands, one_sentence, signals_as_interrupts
from flows.cli.terminal import out, print_json
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.comparing.copying import Copied

app = commands()
SHOWN = 6  # of folders that differ


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Folder or URL of a store.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where it is to be as well.")],
    as_json: AsJson = False,
) -> None:
    """Bring a store to another folder or URL, such as s3://bucket/store.

    Every file is read back there and compared by its digest before it counts. Broken off, the same
    command goes on from there. Nothing at TO is overwritten, and FROM stays as it is.
    """
    with signals_as_interrupts(), one_sentence():
        from flows.cli.display import TerminalReporter
        from tasks.comparing.copying import copy_store
        from tasks.pages.rebuilding import rebuild_board
        from tasks.progress import reporting_to

        old, new = Store.at(source), Store.to_write(target)
        with TerminalReporter() as reporter, reporting_to(reporter):
            copied = copy_store(old, new)
            rebuilt = rebuild_board(new)
        if as_json:
            print_json(copied.to_json())
        else:
            _show(copied)
            out.print(f"{rebuilt.trials} trials on the board of {new.place}")


def _show(copied: "Copied") -> None:
    out.print(
        f"{len(copied.new)} trials and datasets copied, {len(copied.same)} were there already; "
        f"{copied.rows:,} features and {copied.files} small files copied"
    )
    for name in copied.different[:SHOWN]:
        out.print(f"{name} is there with other files, which stay: `shotboard merge` shows both")
    if len(copied.different) > SHOWN:
        out.print(f".. and {len(copied.different) - SHOWN} more")
