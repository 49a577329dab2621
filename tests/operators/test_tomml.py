"""TOMML: the text and the feature that each image has for each class, and the memory they take."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Classes, FewShot, batch_of
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts import tomml
from operators.tuning import Tuning

TOMML, CoCoOp = METHODS["tomml"], METHODS["cocoop"]
LABELS = [0, 1, 2, 3, 1]


@pytest.fixture(params=["clip", "siglip"])
def tower(request):
    return request.getfixturevalue(request.param)


def batch_for(tower, drawn_pictures):
    pictures = drawn_pictures(tower, LABELS)
    return batch_of(pictures, np.arange(5), np.array(LABELS), range(4), tower.device)


def build(tower, classes, method=TOMML, **given):
    return method(tower, classes, generator=torch.Generator().manual_seed(0), **given)


def looked_at(head, text, patches):
    """The mean patch that a text attends to, patch by patch."""
    query = head.query @ text
    scores = torch.stack([query @ (head.key @ patch) for patch in patches]) / math.sqrt(len(query))
    return sum(share * patch for share, patch in zip(scores.softmax(0), patches, strict=True))


def pair_by_pair(method, tower, pixels):
    """Logits as the docstring says them: one image and one class after the other."""
    reading = tower.read_images(tower.embed_images(pixels))
    asked = tower.text_features([f"a photo of a {name}." for name in method.classes.names])
    rows = []
    for feature, patches in zip(unit(reading.features), unit(reading.patches), strict=True):
        row = []
        for place, text in enumerate(asked):
            hidden = F.relu(method.prompt.narrow(looked_at(method.find, text, patches)))
            context = method.prompt.context + method.prompt.widen(hidden)
            prompt = method.prompt.layout.subset(place, place + 1)
            own = unit(tower.encode_text(prompt.fill(context[None]), prompt.end))[0]
            seen = method.guide.value @ looked_at(method.guide, text, patches)
            image = unit(feature + method.guide.out @ seen)
            row.append(tower.logit_scale * own @ image)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@torch.no_grad()
def test_each_image_has_a_text_and_a_feature_of_its_own_for_each_class(
    tower, classes, drawn_pictures, moved
):
    method = moved(build(tower, classes, reduction=4, head_reduction=3))
    batch = batch_for(tower, drawn_pictures)
    wanted = pair_by_pair(method, tower, batch.pixels)
    torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-3)


def test_what_a_class_finds_moves_its_own_prompt_alone(clip, classes, drawn_pictures, moved):
    method = moved(build(clip, classes, reduction=2)).eval()
    batch = batch_for(clip, drawn_pictures)
    patches = unit(method.patches.read(batch).patches)
    contexts = method.prompt.contexts(method.find(method.hand_written[None], patches))
    assert contexts.shape == (5, 4, 4, clip.token_width)
    assert (contexts[:, 0] - contexts[:, 1]).abs().amax(dim=(1, 2)).min() > 1e-4
    other = method.hand_written.clone()
    other[2] = -other[2]
    changed = method.prompt.contexts(method.find(other[None], patches))
    same = torch.isclose(changed, contexts, rtol=0, atol=1e-6).all(dim=(2, 3))
    assert same.all(dim=0).tolist() == [True, True, False, True]


def test_where_all_patches_are_alike_and_unguided_it_is_cocoop_of_the_patch(
    clip, classes, few_shot, drawn_pictures, monkeypatch
):
    batch = batch_for(clip, drawn_pictures)
    read = clip.read_images
    monkeypatch.setattr(
        clip,
        "read_images",
        lambda tokens: (seen := read(tokens))._replace(
            patches=seen.features[:, None].expand(-1, 3, -1)
        ),
    )
    method, other = build(clip, classes), build(clip, classes, CoCoOp)
    torch.testing.assert_close(method.logits(batch), other.logits(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("pairs", "most"), [(1, 1), (8, 2), (8192, 5)])
def test_images_in_parts_give_the_same_logits(
    clip, classes, drawn_pictures, monkeypatch, pairs, most, moved
):
    method, batch = moved(build(clip, classes)).eval(), batch_for(clip, drawn_pictures)
    with torch.no_grad():
        wanted = method.logits(batch)
    seen, encode = [], clip.encode_prompts
    monkeypatch.setattr(tomml, "PAIRS", pairs)
    monkeypatch.setattr(
        clip,
        "encode_prompts",
        lambda p, context: (seen.append(len(context)), encode(p, context))[1],
    )
    with torch.no_grad():
        torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-4)
    assert (max(seen), sum(seen)) == (most, len(LABELS))


def test_a_small_budget_changes_no_gradient(clip, classes, drawn_pictures, monkeypatch, moved):
    batch, gradients, parts = batch_for(clip, drawn_pictures), [], []
    packed = type(clip.packed_text)
    cut = packed.parts
    monkeypatch.setattr(
        packed, "parts", lambda *a, **how: parts.append(made := cut(*a, **how)) or made
    )
    for budget in (clip.text_budget, 1):
        monkeypatch.setattr(clip, "text_budget", budget)
        method = moved(build(clip, classes)).train()
        method.loss(batch).backward()
        gradients.append([p.grad for p in method.parameters()])
    assert len(parts[-1]) == len(LABELS) * len(classes)  # one class of one image at a time
    assert sum(part.recompute for part in parts[-1]) == len(parts[-1]) - 1
    for whole, pieces in zip(*gradients, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-5)


def test_an_image_passes_the_image_tower_once_in_all_epochs(
    clip, classes, drawn_pictures, monkeypatch
):
    batch, seen, embed = batch_for(clip, drawn_pictures), [], clip.embed_images
    monkeypatch.setattr(
        clip, "embed_images", lambda pixels: (seen.append(len(pixels)), embed(pixels))[1]
    )
    shots = FewShot(2, batch, batch.select(torch.arange(0)))
    tuning = Tuning(lr=0.002, epochs=3, batch_size=2)
    build(clip, classes).fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert sum(seen) <= len(LABELS)


def test_other_classes_ask_for_themselves(clip, classes, drawn_pictures, moved):
    method = moved(build(clip, classes)).eval()
    others = Classes(("zebra", "tea pot"), ("a {}.",))
    twin = method.with_classes(others)
    asked = clip.text_features(["a zebra.", "a tea pot."])
    torch.testing.assert_close(twin.hand_written, asked)
    assert twin.logits(batch_for(clip, drawn_pictures)).shape == (5, 2)


def test_a_tower_without_patches_is_refused(effnet, classes):
    with pytest.raises(ValueError, match="needs patch-features, which effnet-minilm does not have"):
        build(effnet, classes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 5}, "n_context=5, but context_init 'a photo of a' has 4 words"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("tomml", TOMML, given, protocol="few_shot", shots=4)
