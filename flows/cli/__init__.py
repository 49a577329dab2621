"""The command `shotboard`. Exit codes: 0 done, 1 some trials failed, 2 the request is wrong."""

import os
import sys
from typing import NoReturn

import typer

from tasks.environment import set_defaults

app = typer.Typer(
    name="shotboard",
    help="Few-shot prompt tuning of vision-language models: every method, one protocol, one board.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> NoReturn:
    """Runs the command line."""
    set_defaults()
    # Importing them registers the commands.
    from flows.cli import describing, listing, pretraining, reading, running

    del describing, listing, pretraining, reading, running
    try:
        app(standalone_mode=True)
    except BrokenPipeError:  # `shotboard sql .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)
