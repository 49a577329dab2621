"""Two nodes and the bucket between them: what one brings in, the other has, and all of it."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from operators.files import commit_files
from tasks.storage import copies
from tasks.storage.remote import Remote, RemoteError
from tasks.storage.store import Store

TRIAL = "0123456789abcdef"


def files(word="ours"):
    return {"trial.json": json.dumps({"said": word}).encode(), "prompt.safetensors": b"p" * 99}


@pytest.fixture
def at(node, monkeypatch, s3):
    """The store of a node by name, which waits for a server but a moment."""
    patient = Remote.at
    monkeypatch.setattr(Remote, "at", lambda url: patient(url, patience=0.6))

    def open_there(name):
        node(name)
        return Store.to_write(s3.url)

    return open_there


def said(store, trial_id=TRIAL):
    return json.loads((store.trial(trial_id) / "trial.json").read_text())["said"]


def test_what_one_node_commits_another_has(at):
    first = at("first")
    first.commit(TRIAL, files())
    second = at("second")
    assert second.home != first.home
    assert second.done() == {TRIAL}
    assert {p.name: p.read_bytes() for p in second.trial(TRIAL).iterdir()} == files()


def test_of_two_nodes_that_finish_the_same_trial_the_first_counts_on_both(at):
    first, second = at("first"), at("second")
    first.commit(TRIAL, files("first"))
    second.commit(TRIAL, files("second"))
    assert first.done() == second.done() == {TRIAL}
    assert said(first) == said(second) == "first"
    assert not list((second.home / ".waiting").iterdir())


def test_many_commits_of_one_trial_at_once_leave_one(at):
    stores = [at(f"node {number}") for number in range(4)]
    copied = [store.copy for store in stores]
    ready = threading.Barrier(4)

    def commit(number):
        ready.wait(60)
        copied[number].commit(TRIAL, files(f"node {number}"))

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len({said(store) for store in stores}) == 1


@pytest.mark.parametrize("part", ["blobs/", "trials/"])
@pytest.mark.parametrize("kind", ["busy", "cut", "lost", "twice"])
def test_a_commit_that_is_disturbed_is_whole_and_counts_once(at, s3, kind, part):
    store = at("first")
    s3.faults.plan(kind, "PUT", part)
    store.commit(TRIAL, files())
    other = at("second")
    assert other.done() == store.done() == {TRIAL}
    assert said(other) == "ours"
    assert len(other.copy.remote.listed("trials")) == 1


@pytest.mark.parametrize("part", ["blobs/", "trials/"])
@pytest.mark.parametrize("kind", ["busy", "cut"])
def test_a_commit_that_is_cut_off_counts_nowhere_and_is_sent_later(at, s3, kind, part):
    store = at("first")
    s3.faults.plan(kind, "PUT", part, times=10_000)
    with pytest.raises(RemoteError, match="what was computed stays"):
        store.commit(TRIAL, files())
    assert not store.trial(TRIAL).exists()
    assert at("second").done() == set()
    s3.faults.heal()
    assert at("first").done() == {TRIAL}
    assert at("second").done() == {TRIAL}
    assert not list((store.home / ".waiting").iterdir())


def test_a_process_that_is_killed_before_it_sends_loses_nothing(at):
    store = at("first")
    commit_files(store.home / ".waiting" / TRIAL, files())  # all that it came to
    assert store.done() == {TRIAL}
    assert at("second").done() == {TRIAL}


def test_files_without_a_marker_are_no_trial(at):
    store = at("first")
    store.copy.remote.put_blob(b"p" * 99)
    assert store.done() == at("second").done() == set()


def test_a_trial_that_is_set_aside_is_gone_on_all_nodes_and_can_be_made_anew(at):
    first, second = at("first"), at("second")
    first.commit(TRIAL, files("old"))
    assert second.done() == {TRIAL}
    first.set_aside([TRIAL])
    assert first.done() == second.done() == set()
    first.commit(TRIAL, files("new"))
    assert second.done() == {TRIAL}
    assert said(second) == "new"
    assert list((second.home / "replaced").glob(f"*/{TRIAL}"))


def test_a_trial_that_was_computed_again_elsewhere_takes_the_place_of_the_old_one(at):
    first, second = at("first"), at("second")
    first.commit(TRIAL, files("old"))
    assert second.done() == {TRIAL}
    first.set_aside([TRIAL])
    first.commit(TRIAL, files("new"))
    assert second.done() == {TRIAL}
    assert said(second) == "new"


def test_a_trial_that_is_damaged_at_the_url_does_not_count_and_is_replaced(at):
    first, second = at("first"), at("second")
    first.commit(TRIAL, files("old"))
    (blob,) = first.copy.remote.listed("blobs")
    first.copy.remote.replace(f"blobs/{blob}", b"x")
    assert second.done() == set()
    assert "is not what was written" in second.copy.damaged[TRIAL]
    second.commit(TRIAL, {**files("new"), "prompt.safetensors": b"other"})
    third = at("third")
    assert third.done() == second.done() == {TRIAL}
    assert said(third) == said(second) == "new"
    assert len(third.copy.remote.listed("replaced")) == 1


def test_a_file_that_is_damaged_at_the_url_is_mended_by_who_has_it(at):
    first, second = at("first"), at("second")
    first.commit(TRIAL, files("old"))
    (blob,) = first.copy.remote.listed("blobs")
    first.copy.remote.replace(f"blobs/{blob}", b"x")
    second.commit(TRIAL, files("new"))  # with the same prompt
    assert said(second) == "old"
    assert at("third").done() == {TRIAL}


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", ".hidden", "a\\b"])
def test_a_manifest_cannot_write_outside_of_its_folder(at, tmp_path, name):
    store = at("first")
    entry = {"text": "x", "size": 1, "sha256": "2d711642b726b04401627ca9fbac32f5"}
    entry["sha256"] *= 2
    manifest = json.dumps({"files": {name: entry}}).encode()
    store.copy.remote.create(f"trials/{TRIAL}.json", manifest)
    assert store.done() == set()
    assert "is no name of a file" in store.copy.damaged[TRIAL]
    assert not list(tmp_path.rglob("escaped"))


def test_small_files_are_alike_on_all_nodes(at):
    first, second = at("first"), at("second")
    first.record_failure(TRIAL, {"error": "it was too warm"})
    first.keep(first.runs / "a.json", b"{}")
    second.refresh()
    assert second.failure(TRIAL) == "it was too warm"
    assert (second.runs / "a.json").read_bytes() == b"{}"
    second.clear_failure(TRIAL)
    first.refresh()
    assert first.failure(TRIAL) == ""
    (first.runs / "a.json").write_bytes(b'{"of": "first"}')
    first.refresh()
    second.refresh()
    assert (second.runs / "a.json").read_bytes() == b'{"of": "first"}'


def test_a_card_with_a_secret_stays_where_it_was_registered(at):
    first, second = at("first"), at("second")
    first.cards.mkdir()
    (first.cards / "open.yaml").write_text("path: s3://bucket/data\n")
    (first.cards / "shut.yaml").write_text("path: https://me:hunter2@example.org/data\n")
    first.refresh()
    second.refresh()
    assert [p.name for p in second.cards.iterdir()] == ["open.yaml"]
    (first.cards / "open.yaml").write_text("path: https://me:hunter2@example.org/data\n")
    first.refresh()
    assert all(
        b"hunter2" not in (first.copy.remote.read(f"files/{name}") or b"")
        for name in first.copy.remote.listed("files")
    )


def test_a_working_copy_that_is_lost_comes_back(at):
    store = at("first")
    store.commit(TRIAL, files())
    shutil.rmtree(store.home)
    assert at("first").done() == {TRIAL}


def test_the_board_of_one_node_is_read_on_another_and_fetched_when_it_changed(at, s3):
    first = at("first")
    first.board.parent.mkdir(exist_ok=True)
    first.board.write_bytes(b"one")
    first.publish()
    second = at("second")
    assert second.board.read_bytes() == b"one"
    gets = s3.faults.count("GET", "leaderboard")
    second.refresh()
    assert s3.faults.count("GET", "leaderboard") == gets
    first.board.write_bytes(b"another")
    first.publish()
    second.refresh()
    assert second.board.read_bytes() == b"another"


def test_a_dataset_comes_whole_to_who_asks_for_it(at, dataset_of, store, monkeypatch):
    dataset = dataset_of("pets")
    first = at("first")
    shutil.copytree(store.data, first.data)
    first.share(first.data / "pets" / dataset.fingerprint)
    second = at("second")
    second.refresh()
    assert not (second.data / "pets" / dataset.fingerprint).exists()
    from tasks.planning.resolve import ingested

    assert ingested(second, "pets").fingerprint == dataset.fingerprint


def test_a_store_at_a_url_lies_below_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOTBOARD_CACHE", str(tmp_path / "cache"))
    url = (tmp_path / "shared").as_uri()
    store = Store.at(url)
    assert store.home.parent == tmp_path / "cache"
    assert store.place == url
    assert Store.at(f"{url}/") == store == Store.placed(url)
    assert copies.folder_of(url) == store.home
    monkeypatch.delenv("SHOTBOARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of the user"))
    assert copies.folder_of(url).is_relative_to(tmp_path / "of the user" / "shotboard")
    assert isinstance(store.home, Path)


def test_requests_of_a_trial_are_few(at, s3):
    store = at("first")
    before = len(s3.faults.seen)
    store.commit(TRIAL, {**files(), "predictions.parquet": b"q" * 99})
    assert s3.faults.seen[before:] == [("PUT", path) for _, path in s3.faults.seen[before:]]
    assert len(s3.faults.seen) - before == 3
    before = len(s3.faults.seen)
    assert store.done() == {TRIAL}  # whatever is there, one listing says so
    assert [method for method, _ in s3.faults.seen[before:]] == ["GET"]
    second = at("second")
    before = len(s3.faults.seen)
    assert second.done() == {TRIAL}
    assert len(s3.faults.seen) - before == 5  # the listing, the marker twice, and two files
