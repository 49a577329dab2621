"""Pixels that are read again: decoded once, within a budget."""

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes
from operators.episodes.kept_pixels import KeptPixels
from operators.episodes.table import Table
from operators.episodes.views import View
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.trials.trial import run_trial

pytestmark = pytest.mark.bits

PIXELS = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
BYTES = 3 * 2 * 2 * 4


class Source:
    """Remembers what was decoded."""

    def __init__(self):
        self.decoded = []

    def features(self, rows, view=None):
        return PIXELS[rows].flatten(1)

    def pixels(self, rows, view=None):
        self.decoded += rows.tolist()
        return PIXELS[rows] + (0 if view is None else 1 + view.number)


@pytest.fixture
def source():
    return Source()


def test_an_image_is_decoded_once_and_stays_the_same(source):
    kept = KeptPixels(source)
    for rows in ([4, 1], [1, 2, 4], [1, 1]):
        assert torch.equal(kept.pixels(np.array(rows)), PIXELS[rows])
    assert source.decoded == [4, 1, 2]


def test_what_is_beyond_the_budget_is_decoded_again(source):
    kept = KeptPixels(source, budget=2 * BYTES)
    for _ in range(2):
        assert torch.equal(kept.pixels(np.arange(3)), PIXELS[:3])
    assert source.decoded == [0, 1, 2, 2]


def test_views_are_kept_apart_and_fresh_ones_not_at_all(source):
    kept = KeptPixels(source)
    rows = np.array([0])
    for view, added in ((None, 0), (View(0), 1), (View(1), 2)):
        for _ in range(2):
            assert torch.equal(kept.pixels(rows, view), PIXELS[:1] + added)
    assert source.decoded == [0, 0, 0]
    for _ in range(2):
        kept.pixels(rows, View(0, seed=1))
    assert source.decoded == [0] * 5


def test_features_come_from_the_source(source):
    assert torch.equal(KeptPixels(source).features(np.array([3])), PIXELS[3:4].flatten(1))


def test_a_trial_decodes_its_training_images_once(clip, drawn_pictures, spec):
    labels = np.array([0, 1] * 4, dtype=np.int32)
    pictures = drawn_pictures(clip, labels)
    read, pixels = [], pictures.pixels
    pictures.pixels = lambda rows, view=None: (read.extend(rows.tolist()), pixels(rows, view))[1]

    class Data:
        table = Table(labels, np.array(["train"] * 4 + ["test"] * 4), 2)
        all_classes = Classes(("cat", "dog"), ("a photo of a {}.",))

    values = resolve("vpt", METHODS["vpt"], {"epochs": 3}, protocol="few_shot", shots=2)
    asked = spec(method="vpt", hyperparameters=values, shots=2)
    run_trial(asked, clip, Data(), pictures)
    assert sorted(read) == list(range(8))
