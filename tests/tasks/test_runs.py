"""Which code a run notes: its commit, and whether it differs from it."""

import shutil
import subprocess

import pytest

from tasks.storage import runs

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


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


def test_code_as_it_was_committed_is_not_dirty(checkout):
    assert runs.git_commit() == checkout("rev-parse", "HEAD")
    assert runs.git_dirty() is False


@pytest.mark.parametrize("name", ["operators/sums.py", "README.md", "operators/new.py"])
def test_a_changed_file_or_a_new_one_beside_the_code_makes_it_dirty(checkout, tmp_path, name):
    (tmp_path / "code" / name).write_text("two\n")
    assert runs.git_dirty() is True


def test_notes_that_lie_about_do_not_make_it_dirty(checkout, tmp_path):
    (tmp_path / "code" / "notes.txt").write_text("a board of today\n")
    assert runs.git_dirty() is False


def test_the_repository_that_a_hook_names_is_not_asked(checkout, tmp_path, monkeypatch):
    """Git sets GIT_DIR for hooks, which may well start a run."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "other"], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert runs.git_commit() is not None
    assert runs.git_dirty() is False


def test_code_installed_within_another_project_has_no_commit(checkout, tmp_path, monkeypatch):
    place = tmp_path / "code/.venv/lib/tasks/storage"
    place.mkdir(parents=True)
    (place / "runs.py").write_text("one\n")
    monkeypatch.setattr(runs, "__file__", str(place / "runs.py"))
    assert runs.git_commit() is None
    assert runs.git_dirty() is None


def test_a_run_notes_both(checkout, store, tmp_path):
    (tmp_path / "code/operators/sums.py").write_text("two\n")
    run = runs.begin(store, suite="mini", trial_ids=["a"], flow_run_id=None)
    assert (run.git_commit, run.git_dirty) == (checkout("rev-parse", "HEAD"), True)
