"""`shotboard clean`: what a store can do without, and that nothing else goes."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from tasks.cleaning import histories
from tasks.cleaning.clean import free, look, seconds_of
from tasks.cleaning.kinds import KINDS
from tasks.planning.resolve import RequestError
from tasks.storage import runs
from tasks.storage.store import Store

OLD = 40 * 86_400
FILES = {  # by kind: what of it a store has, and what lies beside it and stays
    "drafts": ("trials/.0123456789abcdef.0123456789abcdef0123456789abcdef/a", None),
    "replaced": ("replaced/20260101T000000.0/0123456789abcdef/trial.json", None),
    "features": ("features/clip/pets/0123/full/features.npy", None),
    "downloads": ("downloads/0123/a.jpg", "downloads/digests.json"),
    "plans": ("plans/0123.json", None),
    "logs": ("up/worker.log", "up/token"),
    "trials": ("trials/0123456789abcdef/trial.json", None),
}
STAY = ("data/pets/0123/data.parquet", "datasets/pets.yaml", "runs/0123.json", "leaderboard.duckdb")


def write(path, content="x" * 5000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def grow_old(folder, seconds=OLD):
    then = time.time() - seconds
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            os.utime(path, (then, then))


def paths(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with old things of every kind that are files, and no Ray session of this machine."""
    monkeypatch.setattr("tasks.cleaning.sessions._folders", lambda: {tmp_path / "tmp" / "ray"})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store")
    for goes, stays in FILES.values():
        write(store.home / goes)
        if stays:
            write(store.home / stays)
    for stays in STAY:
        write(store.home / stays, "{}")
    grow_old(store.home)
    return store


def by_kind(found):
    return {each.kind: each for each in found}


def test_every_kind_is_found_told_and_freed_and_nothing_else(store):
    before = paths(store.home)
    found = by_kind(look(store))
    assert "trials" not in found
    kinds = [kind for kind in FILES if kind != "trials"]
    assert [kind for kind in kinds if found[kind].count != 1 or found[kind].size < 5000] == []
    assert paths(store.home) == before  # a look touches nothing
    free(store, found.values())
    assert before - paths(store.home) == {FILES[kind][0] for kind in kinds}
    assert all(found[kind].freed == found[kind].size for kind in kinds)
    assert all(each.count == 0 for each in look(store))


def test_trials_go_only_where_somebody_says_so(store):
    for keep in ((), tuple(KINDS)):
        assert [each.kind for each in look(store, "0", keep)].count("trials") == 0
    found = look(store, trials=True, keep=[kind for kind in KINDS if kind != "trials"])
    free(store, found)
    assert [each.kind for each in found] == ["trials"]
    assert store.done() == set()


def test_what_was_used_since_stays(store):
    fresh = write(store.home / "features/clip/pets/0123/other/features.npy")
    read = store.home / FILES["features"][0]
    free(store, look(store, "41d"))
    assert read.is_file()
    os.utime(read, (time.time(), read.stat().st_mtime))  # somebody has read it
    found = look(store)
    free(store, found)
    assert (read.is_file(), fresh.is_file()) == (True, True)
    free(store, look(store, "0"), "0")
    assert not read.exists() and not fresh.exists()


def test_kinds_that_are_kept_stay_and_unknown_ones_are_refused(store):
    free(store, look(store, keep=["features", "downloads"]))
    assert (store.home / FILES["features"][0]).is_file()
    assert not (store.home / FILES["plans"][0]).exists()
    with pytest.raises(RequestError, match="Did you mean features"):
        look(store, keep=["feature"])


def test_what_a_run_that_goes_on_may_need_stays(store):
    found = look(store)
    run = runs.begin(store, suite="mini", trial_ids=["a"], flow_run_id=None)
    try:
        told = by_kind(look(store, trials=True))
        assert f"run {run.run_id} of this store goes on" in told["features"].left
        assert told["replaced"].count == 1  # nobody reads them
        free(store, found)  # it has begun since one looked
        assert (store.home / FILES["features"][0]).is_file()
        assert "has begun" in by_kind(found)["features"].left
        assert not (store.home / FILES["replaced"][0]).exists()
    finally:
        runs.finish(store, run)
    free(store, look(store))
    assert not (store.home / FILES["features"][0]).exists()


def test_a_link_is_removed_and_what_it_leads_to_stays(store, tmp_path):
    elsewhere = write(tmp_path / "elsewhere" / "a.jpg")
    (store.downloads / "linked").symlink_to(elsewhere.parent)
    (store.home / "replaced" / "linked").symlink_to(elsewhere.parent)
    then = time.time() - OLD
    for link in (store.downloads / "linked", store.home / "replaced" / "linked"):
        os.utime(link, (then, then), follow_symlinks=False)
    free(store, look(store))
    assert elsewhere.is_file()
    assert not (store.home / "replaced" / "linked").is_symlink()


def test_what_cannot_be_removed_is_told_and_the_rest_goes(store, monkeypatch):
    def refuses(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuses)
    found = by_kind(look(store))
    free(store, found.values())
    assert "Permission denied" in found["features"].stuck
    assert not (store.home / FILES["plans"][0]).exists()  # a file needs no rename


@pytest.fixture
def short():
    """A folder whose path leaves room for that of a socket."""
    folder = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_sessions_of_ray_that_have_ended_go(store, short, monkeypatch):
    folder = short / "ray"
    monkeypatch.setattr("tasks.cleaning.sessions._folders", lambda: {folder})
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ended, mine, joined = (
        write(folder / f"session_2026-01-01_00-00-0{n}_0_{pid}" / "logs" / "a.log").parents[1]
        for n, pid in enumerate((dead.pid, os.getpid(), dead.pid))
    )
    other = write(folder / "prom_metrics" / "a").parent
    with socket.socket(socket.AF_UNIX) as listener:  # of a cluster whose starter has ended
        listener.bind(str(joined / "s"))
        listener.listen()
        grow_old(folder)
        found = by_kind(look(store))["ray"]
        assert [item.place for item in found.items] == [ended]
        free(store, [found])
    assert not ended.exists()
    assert mine.is_dir() and joined.is_dir() and other.is_dir()


def test_runs_in_the_bin_of_mlflow_go_by_its_own_tool(store, empty_database):
    from tasks.publishing.mlflow_client import connect

    shutil.copy(empty_database, store.mlflow_database)
    client = connect(store.mlflow_uri)
    place = store.mlflow_artifacts / "mini"
    experiment = client.create_experiment("mini", artifact_location=place.as_uri())
    elsewhere = client.create_experiment("other", artifact_location=(store.home / "x").as_uri())
    ids = [client.create_run(each).info.run_id for each in (experiment, experiment, elsewhere)]
    for run_id, folder in zip(ids, (place, place, store.home / "x"), strict=True):
        write(folder / run_id / "artifacts" / "a.txt")
    for run_id in (ids[0], ids[2]):
        client.delete_run(run_id)
    assert histories.runs_in_bin(store, time.time() - 60).ids == ()  # it was thrown away just now
    found = histories.runs_in_bin(store, time.time() + 60)
    assert (found.ids, found.size) == ((ids[0],), 5000)


@pytest.mark.slow
@pytest.mark.served
def test_mlflow_empties_its_bin_and_keeps_the_rest(store, empty_database):
    from tasks.publishing.mlflow_client import connect

    shutil.copy(empty_database, store.mlflow_database)
    client = connect(store.mlflow_uri)
    place = store.mlflow_artifacts / "mini"
    experiment = client.create_experiment("mini", artifact_location=place.as_uri())
    gone, kept = (client.create_run(experiment).info.run_id for _ in range(2))
    for run_id in (gone, kept):
        write(place / run_id / "artifacts" / "a.txt")
    client.delete_run(gone)
    with closing(sqlite3.connect(store.mlflow_database)) as database:
        database.execute("UPDATE runs SET deleted_time = 1000 WHERE run_uuid = ?", (gone,))
        database.commit()
    found = by_kind(look(store))
    assert found["mlflow"].count == 1
    free(store, [found["mlflow"]])
    assert (found["mlflow"].gone, found["mlflow"].stuck) == (1, "")
    assert found["mlflow"].freed >= 5000
    with closing(sqlite3.connect(store.mlflow_database)) as database:
        assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(kept,)]
    assert not (place / gone / "artifacts" / "a.txt").exists()
    assert (place / kept / "artifacts" / "a.txt").is_file()
    assert by_kind(look(store))["mlflow"].count == 0


@pytest.mark.slow
@pytest.mark.served
def test_prefect_forgets_the_flow_runs_that_ended_long_ago_and_keeps_the_rest(store):
    from prefect import flow
    from prefect.states import Completed, Running

    from tasks.services.pool import client
    from tasks.services.server import prefect_api

    ours = flow(lambda: None, name="benchmark")
    states = (Completed, Completed, Running)
    with prefect_api(store), client() as api:
        made = [api.create_flow_run(ours, state=state()) for state in states]
    old, new, going = (str(run.id) for run in made)
    with closing(sqlite3.connect(store.prefect / "prefect.db")) as database:
        long_ago = "2026-01-01 00:00:00.000000"
        database.execute(
            "UPDATE flow_run SET end_time = ? WHERE replace(id, '-', '') = ?",
            (long_ago, old.replace("-", "")),
        )
        database.commit()
    found = by_kind(look(store))
    assert found["prefect"].count == 1
    free(store, [found["prefect"]])
    assert (found["prefect"].gone, found["prefect"].stuck) == (1, "")
    with closing(sqlite3.connect(store.prefect / "prefect.db")) as database:
        left = {row[0].replace("-", "") for row in database.execute("SELECT id FROM flow_run")}
    assert left == {new.replace("-", ""), going.replace("-", "")}
    assert by_kind(look(store))["prefect"].count == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), ("2w", 1_209_600), ("0", 0), ("1.5", 129_600)],
)
def test_ages(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1d", "1y", "1d 2h", "٣d"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(ValueError, match="is no age"):
        seconds_of(text)


def test_a_history_that_is_damaged_or_not_there_has_nothing_to_free(store):
    assert histories.flow_runs(store, time.time()) == 0
    write(store.prefect / "prefect.db", "noise")
    write(store.mlflow_database, "noise")
    assert histories.flow_runs(store, time.time()) == 0
    assert histories.runs_in_bin(store, time.time()).ids == ()
