"""PromptSRC: its loss in plain torch, its mean over epochs, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.blocks.imagenet_templates import IMAGENET_60
from operators.episodes.episode import Classes, FewShot, batch_of
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.deep_prompts.trajectory import gaussian_weights
from operators.tuning import Tuning, tune

PromptSRC = METHODS["promptsrc"]
LABELS = [0, 1, 2, 3, 0, 1]


def build(clip, classes, method=PromptSRC, **given):
    return method(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def shots(clip, drawn_pictures):
    source = drawn_pictures(clip, LABELS)
    rows = np.arange(len(LABELS))
    train = batch_of(source, rows, np.array(LABELS), range(4), torch.device("cpu"))
    return FewShot(2, train, train.select(torch.arange(0)))


def frozen_class_features(clip, names, templates):
    """Mean of features that keep their length, sentence by sentence."""
    totals = []
    for name in names:
        tokens = clip.tokenize([template.replace("{}", name) for template in templates])
        totals.append(clip.encode_text(clip.embed(tokens.ids), tokens.end).mean(dim=0))
    return unit(torch.stack(totals))


def test_the_loss_is_cross_entropy_and_three_constraints(clip, classes, shots):
    method, batch = build(clip, classes).train(), shots.train
    images, texts = unit(method.image_features(batch)), unit(method.class_features())
    frozen_images = unit(clip.encode_images(batch.pixels))
    frozen_texts = frozen_class_features(clip, classes.names, IMAGENET_60)
    logits = clip.logit_scale * images @ texts.T
    frozen = clip.logit_scale * frozen_images @ frozen_texts.T
    divergence = F.kl_div(
        logits.log_softmax(dim=1), frozen.log_softmax(dim=1), reduction="sum", log_target=True
    )
    wanted = (
        F.cross_entropy(logits, batch.labels)
        + 25 * F.l1_loss(texts, frozen_texts)
        + 10 * F.l1_loss(images, frozen_images)
        + divergence / logits.numel()
    )
    torch.testing.assert_close(method.loss(batch), wanted, rtol=1e-4, atol=1e-4)


def test_without_its_constraints_it_is_tuned_as_ivlp(clip, classes, shots):
    free = {"text_weight": 0.0, "image_weight": 0.0, "logit_weight": 0.0}
    method = build(clip, classes, **free).train()
    twin = build(clip, classes, METHODS["ivlp"]).train()
    twin.load_state_dict(method.state_dict())
    torch.testing.assert_close(method.loss(shots.train), twin.loss(shots.train))


def test_the_constraints_are_zero_where_nothing_was_learned(clip, classes, shots):
    """Untouched towers, by way of prompts that stand in for them."""
    method = build(clip, classes).train()
    method.image_features = lambda batch: batch.features
    method.class_features = lambda: method.frozen_texts
    frozen = clip.logit_scale * unit(shots.train.features) @ method.frozen_texts.T
    wanted = F.cross_entropy(frozen, shots.train.labels)
    torch.testing.assert_close(method.loss(shots.train), wanted)


def test_frozen_features_may_average_over_the_templates_of_the_card(clip):
    classes = Classes(("cat", "dog"), ("a photo of a {}.",), ("a {}.", "one {}."))
    method = build(clip, classes, frozen_templates="card")
    wanted = frozen_class_features(clip, classes.names, classes.ensemble)
    torch.testing.assert_close(method.frozen_texts, wanted, rtol=1e-4, atol=1e-5)


def test_the_published_templates_are_sixty_and_no_two_alike():
    assert len(set(IMAGENET_60)) == 60
    assert all(template.count("{}") == 1 for template in IMAGENET_60)


def test_what_is_kept_is_the_weighted_mean_of_the_prompts_over_the_epochs(clip, classes, shots):
    tuning = Tuning(lr=0.01, epochs=3, batch_size=3, warmup_epochs=0)
    twin, states = build(clip, classes), []

    def remember(_):
        states.append({name: p.detach().clone() for name, p in twin.named_parameters()})

    tune(twin, shots, tuning, torch.Generator().manual_seed(1), epoch_end=remember)
    method = build(clip, classes, mean_epoch=2.0, epoch_std=1.0)
    report = method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(1))
    weights = gaussian_weights(3, 2.0, 1.0)
    assert len(report.losses) == 3
    for name, parameter in method.named_parameters():
        wanted = sum(w * state[name] for w, state in zip(weights, states, strict=True))
        torch.testing.assert_close(parameter.detach(), wanted)
        assert not torch.allclose(parameter.detach(), states[-1][name], rtol=1e-5, atol=1e-8)


def test_recipes_are_those_of_the_published_configurations():
    few_shot = PromptSRC.recipe(protocol="few_shot", shots=4, dataset="digits")
    assert few_shot == {"epochs": 50, "mean_epoch": 30.0, "epoch_std": 30.0}
    late = PromptSRC.recipe(protocol="few_shot", shots=4, dataset="eurosat")
    assert late == {"epochs": 50, "mean_epoch": 45.0, "epoch_std": 5.0}
    assert PromptSRC.recipe(protocol="base_to_new", shots=16, dataset="digits") == {}
    elsewhere = PromptSRC.recipe(protocol="cross_dataset", shots=16, dataset="digits")
    assert elsewhere == {
        "text_depth": 3,
        "image_depth": 3,
        "mean_epoch": 6.0,
        "epoch_std": 10.0,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"selection": "val"}, "PromptSRC is a mean over all: use selection='last'"),
        ({"text_tokens": 9}, "text_tokens=9, but context_init"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("promptsrc", PromptSRC, given, protocol="few_shot", shots=4)
