"""A store may lie at any path that its databases can open, and is refused elsewhere at once."""

import errno
import io
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

from data_catalog import SourceError, source_for
from operators.files import at_home
from tasks.pages.board import rebuild
from tasks.publishing.mlflow_client import TrackingError, check_usable, connect, explained
from tasks.publishing.mlflow_database import is_current
from tasks.sqlite_files import database_of, database_url, fault_of, remedy
from tasks.storage.store import Store

AWKWARD = [
    "a b",
    "a#b",
    "a%20b",
    "100%",
    "%s %(x)s",
    "a;b",
    "a:b@c",
    "a::b",
    "[x]",
    "st*r",
    "{a,b}",
    "qu'o\"te",
    "-dash",
    "~tilde",
    "$HOME",
    "a&b=c",
    "\u00fcn\u00ef \u732b",
    "new\nline",
    "x" * 200,
]


@pytest.mark.parametrize("name", AWKWARD)
def test_databases_lie_where_the_store_is(tmp_path, monkeypatch, name):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    store = Store.at(f"{tmp_path}/{name}/store")
    assert store.home == tmp_path / name / "store"
    assert database_of(store.mlflow_uri) == store.mlflow_database == store.home / "mlflow.db"
    store.home.mkdir(parents=True)
    engine = create_engine(database_url(store.home / "mlflow.db"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE it (x)"))
    engine.dispose()
    assert fault_of(store.home / "mlflow.db") == ""
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in store.home.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("name", ["[!a]*{b}", "a#b%20;c::d '\""])
def test_the_board_reads_trials_whatever_the_path_is(tmp_path, complete, spec, name):
    folder = complete(spec())
    store = Store(tmp_path / name / "store")
    store.trials.mkdir(parents=True)
    folder.rename(store.trial(folder.name))
    assert (rebuild(store).trials, store.board.is_file()) == (1, True)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("what?/store", "has '.' in its path"),
        ("a\\b", "in its path"),
        ("http://host/store", "no store can be at"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null byte"),
        (os.fsdecode(b"a\xffb"), "surrogates not allowed"),
        ("loop/store", "loop"),
        ("file/store", "must be a folder"),
        ("~nobody-is-called-that/store", r"home directory\. Give --home"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path, monkeypatch, place, reason
):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=reason) as refused:
        Store.at(place)
    assert "SHOTBOARD_HOME" in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_may_be_relative_a_link_or_in_the_home_of_its_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = [Store.at(place).home for place in ("real", "./link/../real", "~/real", "link")]
    assert found == [tmp_path / "real"] * 4


def test_the_home_of_a_user_who_is_not_known_is_a_place_that_is_not_there(tmp_path, monkeypatch):
    """It is refused as such by whoever looks for it, for its name says what is wrong."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at_home("~/a") == tmp_path / "a"
    assert at_home("~nobody-is-called-that/a") == Path("~nobody-is-called-that/a")
    with pytest.raises(SourceError, match=r"no file or folder at .*nobody-is-called-that"):
        source_for("~nobody-is-called-that/a")


@pytest.fixture
def database(tmp_path):
    return tmp_path / "mlflow.db"


def newer(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"\xff\x00" * 5000), "is not a SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), "cannot be read"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_a_damaged_database_of_mlflow_is_a_sentence_with_a_remedy(database, damage, reason):
    damage(database)
    with pytest.raises(TrackingError, match=reason) as refused:
        connect(database_url(database))
    assert f"mv {database} {database}.damaged" in str(refused.value)
    assert "from the trials" in str(refused.value)


@pytest.mark.parametrize("kept", [False, True])
def test_a_database_of_mlflow_that_was_half_made_is_made_anew_unless_a_run_is_in_it(
    database, empty_database, kept, monkeypatch
):
    """As SIGKILL or a full disk leave it: tables that the next start wants to make are there."""
    shutil.copy(empty_database, database)
    with closing(sqlite3.connect(database)) as half:
        half.execute("DROP TABLE job_locks")
        half.execute("UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'")
        if kept:
            half.execute("INSERT INTO runs (run_uuid, experiment_id) VALUES ('it', 0)")
        half.commit()
    monkeypatch.setattr("tasks.publishing.mlflow_client.SETTLED_SECONDS", 0.2)
    if kept:
        with pytest.raises(Exception, match="already exists"):
            connect(database_url(database))
    else:
        assert len(connect(database_url(database)).search_experiments()) == 1
    with closing(sqlite3.connect(database)) as made:
        assert made.execute("SELECT count(*) FROM runs").fetchone() == (int(kept),)


@pytest.mark.parametrize("make", [None, newer, Path.touch])
def test_a_database_that_can_be_used_has_no_fault(database, make):
    if make:
        make(database)
    assert fault_of(database) == ""


NOISE = b"SQLite format 3\0" + b"\xff" * 5000


def _other_program(path):
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE metrics (name TEXT)")
        made.execute("INSERT INTO metrics VALUES ('somebody''s')")
        made.commit()


def _other_version(path):
    with closing(sqlite3.connect(path)) as made:
        made.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
        made.execute("DROP TABLE job_locks")
        made.commit()


UNUSABLE = {
    "noise": (lambda path: path.write_bytes(NOISE), "cannot be read"),
    "a text": (lambda path: path.write_text("no database"), "is not a SQLite database"),
    "a folder": (Path.mkdir, "is a folder"),
    "another program's": (_other_program, "was written by another program"),
    "another version's": (_other_version, "was written by a newer MLflow, or by another program"),
}


@pytest.mark.parametrize(("damage", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_database_that_mlflow_cannot_use_is_refused_before_a_run_and_stays_as_it_is(
    store, empty_database, monkeypatch, damage, reason
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = store.mlflow_database
    database.parent.mkdir()
    if damage is _other_version:
        shutil.copy(empty_database, database)
    damage(database)
    before = database.is_file() and database.read_bytes()
    with pytest.raises(ConnectionError, match=reason) as refused:
        check_usable(store)
    said = str(refused.value)
    assert said.startswith(f"MLflow cannot be written: {database}")
    assert f"`mv {database} {database}.damaged`; the next run writes" in said
    assert (database.is_file() and database.read_bytes()) == before


def test_a_database_of_another_program_that_was_named_is_not_to_be_moved_away(
    store, tmp_path, monkeypatch
):
    _other_program(tmp_path / "theirs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'theirs.db'}")
    for ask in (check_usable, lambda _: connect(store.mlflow_uri)):
        with pytest.raises(Exception, match="by another program") as refused:
            ask(store)
        assert "Name another one in MLFLOW_TRACKING_URI" in str(refused.value)
        assert "mv " not in str(refused.value)


def test_a_database_that_can_only_be_read_is_refused_before_a_run(
    store, empty_database, monkeypatch, read_only
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store.home.mkdir()
    shutil.copy(empty_database, store.mlflow_database)
    with pytest.raises(ConnectionError, match="cannot be written") as refused:
        check_usable(store)
    assert f"chmod u+rw {store.mlflow_database}" in str(refused.value)


def test_what_can_be_used_is_found_so_without_mlflow(store, empty_database, monkeypatch):
    """To import it takes seconds, which each run would wait for."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tasks.publishing.mlflow_client.connect", None)
    check_usable(store)
    store.home.mkdir()
    store.mlflow_database.touch()
    check_usable(store)
    shutil.copy(empty_database, store.mlflow_database)
    assert is_current(store.mlflow_database)
    check_usable(store)


def test_a_database_of_an_older_mlflow_is_brought_up_to_date_before_a_run(
    store, empty_database, monkeypatch
):
    """By MLflow itself, where it can: a table is lacking that its last step makes."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tasks.publishing.mlflow_client.SETTLED_SECONDS", 0.2)
    store.home.mkdir()
    shutil.copy(empty_database, store.mlflow_database)
    with closing(sqlite3.connect(store.mlflow_database)) as older:
        older.execute("DROP TABLE job_locks")
        older.execute("UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'")
        older.commit()
    assert not is_current(store.mlflow_database)
    check_usable(store)
    assert is_current(store.mlflow_database)


def test_a_database_of_another_version_of_mlflow_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path)
    raised = ValueError("Detected out-of-date database schema (found version x, but expected y)")
    said = str(explained(raised, store))
    assert f"{tmp_path / 'mlflow.db'} was written by another version of MLflow" in said
    assert "mv " in said


@pytest.fixture
def read_only(monkeypatch):
    """A file system that takes no writing, which the rights of root do not open either."""

    def allows(path, mode, **_):
        return not mode & os.W_OK

    monkeypatch.setattr(os, "access", allows)


@pytest.mark.parametrize("below", ["", "not/there/yet"])
def test_a_store_that_cannot_be_written_is_read_and_refused_to_what_writes(
    tmp_path, read_only, below
):
    place = tmp_path / below
    assert Store.at(place).home == place
    with pytest.raises(ValueError, match=f"{place}.* cannot be written.*SHOTBOARD_HOME"):
        Store.to_write(place)


def test_a_folder_that_takes_no_file_is_found_out_by_the_first_one(tmp_path, monkeypatch):
    """By the permissions root may write to /proc."""
    with pytest.raises(ValueError, match=r"/proc takes no file .*SHOTBOARD_HOME"):
        Store.to_write("/proc/store")
    for number in (errno.EROFS, errno.ENOSPC):

        def refuses(*_, dir, number=number, **__):
            if dir == tmp_path / "trials":
                raise OSError(number, os.strerror(number))
            return io.BytesIO()

        monkeypatch.setattr("tempfile.TemporaryFile", refuses)
        (tmp_path / "trials").mkdir(exist_ok=True)
        if number == errno.ENOSPC:  # which `shotboard clean` is there to mend
            assert Store.to_write(tmp_path).home == tmp_path
        else:
            with pytest.raises(ValueError, match=r"trials takes no file .Read-only file system"):
                Store.to_write(tmp_path)


def test_a_database_that_cannot_be_written_is_not_moved_away(database, read_only):
    database.touch()
    with pytest.raises(TrackingError, match="cannot be written") as refused:
        connect(database_url(database))
    assert f"chmod u+rw {database}" in str(refused.value)
    assert "mv " not in str(refused.value)


@pytest.mark.parametrize(("free", "way_out"), [(4096, "make room"), (1 << 30, "mv ")])
def test_a_database_on_a_full_disk_is_not_called_damaged(database, monkeypatch, free, way_out):
    monkeypatch.setattr(
        "tasks.sqlite_files.shutil.disk_usage", lambda _: SimpleNamespace(free=free)
    )
    assert way_out in remedy(database, "makes a new one")
