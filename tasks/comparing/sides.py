"""What a user compares: a method, a suite, a run or a store, recognised by what there is."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_catalog.wording import did_you_mean
from operators.board import numbers_file
from operators.board.contrast import Group
from operators.files import at_home
from tasks.pages.asking import BoardError
from tasks.pages.board import is_up_to_date, private_file
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

METHOD, SUITE, RUN, STORE = KINDS = ("method", "suite", "run", "store")
SHORTEST = 4  # digits of the id of a run that is not named as one
_OF_RUN = "SELECT trial_id FROM {}.run_trials WHERE run_id = ?"
_PARTS = ("trials", "failures", "published", "data", "datasets")  # of a store, that a board is of


@dataclass(frozen=True)
class Named:
    """What a text of the user stands for.

    Attributes:
        kind: One of `KINDS`.
        name: Of the method or the suite, the id of the run, or the path of the store.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def recognised(text: str, known: Mapping[str, Sequence[str]]) -> Named:
    """What a text stands for; `kind:name` says it outright.

    Args:
        text: As it was written.
        known: The methods, suites and runs of the board, by kind.

    Raises:
        RequestError: Nothing is called so, or several things are.
    """
    kind, colon, name = text.partition(":")
    if colon and kind in KINDS:  # a method of a user's own has a colon too, but no such file
        found = [each for each in _candidates(name, known, kind) if each.kind == kind]
        if not found:
            there = f"no {kind} is called {name!r}."
            raise RequestError(f"{there} {_near(name, kind, known)}")
    else:
        found = _candidates(text, known)
    if not found:
        names = {*known[METHOD], *known[SUITE]}
        raise RequestError(
            f"{text!r} is no method, suite or run of the board, and no folder of a store. "
            f"{did_you_mean(text, names)} `shotboard runs` lists the runs."
        )
    if len(found) > 1:
        choices = " or ".join(map(str, found[:4]))
        raise RequestError(f"{text!r} could be {choices}: write which one is meant.")
    return found[0]


def _candidates(text: str, known: Mapping[str, Sequence[str]], kind: str = "") -> list[Named]:
    found = [Named(each, text) for each in (METHOD, SUITE) if text in known[each]]
    if kind == RUN or len(text) >= SHORTEST:
        found += [Named(RUN, run) for run in known[RUN] if text and run.startswith(text)]
    with suppress(OSError, ValueError):  # too long for a path, or a zero in it
        path = at_home(text)
        if (path / "trials").is_dir():
            found.append(Named(STORE, str(path.resolve())))
    return found


def _near(name: str, kind: str, known: Mapping[str, Sequence[str]]) -> str:
    if kind == STORE:
        return "Give the folder that has `trials` in it."
    return did_you_mean(name, known[kind])


@contextmanager
def board_of(store: Store) -> Iterator[Path]:
    """The board of a store, which is only read: where its own is out of date, one is lent.

    Raises:
        BoardError: The store has no trials, or no board can be made of them.
    """
    if is_up_to_date(store):
        yield store.board
        return
    if not store.done():
        raise BoardError(f"no trials in {store.home}: run `shotboard run`.")
    with tempfile.TemporaryDirectory(prefix="shotboard-") as folder:
        from tasks.pages.rebuilding import rebuild_board

        lent = Store(Path(folder))
        for name in _PARTS:
            (lent.home / name).symlink_to(store.home / name)
        if store.runs.is_dir():  # a rebuild keeps the numbers of runs beside them
            shutil.copytree(store.runs, lent.runs)
        with suppress(OSError):  # then what is on it already need not be read again
            shutil.copyfile(store.board, private_file(lent))
        yield rebuild_board(lent).board


def known_of(connection: "DuckDBPyConnection", board: str) -> dict[str, list[str]]:
    """The methods, suites and runs of an attached board, by kind.

    Args:
        connection: To which it is attached.
        board: Under which name.
    """

    def column(sql: str) -> list[str]:
        return [value for (value,) in connection.execute(sql).fetchall()]

    return {
        METHOD: column(f"SELECT DISTINCT method FROM {board}.trials ORDER BY 1"),
        SUITE: column(
            f"SELECT suite FROM {board}.trials WHERE suite IS NOT NULL UNION "
            f"SELECT suite FROM {board}.runs WHERE suite IS NOT NULL ORDER BY 1"
        ),
        RUN: column(f"SELECT run_id FROM {board}.runs ORDER BY 1"),
    }


def group_of(
    connection: "DuckDBPyConnection", side: Named, board: str, store: Store, where: str
) -> Group:
    """The trials that are meant.

    Args:
        connection: To which the board is attached.
        side: What was named.
        board: What its board is called.
        store: Whose board that is.
        where: SQL that trials keep to.

    Raises:
        RequestError: There is none.
    """
    asked: dict[str, tuple[str, list[Any]]] = {
        METHOD: ("method = ?", [side.name]),
        STORE: ("true", []),
        RUN: (f"trial_id IN ({_OF_RUN.format(board)})", [side.name]),
        SUITE: _of_suite(connection, board, side.name),
    }
    which, values = asked[side.kind]
    rows = connection.execute(
        f"SELECT trial_id FROM {board}.trials WHERE status = 'completed' AND {which} AND {where} "
        "ORDER BY ALL",
        values,
    ).fetchall()
    if not rows:
        raise RequestError(f"{side} has no completed trial that is asked for: nothing to compare.")
    numbers = numbers_file(store.runs, side.name) if side.kind == RUN else None
    return Group(
        board,
        [trial_id for (trial_id,) in rows],
        numbers if numbers is not None and numbers.is_file() else None,
    )


def _of_suite(connection: "DuckDBPyConnection", board: str, suite: str) -> tuple[str, list[Any]]:
    """The trials of a suite's last whole run; of one that has none, all that it asked for."""
    last = connection.execute(
        f"SELECT run_id FROM {board}.runs WHERE suite = ? AND finished_at IS NOT NULL "
        "AND NOT partial ORDER BY started_at DESC LIMIT 1",
        [suite],
    ).fetchall()
    if last:
        return f"trial_id IN ({_OF_RUN.format(board)})", [last[0][0]]
    return (
        f"(suite = ? OR trial_id IN (SELECT trial_id FROM {board}.run_trials "
        f"JOIN {board}.runs USING (run_id) WHERE suite = ?))",
        [suite, suite],
    )
