"""TFUP and TFUP-T: which images are chosen, how they vote, and what is learned of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.blocks.cache_head import semantic_affinity
from operators.blocks.central_images import images_a_class, most_central
from operators.blocks.class_text import plain_sentence_vectors, sentence_vectors, sentences_of
from operators.contract import drawn_features
from operators.episodes.episode import Batch, FewShot, Unlabelled
from operators.episodes.views import View, ViewPolicy
from operators.methods import METHODS
from operators.tuning import Tuning

TFUP, TFUPT = METHODS["tfup"], METHODS["tfup-t"]
QUICK = Tuning(
    optimizer="adamw", lr=0.01, epochs=3, batch_size=64, warmup_epochs=0, schedule="step"
)
unit = F.normalize


@pytest.fixture(scope="module")
def shots(clip, classes):
    """60 images without labels, and no other."""
    images = Batch(drawn_features([0, 1, 2, 3] * 15, clip.feature_width), np.arange(60), None)
    nothing = images.select(torch.arange(0))
    return FewShot(0, nothing, nothing, unlabelled=Unlabelled(images, classes))


@pytest.fixture(scope="module")
def tfup(clip, classes, shots):
    built = TFUP(clip, classes, generator=torch.Generator())
    built.fit(shots, tuning=None, generator=torch.Generator())
    return built.eval()


@pytest.fixture
def tfup_t(clip, classes, shots, moved):
    built = TFUPT(clip, classes, generator=torch.Generator().manual_seed(0))
    cache, chosen = built.choose(shots.unlabelled.images)
    built.cache = [cache]
    return moved(built).train(), chosen


def seeded():
    return torch.Generator().manual_seed(3)


def of_class_text(clip, classes):
    """Their class vectors, written down: features as the tower gives them, then the mean."""
    return torch.stack(
        [clip.whole_text_features(list(own), cut=True).mean(0) for own in classes.descriptions]
    )


def voted(features, keys, values, texts, scale):
    """TFUP's logits in the order of its code: a matrix of divergences, z-scores, their range."""
    said, kept = ((10 * x @ texts.T).softmax(1) for x in (features, keys))
    gaps = torch.stack([(p * (p / kept).log()).sum(1) for p in said])
    scores = (gaps - gaps.mean(1, keepdim=True)) / gaps.std(1, keepdim=True)
    low, high = scores.min(1, keepdim=True).values, scores.max(1, keepdim=True).values
    affinity = features @ keys.T * (2 * (1 - (scores - low) / (high - low)))
    return scale * features @ texts.T + 0.3 * (-(1 - affinity)).exp() @ values


def test_a_cache_has_a_third_of_the_images_of_a_class_and_9_to_16():
    found = [images_a_class(images, 4, 0.3, 16) for images in (40, 160, 900)]
    assert found == [9, 12, 16]
    assert images_a_class(900, 4, 0.75) == 168


def test_the_central_images_are_those_that_diverge_least_from_their_rivals():
    told = torch.randn(40, 3, generator=seeded())
    said = (2 * told).softmax(dim=1)
    found = most_central(told, torch.eye(3), 2.0, 5)
    for label, chosen in enumerate(found):
        candidates = said[:, label].argsort(descending=True)[:10]
        own = said[candidates]
        gaps = [sum(F.kl_div(q.log(), p, reduction="sum") for q in own) for p in own]
        assert chosen.tolist() == candidates[torch.stack(gaps).argsort()[:5]].tolist()


@pytest.mark.parametrize("numbers", [1, 7 * 6])
def test_central_images_are_found_in_blocks_of_images_and_of_classes(monkeypatch, numbers):
    told = torch.randn(40, 7, generator=seeded())
    whole = most_central(told, torch.eye(7), 1.0, 4)
    monkeypatch.setattr("operators.blocks.central_images.COMPARED", numbers)
    assert torch.equal(most_central(told, torch.eye(7), 1.0, 4), whole)


def test_fewer_images_than_are_asked_for_are_all_taken():
    found = most_central(torch.randn(3, 2, generator=seeded()), torch.eye(2), 1.0, 9)
    assert found.sort(dim=1).values.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_logits_are_those_of_the_plain_arithmetic(clip, classes, tfup, shots):
    features = unit(shots.unlabelled.images.features)
    texts = unit(of_class_text(clip, classes))
    keys = features[most_central(features, texts, 10.0, 9).flatten()]
    torch.testing.assert_close(tfup.cache.keys.data, keys)
    values = F.one_hot(torch.arange(4).repeat_interleave(9), 4).float()
    wanted = voted(features, keys, values, texts, clip.logit_scale)
    found = tfup.logits(shots.unlabelled.images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_affinities_of_many_images_are_made_in_blocks(tfup, shots, monkeypatch):
    whole = tfup.logits(shots.unlabelled.images)
    monkeypatch.setattr("operators.blocks.cache_head.AFFINITIES", 36 * 7)
    torch.testing.assert_close(tfup.logits(shots.unlabelled.images), whole)


def test_cached_images_that_texts_tell_the_same_of_are_equally_near():
    features = unit(torch.randn(3, 5, generator=seeded()))
    found = semantic_affinity(features, features[:1], torch.eye(5), 10.0)
    torch.testing.assert_close(found, 2 * features @ features[:1].T)


def test_long_features_of_sentences_count_more_in_its_class_vectors(clip, classes):
    found = plain_sentence_vectors(clip, sentences_of(classes))
    torch.testing.assert_close(found, of_class_text(clip, classes))
    assert not torch.allclose(unit(found), sentence_vectors(clip, sentences_of(classes)))


def test_the_first_step_is_on_the_labels_that_tfup_gives(tfup, tfup_t):
    built, chosen = tfup_t
    wanted = tfup.logits(chosen).argmax(dim=1)
    assert torch.equal(chosen.labels, wanted)
    assert len(chosen) == 4 * 11  # of 15 images a class; some stand for several classes
    built.cache = []
    texts = unit(0.5 * built.residual + 0.5 * built.texts)
    features = unit(0.2 * built.adapter(chosen.features) + 0.8 * chosen.features)
    wanted = F.cross_entropy(built.backbone.logit_scale * features @ texts.T, chosen.labels)
    torch.testing.assert_close(built.loss(chosen), wanted)


@pytest.mark.parametrize("confidence", [0.4, 1.0])
def test_a_later_step_learns_what_is_sure_and_spreads_the_mean(tfup_t, shots, confidence):
    built, _ = tfup_t
    built.confidence = confidence
    weak, strong = (shots.unlabelled.images.under(view) for view in (None, View(1)))

    def adapted(x):
        return unit(0.2 * built.adapter(x) + 0.8 * x)

    (cache,) = built.cache
    texts, scale = unit(0.5 * built.residual + 0.5 * built.texts), built.backbone.logit_scale
    told = voted(adapted(weak.features), cache.keys, cache.values, texts, scale).softmax(1)
    sure = told.max(1).values > confidence
    assert 0 < int(sure.sum()) < 60 or confidence == 1
    logits = scale * adapted(strong.features) @ texts.T
    mean = logits.softmax(1).mean(0)
    wanted = 0.3 * (mean * (mean + 1e-6).log()).sum()
    if sure.any():
        wanted = wanted + F.cross_entropy(logits[sure], told.argmax(1)[sure])
    found = built.loss(strong)
    torch.testing.assert_close(found, wanted)
    parameters = list(built.parameters())
    for one, other in zip(
        *(torch.autograd.grad(loss, parameters) for loss in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_chosen_images_are_learned_before_all_are(clip, classes, shots):
    seen = []

    class Watched(TFUPT):
        def loss(self, batch):
            seen.append((len(batch), batch.view, bool(self.cache)))
            return super().loss(batch)

    built = Watched(clip, classes, generator=seeded(), chosen_epochs=2)
    cropped = replace(shots, views=ViewPolicy("fresh"))
    built.fit(cropped, tuning=QUICK, generator=seeded())
    assert [(count, later) for count, _, later in seen] == [(44, False), (44, False), (60, True)]
    assert [view.number for _, view, _ in seen] == [0, 1, 2]
    assert sorted(built.state_dict()) == ["adapter.down", "adapter.up", "residual"]


@pytest.mark.parametrize("method", [TFUP, TFUPT])
def test_without_unlabelled_images_it_says_so(clip, classes, shots, method):
    built = method(clip, classes, generator=seeded())
    with pytest.raises(ValueError, match="there are no unlabelled images"):
        built.fit(replace(shots, unlabelled=None), tuning=QUICK, generator=seeded())


def test_what_changes_nothing_is_told():
    assert set(TFUP.idle({"alpha": 0.0})) == {"beta", "cache_share", "sharpness"}
    assert not TFUP.idle({"alpha": 0.3})
    assert set(TFUPT.idle({"alpha": 0.0, "chosen_epochs": 0})) == {
        "beta",
        "cache_share",
        "chosen_share",
    }
