"""TDA: what is kept of a stream, against one image after the other, and what its order changes."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.contract import drawn_features
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.hyperparameters import defaults
from operators.methods.image_classification.test_time import tda
from operators.methods.image_classification.test_time.stream_cache import Seen, StreamCache

TDA = METHODS["tda"]
LABELS = [0, 1, 2, 3] * 12


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def built(clip, classes, **given):
    return TDA(clip, classes, generator=seeded(), **given).eval()


@pytest.fixture(scope="module")
def stream(clip):
    source = drawn_features(LABELS, clip.feature_width, noise=2.0)
    return Batch(source, np.arange(len(LABELS)), None)


def one_by_one(seen, classes, capacity, beta):
    """The votes as a program writes them that has one image at a time and sorts what it keeps."""
    kept, votes = {label: [] for label in range(classes)}, []
    for feature, entropy, label, value, fit in zip(*seen, strict=True):
        if fit:
            kept[int(label)].append((float(entropy), feature, value))
            kept[int(label)].sort(key=lambda item: item[0])  # stable: of equals the earlier
            del kept[int(label)][capacity:]
        found = torch.zeros(classes)
        for items in kept.values():
            for _, key, said in items:
                found += math.exp(-beta * (1 - float(feature @ key))) * said
        votes.append(found)
    return torch.stack(votes)


def drawn(images=60, classes=3):
    """Images of which several are told with the same certainty."""
    generator = seeded()
    return Seen(
        F.normalize(torch.randn(images, 5, generator=generator)),
        torch.randint(0, 9, (images,), generator=generator).float(),
        torch.randint(0, classes, (images,), generator=generator),
        torch.rand(images, classes, generator=generator),
        torch.rand(images, generator=generator) > 0.3,
    )


@pytest.mark.parametrize("size", [7, 60])
@pytest.mark.parametrize("capacity", [1, 3])
def test_votes_are_those_of_one_image_after_the_other(size, capacity):
    seen, cache = drawn(), StreamCache(3, capacity)
    parts = zip(*(column.split(size) for column in seen), strict=True)
    found = torch.cat([cache.votes(Seen(*part), 2.0) for part in parts])
    torch.testing.assert_close(found, one_by_one(seen, 3, capacity, 2.0))


def test_what_is_forgotten_votes_no_more():
    seen, cache = drawn(), StreamCache(3, 2)
    first = cache.votes(seen, 2.0)
    assert not torch.allclose(cache.votes(seen, 2.0), first)
    cache.forget()
    assert torch.equal(cache.votes(seen, 2.0), first)


@pytest.mark.parametrize("views", [1, 20])
def test_logits_are_those_of_the_plain_arithmetic(clip, classes, stream, views):
    given = {"entropy_low": 0.02, "entropy_high": 0.3, "views": views}
    method = built(clip, classes, **given)
    texts = F.normalize(clip.text_features(classes.prompts("a photo of a {}.")))
    shown = [stream.under(view) for view in (None, *method.views)]
    features = F.normalize(torch.stack([view.features for view in shown], dim=1), dim=2)
    logits = clip.logit_scale * features @ texts.T
    alone = -(logits.softmax(2) * logits.log_softmax(2)).sum(2)
    kept = alone.argsort(dim=1)[:, : max(1, views // 10)]
    rows = torch.arange(len(stream))[:, None]
    feature, base = features[rows, kept].mean(dim=1), logits[rows, kept].mean(dim=1)
    said = logits[rows, kept].softmax(2).mean(dim=1)
    entropy, predicted = -(said * said.log()).sum(1), base.argmax(1)
    unsure = entropy / math.log2(4)
    fit = (unsure > 0.02) & (unsure < 0.3)
    assert 0 < int(fit.sum()) < len(stream)
    positive = Seen(feature, entropy, predicted, F.one_hot(predicted, 4).float(), fit == fit)
    negative = positive._replace(values=((said > 0.03) & (said < 1)).float(), fit=fit)
    wanted = base + 2 * one_by_one(positive, 4, 3, 5.0) - 0.117 * one_by_one(negative, 4, 2, 1.0)
    torch.testing.assert_close(method.logits(stream), wanted, rtol=1e-4, atol=1e-4)


def test_its_blocks_change_nothing(clip, classes, stream, monkeypatch):
    whole = built(clip, classes).logits(stream)
    monkeypatch.setattr(tda, "AT_ONCE", 5)
    torch.testing.assert_close(built(clip, classes).logits(stream), whole)


def test_another_order_gives_other_logits(clip, classes, stream):
    back = torch.arange(len(stream)).flip(0)
    one, other = (built(clip, classes).logits(each) for each in (stream, stream.select(back)))
    assert not torch.allclose(one, other.flip(0), atol=1e-2)


def test_settings_of_the_authors_hold_on_their_datasets():
    place = {"protocol": "test_time", "shots": 0}
    assert TDA.recipe(**place, dataset="eurosat") == {"alpha": 4.0, "beta": 8.0, "scale": 100.0}
    found = TDA.recipe(**place, dataset="imagenet_r")
    assert (found["views"], found["templates"]) == (64, "imagenet")
    assert TDA.recipe(**place, dataset="digits") == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"views": 5}, "confident=0.1 of views=5 is less than one view"),
        ({"entropy_low": 0.5}, "entropy_low=0.5 is not below entropy_high=0.5"),
        ({"mask_high": 0.01}, "mask_low=0.03 is not below mask_high=0.01"),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(given, said):
    with pytest.raises(ValueError, match=said):
        TDA.check({**defaults(TDA), **given}, protocol="test_time")


def test_what_changes_nothing_is_told():
    usual = defaults(TDA)
    assert set(TDA.idle(usual)) == {"confident", "view_seed"}
    found = TDA.idle({**usual, "views": 64, "alpha": 0.0, "negative_alpha": 0.0})
    assert {"beta", "capacity", "mask_low", "negative_beta"} < set(found)
