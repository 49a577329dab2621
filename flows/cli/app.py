"""The command `shotboard`. Exit codes: 0 done, 1 some trials failed, 2 the request is wrong."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from tasks.environment import set_defaults
from tasks.plain_text import plain

COMMANDS = {  # by name: the module that has it, which is imported where it is asked for
    "run": "running",
    "plan": "running",
    "board": "reading",
    "sql": "reading",
    "show": "showing",
    "runs": "runs",
    "compare": "comparing",
    "merge": "comparing",
    "copy": "copying",
    "verify": "comparing",
    "predict": "predicting",
    "datasets": "datasets",
    "methods": "listing",
    "backbones": "listing",
    "pretrain": "pretraining",
    "clean": "cleaning",
    "up": "serving",
    "doctor": "reading",
}


class Commands(TyperGroup):
    """All commands; one that is written wrongly is refused in a paragraph, as any wrong request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {**self.commands, **dict.fromkeys(COMMANDS)}  # pyright: ignore[reportAttributeAccessIssue]  # loaded by `get_command`

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; None where there is none."""
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            module = import_module(f"flows.cli.{COMMANDS[cmd_name]}")
            self.commands[cmd_name] = get_group(module.app).commands[cmd_name]
        return self.commands.get(cmd_name)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Runs the command that the arguments name, and in standalone mode ends the process."""
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            typer.echo(plain(f"error: {_usage(error)}"), err=True)
            sys.exit(error.exit_code)
        if not standalone_mode:
            return code
        sys.exit(code)


def _usage(error: typer.TyperException) -> str:
    """What is wrong with how a command was written, the nearest that is right, and where to look.

    Typer says more in the attributes of some errors: where it was, and what was near.
    """
    from data_catalog.wording import did_you_mean

    near = getattr(error, "possibilities", None)
    text = error.message if near else error.format_message()
    text = " ".join(text.replace("Value error, ", "").split())
    text = f"{text[:1].lower()}{text[1:]}".rstrip(".")
    hint = f" {did_you_mean(getattr(error, 'option_name', ''), near)}" if near else ""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "shotboard COMMAND"
    return f"{text}{'' if text.endswith('?') else '.'}{hint} See `{command} --help`."


app = typer.Typer(
    name="shotboard",
    help="Few-shot prompt tuning of vision-language and language models, on one board.",
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def no_command(context: typer.Context) -> None:
    """Shows the commands where none was given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def main() -> NoReturn:
    """Runs the command line."""
    set_defaults()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # where the locale has no ± or é, say which it was
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except BrokenPipeError:  # `shotboard sql .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)
