"""Machines that lack something: room on the disk, a home, files, a folder to write to, cores."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from datetime import datetime

import pytest

from data_catalog.resuming import spool_folder
from data_catalog.sources.unpacking import unpack
from data_catalog.writing import write_text
from operators.files import commit_files, commit_folder, write_atomic, write_new
from tasks.cleaning.clean import free, look
from tasks.pages.run_list import run_rows
from tasks.publishing.mlflow_client import connect, end_run
from tasks.services.guard import guard_of
from tasks.storage import runs
from tasks.storage.drafts import left_behind
from tasks.storage.leases import leases_of
from tasks.storage.store import Store

MUCH = b"x" * 5000
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
TINY = (
    "datasets: [digits]\nbackbones: [mini-clip]\nmethods: [zero-shot, tip-adapter]\n"
    "protocols: [few_shot]\nshots: [1]\nseeds: [1]\nviews: none\n"
)


@contextmanager
def full_disk():
    """No file can grow beyond 64 bytes, as where the disk has no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _folder(home):
    with commit_folder(home / "new") as draft:
        (draft / "a").write_bytes(MUCH)


def _unpacked(home):
    (home / "out").mkdir(exist_ok=True)
    unpack(home / "a.zip", home / "out", "a.zip")


def _run(home):
    run = runs.begin(Store(home), suite="mini", trial_ids=["a" * 16] * 20, flow_run_id=None)
    runs.finish(Store(home), run)


WRITERS = {
    "write_atomic": lambda home: write_atomic(home / "old", MUCH),
    "write_new": lambda home: write_new(home / "new", MUCH),
    "commit_files": lambda home: commit_files(home / "new", {"a": MUCH, "b": MUCH}),
    "commit_folder": _folder,
    "a card": lambda home: write_text(home / "old", MUCH.decode(), private=True),
    "an archive": _unpacked,
    "a run": _run,
    "a failure": lambda home: Store(home).record_failure("a" * 16, {"error": "x" * 500}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_leaves_what_is_there_and_nothing_half_written(tmp_path, name):
    home = tmp_path / "store"
    home.mkdir()
    (home / "old").write_bytes(b"what is there")
    with zipfile.ZipFile(home / "a.zip", "w") as archive:
        archive.writestr("a.jpg", MUCH)
    before = {path for path in home.rglob("*") if path.is_file()}
    with full_disk(), pytest.raises(OSError) as told:
        WRITERS[name](home)
    assert told.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert (home / "old").read_bytes() == b"what is there"
    left = {path for path in home.rglob("*") if path.is_file()} - before
    assert [path for path in left if path.parent.name != "out"] == []  # a draft of its caller
    WRITERS[name](home)  # as soon as there is room


def test_a_token_that_cannot_be_written_is_an_error_and_no_half_of_one(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOTBOARD_TOKEN", raising=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        with pytest.raises(OSError):
            guard_of(Store(tmp_path), "0.0.0.0", [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("years", [-1, 1, 30])
def test_a_clock_that_jumps_takes_nothing_away_that_is_in_use(tmp_path, monkeypatch, years):
    """Neither a draft that somebody writes, nor what a run needs, a trial or a living lease."""
    monkeypatch.setattr("tasks.cleaning.sessions._folders", set)
    (tmp_path / "data" / "pets").mkdir(parents=True)
    store, now = Store(tmp_path), time.time()
    for place in ("features/a/b/c/features.npy", "trials/0123456789abcdef/trial.json"):
        write_atomic(tmp_path / place, MUCH)
    with (
        commit_folder(store.trials / ("a" * 16)) as draft,
        spool_folder(tmp_path / "data" / "pets", "key", useless=()) as spool,
        leases_of(store) as leases,
    ):
        (draft / "trial.json").write_bytes(MUCH)
        (spool / "rows").write_bytes(MUCH)
        assert leases.take("it")
        run = runs.begin(store, suite="mini", trial_ids=["a" * 16], flow_run_id=None)
        monkeypatch.setattr("time.time", lambda: now + years * 365 * 86_400)
        assert left_behind(store) == []
        with leases_of(store) as others:
            others.sweep()
            assert not others.take("it")
        free(store, look(store, "30d"))
        runs.finish(store, run)
    assert (tmp_path / "features/a/b/c/features.npy").is_file()
    assert store.done() == {"0123456789abcdef", "a" * 16}


def test_a_run_takes_no_less_than_no_time_where_the_clock_is_set_back(tmp_path, monkeypatch):
    store = Store(tmp_path)
    run, goes_on = (
        runs.begin(store, suite=name, trial_ids=[], flow_run_id=None) for name in ("one", "two")
    )
    monkeypatch.setattr(runs, "_now", lambda: "2001-01-01T00:00:00.000+00:00")
    assert runs.finish(store, run).ended_at == run.started_at
    took = {row["suite"]: row["seconds"] for row in run_rows(store, datetime(2001, 1, 1))}
    assert took == {"one": 0, "two": 0}
    runs.finish(store, goes_on)


def test_a_run_of_mlflow_ends_no_earlier_than_it_began(empty_database, tmp_path, monkeypatch):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    client = connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    later = int(time.time() * 1000) + 86_400_000
    run = client.create_run("0", start_time=later)
    end_run(client, run.info.run_id, "FAILED")
    found = client.get_run(run.info.run_id).info
    assert (found.status, found.end_time) == ("FAILED", later)


def poor(*words, **environ):
    """A command of somebody without a home, in a folder that nobody can write to, on one core."""
    limits = "ulimit -n 256; cd /proc; exec taskset -c 0 "
    words = " ".join(f"'{word}'" for word in (*SHOTBOARD, *words))
    environ = {**os.environ, "HOME": "/dev/null/none", **environ}
    for name in [name for name in environ if name.startswith(("PREFECT_", "MLFLOW_", "XDG_"))]:
        del environ[name]
    answer = subprocess.run(
        ["sh", "-c", limits + words], env=environ, capture_output=True, text=True, timeout=900
    )
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer


linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")  # noqa: PTH112


@linux
def test_without_a_home_in_a_folder_that_cannot_be_written_a_suite_is_planned(tmp_path):
    (tmp_path / "mine.yaml").write_text(TINY)
    answer = poor("plan", tmp_path / "mine.yaml", "--home", tmp_path / "store")
    assert answer.returncode == 0, answer.stderr
    assert "zero-shot" in answer.stdout
    answer = poor("runs")  # its store would be in that folder
    assert answer.returncode in (0, 2)
    assert "/proc/.shotboard" in answer.stdout + answer.stderr
