"""A store at a URL, as the command line has it: two nodes over one place, and its copies."""

import itertools
import shutil
import threading
from pathlib import Path

import pytest

from operators.episodes.features import FeatureStore, view_folder
from tasks.comparing import copying
from tasks.computing import encode as encoding
from tasks.computing.encode import contexts_of, encode, features_folder
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.plan import make_plan
from tasks.planning.resolve import ingested
from tasks.planning.suite import make_suite
from tasks.storage import copies, folders
from tasks.storage.leases import leases_of
from tasks.storage.remote import RemoteError
from tasks.storage.store import Store


class Here:
    """A pool of one worker that is asked here."""

    def __init__(self, worker):
        self.worker = worker

    def check_open(self):
        """It is never closed."""

    def map_unordered(self, name, batches, *arguments, **_):
        from tasks.computing.worker_pool import CallResult

        for batch in batches:
            yield CallResult(batch, getattr(self.worker, name)(batch, *arguments), None)


@pytest.fixture
def at(tmp_path, monkeypatch):
    """The store at a URL as a node by this name sees it."""
    url = (tmp_path / "shared").as_uri()

    def open_there(name):
        monkeypatch.setenv("SHOTBOARD_CACHE", str(tmp_path / "nodes" / name))
        copies.copy_at.cache_clear()
        return Store.to_write(url)

    return open_there


def plan_of(store, clip_folder):
    suite = {
        "name": "mini",
        "datasets": ["pets"],
        "backbones": [str(clip_folder)],
        "methods": ["zero-shot", "tip-adapter"],
        "shots": [1],
        "seeds": [1, 2],
    }
    request = check(store, make_suite(suite, where="mini"))
    dataset = ingested(store, "pets")
    return request, dataset, make_plan(store, request, {"pets": dataset})


def test_a_worker_of_another_node_computes_with_what_the_driver_has_sent(
    at, shotboard, pictures, clip_folder
):
    driver = at("driver")
    assert shotboard("datasets", "add", "pets", "--path", pictures, "--home", driver.url).code == 0
    assert shotboard("datasets", "ingest", "pets", "--home", driver.url).code == 0
    request, dataset, plan = plan_of(driver, clip_folder)
    contexts = contexts_of(driver, request.backbones, plan.specs, {"pets": dataset}, {"suite": "m"})
    (((backbone, _), context),) = contexts.items()
    card = request.backbones.cards[backbone]
    worker = TrialWorker(driver.place, "cpu")
    asked = ("pets", plan.specs, dataset, card, context, Here(worker), {"pets": dataset})
    count = encode.fn(*asked, driver.copy)
    assert count > 0
    seen = features_folder(driver, card, dataset)

    other = at("worker")
    elsewhere = TrialWorker(other.place, "cpu")
    done = elsewhere.compute(plan.specs, context)
    assert [each.error for each in done] == [""] * 3
    place = view_folder(other.features / seen.relative_to(driver.features), None)
    assert place.is_relative_to(other.home)
    rows = FeatureStore(place).rows
    assert rows == dataset.rows

    driver = at("driver")
    assert driver.done() == {spec.trial_id for spec in plan.specs}
    assert plan_of(driver, clip_folder)[2].missing == ()
    assert encode.fn(*asked, driver.copy) == 0
    third = at("third")
    assert encode.fn(*_asked_by(third, request, plan, card), third.copy) == 0  # it has come along


def test_of_two_nodes_that_would_encode_the_same_at_once_one_does(
    at, shotboard, pictures, clip_folder, monkeypatch
):
    first = at("first")
    assert shotboard("datasets", "add", "pets", "--path", pictures, "--home", first.url).code == 0
    assert shotboard("datasets", "ingest", "pets", "--home", first.url).code == 0
    request, dataset, plan = plan_of(first, clip_folder)
    (card,) = request.backbones.cards.values()
    second = at("second")
    own, others = (_asked_by(store, request, plan, card) for store in (first, second))
    waits, ends = threading.Event(), []

    class Teller:
        def say(self, text):
            assert text.startswith("another run encodes pets")
            waits.set()

    def encode_there():
        with leases_of(second) as leases:
            ends.append(encode.fn(*others, second.copy, leases))

    there = threading.Thread(target=encode_there)

    class Slow(Here):
        """The second node comes while it is about the first chunk."""

        def map_unordered(self, *arguments, **how):
            if not there.ident:
                there.start()
            assert waits.wait(60)
            assert ends == []
            return super().map_unordered(*arguments, **how)

    monkeypatch.setattr(encoding, "reporter", Teller)
    pool = Slow(TrialWorker(first.place, "cpu"))
    with leases_of(first) as leases:
        count = encode.fn(*own[:5], pool, *own[6:], first.copy, leases)
    there.join(60)
    assert (count > 0, ends) == (True, [0])
    folders_of = (features_folder(store, card, dataset) for store in (first, second))
    bits = [(view_folder(folder, None) / "features.npy").read_bytes() for folder in folders_of]
    assert bits[0] == bits[1]


def _asked_by(store, request, plan, card):
    dataset = ingested(store, "pets")
    contexts = contexts_of(store, request.backbones, plan.specs, {"pets": dataset}, {})
    (context,) = contexts.values()
    return "pets", plan.specs, dataset, card, context, Here(None), {"pets": dataset}


def broken_after(count):
    """Puts files of so many folders, then none."""
    turn = itertools.count()

    def pack(*arguments, **options):
        if next(turn) >= count:
            raise RemoteError("the line was cut")
        return folders.pack(*arguments, **options)

    return pack


def test_a_copy_goes_on_where_it_was_broken_off_and_comes_back_as_it_was(
    at, filled, shotboard, tmp_path
):
    url = at("first").url
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "pack", broken_after(2))
        answer = shotboard("copy", filled.home, url)
    assert answer.code == 1
    assert "the line was cut" in answer.err
    answer = shotboard("copy", filled.home, url, "--json")
    assert answer.code == 0, answer.err
    copied = answer.json
    assert len(copied["same"]) == len(copied["new"]) == 2
    assert {*copied["same"], *copied["new"]} > {f"trials/{each}" for each in filled.done()}
    assert copied["different"] == []
    assert copied["rows"] > 0

    at("second")
    back = tmp_path / "back"
    answer = shotboard("copy", url, back)
    assert answer.code == 0, answer.err
    assert "3 trials on the board" in answer.out
    for folder in ("trials", "data", "failures", "datasets"):
        assert _content(back / folder) == _content(filled.home / folder)
    for query in ("SELECT * EXCLUDE (file_stamp) FROM trials ORDER BY ALL", "FROM predictions"):
        theirs = shotboard("sql", query, "--home", url, "--format", "csv")
        assert theirs.out == shotboard("sql", query, "--home", filled.home, "--format", "csv").out


def _content(folder: Path):
    files = (path for path in folder.rglob("[!.]*") if path.is_file())  # no locks
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.served
def test_what_is_there_with_other_files_stays_and_is_named(at, filled, shotboard):
    store = at("first")
    trial_id = sorted(filled.done())[0]
    store.commit(trial_id, {"trial.json": b"{}"})
    answer = shotboard("copy", filled.home, store.url)
    assert answer.code == 0, answer.err
    assert f"trials/{trial_id} is there with other files, which stay" in answer.out
    assert (store.trial(trial_id) / "trial.json").read_bytes() == b"{}"


@pytest.mark.slow
@pytest.mark.served
def test_a_url_is_merged_like_a_folder(at, filled, shotboard, tmp_path):
    url = at("first").url
    assert shotboard("copy", filled.home, url).code == 0
    into = tmp_path / "into"
    answer = shotboard("merge", f"theirs={url}", "--into", into, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json[0]["copied"]) == len(filled.done())
    shutil.rmtree(into / "trials")
    other = at("second").url
    answer = shotboard("merge", str(filled.home), "--into", other, "--json")
    assert answer.json[0]["same"] == len(filled.done())


def test_a_store_is_not_copied_onto_itself_nor_from_nowhere(at, shotboard, tmp_path):
    url = at("first").url
    assert "is both ends" in shotboard("copy", url, url).sentence
    assert "is no store, or is empty" in shotboard("copy", tmp_path / "none", url).sentence
    answer = shotboard("copy", tmp_path, "s3://me:hunter2@bucket/store")
    assert answer.code == 2
    assert "hunter2" not in answer.err
