"""The store: where every artifact of Shotboard lies, and how it is written once.

Layout under `SHOTBOARD_HOME` (default `.shotboard/`):

    datasets/<name>.yaml                    cards registered with `shotboard datasets add`
    data/<dataset>/<fingerprint>/           an ingested dataset
    data/<dataset>/current.json             which fingerprint the name stands for
    features/<backbone>/<dataset>/..        frozen features
    trials/<trial_id>/                      a completed trial (operators/trials/results.py)
    leases/                                 who computes what (tasks/storage/leases.py)
    failures/<trial_id>.json                the last error of a trial that did not complete
    replaced/<when>/<trial_id>/             trials that `run --fresh` computed again, and torn ones
    downloads/                              archives that were fetched and unpacked
    plans/<digest>.json                     a plan as it was made (tasks/planning/kept.py)
    runs/<run_id>.json                      one run of a suite: its trials and when
    runs/<run_id>.numbers.parquet           the numbers that it saw
    reproductions/<trial_id>/<digest>/      another store's result of a trial that is here
    published/<cell_id>.json                the MLflow run of a cell
    pretraining/<run_id>/                   a pretraining; see tasks/pretraining/pretrain_run.py
    leaderboard.duckdb                      the board
    mlflow.db, mlartifacts/                 MLflow
    prefect/                                the database of our Prefect servers
    up/                                     the logs of `shotboard up`

A store may be at a URL as well. Then all of this is a working copy, which is kept in step with it;
see `tasks/storage/copies.py`.
"""

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.files import commit_files, write_atomic
from tasks.storage.layout import Layout

if TYPE_CHECKING:
    from tasks.storage.copies import WorkingCopy

_NOT_IN_DUCKDB = set("?\\") - {os.sep}  # it takes them for a query and for a slash


def nearest(path: Path) -> Path:
    """The path itself, or the first folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _refuses_writing(folder: Path) -> str:
    """Why no file can be made in a folder; empty if one can.

    One is made, for root may write anywhere by the permissions, and where it may not is found out
    by the first write alone: on /proc, on a folder of the network. A full disk is no reason, as
    `shotboard clean` writes there.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        return "no right to write"
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "" if full else error.strerror or type(error).__name__
    return ""


@dataclass(frozen=True)
class Store(Layout):
    """One store. Creating the object touches nothing.

    Attributes:
        home: Absolute path of the root folder; of a store at a URL, that of its working copy.
        url: Of a store that is no folder.
    """

    url: str = ""

    @classmethod
    def at(cls, home: str | os.PathLike[str] | None = None) -> "Store":
        """The store at `home`, else at `SHOTBOARD_HOME`, else at `.shotboard` here.

        Of one at a URL, board and small files come up to date.

        Raises:
            ValueError: As `named`.
            OSError: The URL cannot be reached.
        """
        store = cls.named(home)
        store.refresh()
        return store

    @classmethod
    def named(cls, home: str | os.PathLike[str] | None = None) -> "Store":
        """The store of `at`, as it is on this machine; nothing is asked of a URL.

        Raises:
            ValueError: `home` is a path that cannot be used, or that of a file, or a URL at which
                no store can be.
        """
        place = os.fspath(home or os.environ.get("SHOTBOARD_HOME") or ".shotboard")
        remote = cls.placed(place) if "://" in place else None
        try:
            path = remote.home if remote else Path(place).expanduser().resolve()
            path.name.encode()
            there = nearest(path)
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, no text
            raise ValueError(
                f"the store {place!r} cannot be a folder: {str(error).rstrip('.')}. Give --home "
                "or SHOTBOARD_HOME another path."
            ) from error
        if odd := sorted(_NOT_IN_DUCKDB & set(str(path))):
            raise ValueError(
                f"the store {place!r} has {odd[0]!r} in its path {path}, and DuckDB cannot open "
                "the board there. Give --home or SHOTBOARD_HOME a path without it."
            )
        if not there.is_dir():
            raise ValueError(
                f"the store {place!r} must be a folder, but {there} is none. Give --home or "
                "SHOTBOARD_HOME a folder, or a path at which one can be made."
            )
        return remote or cls(path)

    @classmethod
    def placed(cls, place: str | os.PathLike[str]) -> "Store":
        """The store that another process calls by its `place`; nothing is asked of it.

        Raises:
            ValueError: No store can be at such a URL.
        """
        place = os.fspath(place)
        if "://" not in place:
            return cls(Path(place))
        from tasks.storage.copies import copy_at, folder_of

        store = cls(folder_of(place), place.rstrip("/"))
        copy_at(store.home, store.url)
        return store

    @classmethod
    def to_write(cls, home: str | os.PathLike[str] | None = None) -> "Store":
        """The store of `at`, for what writes to it.

        Raises:
            ValueError: As `at`, or it cannot be written, or a URL has no exclusive creation.
            OSError: As `at`.
        """
        store = cls.at(home)
        for there in (nearest(store.home), *filter(Path.is_dir, store.written)):
            if trouble := _refuses_writing(there):
                raise ValueError(
                    f"the store {str(store.home)!r} cannot be written, as {there} takes no file "
                    f"({trouble}): its disk is read-only, or it is not yours. Give --home or "
                    "SHOTBOARD_HOME a folder of yours."
                )
        if store.copy is not None:
            store.copy.prove()
        return store

    @property
    def copy(self) -> "WorkingCopy | None":
        """What keeps the working copy in step with a URL; None where the store is a folder."""
        if not self.url:
            return None
        from tasks.storage.copies import copy_at

        return copy_at(self.home, self.url)

    @property
    def place(self) -> str:
        """URL or folder: what other processes, here or on other nodes, know the store by."""
        return self.url or str(self.home)

    def trial(self, trial_id: str) -> Path:
        """Folder of one trial, whether or not it is there."""
        return self.trials / trial_id

    def refresh(self) -> None:
        """Brings board and small files of a working copy up to date."""
        if self.copy is not None:
            self.copy.small.sync()
            self.copy.fetch_board()

    def sync(self) -> None:
        """Brings the whole working copy up to date, and sends what is new in it."""
        if self.copy is not None:
            self.copy.sync_trials()
            self.copy.sync_reproductions()
            self.copy.small.sync()

    def done(self) -> set[str]:
        """Ids of all completed trials: one listing of one folder; new ones of a URL come along."""
        if self.copy is not None:
            self.copy.sync_trials()
        if not self.trials.is_dir():
            return set()
        with os.scandir(self.trials) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}

    def commit(self, trial_id: str, files: Mapping[str, bytes]) -> None:
        """Makes a trial one of those that count, whole or not at all; the first one stays.

        Args:
            trial_id: Its folder.
            files: Content by name.

        Raises:
            OSError: It cannot be written, or sent.
        """
        if self.copy is None:
            commit_files(self.trial(trial_id), files)
        else:
            self.copy.commit(trial_id, files)

    def bring(self, folder: Path) -> Path:
        """A trial or a dataset that is to be read; one of a URL that is not here is fetched.

        Args:
            folder: Of it.

        Raises:
            OSError: It cannot be read there.
        """
        if self.copy is not None:
            self.copy.bring(folder)
        return folder

    def bring_current(self, name: str) -> Path:
        """Folder of a dataset by name; of a URL, what the name stands for now is fetched.

        Raises:
            OSError: It cannot be read there.
        """
        if self.copy is not None:
            self.copy.bring_current(name)
        return self.data / name

    def share(self, folder: Path) -> None:
        """Sends a dataset that was ingested, for other nodes, and that its name stands for it.

        Args:
            folder: `data/<name>/<fingerprint>`.

        Raises:
            OSError: It cannot be written there.
        """
        if self.copy is not None:
            self.copy.send_folder(folder)
            self.copy.small.send(folder.with_name("current.json"))

    def publish(self) -> None:
        """Sends the board that was built here, and all small files, for readers on other nodes."""
        if self.copy is not None:
            self.copy.send_board()
            self.copy.small.sync()

    def set_aside(self, trial_ids: Iterable[str]) -> None:
        """Moves completed trials out of the way, so that they are computed again."""
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        attic = self.home / "replaced" / when
        trial_ids = list(trial_ids)
        if self.copy is not None:
            self.copy.set_aside(trial_ids, when)
        for trial_id in trial_ids:
            attic.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another run was quicker
                self.trial(trial_id).rename(attic / trial_id)

    def result(self, trial_id: str) -> dict[str, Any]:
        """A completed trial as `trial.json` holds it.

        Raises:
            ValueError: The file is missing or damaged, or of another trial.
        """
        from operators.board import completed_rows, explain, read_object

        folder = self.trial(trial_id)
        try:
            values = read_object(folder / "trial.json")
            completed_rows(values, trial_id=trial_id)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"trial.json of trial {trial_id} cannot be read: {explain(error)} The next run of "
                f"its suite moves {folder} aside and computes it again."
            ) from error
        return values

    def results(self) -> Iterator[dict[str, Any]]:
        """Every completed trial as `trial.json` holds it, in order of id."""
        return map(self.result, sorted(self.done()))

    def record_failure(self, trial_id: str, error: dict[str, Any]) -> None:
        """Keeps the last error of a trial, so that the board can show it."""
        self.keep(self.failures / f"{trial_id}.json", json.dumps(error, indent=1).encode())

    def keep(self, file: Path, content: bytes) -> None:
        """Writes a small file that other nodes read as well.

        Args:
            file: In the store.
            content: All of it.
        """
        write_atomic(file, content)
        self.tell(file)

    def tell(self, file: Path) -> None:
        """Lets other nodes have a small file as it is now, with its time."""
        if self.copy is not None:
            self.copy.small.send(file)

    def failure(self, trial_id: str) -> str:
        """The last error of a trial; empty where none is known."""
        from operators.board import read_object

        try:
            return str(read_object(self.failures / f"{trial_id}.json")["error"])
        except (OSError, ValueError, KeyError):
            return ""

    def clear_failure(self, trial_id: str) -> None:
        """Forgets the error of a trial that has completed since."""
        with suppress(FileNotFoundError):
            (self.failures / f"{trial_id}.json").unlink()
            self.tell(self.failures / f"{trial_id}.json")
