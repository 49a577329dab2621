"""What the shell of `shotboard sql` offers: tables, columns and values of the board."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from tasks.pages.asking import reading
from tasks.storage.store import Store

KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "JOIN", "USING", "ON"),
    *("LEFT JOIN", "WITH", "AS", "AND", "OR", "NOT", "IN", "LIKE", "BETWEEN", "IS NULL", "DESC"),
    *("DISTINCT", "UNION ALL BY NAME", "PIVOT", "SUMMARIZE", "DESCRIBE", "CASE", "WHEN", "THEN"),
    *("END", "ALL", "COUNT(*)", "AVG(", "MAX(", "MIN(", "ROUND(", "MAX_BY(", "MIN_BY("),
)
# Columns of few values, and where all of these are.
_TRIALS = ("method", "dataset", "backbone", "protocol", "suite", "variant", "setting", "status")
VALUES = {
    **{name: f"SELECT DISTINCT {name} FROM trials" for name in _TRIALS},
    "split": "SELECT DISTINCT split FROM metrics UNION SELECT DISTINCT split FROM averages",
    "metric": "SELECT metric FROM metric_definitions",
    "track": "SELECT track FROM tracks",
    "class": "SELECT DISTINCT class FROM classes",
    "predicted_class": "SELECT DISTINCT class FROM classes",
}
_ALIASES = {"method_a": "method", "method_b": "method", "source": "dataset", "target": "dataset"}

_WORD = re.compile(r"[A-Za-z_][\w]*$")
_QUOTED = re.compile(r"'([^']*)$")
_OPERATOR = re.compile(
    r"""([A-Za-z_]\w*)"?\s*(?:=|<>|!=|\bi?like\b|\b(?:not\s+)?in\s*\([^()]*)\s*$""", re.IGNORECASE
)
_RELATION = re.compile(r"\b(?:from|join|describe|summarize)\s+[\w\"]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """What there is on a board.

    Attributes:
        columns: By table or view, in its order.
        values: By column, those of the columns that have few.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)


def names_of(store: Store) -> Names:
    """Reads them from the published board.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    columns: dict[str, list[str]] = {}
    with reading(store) as connection:
        for relation, column in connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal "
            "ORDER BY table_name, column_index"
        ).fetchall():
            columns.setdefault(relation, []).append(column)
        values = {
            name: sorted(value for (value,) in connection.execute(asked).fetchall() if value)
            for name, asked in VALUES.items()
        }
    return Names(columns, values)


class BoardCompleter(Completer):
    """Completes relations after FROM, values within quotes, and columns elsewhere.

    Args:
        names: Of the board; a new one is set when another board is published.
        commands: Those that begin with a dot.
    """

    def __init__(self, names: Names, commands: Iterable[str]) -> None:
        self.names = names
        self.commands = tuple(commands)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """See `Completer`."""
        before = document.text_before_cursor
        if before.startswith("."):
            yield from self._of_command(before)
        elif before.count("'") % 2:
            yield from self._of_value(before)
        else:
            yield from self._of_name(before, document.text)

    def _of_command(self, before: str) -> Iterator[Completion]:
        command, space, rest = before.partition(" ")
        if not space:
            yield from _starting(command, self.commands, "command")
        elif command == ".schema":
            yield from _starting(rest, self.names.columns, "table")

    def _of_value(self, before: str) -> Iterator[Completion]:
        quoted = _QUOTED.search(before)
        begun = quoted[1] if quoted else ""
        place = _OPERATOR.search(_without_quoted(before[: len(before) - len(begun) - 1]))
        column = place[1].lower() if place else ""
        column = _ALIASES.get(column, column)
        found = self.names.values.get(column)
        every = sorted({value for values in self.names.values.values() for value in values})
        yield from _starting(begun, every if found is None else found, column or "value", "'")

    def _of_name(self, before: str, text: str) -> Iterator[Completion]:
        word = match[0] if (match := _WORD.search(before)) else ""
        if _RELATION.search(before):
            yield from _starting(word, self.names.columns, "table")
            return
        used = set(re.findall(r"\w+", text)) & set(self.names.columns)
        columns = dict.fromkeys(c for name in sorted(used) for c in self.names.columns[name])
        yield from _starting(word, columns, "column")
        if word:
            if not used:
                every = {c for columns in self.names.columns.values() for c in columns}
                yield from _starting(word, sorted(every), "column")
            yield from _starting(word, KEYWORDS, "SQL")
            yield from _starting(word, self.names.columns, "table")


def _starting(
    begun: str, candidates: Iterable[str], kind: str, end: str = ""
) -> Iterator[Completion]:
    """Candidates that begin with a text, in any case; `end` closes what was opened."""
    for candidate in candidates:
        if candidate.lower().startswith(begun.lower()) and candidate != begun:
            text = candidate.replace("'", "''") + end if end else candidate
            yield Completion(text, -len(begun), display=candidate, display_meta=kind)


def _without_quoted(text: str) -> str:
    """The text with what stands in quotes left out, so that a list of values is short to read."""
    return re.sub(r"'[^']*'", "", text)
