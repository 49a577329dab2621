"""Two methods, suites, runs or stores beside each other, on the episodes that both have."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_catalog.wording import did_you_mean
from operators.board.contrast import Contrast, contrast, summary
from operators.episodes.shots import shots_word
from tasks.comparing.sides import (
    METHOD,
    RUN,
    STORE,
    SUITE,
    Named,
    board_of,
    group_of,
    known_of,
    recognised,
)
from tasks.pages.asking import BoardError, one_paragraph
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Only:
    """What is compared: trials with one of the values of each; None for all.

    Attributes:
        protocols: Of the board.
        datasets: Likewise.
        backbones: Likewise.
        shots: Likewise; trials that draw nothing, with 0 shots, stay beside all others.
    """

    protocols: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    shots: Sequence[int] | None = None


@dataclass(frozen=True)
class Comparison:
    """Two sides and what was found.

    Attributes:
        a: One side.
        b: The other.
        found: Cells beside each other; see `Contrast`.
    """

    a: Named
    b: Named
    found: Contrast

    @property
    def summary(self) -> list[dict[str, Any]]:
        """Wins, ties and losses of a, and the average difference, by protocol, split and metric."""
        return summary(self.found.rows)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; scores and differences as they are in SQL."""
        return {
            "a": asdict(self.a),
            "b": asdict(self.b),
            "rows": self.found.rows,
            "summary": self.summary,
            "over_datasets": self.found.over_datasets,
            "differs": [{"what": what, "pairs": pairs} for what, pairs in self.found.differs],
            "unpaired": self.found.unpaired,
            "only_a": self.found.only_a,
            "only_b": self.found.only_b,
        }


def compare(store: Store, a: str, b: str, only: Only | None = None) -> Comparison:
    """Compares what two texts name.

    Args:
        store: Whose methods, suites and runs they may be.
        a: Such as `coop`, `suite:zoo`, a run id or the folder of another store.
        b: Likewise.
        only: What of it.

    Raises:
        RequestError: A name is unknown or ambiguous, a method stands beside something else, or
            nothing is there to compare.
        BoardError: A board cannot be read.
    """
    with ExitStack() as opened, _scratch() as connection:
        boards: dict[Store, str] = {}

        def attached(home: Store) -> str:
            if home not in boards:
                file = opened.enter_context(board_of(home))
                boards[home] = f"board_{len(boards)}"
                quoted = str(file).replace("'", "''")
                connection.execute(f"ATTACH '{quoted}' AS {boards[home]} (READ_ONLY)")
            return boards[home]

        here = all(text.partition(":")[0] == STORE for text in (a, b))
        known: Mapping[str, Sequence[str]] = {METHOD: (), SUITE: (), RUN: ()}
        if not here and (store.board.is_file() or store.trials.is_dir()):
            known = known_of(connection, attached(store))
        sides = [recognised(text, known) for text in (a, b)]
        if sides[0] == sides[1]:
            raise RequestError(f"{a!r} and {b!r} are the same: name two.")
        across = [side.kind == METHOD for side in sides]
        if any(across) and not all(across):
            raise RequestError(
                f"{sides[0]} and {sides[1]}: a method is compared with a method; suites, runs and "
                "stores with each other."
            )
        homes = [Store(Path(side.name)) if side.kind == STORE else store for side in sides]
        names = [attached(home) for home in homes]
        where = _where(connection, dict.fromkeys(names), only or Only())
        one, other = (
            group_of(connection, side, name, home, where)
            for side, name, home in zip(sides, names, homes, strict=True)
        )
        found = contrast(connection, one, other, across_methods=all(across))
    return Comparison(sides[0], sides[1], found)


@contextmanager
def _scratch() -> "Iterator[DuckDBPyConnection]":
    """A database in memory; what DuckDB raises becomes a `BoardError`."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            yield connection
    except duckdb.Error as error:
        raise BoardError(
            f"{one_paragraph(error)} `shotboard board --rebuild` makes the board anew from the "
            "trials."
        ) from error


def _where(connection: "DuckDBPyConnection", boards: Mapping[str, Any], only: Only) -> str:
    """SQL that trials keep to.

    Raises:
        RequestError: A value is that of no trial.
    """
    parts = ["true"]
    for option, values in asdict(only).items():
        if values is None:
            continue
        column = "shots" if option == "shots" else option.removesuffix("s")
        there = {
            value
            for board in boards
            for (value,) in connection.execute(
                f"SELECT DISTINCT {column} FROM {board}.trials"
            ).fetchall()
        }
        said = shots_word if option == "shots" else str
        for value in values:
            if value not in there:
                near = did_you_mean(said(value), map(said, there))
                raise RequestError(
                    f"--{option} {said(value)}: no trial of the board has it. {near}"
                )
        listed = ", ".join("'" + str(value).replace("'", "''") + "'" for value in values)
        zero = " OR shots = 0" if option == "shots" else ""
        parts.append(f"({column} IN ({listed}){zero})")
    return " AND ".join(parts)
