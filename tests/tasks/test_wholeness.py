"""Trials that are damaged on disk are torn: named, computed again, and never on the board."""

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.pages.board import rebuild
from tasks.publishing.receipts import contents
from tasks.storage import wholeness
from tasks.storage.store import Store
from tasks.storage.wholeness import torn

TRIAL, PREDICTED, PROMPT = "trial.json", "predictions.parquet", "prompt.safetensors"


@pytest.fixture(scope="module")
def private_file(tmp_path_factory):
    empty = Store(tmp_path_factory.mktemp("empty"))
    rebuild(empty)
    return empty.home / ".leaderboard.private.duckdb"


@pytest.fixture(autouse=True)
def board_made(store, private_file):
    """The private file is there already: making one takes most of a second."""
    store.home.mkdir(parents=True)
    shutil.copy(private_file, store.home)


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def flip(name, place):
    def damage(folder):
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return damage


def edit(*path, value):
    def damage(folder):
        whole = json.loads((folder / TRIAL).read_bytes())
        part = whole
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value
        (folder / TRIAL).write_text(json.dumps(whole))

    return damage


def gone(name):
    return lambda folder: (folder / name).unlink()


def folder_for(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def fewer_rows(folder):
    pq.write_table(pq.read_table(folder / PREDICTED)[:2], folder / PREDICTED)


def other_labels(folder):
    table = pq.read_table(folder / PREDICTED)
    column = pa.array([1] * table.num_rows, pa.int32())
    pq.write_table(table.set_column(3, table.schema.field(3), column), folder / PREDICTED)


DAMAGES = {
    "empty object": write(TRIAL, b"{}"),
    "empty": write(TRIAL, b""),
    "no JSON": write(TRIAL, b"{half"),
    "a list": write(TRIAL, b"[]"),
    "not UTF-8": write(TRIAL, b'{"\xff\xfe"}'),
    "nested": write(TRIAL, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "wrong type": edit("cost", "tune_seconds", value="soon"),
    "wrong metrics": edit("metrics", value=3),
    "metrics in text": edit("metrics", 0, "value", value="0.75"),
    "other metrics": edit("metrics", 0, "value", value=0.5),
    "no metrics": edit("metrics", value=[]),
    "other specification": edit("spec", "shots", value=8),
    "specification in text": edit("spec", value="coop"),
    "other format": edit("format", value=9),
    "digests in text": edit("sha256", value="x"),
    "trial a folder": folder_for(TRIAL),
    "trial gone": gone(TRIAL),
    "predictions gone": gone(PREDICTED),
    "predictions flipped": flip(PREDICTED, 300),
    "predictions flipped at the start": flip(PREDICTED, 5),
    "predictions a folder": folder_for(PREDICTED),
    "predictions empty": write(PREDICTED, b""),
    "fewer rows": fewer_rows,
    "other labels": other_labels,
    "prompt gone": gone(PROMPT),
    "prompt flipped": flip(PROMPT, -3),
    "prompt header": flip(PROMPT, 12),
    "prompt longer": write(PROMPT, b"\xff" * 200),
    "prompt empty": write(PROMPT, b""),
}
UNSEEN = {"prompt flipped", "prompt header", "digests in text"}  # in a trial without digests


@pytest.mark.parametrize("digests", [True, False], ids=["digests", "older"])
def test_damaged_trials_are_torn_and_not_on_the_board(store, complete, spec, digests):
    how = {} if digests else {"sha256": {}}  # nothing in an older trial says what it was
    damages = {name: it for name, it in DAMAGES.items() if digests or name not in UNSEEN}
    kept = complete(spec(), **how)
    specs = {name: spec(seed=2 + number) for number, name in enumerate(damages)}
    names = {complete(one, **how).name: name for name, one in specs.items()}
    assert torn(store, store.done()) == {}
    for trial, name in names.items():
        damages[name](store.trial(trial))
    found = torn(store, store.done())
    assert {names[trial] for trial in found} == {*damages}
    assert [names[trial] for trial, said in found.items() if len(said) <= 5] == []
    assert torn(store, store.done()) == found
    done = rebuild(store)
    assert done.trials == 1 and {*done.skipped} == {f"trials/{trial}" for trial in names}
    store.set_aside(found)
    for one in specs.values():
        complete(one)
    assert torn(store, store.done()) == {}
    assert rebuild(store).trials == 1 + len(damages)
    assert kept.is_dir() and {path.name for path in store.home.glob("replaced/*/*")} == {*names}


def test_a_folder_that_was_renamed_is_torn(store, complete, spec):
    name = complete(spec()).rename(store.trial("0" * 16)) and spec().trial_id
    assert torn(store, ["0" * 16]) == {"0" * 16: f"the folder holds trial {name}: it was renamed."}


def test_a_file_in_the_place_of_a_trial_is_torn_and_can_be_moved_aside(store, complete, spec):
    folder = complete(spec())
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert list(torn(store, store.done())) == [folder.name]
    store.set_aside([folder.name])
    assert store.done() == set()


def test_what_does_not_change_the_times_is_found_when_all_is_read(store, complete, spec):
    folder = complete(spec())
    assert torn(store, store.done()) == {}
    times = (folder / PREDICTED).stat()
    flip(PREDICTED, 300)(folder)
    os.utime(folder / PREDICTED, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert torn(store, store.done()) == {}
    assert list(torn(store, store.done(), every=True)) == [folder.name]
    assert list(torn(store, store.done())) == [folder.name]


def test_what_the_board_has_read_is_not_read_again(store, complete, spec, monkeypatch):
    complete(spec())
    broken = complete(spec(seed=2))
    DAMAGES["other labels"](broken)
    rebuild(store)
    monkeypatch.setattr(wholeness, "inspect", None)
    monkeypatch.setattr(wholeness, "glance", None)
    assert list(torn(store, store.done())) == [broken.name]


@pytest.mark.parametrize("content", [b"", b"noise", b"[]", b'{"a": 1}', b"[" * 99_999])
def test_a_damaged_memory_of_what_was_read_costs_reading_again(store, complete, spec, content):
    complete(spec())
    (store.home / ".checked.json").write_bytes(content)
    assert torn(store, store.done()) == {}


@pytest.mark.parametrize("content", [b"{}", b"[]", b"noise", b"\xff", b"[" * 99_999, b'{"x": 1}'])
def test_damaged_notes_are_left_out_and_stop_nothing(store, complete, spec, content):
    folder = complete(spec())
    for place in ("runs/x.json", "failures/x.json", "published/x.json", "published/models.json"):
        path = store.home / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert list(contents(store)) == []
    assert store.failure("x") == ""
    done = rebuild(store)
    assert done.trials == 1
    assert set(done.skipped) == {"runs/x.json", "failures/x.json", "published/x.json"}
    assert store.result(folder.name)["trial_id"] == folder.name
