"""What killed processes left half-written is swept; what a living one writes is not."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog.drafts import held
from data_catalog.resuming import KEPT_SECONDS
from operators.files import SETTLED_SECONDS, UNLOCKED_SECONDS, commit_folder, write_atomic
from tasks.storage.drafts import left_behind, sweep

HEX = "0123456789abcdef" * 2
PLACES = {  # by what makes drafts there
    "trials/.0123456789abcdef": True,
    "failures/.x.json": False,
    "runs/.x.json": False,
    "published/.x.json": False,
    "datasets/.pets.yaml": False,
    "datasets/pets.answers/.a.json": False,
    "data/pets/.current.json": False,
    "data/pets/.draft": True,
    "downloads/.0123": True,
    "pretraining/run/.state.json": False,
    "prefect/.schema": False,
    "up/.running": False,
    ".leaderboard.draft": False,
}


def grow_old(path, seconds=SETTLED_SECONDS + 60):
    then = path.stat().st_mtime - seconds
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then))


@pytest.fixture(params=PLACES)
def draft(store, request):
    joined = "-" if "draft" in request.param else "."
    path = store.home / f"{request.param}{joined}{HEX}"
    if PLACES[request.param]:
        (path / "content").mkdir(parents=True)
        (path / "content" / "half").write_bytes(b"half")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    return path


def test_a_draft_is_swept_once_nothing_in_it_has_changed_for_a_while(store, draft):
    sweep(store)
    assert draft.exists()
    grow_old(draft)
    assert left_behind(store) == [draft]
    sweep(store)
    assert not draft.exists()


def test_what_a_killed_ingestion_has_checked_stays_for_a_week(store):
    spool = store.data / "pets" / ".spool-0123456789abcdef"
    spool.mkdir(parents=True)
    (spool / "records").write_bytes(b"checked")
    grow_old(spool)
    sweep(store)
    assert spool.exists()
    grow_old(spool, KEPT_SECONDS)
    assert left_behind(store) == [spool]
    sweep(store)
    assert not spool.exists()


def test_a_draft_that_is_held_stays_however_old_it_is(store, draft):
    grow_old(draft)
    with held(draft):
        sweep(store)
        assert draft.exists()
    sweep(store)
    assert not draft.exists()


def test_writers_hold_their_drafts(store, monkeypatch):
    def sync(handle):
        drafts = [path for path in store.home.rglob(".*") if HEX not in path.name]
        for draft in drafts:
            grow_old(draft)
        seen.extend(drafts)
        sweep(store)
        assert all(draft.exists() for draft in drafts)

    seen: list[Path] = []
    monkeypatch.setattr("operators.files.os.fsync", sync)
    write_atomic(store.runs / "x.json", b"whole")
    with commit_folder(store.trial("0" * 16)) as folder:
        (folder / "trial.json").write_bytes(b"whole")
    assert (store.runs / "x.json").read_bytes() == b"whole"
    assert (store.trial("0" * 16) / "trial.json").read_bytes() == b"whole"
    assert len(seen) == 2


def test_a_draft_of_a_process_that_was_killed_is_swept(store):
    store.trials.mkdir(parents=True)
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from operators.files import commit_folder\n"
        "with commit_folder(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'half').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-I", "-c", code, store.trial("0" * 16), root], check=False)
    (draft,) = store.trials.iterdir()
    grow_old(draft)
    sweep(store)
    assert list(store.trials.iterdir()) == []


def test_without_locks_only_a_day_makes_a_draft_old(store, monkeypatch):
    def cannot(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", cannot)
    draft = store.trials / f".{'0' * 16}.{HEX}"
    draft.mkdir(parents=True)
    grow_old(draft)
    sweep(store)
    assert draft.exists()
    grow_old(draft, UNLOCKED_SECONDS)
    sweep(store)
    assert not draft.exists()


def test_what_is_no_draft_is_never_swept(store, complete, spec):
    kept = [complete(spec()), store.home / ".leaderboard.lock", store.home / ".checked.json"]
    kept += [store.trials / ".DS_Store", store.runs / "x.json"]
    for path in kept[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    for path in kept:
        grow_old(path, 10 * UNLOCKED_SECONDS)
    sweep(store)
    assert all(path.exists() for path in kept)
