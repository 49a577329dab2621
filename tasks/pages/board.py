"""The DuckDB file of the board: rebuilt from the store and published by rename.

DuckDB locks a whole file for its one writer, readers included. So a rebuild writes a private
file that nobody else opens and publishes a copy of it: SQL works while a run is writing, and
sees the old board or the new one. Nothing here is the truth; both files may be deleted.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from operators.board import (
    Found,
    create,
    current_version,
    fill,
    last_runs,
    look,
    metrics_by_protocol,
    numbers_file,
    numbers_of,
    replace_reproductions,
    stamp_of,
    stored_version,
    unbacked,
    without_labels,
)
from operators.board import audit as recompute
from operators.board.variants import Chosen
from operators.files import write_atomic
from operators.spec import TrialSpec
from tasks.pages.asking import BoardError, one_paragraph, reading
from tasks.pages.known import protocol_rows, track_rows
from tasks.storage import wholeness
from tasks.storage.runs import state
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows = Iterable[Mapping[str, Any]]

# Files of DuckDB 2 with this option can be read by the 1.5 that other tools still ship.
_WRITABLE: dict[str, Any] = {"storage_compatibility_version": "v1.5.0"}


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        board: The published file.
        trials: Completed trials on the board.
        failed: Failed trials on the board.
        added: Trials that were read anew by this rebuild.
        skipped: What was left out and why, by path relative to the store.
        seconds: Wall time.
    """

    board: Path
    trials: int
    failed: int
    added: int
    skipped: Mapping[str, str]
    seconds: float


def rebuild(
    store: Store,
    *,
    datasets: Rows = (),
    classes: Rows = (),
    methods: Rows = (),
    backbones: Rows = (),
    chosen: Callable[[TrialSpec], Chosen] | None = None,
    full: bool = False,
) -> Rebuilt:
    """Brings the board to what the store holds, and publishes it.

    Trials that are on the board are not read again unless their `trial.json` has changed, so
    a rebuild costs what is new. A private file that is damaged, locked by another program or
    of an older form is made anew from the trial folders. Rebuilds of one store wait for each
    other.

    Args:
        store: Where the trials are.
        datasets: Rows of the table `datasets`; `classes`, `methods` and `backbones` likewise.
        classes: See `datasets`.
        methods: See `datasets`.
        backbones: See `datasets`.
        chosen: As for `operators.board.fill`.
        full: Read every trial again.

    Raises:
        BoardError: The board could not be written; the published one is as it was.
        ValueError: A card has a column that its table lacks.
    """
    start = time.perf_counter()
    cards = {
        **{"datasets": list(datasets), "classes": list(classes)},
        **{"methods": list(methods), "backbones": list(backbones)},
    }
    store.home.mkdir(parents=True, exist_ok=True)
    with FileLock(store.home / ".leaderboard.lock"):
        found = _update(store, {**cards, "chosen": chosen}, full=full)
        _publish(store)
    return Rebuilt(
        board=store.board,
        trials=len(found.present),
        failed=len(found.failures),
        added=len(found.results),
        skipped=found.skipped,
        seconds=time.perf_counter() - start,
    )


def audit(store: Store) -> list[str]:
    """Recomputes every accuracy of the published board from its predictions.

    Returns:
        A sentence for each that does not agree; empty where all is well.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    with reading(store) as connection:
        return recompute(connection)


def is_up_to_date(store: Store) -> bool:
    """Whether the published board is of this version, and has all trials as they are now."""
    import duckdb

    if not store.board.is_file():
        return False
    try:
        with duckdb.connect(store.board, read_only=True) as connection:
            code = {"tracks": track_rows(), "protocols": protocol_rows()}
            if stored_version(connection) != current_version(**code):
                return False
            known = connection.execute(
                "SELECT trial_id, file_stamp FROM trials WHERE status = 'completed'"
            ).fetchall()
    except duckdb.Error:
        return False
    done = store.done()
    if store.url:  # the board may be of another node, where the files have other times
        return dict(known).keys() == done
    return dict(known) == {trial: stamp_of(store.trial(trial)) for trial in done}


def private_file(store: Store) -> Path:
    """The file that rebuilds write, and of which the published board is a copy."""
    return store.home / ".leaderboard.private.duckdb"


def _update(store: Store, arguments: Mapping[str, Any], *, full: bool) -> Found:
    """Brings the private file up to date; what fails on the old file is tried on a new one."""
    import duckdb

    if full:
        _discard(store)
    try:
        with closing(_open(store)) as connection:
            known = connection.execute(
                "SELECT trial_id, file_stamp FROM trials WHERE status = 'completed'"
            )
            found = look(
                dict(known.fetchall()),
                trials=store.trials,
                failures=store.failures,
                runs=store.runs,
                published=store.published,
                metrics=metrics_by_protocol(connection),
            )
            for row in found.runs:
                row["status"] = state(row, store.runs / f"{row['run_id']}.json")
            try:
                _fill(connection, found, arguments)
            except duckdb.Error:
                if not found.drop_unreadable(without_labels(connection, found.results)):
                    raise
                _fill(connection, found, arguments)
            if bad := unbacked(connection, [row.trial_id for row in found.results]):
                found.drop(bad)
                _fill(connection, found, arguments)
            found.skipped |= replace_reproductions(
                connection, trials=store.trials, folder=store.reproductions
            )
            _note_read(store, found)
            _keep_numbers(store, connection, found)
            return found
    except duckdb.Error as error:
        if full:
            said = one_paragraph(error).rstrip(".")
            mend = "make room, and" if os.strerror(errno.ENOSPC) in said else "when that is mended,"
            raise BoardError(
                f"the board could not be written: {said}. The trials are unharmed; {mend} run "
                "again."
            ) from error
    return _update(store, arguments, full=True)


def _open(store: Store) -> "DuckDBPyConnection":
    """Opens the private file, or a new one where it is absent, damaged, locked or of old form."""
    import duckdb

    code = {"tracks": track_rows(), "protocols": protocol_rows()}
    try:
        connection = duckdb.connect(private_file(store), config=_WRITABLE)
        try:
            if stored_version(connection) == current_version(**code):
                return connection
        except duckdb.Error:
            connection.close()
            raise
        connection.close()
    except duckdb.Error:
        pass  # whatever is wrong with it, the trials can fill another one
    _discard(store)
    connection = duckdb.connect(private_file(store), config=_WRITABLE)
    create(connection, **code)
    return connection


def _fill(connection: "DuckDBPyConnection", found: Found, arguments: Mapping[str, Any]) -> None:
    fill(
        connection,
        results=found.results,
        predictions=found.predictions(),
        present=found.present,
        failures=found.failures,
        runs=found.runs,
        numbers=found.numbers,
        published=found.published,
        **arguments,
    )


def _note_read(store: Store, found: Found) -> None:
    """Keeps which of the trials that were read are whole, so that a plan need not read them."""
    whole = {row.trial_id: "" for row in found.results}
    faults = {Path(path).name: why for path, why in found.skipped.items() if path[:7] == "trials/"}
    stamps = {row.trial_id: row.trial["file_stamp"] for row in found.results}
    wholeness.note(store, whole | faults, stamps)


def _keep_numbers(store: Store, connection: "DuckDBPyConnection", found: Found) -> None:
    """Lets the runs that later ones are compared with keep what they saw, once and for all.

    The board has one version of a trial, so what a run saw cannot be known later. It is taken from
    the board, not from thousands of trial folders, by the first rebuild after the run has ended.
    """
    for run_id in (run for pair in last_runs(found.runs).values() for run in pair):
        if run_id not in found.numbers:
            content = pa.BufferOutputStream()
            pq.write_table(numbers_of(connection, run_id), content, compression="zstd")
            write_atomic(numbers_file(store.runs, run_id), content.getvalue().to_pybytes())


def _discard(store: Store) -> None:
    private = private_file(store)
    for path in (private, private.with_name(f"{private.name}.wal")):
        if path.is_dir():  # DuckDB makes none; whatever did, no file can be there
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def _room(board: Path) -> str:
    """What to do about a folder in the place of the board."""
    return f"`rm -r {quote(str(board))}` makes room for it. " if board.is_dir() else ""


def _publish(store: Store) -> None:
    """Puts a copy of the private file in the place of the board."""
    for leftover in store.home.glob(".leaderboard.draft-*"):  # of a rebuild that was killed
        leftover.unlink(missing_ok=True)
    draft = store.home / f".leaderboard.draft-{uuid.uuid4().hex}"
    try:
        shutil.copyfile(private_file(store), draft)
        draft.replace(store.board)
    except OSError as error:
        raise BoardError(
            f"the board {store.board} could not be published: {error}. {_room(store.board)}The "
            "trials are unharmed."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
