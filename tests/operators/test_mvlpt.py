"""MVLPT: its three forms, and the logits of other tasks' classes."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.blocks.deep_tokens import prompted_images, prompted_texts
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

MVLPT = METHODS["mvlpt"]
TWO_TASKS = Classes(("cat", "oak tree", "cat"), ("{}.",), tasks=(0, 0, 1))


def build(clip, classes=TWO_TASKS, **given):
    return MVLPT(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, labels = drawn_pictures(clip, [0, 1, 2]), torch.arange(3)
    return Batch(source, labels.numpy(), labels)


@pytest.mark.parametrize(
    ("form", "tokens", "wanted"),
    [
        ("coop", 0, {"context": (1, 16, 32)}),
        ("coop", 2, {"context": (1, 2, 32)}),
        ("vpt", 0, {"image": (3, 16, 48)}),
    ],
)
def test_forms_learn_what_they_are_about(clip, form, tokens, wanted):
    found = build(clip, form=form, n_tokens=tokens).named_parameters()
    assert {name: tuple(value.shape) for name, value in found} == wanted


def test_the_unified_form_has_four_tokens_each_and_maps_where_widths_differ(clip):
    learned = build(clip, layer_width=48).learned()
    assert learned["text"].shape == (4, 32)
    assert learned["image"].shape == (3, 4, 48)
    assert {name for name in learned if name.startswith("mixer.image_")} == set()
    assert learned["mixer.text_in.weight"].shape == (48, 32)


@pytest.mark.parametrize("form", ["upt", "coop", "vpt"])
def test_a_step_is_that_of_the_plain_arithmetic(clip, batch, form):
    method = build(clip, form=form, n_tokens=2, layer_width=16).train()
    loss = method.loss(batch)
    loss.backward()
    fast = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    prompt = method.prompt
    texts, images = method.texts, batch.features
    if form == "upt":
        words, tokens = prompt.tokens()
        texts = prompted_texts(clip, prompt.layout, words[None])
        images = prompted_images(clip, batch, tokens, behind_norm=True)
    elif form == "coop":
        texts = clip.encode_prompts(prompt.layout, prompt.context)
    else:
        images = prompted_images(clip, batch, prompt["image"], behind_norm=True)
    plain = F.cross_entropy(clip.logit_scale * unit(images) @ unit(texts).T, batch.labels)
    plain.backward()
    torch.testing.assert_close(loss, plain)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(fast[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_the_first_image_tokens_enter_behind_the_norm_of_the_tower(clip, batch):
    tokens = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(1))
    normed = torch.cat([clip.image_norm_in(tokens[:1]), tokens[1:]])
    found = prompted_images(clip, batch, normed, behind_norm=True)
    torch.testing.assert_close(found, prompted_images(clip, batch, tokens))
    assert not torch.allclose(found, prompted_images(clip, batch, normed), atol=1e-3)


def test_the_class_name_stands_in_the_middle(clip):
    prompt = build(clip, Classes(("cat",), ("{}.",)), form="coop", n_tokens=4).prompt
    places = (prompt.layout.slots[0] - clip.text_start).tolist()
    length = int(clip.tokenize(["cat"]).end[0]) - clip.text_start
    assert places == [0, 1, 2 + length, 3 + length]


@pytest.mark.parametrize("other_tasks", ["scored", "zeroed", "left_out"])
def test_logits_of_other_tasks_are_scored_zeroed_or_left_out(clip, batch, other_tasks):
    method = build(clip, form="coop", n_tokens=2, other_tasks=other_tasks).train()
    logits = method.logits(batch).detach().clone()
    own = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    logits = {
        "scored": logits,
        "zeroed": logits * own,  # as the authors' flag does
        "left_out": logits.masked_fill(~own, -torch.inf),
    }[other_tasks]
    torch.testing.assert_close(method.loss(batch), F.cross_entropy(logits, batch.labels))


def test_a_single_task_knows_no_others(clip, batch):
    alone = Classes(("cat", "oak tree", "dog"), ("{}.",))
    for other_tasks in ("scored", "left_out"):
        method = build(clip, alone, form="coop", n_tokens=2, other_tasks=other_tasks).train()
        plain = F.cross_entropy(method.logits(batch), batch.labels)
        assert torch.equal(method.loss(batch), plain)


@pytest.mark.parametrize(
    ("given", "protocol", "message"),
    [
        ({"other_tasks": "zeroed"}, "few_shot", "source_hyperparameters={other_tasks: zeroed}"),
        ({"form": "coop", "mixing": "all"}, "few_shot", "coop has no layer over its tokens"),
        ({"form": "vpt", "layer_width": 64}, "few_shot", "Ask for form=upt as well"),
        ({"form": "vpt", "init_std": 0.1}, "few_shot", "no words are learned"),
        ({"mixing": "pairs", "form": "other"}, "few_shot", "not one of upt, coop, vpt"),
    ],
)
def test_values_that_would_change_nothing_are_refused(given, protocol, message):
    with pytest.raises(ValueError, match=message):
        resolve("mvlpt", MVLPT, given, protocol=protocol, shots=4)


def test_words_alone_need_no_tokens_in_images(effnet, few_shot):
    shots = few_shot(effnet.feature_width, [0, 1, 2])
    words = build(effnet, form="coop", n_tokens=2).train()
    assert torch.isfinite(words.loss(shots.train))
    for form in ("upt", "vpt"):
        with pytest.raises(ValueError, match=f"form='{form}' needs visual-prompts, which effnet"):
            build(effnet, form=form)
