"""Tip-Adapter: its equation, its search, and what fine-tuning moves."""

import math
from dataclasses import replace

import pytest
import torch

from operators.blocks.cache_head import grid, search, sharpened
from operators.blocks.imagenet_templates import SELECTED_7
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.methods import METHODS

pytestmark = pytest.mark.bits

TipAdapter, TipAdapterF = METHODS["tip-adapter"], METHODS["tip-adapter-f"]


def fitted(method, backbone, classes, shots, **given):
    built = method(backbone, classes, generator=torch.Generator(), **given)
    built.fit(shots, tuning=method.tuning, generator=torch.Generator().manual_seed(0))
    return built.eval()


def zero_shot_logits(clip, classes, batch):
    built = METHODS["zero-shot"](clip, classes, generator=torch.Generator())
    return built.eval().logits(batch)


@pytest.fixture
def shots(clip, few_shot):
    return few_shot(clip.feature_width, [0, 1, 2, 3, 1], [0, 1, 2, 3] * 2)


def test_votes_of_a_worked_example():
    keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = sharpened(torch.tensor([[1.0, 0.0]]) @ keys.T, beta=2.0) @ values
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0 + math.exp(-2)]]))


def test_logits_are_zero_shot_plus_alpha_votes(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3, 1])
    found = fitted(TipAdapter, clip, classes, shots, alpha=2.0, beta=3.0).logits(shots.train)
    wanted = zero_shot_logits(clip, classes, shots.train).clone()
    unit = torch.nn.functional.normalize(shots.train.features, dim=1)
    for i, image in enumerate(unit):
        for key, label in zip(unit, shots.train.labels, strict=True):
            wanted[i, label] += 2.0 * math.exp(-3.0 * (1 - float(image @ key)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_alpha_zero_is_zero_shot(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3])
    found = fitted(TipAdapter, clip, classes, shots, alpha=0.0).logits(shots.train)
    torch.testing.assert_close(found, zero_shot_logits(clip, classes, shots.train))


def test_an_empty_cache_is_zero_shot(clip, classes, shots):
    built = TipAdapter(clip, classes, generator=torch.Generator())
    wanted = zero_shot_logits(clip, classes, shots.train)
    torch.testing.assert_close(built.logits(shots.train), wanted)


def test_the_grid_starts_at_a_tenth_and_stops_before_its_scale():
    assert grid(3.0, 20) == pytest.approx([i * (3.0 - 0.1) / 20 + 0.1 for i in range(20)])


def test_the_search_goes_through_beta_first_and_keeps_the_first_of_the_best():
    generator = torch.Generator().manual_seed(4)
    features, keys = (torch.randn(n, 5, generator=generator) for n in (30, 9))
    labels = torch.randint(0, 3, (30,), generator=generator)
    values = torch.nn.functional.one_hot(torch.arange(9) % 3, 3).float()
    base = torch.randn(30, 3, generator=generator)
    alphas, betas = [0.1, 0.5, 1.0, 2.0], [0.2, 1.0, 3.0]
    best, wanted = -1, None
    for beta in betas:
        for alpha in alphas:
            votes = sharpened(features @ keys.T, beta) @ values
            hits = int(((base + alpha * votes).argmax(1) == labels).sum())
            if hits > best:
                best, wanted = hits, (alpha, beta)
    found = search(base, features @ keys.T, values, labels, alphas=alphas, betas=betas)
    assert tuple(found) == wanted


def test_of_equal_pairs_the_search_keeps_the_first():
    one = torch.eye(2)
    found = search(9 * one, one, one, torch.arange(2), alphas=[0.3, 0.6], betas=[0.5, 0.7])
    assert tuple(found) == (0.3, 0.5)


def test_without_validation_images_alpha_and_beta_stay(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3])
    built = fitted(TipAdapter, clip, classes, shots, alpha=0.7, beta=2.5)
    assert built.cache.scalars.tolist() == pytest.approx([0.7, 2.5])


def test_what_the_search_chose_is_reported(clip, classes, shots):
    built = TipAdapter(clip, classes, generator=torch.Generator(), search_steps_beta=5)
    report = built.fit(shots, tuning=None, generator=torch.Generator())
    assert [report.selected["alpha"], report.selected["beta"]] == pytest.approx(
        built.cache.scalars.tolist()
    )


def test_training_free_keys_are_the_unit_features(clip, classes, shots):
    keys = fitted(TipAdapter, clip, classes, shots).cache.keys
    torch.testing.assert_close(keys.detach(), torch.nn.functional.normalize(shots.train.features))
    assert not keys.requires_grad


def test_fine_tuning_moves_the_keys_alone(clip, classes, shots):
    built = fitted(TipAdapterF, clip, classes, shots, search_steps_beta=5)
    start = torch.nn.functional.normalize(shots.train.features)
    assert not torch.allclose(built.cache.keys, start, atol=1e-3)
    assert [name for name, p in built.named_parameters() if p.requires_grad] == ["keys"]
    free = fitted(TipAdapter, clip, classes, shots, search_steps_beta=5)
    assert torch.equal(built.cache.texts, free.cache.texts)
    assert torch.equal(built.cache.values, free.cache.values)


def test_the_search_may_be_left_out(clip, classes, shots):
    built = TipAdapter(clip, classes, generator=torch.Generator(), alpha=0.5, search_on="none")
    report = built.fit(shots, tuning=None, generator=torch.Generator())
    assert (built.cache.scalars.tolist(), report.selected) == ([0.5, 1.0], None)


def test_the_scale_may_be_written_out_and_the_texts_be_those_of_imagenet(clip, classes, shots):
    found, usual = (
        TipAdapter(clip, classes, generator=torch.Generator(), **given)
        for given in ({"scale": 100.0, "templates": "imagenet"}, {})
    )
    prompts = [prompt for template in SELECTED_7 for prompt in classes.prompts(template)]
    texts = clip.text_features(prompts).view(7, len(classes), -1).mean(dim=0)
    unit = torch.nn.functional.normalize
    wanted = 100 * unit(shots.train.features) @ unit(texts).T
    torch.testing.assert_close(found.logits(shots.train), wanted)
    assert not torch.allclose(usual.logits(shots.train), wanted)


def test_on_few_images_of_which_none_gains_the_smallest_pair_stays_and_the_whole_split_finds_one():
    """Why trials with 1 shot often equal zero-shot: among equals the published search is strict."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.nn.functional.normalize(torch.randn(5, 8, generator=generator), dim=1)
    labels = torch.arange(200) % 5
    noise = 0.4 * torch.randn(200, 8, generator=generator)
    features = torch.nn.functional.normalize(centres[labels] + noise, dim=1)
    texts = torch.nn.functional.normalize(centres + 0.5 * noise[:5], dim=1)
    grids = {"alphas": grid(3.0, 20), "betas": grid(7.0, 200)}

    def chosen(rows):
        base = 30 * features[rows] @ texts.T
        return search(base, features[rows] @ centres.T, torch.eye(5), labels[rows], **grids)

    right = (30 * features @ texts.T).argmax(dim=1) == labels
    few = torch.stack([(right & (labels == label)).nonzero()[0, 0] for label in range(5)])
    assert tuple(chosen(few)) == (0.1, 0.1)  # zero-shot is right on all, so nothing is better
    assert chosen(torch.arange(200)).alpha > 1


@pytest.mark.parametrize("epochs", [0, 1])
def test_no_epoch_of_views_or_one_of_centre_crops_fills_the_cache_as_before(
    clip, classes, shots, epochs
):
    before = fitted(TipAdapter, clip, classes, shots).cache.keys
    assert torch.equal(fitted(TipAdapter, clip, classes, shots, augment_epochs=epochs).cache.keys,
                       before)  # fmt: skip
    seen = replace(shots, views=ViewPolicy.parse("fresh:crop-0.5"))
    none = fitted(TipAdapter, clip, classes, seen, augment_epochs=0).cache.keys
    assert torch.equal(none, before)


def test_the_cache_averages_the_features_of_ten_epochs_as_they_are(clip, classes, shots):
    """Not of unit norm before the mean, as in the authors' code."""
    seen = replace(shots, views=ViewPolicy.parse("fresh:crop-0.5"), seed=3)
    views = [View(epoch, 3, "crop-0.5") for epoch in range(10)]
    mean = sum(shots.train.under(view).features for view in views) / 10
    keys = fitted(TipAdapter, clip, classes, seen).cache.keys
    torch.testing.assert_close(keys.detach(), torch.nn.functional.normalize(mean))


def test_what_is_encoded_anew_is_counted():
    fresh, bank = ViewPolicy.parse("fresh:crop-0.5"), ViewPolicy.parse("bank:4:crop-0.5")
    values = {"epochs": 20, "augment_epochs": 10}
    assert TipAdapter.encodings(values, fresh) == (10, 0)
    assert TipAdapterF.encodings(values, fresh) == (30, 0)
    assert TipAdapterF.encodings(values, bank) == TipAdapterF.encodings(values, CENTRE) == (0, 0)
