"""The shell of `shotboard sql`: questions to the board, one after the other.

Every question opens the board that is published then, so a run that goes on meanwhile is seen.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from data_catalog.wording import did_you_mean
from flows.cli.answers import (
    Format,
    format_of,
    print_answer,
    refuse_store_files,
    write_answer,
)
from flows.cli.completing import BoardCompleter, Names, names_of
from flows.cli.terminal import err, out, print_table
from operators.files import at_home
from tasks.pages.asking import BoardError, ask
from tasks.storage.store import Store

MODES = tuple(each.name for each in Format if each is not Format.parquet)
HELP = (
    ("SELECT .. ;", "asks the board; a semicolon ends a question, which may have several lines"),
    (".tables", "every table and view"),
    (".schema NAME", "the columns of one, and what they mean"),
    (f".mode {'|'.join(MODES)}", "how answers are written"),
    (".export FILE", "writes the last answer to a file: .csv, .json, .md or .parquet"),
    (".help", "this list; .quit or .exit leaves"),
    ("Tab", "completes tables, columns, and within quotes methods, datasets and other values"),
    ("Ctrl-C", "clears the line, or stops a question; Ctrl-D leaves"),
)

LEAVING = (".quit", ".exit", "quit", "exit")  # as in the shells of DuckDB, SQLite and PostgreSQL
WORDS = (*LEAVING, "help")  # no SQL begins with one, so Enter ends it as it ends a command


def history_file() -> Path:
    """Where questions are kept from one shell to the next."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "shotboard" / "sql_history"


class Shell:
    """Reads questions and commands until the end of input.

    Args:
        store: Whose board.
        mode: How answers are written at first.
        options: What `PromptSession` takes beside, such as its input and output.
    """

    def __init__(self, store: Store, mode: Format = Format.table, **options: Any) -> None:
        self.store, self.mode = store, mode
        self.last = ""
        self.stamp: tuple[int, int] | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            ".tables": self._tables,
            ".schema": self._schema,
            ".mode": self._mode,
            ".export": self._export,
            ".help": self._help,
        }
        self.completer = BoardCompleter(Names(), self.commands)
        self.session: PromptSession[str] = PromptSession(
            lexer=PygmentsLexer(SqlLexer),
            completer=self.completer,
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            history=_history(),
            multiline=True,
            key_bindings=_bindings(),
            prompt_continuation=lambda width, *_: " " * (width - 2) + "> ",
            **options,
        )

    def run(self) -> None:
        """Answers until Ctrl-D or a word that leaves."""
        out.print(f"{self.store.board}   .help for help, Ctrl-D to leave", style="dim")
        while True:
            self._look()
            try:
                text = self.session.prompt("board> ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if _word(text) in LEAVING:
                return
            if text:
                self._answer(text)

    def _answer(self, text: str) -> None:
        """What is asked, or one paragraph on why there is no answer."""
        try:
            if _word(text) == "help":
                self._help("")
            elif text.startswith("."):
                self._command(text)
            else:
                with ask(self.store, text) as answer:
                    print_answer(answer, self.mode)
                self.last = text
        except KeyboardInterrupt:
            err.print("stopped.")
        except (ValueError, LookupError) as error:
            told = error.args[0] if isinstance(error, LookupError) and error.args else error
            err.print("error: " + " ".join(str(told).split()))
            if excerpt := getattr(error, "excerpt", ""):
                err.print(excerpt)

    def _command(self, text: str) -> None:
        name, _, rest = text.rstrip("; ").partition(" ")
        if name not in self.commands:
            raise LookupError(
                f"no command is called {name!r}. {did_you_mean(name, list(self.commands))} "
                "See .help."
            )
        self.commands[name](rest.strip())

    def _look(self) -> None:
        """Reads what can be completed again where another board was published, and says so."""
        try:
            status = self.store.board.stat()
            stamp = status.st_mtime_ns, status.st_ino
            if stamp == self.stamp:
                return
            before, self.stamp = self.stamp, stamp
            self.completer.names = names_of(self.store)
            if before is not None:
                moment = datetime.fromtimestamp(status.st_mtime).strftime("%H:%M:%S")
                out.print(f"the board was published anew at {moment}.", style="dim")
        except OSError:
            return  # no board yet: a question says what to do
        except BoardError as error:
            err.print(f"error: {error}")

    def _tables(self, _: str) -> None:
        sql = (
            "SELECT table_name AS name, 'table' AS kind, comment FROM duckdb_tables() "
            "WHERE NOT internal UNION ALL SELECT view_name, 'view', comment FROM duckdb_views() "
            "WHERE NOT internal ORDER BY kind DESC, name"
        )
        with ask(self.store, sql) as answer:
            print_answer(answer, self.mode)

    def _schema(self, name: str) -> None:
        columns = self.completer.names.columns
        if name not in columns:
            hint = did_you_mean(name, list(columns)) if name else "Write .schema NAME."
            raise LookupError(f"no table or view is called {name!r}. {hint} See .tables.")
        sql = (
            "SELECT column_name AS column, data_type AS type, comment FROM duckdb_columns() "
            f"WHERE table_name = '{name}' ORDER BY column_index"
        )
        with ask(self.store, sql) as answer:
            print_answer(answer, self.mode)

    def _mode(self, name: str) -> None:
        if name not in MODES:
            raise LookupError(f"mode {name!r} is none of {', '.join(MODES)}.")
        self.mode = Format[name]

    def _export(self, place: str) -> None:
        if not place or not self.last:
            raise ValueError(
                ".export FILE writes the last answer: name a file, and ask something first."
            )
        path = at_home(place)
        refuse_store_files(path, self.store.home)
        with ask(self.store, self.last) as answer:
            write_answer(answer, format_of(path), path)

    def _help(self, _: str) -> None:
        print_table(["", ""], HELP)


def _word(text: str) -> str:
    """What was typed, as a word of the shell would be compared."""
    return text.rstrip("; ").lower()


def _history() -> History:
    """Of earlier shells; of this one alone where nothing can be kept."""
    file = history_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))


def _bindings() -> KeyBindings:
    """Enter ends a question that ends with a semicolon, and goes to the next line of others."""
    from prompt_toolkit.application import get_app

    def is_whole() -> bool:
        text = get_app().current_buffer.text.strip()
        return not text or text.endswith(";") or text.startswith(".") or _word(text) in WORDS

    bindings = KeyBindings()

    @bindings.add("enter", filter=Condition(is_whole))
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return bindings
