"""MoCoOp: its three losses, what its prompts start from, and other classes and cards."""

import numpy as np
import pytest
import torch

from operators.backbones import unit
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts import mocoop
from operators.methods.image_classification.text_prompts.mocoop import text_contrast

MoCoOp = METHODS["mocoop"]
LABELS = [0, 1, 2, 1]


@pytest.fixture
def classes():
    return Classes(("cat", "dog", "oak tree"), ("a {}, a type of thing.",))


@pytest.fixture
def batch(few_shot, backbone):
    return few_shot(backbone.feature_width, LABELS).train


def build(backbone, classes, seed=0, **given):
    return MoCoOp(backbone, classes, generator=torch.Generator().manual_seed(seed), **given)


def plain_texts(method, backbone):
    """The class features of each soft prompt, as unit vectors, every text encoded on its own."""
    features = []
    for prompts, words in zip(method.prompts, method.contexts, strict=True):
        states = backbone.encode_text(prompts.fill(words[None]), prompts.end)
        features.append(unit(states + method.correction))
    return torch.stack(features).detach().double().numpy()


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def plain_logits(method, backbone, images, texts):
    rows = []
    for image in images:
        scores = method.router.weight.detach().double().numpy() @ image
        scores += method.router.bias.detach().double().numpy()
        chosen = np.argsort(-scores)[: method.active]
        shares = softmax(scores[chosen])
        mixture = sum(share * texts[g] for share, g in zip(shares, chosen, strict=True))
        rows.append(backbone.logit_scale * mixture @ image)
    return np.stack(rows)


@pytest.mark.parametrize("active", [1, 2, 5])
def test_an_image_is_compared_to_the_mixture_that_its_router_chooses(
    backbone, classes, batch, active, moved
):
    method = moved(build(backbone, classes, active=active)).eval()
    images = unit(batch.features).double().numpy()
    wanted = plain_logits(method, backbone, images, plain_texts(method, backbone))
    found = method.logits(batch).detach().double().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (5.0, 0.0), (0.0, 1.0), (5.0, 1.0)])
def test_the_loss_has_three_parts(backbone, classes, batch, weights, moved):
    text_weight, gate_weight = weights
    method = build(backbone, classes, text_weight=text_weight, gate_weight=gate_weight)
    moved(method).train()
    images, texts = unit(batch.features).double().numpy(), plain_texts(method, backbone)
    groups = [
        ["a {}, a type of thing."],
        ["a photo of a {}."],
        ["a photo of many {}."],
        [f"a {quality} photo of {an} {{}}." for quality in ("low resolution", "pixelated")
         for an in ("the", "a")],
        ["a good photo of the {}.", "a good photo of a {}."],
    ]  # fmt: skip
    anchors = np.stack(
        [
            [
                unit(backbone.text_features([t.replace("{}", n) for t in group]).mean(0)).numpy()
                for n in classes.names
            ]
            for group in groups
        ]
    ).astype(np.float64)
    labels = np.array(LABELS)

    logits = plain_logits(method, backbone, images, texts)
    wanted = np.mean([-np.log(softmax(row)[y]) for row, y in zip(logits, labels, strict=True)])
    contrast = [
        -np.log(softmax(anchors[g] @ texts[g, c])[c]) for g in range(5) for c in range(len(classes))
    ]
    divergence = []
    for image, label in zip(images, labels, strict=True):
        similarity = anchors[:, label] @ image
        similarity[np.argsort(-similarity)[:2]] += 10
        target = softmax(similarity)
        scores = method.router.weight.detach().double().numpy() @ image
        given = softmax(scores + method.router.bias.detach().double().numpy())
        divergence.append((target * np.log(target / given)).sum())
    wanted += text_weight * np.mean(contrast) + gate_weight * np.mean(divergence)
    assert float(method.loss(batch).detach()) == pytest.approx(wanted, rel=1e-4)


def test_texts_that_equal_the_hand_written_are_told_apart_as_far_as_they_can_be():
    texts = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    assert float(text_contrast(texts, texts)) == pytest.approx(np.log(np.e + 2) - 1)
    assert float(text_contrast(texts.roll(1, 1), texts)) == pytest.approx(np.log(np.e + 2))


def test_a_soft_prompt_starts_as_the_first_template_of_its_group(clip, classes):
    method = build(clip, classes).eval()
    written = [group[0].replace(".", "") for group in method.groups]
    assert written[0] == "a {}, a type of thing"
    for template, texts in zip(written, method.weights(), strict=True):
        wanted = clip.text_features([template.replace("{}", name) for name in classes.names])
        torch.testing.assert_close(texts, wanted, rtol=1e-4, atol=1e-5)


def test_a_card_that_says_what_the_photos_say_adds_no_group(clip, classes):
    plain = Classes(classes.names, ("a photo of a {}.",))
    assert len(build(clip, plain).groups) == 4
    assert len(build(clip, classes).groups) == 5
    assert len(build(clip, plain, templates="imagenet").groups) == 33


def test_another_dataset_is_classified_with_the_prompts_that_were_learned(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, LABELS)
    method = build(clip, classes)
    tuning = mocoop.Tuning(lr=0.032, epochs=3, batch_size=4, warmup_epochs=0)
    method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    elsewhere = Classes(("zebra", "tea pot"), ("a photo of a {}.",))
    twin = method.eval().with_classes(elsewhere)
    assert twin.groups == method.groups
    assert twin.logits(shots.train).shape == (4, 2)
    back = twin.with_classes(Classes(classes.names, ("{} texture.",)))
    torch.testing.assert_close(back.logits(shots.train), method.logits(shots.train))


def test_a_template_without_words_has_a_prompt_with_nothing_to_learn(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, LABELS)
    method = build(clip, Classes(classes.names, ("{}.",)))
    assert len(method.contexts[0]) == 0
    report = method.fit(shots, tuning=MoCoOp.tuning, generator=torch.Generator().manual_seed(0))
    assert report.losses[-1] < report.losses[0]
    twin = build(clip, Classes(classes.names, ("{}.",)), seed=1)
    twin.load_state_dict(method.learned())
    torch.testing.assert_close(twin.eval().logits(shots.train), method.logits(shots.train))


@pytest.mark.parametrize("limit", [1e-3, 1e9])
def test_a_gradient_that_is_too_long_is_shortened(clip, classes, few_shot, limit, moved):
    batch = few_shot(clip.feature_width, LABELS).train
    method, plain = (moved(build(clip, classes, clip_norm=limit)).train() for _ in range(2))
    loss = method.backward(batch)
    wanted = plain.loss(batch)
    wanted.backward()
    torch.testing.assert_close(loss, wanted.detach())
    found = torch.cat([p.grad.flatten() for p in method.parameters()])
    whole = torch.cat([p.grad.flatten() for p in plain.parameters()])
    shorter = min(1.0, limit / float(whole.norm()))
    torch.testing.assert_close(found, shorter * whole, rtol=1e-4, atol=1e-9)


def test_texts_pass_the_tower_once_a_step_and_once_an_evaluation(
    clip, classes, few_shot, monkeypatch
):
    batch = few_shot(clip.feature_width, LABELS).train
    method = build(clip, classes)
    assert method.anchors.shape == (5, 3, clip.feature_width)
    seen, encode = [], clip.encode_prompts

    def counting(prompts, context, *, share):
        assert share == 5
        seen.append(len(prompts.ids))
        return encode(prompts, context, share=share)

    monkeypatch.setattr(clip, "encode_prompts", counting)
    method.train().loss(batch)
    assert seen == [3] * 5
    method.eval()
    for _ in range(3):
        method.logits(batch)
    assert seen == [3] * 10


def test_the_budget_of_the_text_tower_is_shared(clip, classes, few_shot, monkeypatch):
    batch = few_shot(clip.feature_width, LABELS).train
    method, budgets = build(clip, classes).train(), []
    cut = type(clip.packed_text).parts

    def recorded(packed, prompts, context, budget, **how):
        budgets.append(budget)
        return cut(packed, prompts, context, budget, **how)

    monkeypatch.setattr(type(clip.packed_text), "parts", recorded)
    method.loss(batch)
    assert budgets.count(clip.text_budget // 5) == 5


def test_more_active_prompts_than_groups_are_refused(clip, classes):
    with pytest.raises(ValueError, match="active=6, but the templates are of 5 groups"):
        build(clip, classes, active=6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"templates": "all"}, "templates='all' is not one of photos, imagenet"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("mocoop", MoCoOp, given, protocol="few_shot", shots=4)


def test_the_published_settings_are_the_same_for_every_protocol_and_shot():
    for protocol, shots in (("few_shot", 1), ("few_shot", 16), ("base_to_new", 16)):
        values = resolve("mocoop", MoCoOp, {}, protocol=protocol, shots=shots)
        assert (values["lr"], values["epochs"], values["warmup_epochs"]) == (0.032, 50, 5)
        assert (values["active"], values["text_weight"], values["gate_weight"]) == (2, 5.0, 1.0)
