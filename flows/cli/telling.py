"""What a run made worse, told on the terminal and to whoever wants to know."""

from typing import TYPE_CHECKING

from flows.cli.terminal import err

if TYPE_CHECKING:
    from tasks.pages.regressions import Moves
    from tasks.services.notifying import Address


def tell(moves: "Moves", wanted: "Address | None") -> None:
    """Prints a line for each cell, and sends a message where no server does so.

    A server that the user has named may have the automation of `shotboard up`, and got the event.

    Args:
        moves: What there is to tell.
        wanted: Who wants to know, by `SHOTBOARD_NOTIFY`.
    """
    if not moves:
        return
    from tasks.pages.regressions import line

    for row in moves.rows:
        err.print(line(row))
    if wanted is None:
        return
    from tasks.services.notifying import send
    from tasks.services.server import configured_api

    if not configured_api() and not send(wanted, moves.subject, moves.text):
        err.print(f"the notification was not taken by {wanted.shown}.")
