"""View policies: pure functions of names, kept once, and shown to training alone."""

import io
import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from operators.crops import Crop
from operators.engine.accounting import counting
from operators.episodes.episode import Classes
from operators.episodes.features import DatasetImages, FeatureStore, view_folder
from operators.episodes.kept_pixels import KeptPixels
from operators.episodes.table import Table
from operators.episodes.views import (
    AREAS,
    AUGMENTATIONS,
    CENTRE,
    RATIOS,
    View,
    ViewPolicy,
    policy_of,
    refuse_unknown,
)
from operators.images import resized_crop
from operators.methods import METHODS, MethodCard, methods_of
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.base import ImageClassifier
from operators.tracks.rows import views_shown
from operators.trials.trial import run_trial
from operators.tuning import Tuning, tune

PROJECT = Path(__file__).parents[2]
LABELS = np.array([row % 3 for row in range(30)], dtype=np.int32)
SPLITS = np.array(["train"] * 12 + ["val"] * 6 + ["test"] * 12)
TRAIN = set(range(12))
BANK, FRESH = ViewPolicy("bank", 2), ViewPolicy("fresh")


class Data:
    """Three classes with four train, two validation and four test images each."""

    table = Table(LABELS, SPLITS, 3)
    all_classes = Classes(("cat", "dog", "boat"), ("a photo of a {}.",))


def picture(row: int) -> bytes:
    """A noisy PNG, lighter to the right, brighter for a higher label."""
    noise = np.random.default_rng(row).integers(0, 60, (40, 50, 3))
    pixels = noise + 50 * LABELS[row] + np.arange(50)[None, :, None]
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(row) for row in range(len(LABELS))]


class Watched(DatasetImages):
    """Images in memory; remembers what was decoded, and under which view."""

    def __init__(self, backbone, stores=None):
        super().__init__(lambda rows: [PICTURES[row] for row in rows], backbone, stores)
        self.decoded: Counter[tuple[View | None, int]] = Counter()

    def pixels(self, rows, view=None):
        self.decoded.update((view, int(row)) for row in rows)
        return super().pixels(rows, view)


@pytest.fixture
def images(clip):
    return Watched(clip)


@pytest.fixture
def stored(clip, tmp_path):
    """Makes a source that reads features from files: of the centre, and of some views."""

    def make(*views):
        for view in (None, *views):
            rows = np.arange(len(LABELS))
            store = FeatureStore.create(view_folder(tmp_path, view), len(rows), 24)
            store.write(rows, Watched(clip).features(rows, view).numpy())
        return Watched(clip, lambda view: FeatureStore(view_folder(tmp_path, view)))

    return make


@pytest.fixture
def asked(spec):
    """Makes a specification as the plan does, with every hyperparameter."""

    def make(method="coop", views="none", shots=2, **fields):
        given = {"epochs": 5, "n_context": 2} if method == "coop" else {}
        given |= fields.pop("given", {})
        values = resolve(method, METHODS[method], given, protocol="few_shot", shots=shots)
        fields = {"method": method, "hyperparameters": values, "shots": shots, **fields}
        return spec(views=views, **fields)

    return make


class ReadsPixels(ImageClassifier):
    """A linear classifier of pixels: it stands for prompts in the image tower."""

    card = MethodCard(
        title="Reads pixels",
        family="feature_heads",
        tunes="weights of pixels",
        source="a test, 2024",
    )
    tuning = Tuning(epochs=3, batch_size=6)
    built: ClassVar[list["ReadsPixels"]] = []

    def __init__(self, backbone, classes, *, generator):
        super().__init__(backbone, classes)
        self.weight = nn.Parameter(torch.zeros(len(classes), 3 * 32 * 32))
        self.built.append(self)
        self.seen: list[tuple[View | None, torch.Tensor, np.ndarray]] = []

    def logits(self, batch):
        if self.training:
            self.seen.append((batch.view, batch.pixels, batch.rows))
        return batch.pixels.flatten(1) @ self.weight.T


@pytest.fixture
def reads_pixels(monkeypatch):
    """`METHODS` with a method of pixels; gives the objects that were built of it."""
    monkeypatch.setitem(METHODS, "reads-pixels", ReadsPixels)
    monkeypatch.setattr(ReadsPixels, "built", [])
    return ReadsPixels.built


def crops(view, count=50, height=40, width=50):
    return [view.crop(row, height, width) for row in range(count)]


def losses(outcome):
    return outcome.report.losses


# Policies


@pytest.mark.parametrize(
    ("text", "policy"),
    [("none", CENTRE), ("bank:1", ViewPolicy("bank", 1)), ("bank:16", ViewPolicy("bank", 16)),
     ("fresh", FRESH), ("fresh:crop-0.5", ViewPolicy("fresh", 0, "crop-0.5")),
     ("bank:3:augmix", ViewPolicy("bank", 3, "augmix"))],
)  # fmt: skip
def test_a_policy_is_written_in_one_way(text, policy):
    assert ViewPolicy.parse(text) == policy
    assert str(policy) == text


@pytest.mark.parametrize(
    "text", ["", "bank", "bank:", "bank:0", "bank:-1", "bank:02", "bank:2.0", "Fresh", "fresh:2",
             "none ", "bank:2\n", "published", "fresh:", "fresh:crop", "fresh:none", "none:augmix",
             "bank:augmix", "bank:2:", "bank:2:crop-0.7", "fresh:augmix:augmix", "fresh:published"]
)  # fmt: skip
def test_another_word_is_refused_with_the_three_that_there_are(text):
    with pytest.raises(ValueError, match=r"give none for .*, bank:K for .*, or fresh for"):
        ViewPolicy.parse(text)


@pytest.mark.parametrize(
    ("asked", "published", "policy"),
    [
        ("published", "fresh:crop-0.5", "fresh:crop-0.5"),
        ("published", "none", "none"),
        ("bank:8:published", "fresh:crop-0.5", "bank:8:crop-0.5"),
        ("bank:8:published", "fresh", "bank:8"),
        ("bank:8:published", "none", "none"),
        ("bank:8", "fresh:randaugment", "bank:8"),
        ("none", "fresh", "none"),
        ("fresh:augmix", "fresh", "fresh:augmix"),
    ],
)
def test_a_suite_may_leave_the_policy_to_the_method(asked, published, policy):
    refuse_unknown(asked)
    assert policy_of(asked, published) == policy


@pytest.mark.parametrize(
    "asked", ["fresh:published", "none:published", "bank:published", "published:8", "Published",
              "bank:8:published:augmix", "fresh:crop"]
)  # fmt: skip
def test_what_no_suite_can_ask_for_is_refused_with_what_it_can(asked):
    with pytest.raises(ValueError, match=r"give none for .* published gives each method"):
        refuse_unknown(asked)


def test_an_augmentation_stays_with_every_view_of_its_policy():
    fresh, bank = ViewPolicy.parse("fresh:randaugment"), ViewPolicy.parse("bank:2:crop-0.5")
    assert fresh.view(3, seed=1) == View(3, 1, "randaugment")
    assert fresh.further(0, ("randaugment",), epochs=5, seed=1) == (View(5, 1, "randaugment"),)
    assert bank.shown(5, seed=1) == (View(0, None, "crop-0.5"), View(1, None, "crop-0.5"))
    assert {view.name for view in bank.shown(5, seed=1)} == {"bank-0-crop-0.5", "bank-1-crop-0.5"}


def test_without_views_every_epoch_shows_the_centre_crop():
    assert {CENTRE.view(epoch, seed=1) for epoch in range(5)} == {None}
    assert CENTRE.shown(5, seed=1) == (None,)


def test_the_views_of_a_bank_come_in_turn_whatever_the_seed():
    numbers = [BANK.view(epoch, seed=7) for epoch in range(5)]
    assert numbers == [View(0), View(1), View(0), View(1), View(0)]
    assert BANK.view(3, seed=8) == BANK.view(3, seed=7)
    assert BANK.shown(5, seed=7) == (View(0), View(1))
    assert BANK.shown(1, seed=7) == (View(0),)


def test_a_bank_of_eight_begins_with_a_bank_of_two():
    large = ViewPolicy("bank", 8)
    assert large.shown(200, seed=1)[:2] == BANK.shown(200, seed=1)
    assert {view_folder(Path("f"), view) for view in BANK.shown(9, seed=1)} == {
        Path("f/v2-bank-0-fp32"),
        Path("f/v2-bank-1-fp32"),
    }


def test_a_fresh_view_is_another_in_each_epoch_and_seed():
    views = {FRESH.view(epoch, seed=seed) for epoch in range(20) for seed in range(3)}
    assert len(views) == 60
    drawn = {tuple(crops(view, count=5)) for view in views}
    assert len(drawn) == 60


@pytest.mark.parametrize("text", ["none", "fresh", "bank:1", "bank:2", "bank:3", "bank:9"])
def test_the_second_view_of_an_epoch_is_never_the_one_that_it_shows(text):
    policy = ViewPolicy.parse(text)
    shown = policy.shown(5, seed=1)
    for epoch in range(5):
        (second,) = policy.further(epoch, ("",), epochs=5, seed=1)
        assert second != policy.view(epoch, seed=1)
        assert (second in shown) == (text in ("bank:2", "bank:3", "bank:9"))
        assert (second,) == policy.further(epoch, ("",), epochs=5, seed=1)


def test_only_the_views_of_a_bank_are_kept():
    assert View(3).kept
    assert not View(3, seed=1).kept
    names = {View(3).name, View(1, seed=3).name, View(3, seed=1).name, View(11, seed=1).name}
    assert len(names) == 4


# Crops


def test_a_crop_follows_from_names_alone_in_another_process_and_order():
    code = (
        "import json, sys; from operators.episodes.views import View; "
        "views = [View(2, 5), View(0), View(3)]; "
        "print(json.dumps([[v.crop(r, 40, 50) for r in (7, 3, 0)] for v in views]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    random.seed(0)
    for view, found in zip([View(2, 5), View(0), View(3)], json.loads(done.stdout), strict=True):
        assert [list(view.crop(row, 40, 50)) for row in (7, 3, 0)] == found
    assert random.random() == random.Random(0).random()  # nobody's state was moved


def test_crops_are_those_that_were_published():
    # Pinned: where one of them moves, raise TRANSFORM_VERSION in operators/images.py.
    assert View(0).crop(0, 375, 500) == Crop(0, 11, 373, 404, False)
    assert View(1).crop(0, 375, 500) == Crop(42, 177, 248, 306, True)
    assert View(0).crop(9, 375, 500) == Crop(10, 63, 328, 424, False)
    assert View(4, seed=2).crop(9, 375, 500) == Crop(114, 192, 197, 254, False)


def test_another_image_or_view_has_another_crop():
    first, second = crops(View(0)), crops(View(1))
    assert len(set(first)) > 45
    assert sum(one == other for one, other in zip(first, second, strict=True)) < 5


@pytest.mark.parametrize(
    ("height", "width"), [(40, 50), (375, 500), (8, 8), (1, 1), (1, 400), (300, 2), (2, 3)]
)
def test_a_crop_lies_within_the_image(height, width):
    for crop in crops(View(0), 300, height, width):
        assert crop.height >= 1
        assert crop.width >= 1
        assert 0 <= crop.top <= height - crop.height
        assert 0 <= crop.left <= width - crop.width


def test_crops_have_the_published_areas_and_ratios():
    drawn = crops(View(0), 3000, 1000, 1000)
    areas = np.array([crop.height * crop.width for crop in drawn]) / 1e6
    ratios = np.array([crop.width / crop.height for crop in drawn])
    assert AREAS == (0.08, 1.0)
    assert areas.min() > 0.079
    assert areas.max() > 0.97
    assert 0.25 < np.mean(areas < 0.31) < 0.33  # a little more than evenly: large ones may not fit
    assert ratios.min() > RATIOS[0] * 0.995
    assert ratios.max() < RATIOS[1] * 1.005
    assert abs(np.log(ratios).mean()) < 0.02
    assert abs(np.mean([crop.mirrored for crop in drawn]) - 0.5) < 0.03
    lefts = np.array([crop.left / max(1, 1000 - crop.width) for crop in drawn])
    assert abs(lefts.mean() - 0.5) < 0.03


def test_half_of_an_image_and_more_is_seen_where_that_is_published():
    drawn = crops(View(0, None, "crop-0.5"), 500, 1000, 1000)
    areas = np.array([crop.height * crop.width for crop in drawn]) / 1e6
    assert 0.498 < areas.min() < 0.52 and areas.max() > 0.9
    assert 0.4 < np.mean([crop.mirrored for crop in drawn]) < 0.6
    assert {crop.filter for crop in drawn} == {None}


def test_randaugment_takes_the_whole_image_and_mirrors_none():
    for crop in crops(View(0, 1, "randaugment"), 20, 30, 70):
        assert crop[:6] == (0, 0, 30, 70, False, None)
        assert crop.repaint is not None


def test_augmix_cuts_by_a_bilinear_filter():
    drawn = crops(View(0, 1, "augmix"), 20, 100, 100)
    assert len({crop[:5] for crop in drawn}) > 15
    assert {crop.filter for crop in drawn} == {"bilinear"}
    plain = crops(View(0, 1, "crop-bilinear"), 20, 100, 100)
    assert {(crop.filter, crop.repaint) for crop in plain} == {("bilinear", None)}


def test_flip_shows_the_centre_crop_and_its_mirror_image_in_turn(images, siglip):
    rows, bank = np.array([5, 0]), ViewPolicy.parse("bank:2:flip")
    assert bank.shown(9, seed=1) == (View(0, None, "flip"), View(1, None, "flip"))
    for source in (images, Watched(siglip)):  # cuts the centre out, and squeezes
        centre, (first, second) = source.pixels(rows), bank.shown(2, seed=1)
        assert torch.equal(source.pixels(rows, first), centre)
        assert torch.equal(source.pixels(rows, second), centre.flip(3))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_gives_the_same_pixels_whenever_it_is_asked(images, augmentation):
    rows, view = np.array([5, 0, 9]), View(1, 3, augmentation)
    together = images.pixels(rows, view)
    assert together.isfinite().all()
    for place, row in enumerate(rows):
        assert torch.equal(together[place], images.pixels(np.array([row]), view)[0])
    assert not torch.equal(together, images.pixels(rows, View(2, 3, augmentation)))


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(10, 1000, (0, 493, 10, 13)), (1000, 10, (493, 0, 13, 10)), (1, 1, (0, 0, 1, 1))],
)
def test_an_image_that_no_draw_fits_is_cut_in_the_middle(height, width, wanted):
    middle = [crop[:4] for crop in crops(View(0), 100, height, width)]
    assert wanted in middle


@pytest.mark.parametrize("shape", [(375, 500, 224), (64, 64, 48), (40, 50, 32), (9, 7, 32)])
def test_a_view_has_the_pixels_of_torchvisions_crop_by_pillow(shape):
    height, width, side = shape
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for crop in crops(View(0), 8, height, width):
        whole = Image.fromarray(pixels)
        part = whole.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
        # In two steps: see `operators.images`.
        rows = part.resize((side, crop.height), Image.Resampling.BICUBIC)
        wanted = np.asarray(rows.resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        found = resized_crop(pixels, crop, side)
        off = np.abs(found.astype(int) - (wanted[:, :, ::-1] if crop.mirrored else wanted))
        assert off.max() <= 2


def test_a_mirrored_crop_is_the_other_one_turned():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    plain, mirrored = (resized_crop(pixels, Crop(3, 5, 20, 30, m), 32) for m in (False, True))
    np.testing.assert_array_equal(plain[:, :, ::-1], mirrored)


def test_an_image_has_the_pixels_of_its_row_in_any_batch(images):
    rows = np.array([5, 0, 9])
    together = images.pixels(rows, View(1))
    for place, row in enumerate(rows):
        assert torch.equal(together[place], images.pixels(np.array([row]), View(1))[0])
    assert not torch.equal(together, images.pixels(rows))


# Features and trials


def test_kept_features_are_those_encoded_anew(stored, clip):
    source, rows = stored(View(0), View(1)), np.array([4, 1])
    for view in (None, View(0), View(1)):
        kept, anew = source.features(rows, view), Watched(clip).features(rows, view)
        torch.testing.assert_close(kept, anew, rtol=1e-4, atol=1e-5)
    assert not source.decoded


def test_a_view_that_was_not_encoded_is_named(stored, tmp_path):
    source = stored()
    FeatureStore.create(view_folder(tmp_path, View(3)), len(LABELS), 24)
    with pytest.raises(LookupError, match="have no features in v2-bank-3-fp32"):
        source.features(np.array([0]), View(3))


@pytest.mark.parametrize(
    ("views", "shown"),
    [("none", [None] * 5), ("bank:2", [View(0), View(1), View(0), View(1), View(0)]),
     ("fresh", [View(epoch, 1) for epoch in range(5)])],
)  # fmt: skip
def test_each_step_sees_the_view_of_its_epoch(clip, images, asked, monkeypatch, views, shown):
    seen = []
    loss = METHODS["coop"].loss
    monkeypatch.setattr(
        METHODS["coop"], "loss", lambda self, batch: seen.append(batch) or loss(self, batch)
    )
    run_trial(asked(views=views, given={"batch_size": 3}), clip, Data(), images)
    assert [batch.view for batch in seen] == [view for view in shown for _ in range(2)]
    for batch in seen:
        wanted = images.features(batch.rows, batch.view)
        torch.testing.assert_close(batch.features, wanted, rtol=1e-4, atol=1e-5)


def test_a_bank_from_files_gives_what_encoding_in_every_step_gives(clip, stored, images, asked):
    trial = asked(views="bank:2")
    kept = run_trial(trial, clip, Data(), stored(View(0), View(1)))
    anew = run_trial(trial, clip, Data(), images)
    torch.testing.assert_close(losses(kept), losses(anew), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kept.learned, anew.learned, rtol=1e-3, atol=1e-5)


def test_evaluation_and_validation_have_the_centre_crop(clip, images, asked):
    run_trial(asked(views="bank:2", given={"selection": "val"}), clip, Data(), images)
    views = {row: {v for v, r in images.decoded if r == row} for _, row in images.decoded}
    assert len(TRAIN & views.keys()) == 6
    assert set(range(12, 30)) < views.keys()
    for row, seen in views.items():
        assert seen == ({View(0), View(1)} if row in TRAIN else {None})


def test_fresh_encodes_every_image_once_an_epoch_and_a_batch_at_a_time(
    clip, images, asked, monkeypatch
):
    sizes = []
    encode = Watched.features
    monkeypatch.setattr(
        Watched, "features", lambda self, rows, view=None: sizes.append(len(rows))
        or encode(self, rows, view),
    )  # fmt: skip
    run_trial(asked(views="fresh", given={"batch_size": 3}), clip, Data(), images)
    fresh = {key: count for key, count in images.decoded.items() if key[0] is not None}
    assert set(fresh.values()) == {1}
    assert Counter(view.number for view, _ in fresh) == {epoch: 6 for epoch in range(5)}
    assert sizes[:10] == [3] * 10


def test_fresh_is_repeated_by_the_same_seed_and_not_by_another(clip, images, asked):
    first, again = (run_trial(asked(views="fresh"), clip, Data(), images) for _ in range(2))
    other = run_trial(asked(views="fresh", seed=2), clip, Data(), images)
    assert losses(first) == losses(again)
    assert first.predictions.equals(again.predictions)
    assert losses(first) != losses(other)


def test_policies_differ_in_what_is_learned(clip, images, asked):
    found = [
        losses(run_trial(asked(views=views), clip, Data(), images))
        for views in ("none", "bank:1", "bank:2", "fresh")
    ]
    assert len(set(found)) == 4
    one, two = found[1:3]
    assert one[0] == two[0]  # the first epoch shows the same view


def test_policies_have_ids_of_their_own_and_cells(asked):
    trials = [asked(views=views) for views in ("none", "bank:1", "bank:8", "fresh")]
    assert len({trial.trial_id for trial in trials}) == 4
    assert len({trial.cell_id for trial in trials}) == 4


@pytest.mark.parametrize("method", methods_of("image-classification"))
def test_a_method_reads_the_views_that_it_says_or_refuses_them(clip, images, asked, method):
    quick = {"search_steps_beta": 3} if "tip" in method else {}
    trial = asked(method, given=quick)
    if not METHODS[method].view_epochs(trial.hyperparameters):
        for views in ("bank:2", "fresh"):
            with pytest.raises(ValueError, match="reads the centre crop alone"):
                run_trial(replace(trial, views=views), clip, Data(), images)
        assert not images.decoded


def test_the_published_cache_is_a_mean_over_ten_epochs(clip, images, asked):
    def keys(views):
        trial = asked("tip-adapter", views, given={"search_steps_beta": 3})
        outcome = run_trial(trial, clip, Data(), images)
        shown = {view for view, row in images.decoded if row in TRAIN}
        assert shown == set(views_shown(trial, 4))
        images.decoded.clear()
        return outcome.learned["keys"]

    from operators.tracks.rows import episode_of

    train = episode_of(asked("tip-adapter"), Data.table).train
    every = [images.features(train, View(number)) for number in range(16)]
    images.decoded.clear()
    for views, count in (("bank:3", 3), ("bank:16", 10)):
        mean = torch.stack(every[:count]).mean(dim=0)
        wanted = torch.nn.functional.normalize(mean, dim=1)
        torch.testing.assert_close(keys(views), wanted, rtol=1e-4, atol=1e-5)
    centre = torch.nn.functional.normalize(images.features(train), dim=1)
    images.decoded.clear()
    torch.testing.assert_close(keys("none"), centre, rtol=1e-4, atol=1e-5)
    assert keys("fresh").isfinite().all()


def test_pixels_are_those_of_the_view(clip, images, spec, reads_pixels):
    for views in ("none", "bank:2", "fresh"):
        values = resolve("reads-pixels", METHODS["reads-pixels"], {}, protocol="few_shot", shots=2)
        trial = spec(method="reads-pixels", hyperparameters=values, shots=2, views=views)
        run_trial(trial, clip, Data(), images)
        shown = [ViewPolicy.parse(views).view(epoch, seed=1) for epoch in range(3)]
        seen = reads_pixels[-1].seen
        assert [view for view, _, _ in seen] == shown
        for view, pixels, rows in seen:
            assert torch.equal(pixels, images.pixels(rows, view))


def test_pixels_are_kept_by_view_and_those_of_a_fresh_view_are_not(images):
    kept, rows = KeptPixels(images), np.array([3, 1, 3])
    for view in (None, View(0), View(1), View(0, seed=1)):
        first, again = kept.pixels(rows, view), kept.pixels(rows, view)
        assert torch.equal(first, again)
        assert torch.equal(first[0], DatasetImages.pixels(images, rows[:1], view)[0])
        assert torch.equal(kept.features(rows, view), images.features(rows, view))
    assert set(kept.kept.values) == {None, View(0), View(1)}


def test_a_batch_of_a_bank_is_read_once_for_the_epoch(drawn_images, few_shot):
    shots = few_shot(6, [0, 1, 2] * 4)
    source = shots.train._source
    shots = replace(shots, views=BANK)

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 6))

        def logits(self, batch):
            return batch.features @ self.weight.T

        selects_by = "accuracy"

        def validation_score(self, batch):
            raise AssertionError("selection is by the last step")

        def loss(self, batch):
            return nn.functional.cross_entropy(self.logits(batch), batch.labels)

    tune(Linear(), shots, Tuning(epochs=4, batch_size=3), torch.Generator().manual_seed(0))
    assert source.views == {View(0): 2, View(1): 2}


def test_features_that_a_step_reads_of_another_view_are_counted(few_shot):
    train = few_shot(6, [0, 1, 2] * 4).train
    step = train.select(torch.tensor([0, 5]))
    with counting() as work:
        for batch in (train.under(View(0)), step.under(View(1, seed=3)), step.under(View(1))):
            assert batch.features.shape == (len(batch), 6)
    assert work.cached_images == 2


def test_further_views_are_the_next_of_a_bank_and_fresh_ones_beyond_it():
    def further(policy, epoch):
        names = ("mocov3", "augmix")
        return ViewPolicy.parse(policy).further(epoch, names, epochs=10, seed=7)

    fresh = (View(14, 7, "mocov3"), View(14, 7, "augmix"))
    assert further("none", 4) == further("fresh", 4) == further("bank:1", 4) == fresh
    assert further("bank:2", 4) == (View(1), fresh[1])
    assert further("bank:3", 4) == (View(2), View(0))
    assert further("bank:8:augmix", 7) == (View(0, None, "augmix"), View(1, None, "augmix"))
