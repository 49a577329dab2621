"""TCP: its class-aware tokens and loss written out, its templates, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts, unit
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.tcp import wordless

TCP = METHODS["tcp"]
NAMES = ("cat", "small dog", "oak tree")
CLASSES = Classes(NAMES, ("a photo of a {}, a type of thing.",))


def build(backbone, classes=CLASSES, **given):
    return TCP(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def text_features(method, backbone):
    """The tower from end to end, text by text, with the tokens put in by hand."""
    context, layer = method.context[0], method.class_layer
    written = unit(backbone.text_features([f"a photo of a {n}, a type of thing." for n in NAMES]))
    features = []
    for name, w in zip(NAMES, written.to(context.dtype), strict=True):
        tokens = backbone.tokenize([f"X X X X {name}, a type of thing."])
        inputs = backbone.embed(tokens.ids)[0].to(context.dtype)
        inputs = torch.cat([inputs[:1], context, inputs[1 + len(context) :]])
        hidden = F.linear(w, method.narrow.weight, method.narrow.bias)
        hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        own = F.linear(hidden, method.widen.weight, method.widen.bias).view_as(context)
        deep = DeepPrompts(own[None], start=1, first=layer)
        features.append(backbone.encode_text(inputs[None], tokens.end, deep)[0])
    return unit(torch.stack(features)), unit(written).to(context.dtype)


def test_a_step_is_that_of_the_paper_s_arithmetic(clip, few_shot):
    batch = few_shot(clip.feature_width, [0, 1, 2, 1]).train
    method = build(clip, weight=3.0).train()
    texts, written = text_features(method, clip)
    wanted = F.cross_entropy(clip.logit_scale * unit(batch.features) @ texts.T, batch.labels)
    wanted = wanted + 3.0 * (1 - (texts * written).sum(dim=1).mean())
    learned = list(method.parameters())
    gradients = torch.autograd.grad(wanted, learned)
    loss = method.loss(batch)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    for found, gradient in zip(torch.autograd.grad(loss, learned), gradients, strict=True):
        largest = float(gradient.abs().max())
        assert largest > 0
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-4 * largest)


def test_the_context_counts_before_the_layer_of_the_class_aware_tokens(clip):
    last, first = build(clip), build(clip, class_layer=1)
    assert (last.class_layer, first.class_layer) == (2, 1)
    for method in (last, first):
        before = method.class_features()
        with torch.no_grad():
            method.context += torch.randn(method.context.shape, generator=torch.Generator())
        assert not torch.allclose(method.class_features(), before, atol=1e-4)


def test_a_new_class_gets_tokens_of_its_own_prompt(clip):
    others = Classes(("zebra", "tea pot"), CLASSES.templates)
    method, start = build(clip), build(clip, others)
    twin = method.with_classes(others)
    assert torch.equal(twin.class_tokens(), start.class_tokens())
    assert (twin.class_tokens()[0] - twin.class_tokens()[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("template", "rest"),
    [
        ("a photo of a {}.", "{}."),
        ("a photo of a {}, a type of pet.", "{}, a type of pet."),
        ("a photo of {}, a type of food.", "{}, a type of food."),
        ("a photo of a person doing {}.", "person doing {}."),
        ("a centered satellite photo of {}.", "{}."),
        ("{} texture.", "{} texture."),
    ],
)
def test_the_context_takes_the_place_of_the_words_that_the_code_leaves_out(template, rest):
    assert wordless(template) == rest


def test_cars_are_cars_only_among_cars():
    published = {
        protocol: resolve("tcp", TCP, {}, protocol=protocol, shots=16, dataset="stanford_cars")
        for protocol in ("few_shot", "cross_dataset")
    }
    assert published["few_shot"]["template"] == "{}, a type of car"
    assert published["cross_dataset"]["template"] == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": "a car"}, "template 'a car' has no single {}"),
        ({"n_context": 3, "context_init": "a photo of a"}, "n_context=3, but context_init"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("tcp", TCP, given, protocol="few_shot", shots=4)
