"""Which features are encoded: each row once under each view that some trial reads, for all."""

import json
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from operators.episodes.features import FeatureStore, view_folder
from operators.episodes.views import View
from operators.tracks.rows import episode_of
from tasks.computing.context import Context, Done
from tasks.computing.encode import ViewsNotEncoded, encode, encoders_of, features_folder
from tasks.computing.worker import TrialWorker
from tasks.computing.worker_pool import CallResult
from tasks.planning.choices import check
from tasks.planning.data import TrialData
from tasks.planning.encodings import Draws, encoded_anew, encodings_of, needed_rows, views_read
from tasks.planning.plan import make_plan
from tasks.planning.suite import make_suite

IMAGES = "image-classification"

COOP = {"coop": {"epochs": 5, "n_context": 2}}


class Inline:
    """A pool whose only worker is in this process; remembers what it has encoded."""

    def __init__(self, worker):
        self.worker = worker
        self.encoded: Counter[tuple[View | None, int]] = Counter()

    def map_unordered(self, method, batches, context, track, view, *, seconds, near):
        for rows in batches:
            self.encoded.update((view, int(row)) for row in rows)
            yield CallResult(rows, getattr(self.worker, method)(rows, context, track, view), None)

    def check_open(self):
        pass


class Place:
    """A store with a dataset, and suites over it, encoded and computed without Ray."""

    def __init__(self, store, dataset, backbone):
        self.store, self.dataset, self.backbone = store, dataset, backbone
        self.worker = TrialWorker(store.home, "cpu")
        self.pool: Any = Inline(self.worker)
        self.context: Any = None

    def plan(self, *methods, views="none", shots=(1,), seeds=(1,)):
        values = {"name": "mini", "datasets": [self.dataset.name], "backbones": [self.backbone]}
        values |= {"methods": methods or [COOP], "views": views, "shots": shots, "seeds": seeds}
        request = check(self.store, make_suite(values, where="mini"))
        ((name, self.card),) = request.backbones.cards.items()
        self.context = Context(
            request.backbones.references[name],
            self.dataset.folder,
            features_folder(self.store, self.card, self.dataset),
            {"suite": "mini"},
        )
        return make_plan(self.store, request, {self.dataset.name: self.dataset}).specs

    def encode(self, specs):
        return encode.fn("it", specs, self.dataset, self.card, self.context, self.pool)

    def train(self, spec):
        return set(episode_of(spec, TrialData(self.dataset).table).train.tolist())


@pytest.fixture
def place(store, dataset_of, tiny):
    return Place(store, dataset_of(), tiny)


def test_training_rows_are_needed_in_the_views_of_the_bank_and_all_rows_in_the_centre(place):
    (spec,) = place.plan(views="bank:3")
    needed = needed_rows([spec], place.dataset)
    assert set(needed) == {None, View(0), View(1), View(2)}
    assert needed[None].tolist() == episode_of(spec, TrialData(place.dataset).table).rows.tolist()
    for number in range(3):
        assert set(needed[View(number)].tolist()) == place.train(spec)
        assert needed[View(number)].tolist() == sorted(place.train(spec))


def test_a_view_that_cannot_be_had_leaves_the_others(place, monkeypatch):
    (spec,) = place.plan(views="bank:3")
    given = place.worker.encode

    def encoded(rows, context, track, view):
        if view == View(1):
            raise ValueError("numbers from 0 to 1")
        return given(rows, context, track, view)

    monkeypatch.setattr(place.worker, "encode", encoded)
    with pytest.raises(ViewsNotEncoded, match="numbers from 0 to 1") as refused:
        place.encode([spec])
    assert set(refused.value.errors) == {View(1)}
    assert {view for view, _ in place.pool.encoded} == {None, View(0), View(1), View(2)}


def test_a_view_that_no_epoch_shows_is_not_needed(place):
    assert len(needed_rows(place.plan(views="bank:50"), place.dataset)) == 1 + 5
    cache = place.plan("tip-adapter", views="bank:50")
    assert len(needed_rows(cache, place.dataset)) == 1 + 10


@pytest.mark.parametrize("epochs", [1, 5])
def test_where_steps_are_asked_for_views_are_those_of_the_epochs_they_take(place, epochs):
    """Four images in batches of 2 are two steps an epoch."""
    steps = {"coop": {"n_context": 2, "total_steps": 2 * epochs, "batch_size": 2}}
    (spec,) = place.plan(steps, views="bank:50")
    assert set(needed_rows([spec], place.dataset)) == {None, *map(View, range(epochs))}
    assert views_read(spec) >= set(map(View, range(epochs)))
    place.encode([spec])
    assert place.worker.compute([spec], place.context)[0].error == ""
    draws = Draws({place.dataset.name: place.dataset})
    (spec,) = place.plan(steps, views="fresh")
    assert encoded_anew([spec], draws) == {spec.trial_id: 4 * epochs}


def test_rows_that_are_chosen_on_beside_the_draw_are_encoded(place, monkeypatch):
    (spec,) = place.plan({"tip-adapter": {"search_on": "split"}})
    drawn = set(needed_rows([spec], place.dataset)[None].tolist())
    others = np.array(sorted({*range(place.dataset.rows)} - drawn))
    monkeypatch.setattr("tasks.planning.encodings.validation_of", lambda *_: others)
    assert set(needed_rows([spec], place.dataset)[None].tolist()) == {*range(place.dataset.rows)}
    assert len(others)


def test_fresh_views_are_not_encoded_ahead(place):
    assert set(needed_rows(place.plan(views="fresh"), place.dataset)) == {None}


def test_images_that_are_encoded_anew_are_counted_and_kept_ones_once(place):
    datasets = {place.dataset.name: place.dataset}
    centre = len(needed_rows(place.plan("zero-shot", COOP, seeds=(1, 2)), place.dataset)[None])
    for views, anew in (("none", 0), ("bank:2", 0), ("fresh", 2 * 5), ("published", 2 * 5)):
        specs = place.plan("zero-shot", COOP, views=views, seeds=(1, 2))
        train = [len(place.train(spec)) for spec in specs if spec.shots]
        bank = sum(len(r) for v, r in needed_rows(specs, place.dataset).items() if v is not None)
        assert encodings_of(specs, datasets) == (centre + bank, anew * train[0])
        assert set(encoded_anew(specs, Draws(datasets)).values()) == (
            {5 * train[0]} if anew else set()
        )


def test_what_is_encoded_anew_is_what_a_trial_encodes(place, monkeypatch):
    """The count is that of the images that pass the tower while trials are computed."""
    from operators.episodes.features import DatasetImages

    read, pixels = [], DatasetImages.pixels
    monkeypatch.setattr(
        DatasetImages, "pixels", lambda self, rows, view=None: read.append(len(rows))
        or pixels(self, rows, view),
    )  # fmt: skip
    specs = place.plan("tip-adapter", {"tip-adapter-f": {"epochs": 3}}, COOP, views="published")
    assert [spec.views for spec in specs] == ["fresh:crop-0.5"] * 2 + ["fresh"]
    place.encode(specs)
    counted = encoded_anew(specs, Draws({place.dataset.name: place.dataset}))
    for spec in specs:
        read.clear()
        (done,) = place.worker.compute([spec], place.context)
        assert not done.error
        assert sum(read) == counted[spec.trial_id]


def test_methods_that_read_centre_crops_alone_need_no_view(place):
    specs = place.plan("zero-shot", "linear-probe", views="bank:4")
    assert set(needed_rows(specs, place.dataset)) == {None}


def test_each_needed_view_of_a_row_is_encoded_once_for_all_trials(place):
    first = place.plan(COOP, "tip-adapter-f", views="bank:3", shots=(1, 2), seeds=(1, 2))
    count = place.encode(first)
    wanted = {
        (view, row)
        for view, rows in needed_rows(first, place.dataset).items()
        for row in rows.tolist()
    }
    assert count == len(wanted)
    assert place.pool.encoded == dict.fromkeys(wanted, 1)
    assert place.encode(first) == 0
    assert place.encode(place.plan(COOP, views="bank:2", seeds=(1, 2))) == 0
    larger = place.plan(COOP, views="bank:4")
    assert place.encode(larger) == len(place.train(larger[0]))
    assert max(place.pool.encoded.values()) == 1


def test_a_damaged_feature_is_named_and_encoded_again_and_no_trial_reads_it(place, caplog):
    specs = place.plan("zero-shot")
    place.encode(specs)
    (folder,) = place.context.features.glob("v*")
    path = folder / "features.npy"
    whole = np.load(path)
    path.write_bytes(path.read_bytes()[:-3] + b"???")  # the last row is a test row
    (done,) = place.worker.compute(specs, place.context)
    assert "do not match their checksums" in done.error and "Run the suite again" in done.error
    with caplog.at_level(logging.INFO, "shotboard"):
        assert place.encode(specs) == 1
    assert f"1 features in {folder} do not match their checksums" in caplog.text
    np.testing.assert_allclose(np.load(path), whole, rtol=1e-4, atol=1e-5)
    assert place.worker.compute(specs, place.context) == [Done(specs[0].trial_id, "")]


def test_kept_features_are_those_of_the_view(place):
    (spec,) = place.plan(views="bank:2")
    place.encode([spec])
    rows = np.array(sorted(place.train(spec)))
    read = [
        FeatureStore(view_folder(place.context.features, view)).read(rows).numpy()
        for view in (None, View(0), View(1))
    ]
    for view, features in zip((None, View(0), View(1)), read, strict=True):
        anew = place.worker.encode(rows, place.context, IMAGES, view)
        np.testing.assert_allclose(features, anew, rtol=1e-4, atol=1e-5)
    assert not np.allclose(read[1], read[2], rtol=1e-2)
    assert not np.allclose(read[0], read[1], rtol=1e-2)


@pytest.mark.parametrize("views", ["none", "bank:2", "fresh"])
def test_trials_are_computed_under_their_policy(place, views):
    specs = place.plan("zero-shot", "linear-probe", "tip-adapter", COOP, views=views)
    place.encode(specs)
    done = place.worker.compute(specs, place.context)
    assert done == [Done(spec.trial_id, "") for spec in specs]
    kept = [json.loads((place.store.trial(s.trial_id) / "trial.json").read_text()) for s in specs]
    found = {trial["spec"]["method"]: trial["spec"]["views"] for trial in kept}
    assert found == {
        "zero-shot": "none",
        "linear-probe": "none",
        "tip-adapter": views,
        "coop": views,
    }


def test_a_student_needs_the_train_split_and_so_does_the_backbone_of_its_teacher(place):
    train = set(place.dataset.rows_of("train").tolist())
    (teacher, student) = place.plan({"promptkd": {"epochs": 1}}, views="bank:2")
    assert set(needed_rows([teacher], place.dataset)[None].tolist()) & train == place.train(teacher)
    needed = needed_rows([student], place.dataset)
    assert train <= set(needed[None].tolist())
    assert set(needed[View(0)].tolist()) == train
    assert encoders_of(student) == {("tiny-clip", "pets")}
    elsewhere = replace(student, aids={"teacher": replace(teacher, backbone="large")})
    assert encoders_of(elsewhere) == {("tiny-clip", "pets"), ("large", "pets")}
