"""What a run notes: its code, its trials, and how it ended."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from tasks.storage import processes, runs

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Code in a repository of its own, and git there."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "code/tasks/storage/runs.py"))

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        folder = tmp_path / "code"
        done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, stdout=-1)
        return done.stdout.decode().strip()

    for name in ("tasks/storage/runs.py", "operators/sums.py", "README.md"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text("one\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    forget()
    yield git
    forget()


def forget():
    runs.git_commit.cache_clear()
    runs.git_dirty.cache_clear()


@with_git
def test_code_as_it_was_committed_is_not_dirty(checkout):
    assert runs.git_commit() == checkout("rev-parse", "HEAD")
    assert runs.git_dirty() is False


@with_git
@pytest.mark.parametrize("name", ["operators/sums.py", "README.md", "operators/new.py"])
def test_a_changed_file_or_a_new_one_beside_the_code_makes_it_dirty(checkout, tmp_path, name):
    (tmp_path / "code" / name).write_text("two\n")
    assert runs.git_dirty() is True


@with_git
def test_notes_that_lie_about_do_not_make_it_dirty(checkout, tmp_path):
    (tmp_path / "code" / "notes.txt").write_text("a board of today\n")
    assert runs.git_dirty() is False


@with_git
def test_the_repository_that_a_hook_names_is_not_asked(checkout, tmp_path, monkeypatch):
    """Git sets GIT_DIR for hooks, which may well start a run."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "other"], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert runs.git_commit() is not None
    assert runs.git_dirty() is False


@with_git
def test_code_installed_within_another_project_has_no_commit(checkout, tmp_path, monkeypatch):
    place = tmp_path / "code/.venv/lib/tasks/storage"
    place.mkdir(parents=True)
    (place / "runs.py").write_text("one\n")
    monkeypatch.setattr(runs, "__file__", str(place / "runs.py"))
    assert runs.git_commit() is None
    assert runs.git_dirty() is None


@with_git
def test_a_run_notes_both(checkout, store, tmp_path):
    (tmp_path / "code/operators/sums.py").write_text("two\n")
    run = runs.begin(store, suite="mini", trial_ids=["a"], flow_run_id=None)
    assert (run.git_commit, run.git_dirty) == (checkout("rev-parse", "HEAD"), True)


@pytest.fixture
def committed(store):
    """Trials in the store, by id; empty folders, for a run only counts them."""

    def commit(*trial_ids):
        for trial_id in trial_ids:
            store.trial(trial_id).mkdir(parents=True)

    return commit


def begin(store, trial_ids=("a", "b", "c"), done=()):
    return runs.begin(store, suite="mini", trial_ids=trial_ids, flow_run_id=None, done=done)


def manifest(store, run):
    return store.runs / f"{run.run_id}.json"


def kept(store, run):
    return json.loads(manifest(store, run).read_bytes())


def test_a_run_counts_what_was_there_and_what_it_added(store, committed):
    committed("a", "elsewhere")
    run = begin(store, done={"a", "elsewhere"})
    assert (kept(store, run)["status"], kept(store, run)["reused"]) == ("running", 1)
    committed("b", "c")
    runs.finish(store, run)
    said = kept(store, run)
    assert (said["status"], said["reused"], said["computed"], said["failed"]) == (
        *("completed", 1, 2, 0),
    )
    assert said["finished_at"] == said["ended_at"]
    assert said["error"] is None


COUNTS = ("reused", "computed", "elsewhere", "failed", "status")


def test_what_other_runs_add_is_never_its_own_whenever_they_do(store, committed):
    committed("a")
    planned = store.done()
    committed("b")  # between the plan and the manifest
    run = begin(store, "abcde", planned)
    committed("c", "d", "e")  # c by another run while this one starts its workers
    ended = runs.finish(store, run, taken={"d", "e"})
    assert [getattr(ended, name) for name in COUNTS] == [1, 2, 2, 0, "completed"]


def test_one_that_is_broken_off_takes_no_credit_for_what_others_added(store, committed):
    run = begin(store, "abcd")
    with pytest.raises(KeyboardInterrupt), runs.broken_off(store, run, {"c", "d"}.copy):
        committed("a", "b", "c")
        raise KeyboardInterrupt
    assert [kept(store, run)[name] for name in COUNTS] == [0, 1, 2, 0, "cancelled"]


def test_trials_that_are_chosen_count_as_there_if_they_were_when_they_were_chosen(store, committed):
    committed("a")
    run = begin(store, "ab", store.done())
    committed("b", "c")
    planned = store.done()
    committed("d")  # by another run
    run = runs.extend(store, run, "abcde", (), planned)
    committed("e")
    ended = runs.finish(store, run, taken={"b", "e"})
    assert [getattr(ended, name) for name in COUNTS] == [2, 2, 1, 0, "completed"]


def test_a_run_of_which_trials_failed_came_to_its_end(store, committed):
    run = begin(store)
    committed("a", "b")
    runs.finish(store, run, failed=1)
    said = kept(store, run)
    assert (said["status"], said["error"]) == ("failed", "1 of 3 trials failed")
    assert said["finished_at"]


def test_a_run_that_is_broken_off_is_no_whole_one_and_says_why(store, committed):
    run = begin(store)
    committed("a")
    with pytest.raises(OSError), runs.broken_off(store, run):
        raise OSError("the disk is full: https://me:secret@host/x")
    said = kept(store, run)
    assert (said["status"], said["finished_at"], said["computed"]) == ("failed", None, 1)
    assert "the disk is full" in said["error"]
    assert "secret" not in said["error"]


def test_a_run_that_somebody_stops_is_cancelled(store):
    run = begin(store)
    with pytest.raises(KeyboardInterrupt), runs.broken_off(store, run):
        raise KeyboardInterrupt
    said = kept(store, run)
    assert (said["status"], said["finished_at"]) == ("cancelled", None)
    assert said["ended_at"]


def test_a_run_whose_process_lives_is_running(store):
    run = begin(store)
    assert runs.state(kept(store, run), manifest(store, run)) == "running"
    assert runs.state(kept(store, runs.finish(store, run)), manifest(store, run)) == "failed"


def test_a_run_whose_process_was_killed_has_crashed(store):
    code = (
        "import sys, time; from pathlib import Path; from tasks.storage import runs; "
        "from tasks.storage.store import Store; "
        "run = runs.begin(Store(Path(sys.argv[1])), suite='s', trial_ids=['a'], flow_run_id=None);"
        "print(run.run_id, flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(store.home)], stdout=subprocess.PIPE, text=True
    )
    try:
        run_id = child.stdout.readline().strip()
        file = store.runs / f"{run_id}.json"
        values = json.loads(file.read_bytes())
        assert runs.state(values, file) == "running"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert runs.state(values, file) == "crashed"


def test_a_process_of_the_same_id_that_began_at_another_time_is_another(store):
    run = begin(store)
    earlier = {"process_started_at": run.process_started_at - 3600}
    old = kept(store, run) | earlier | {"process_key": ""}  # of a version that noted no key
    assert runs.state(old, manifest(store, run)) == "crashed"
    other = kept(store, run) | {"process_key": f"{run.process_key}0"}
    assert runs.state(other, manifest(store, run)) == "crashed"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_clock_that_is_set_makes_no_other_process(store):
    run = begin(store)
    values = kept(store, run) | {"process_started_at": run.process_started_at - 3600}
    assert runs.state(values, manifest(store, run)) == "running"


def test_a_run_on_another_machine_shows_its_life_by_the_time_of_its_manifest(store):
    run = begin(store)
    values = kept(store, run) | {"host": "elsewhere", "process_key": "of another machine 7"}
    assert runs.state(values, manifest(store, run)) == "running"
    silent = time.time() - processes.SILENT_SECONDS - 1
    os.utime(manifest(store, run), (silent, silent))
    assert runs.state(values, manifest(store, run)) == "crashed"


def test_a_run_shows_its_life_until_it_ends(store, monkeypatch):
    monkeypatch.setattr(processes, "SIGN_SECONDS", 0.01)
    run = begin(store)
    os.utime(manifest(store, run), (1, 1))
    while manifest(store, run).stat().st_mtime == 1:
        time.sleep(0.01)
    runs.finish(store, run)
    threads = [t for t in threading.enumerate() if t.name == f"life of {run.run_id}"]
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_a_manifest_of_a_version_that_noted_no_status_is_read(store, tmp_path):
    file = tmp_path / "old.json"
    file.write_text("{}")
    assert runs.state({"finished_at": "2026-01-01T00:00:00+00:00"}, file) == "completed"
    assert runs.state({"finished_at": None}, file) == "running"
    os.utime(file, (1, 1))
    assert runs.state({"finished_at": None}, file) == "crashed"
