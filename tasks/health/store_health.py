"""What is wrong with a store, and what to do about it: each check reports and repairs nothing."""

import os
from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Literal, NamedTuple

from data_catalog import CATALOG, Dataset, current, read_cards
from data_catalog.wording import plural, some
from operators.board import look
from operators.board.reproductions import results_elsewhere
from operators.episodes.array_files import broken
from tasks.publishing.mlflow_database import is_current
from tasks.publishing.receipts import MODELS, read_models
from tasks.services.server import reachable
from tasks.sqlite_files import fault_of, remedy
from tasks.storage.drafts import left_behind
from tasks.storage.moving import moved_from
from tasks.storage.store import Store, nearest
from tasks.storage.wholeness import torn

Status = Literal["ok", "warn", "fail"]
NAMED = 5  # files that are named where many have the same fault


class Check(NamedTuple):
    """One finding. `remedy` is empty where there is nothing to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def checks(store: Store) -> Iterator[Check]:
    """Every finding, in the order in which a person would look."""
    yield writable(store)
    yield from trials(store)
    yield records(store)
    yield datasets(store)
    yield cards(store)
    yield features(store)
    yield board(store)
    yield from reproductions(store)
    yield tracking(store)
    yield prefect_database(store)


def writable(store: Store) -> Check:
    """Whether the store can be written."""
    place = nearest(store.home)
    if not place.is_dir():
        way_out = "Move the file away, or set SHOTBOARD_HOME to a folder."
        return Check("store", "fail", f"{place} is a file", way_out)
    if not os.access(place, os.W_OK | os.X_OK):
        way_out = "Change its permissions, or set SHOTBOARD_HOME to a folder of yours."
        return Check("store", "fail", f"{place} cannot be written", way_out)
    if store.copy is not None:
        try:
            store.copy.prove()
        except (OSError, ValueError) as error:
            return Check("store", "fail", str(error), "See docs/object-stores.md.")
        return Check("store", "ok", f"{store.place}, where objects are created once; {store.home}")
    there = "" if place == store.home else " (is made by the first run)"
    return Check("store", "ok", f"{store.home}{there}")


def trials(store: Store, *, every: bool = False) -> Iterator[Check]:
    """Completed trials that are damaged, and drafts that nobody will finish.

    Args:
        store: Whose.
        every: Read all of them again.
    """
    done = store.done()
    damaged = torn(store, done, every=every)
    if damaged:
        way_out = "Run the suite again: it moves them to replaced/ and computes them anew."
        detail = f"{len(damaged)} of {len(done)} damaged: {_named(damaged)}"
        yield Check("trials", "fail", detail, way_out)
    else:
        yield Check("trials", "ok", f"{len(done)} completed")
    drafts = left_behind(store)
    if drafts:
        detail = f"{len(drafts)} half-written, of processes that were killed: {drafts[0]}"
        yield Check("drafts", "warn", detail, "They are not read; the next run removes them.")


def records(store: Store) -> Check:
    """Whether the notes beside the trials can be read: runs, failures, receipts of MLflow."""
    found = look(
        {},
        trials=store.home / "none",
        failures=store.failures,
        runs=store.runs,
        published=store.published,
    ).skipped
    try:
        read_models(store)
    except ValueError as error:
        found[f"{store.published.name}/{MODELS}"] = str(error)
    if found:
        way_out = (
            f"They are left out. rm {' '.join(quote(str(store.home / path)) for path in found)}"
        )
        return Check("records", "fail", f"{len(found)} unreadable: {_named(found)}", way_out)
    return Check("records", "ok", "runs, failures and receipts can be read")


def datasets(store: Store) -> Check:
    """Whether the ingested datasets can be opened; `datasets verify` reads their examples."""
    found: dict[str, str] = {}
    there = 0
    for folder in sorted(store.data.iterdir()) if store.data.is_dir() else ():
        if folder.name.startswith("."):
            continue
        try:
            there += isinstance(current(folder), Dataset)
        except (ValueError, OSError) as error:
            found[folder.name] = str(error)
    if found:
        way_out = f"shotboard datasets ingest {' '.join(found)}"
        return Check("datasets", "fail", f"{len(found)} damaged: {_named(found)}", way_out)
    return Check("datasets", "ok", f"{there} ingested")


def cards(store: Store) -> Check:
    """Whether the cards that users registered can be read."""
    try:
        return Check("cards", "ok", f"{len(read_cards(store.cards, CATALOG))} registered")
    except (ValueError, OSError) as error:
        return Check("cards", "fail", str(error), "Correct the file, or remove it.")


def features(store: Store) -> Check:
    """Whether the files of frozen features are whole in length; runs compare their checksums."""
    files = sorted(store.features.glob("*/*/*/*.npy"))
    found = {str(path.parent): fault for path in files if (fault := broken(path))}
    if found:
        way_out = "The next run that needs them encodes them again."
        return Check("features", "warn", f"{len(found)} damaged: {_named(found)}", way_out)
    return Check("features", "ok", f"{len({path.parent for path in files})} views")


def board(store: Store) -> Check:
    """Whether the DuckDB file can be opened and has trials."""
    if not store.board.exists():
        way_out = (
            "" if not store.trials.is_dir() else "`shotboard board` builds it from the trials."
        )
        return Check("board", "ok" if not way_out else "warn", "not there yet", way_out)
    import duckdb

    try:
        with duckdb.connect(str(store.board), read_only=True) as connection:
            rows = connection.execute("SELECT count(*) FROM trials").fetchall()[0][0]
    except duckdb.Error as error:
        way_out = (
            f"rm -r {quote(str(store.board))}; the next run or `shotboard board` builds it again."
        )
        return Check("board", "fail", str(error).splitlines()[0], way_out)
    return Check("board", "ok", f"{rows} trials at {store.board}")


def reproductions(store: Store) -> Iterator[Check]:
    """Whether other stores have the same results of the trials that are in both."""
    there = results_elsewhere(store.reproductions)
    if not there or not store.board.is_file():
        return
    import duckdb

    try:
        with duckdb.connect(str(store.board), read_only=True) as connection:
            found = connection.execute(
                "SELECT DISTINCT trial_id FROM reproductions WHERE verdict = 'different' ORDER BY 1"
            ).fetchall()
    except duckdb.Error:  # the check of the board says what is wrong with it
        return
    if found:
        different = [trial_id for (trial_id,) in found]
        trials = plural(len(different), "trial")
        detail = f"{trials} with other numbers elsewhere: {some(different, NAMED)}"
        way_out = (
            '`shotboard sql "FROM disagreements"` says where and by how much, `shotboard verify '
            f"{different[0]}` computes ours again."
        )
        yield Check("reproductions", "warn", detail, way_out)
    else:
        yield Check("reproductions", "ok", f"{len(there)} results of other stores agree with ours")


def tracking(store: Store) -> Check:
    """Where MLflow is, and whether its server answers or its database can be read."""
    uri, path = store.mlflow_uri_to_show, store.mlflow_database
    if path is None:
        served = uri.startswith(("http://", "https://"))
        if served and (trouble := reachable(store.mlflow_uri, seconds=2)):
            way_out = "Start it (`mlflow server`), or unset MLFLOW_TRACKING_URI."
            return Check("tracking", "fail", f"{uri} does not answer: {trouble}", way_out)
        return Check("tracking", "ok", uri)
    if not path.exists():
        return Check("tracking", "ok", f"{uri} (is made by the first run)")
    if fault := fault_of(path):
        way_out = remedy(path, "writes it again from the trials")
        return Check("tracking", "fail", fault, way_out)
    if before := moved_from(store):
        what = f"{path} has its artifacts in {', '.join(before)}, where the store was before"
        way_out = "`shotboard up` and the next run have them here."
        return Check("tracking", "warn", what, way_out)
    if not is_current(path):
        what = f"{path} has not the tables of the MLflow that is installed"
        return Check("tracking", "warn", what, "The next run makes them, or says what is wrong.")
    return Check("tracking", "ok", uri)


def prefect_database(store: Store) -> Check:
    """Whether the database of our Prefect servers can be read."""
    path = store.prefect / "prefect.db"
    if fault := fault_of(path):
        way_out = remedy(path, "makes a new one, and no number is in it")
        return Check("prefect database", "fail", fault, way_out)
    there = path if path.exists() else "is made by the first run"
    return Check("prefect database", "ok", str(there))


def _named(found: Mapping[str, str]) -> str:
    """The first of what was found, and why each."""
    return "; ".join(f"{name} ({' '.join(why.split())})" for name, why in [*found.items()][:NAMED])
