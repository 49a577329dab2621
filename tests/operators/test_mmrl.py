"""MMRL: tokens in the later layers of both towers, and which feature answers for which classes."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts, unit
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

MMRL = METHODS["mmrl"]


def build(clip, classes, **given):
    given = {"token_width": 20, **given}
    return MMRL(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, rows = drawn_pictures(clip, [0, 1, 2, 3]), torch.arange(4)
    return Batch(source, rows.numpy(), rows)


def test_maps_of_all_layers_start_alike_and_the_projection_is_its_own(clip, classes):
    method = build(clip, classes)
    assert {name: tuple(p.shape) for name, p in method.named_parameters()} == {
        "tokens": (5, 20),
        "projection": (24, 48),
        "image_maps.weight": (3, 48, 20),
        "image_maps.bias": (3, 1, 48),
        "text_maps.weight": (3, 32, 20),
        "text_maps.bias": (3, 1, 32),
    }
    assert torch.equal(method.text_maps.weight[0], method.text_maps.weight[2])
    assert float((method.projection - clip.image_projection.weight).detach().abs().max()) > 0.1
    assert build(clip, classes, depth=2).image_layers == range(1, 3)


@pytest.mark.parametrize("depth", [2, 7])
def test_loss_and_gradients_are_those_of_tokens_that_are_put_between(clip, classes, batch, depth):
    method = build(clip, classes, depth=depth, tokens=2, share=0.6, anchor_weight=0.5).train()
    loss = method.loss(batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    first = method.text_layers[0]
    deep = [
        DeepPrompts(
            torch.stack(
                [
                    F.linear(method.tokens, *each)
                    for each in zip(m.weight, m.bias[:, 0], strict=True)
                ]
            ),
            start=1,
            first=first,
            insert=True,
        )
        for m in (method.text_maps, method.image_maps)
    ]
    tokens = clip.tokenize([f"a photo of a {name}." for name in classes.names])
    x = clip.text_inputs(clip.embed(tokens.ids), torch.arange(tokens.ids.shape[1]))
    x = clip.text_tower(x, deep_prompts=deep[0])
    texts = unit(clip.text_outputs(x[torch.arange(len(x)), tokens.end + 2]))
    x = clip.image_tower(clip.embed_images(batch.pixels), deep_prompts=deep[1])
    own = unit(clip.image_outputs(x[:, 0]))
    theirs = unit(clip.image_norm_out(x[:, 1:3]).mean(dim=1) @ method.projection.T)
    errors = [F.cross_entropy(clip.logit_scale * f @ texts.T, batch.labels) for f in (own, theirs)]
    frozen = unit(clip.encode_text(clip.embed(tokens.ids), tokens.end))
    apart = [
        1 - F.cosine_similarity(one, other).mean()
        for one, other in ((own, clip.encode_images(batch.pixels)), (texts, frozen))
    ]
    plain = 0.6 * errors[0] + 0.4 * errors[1] + 0.5 * sum(apart)
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-4)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_the_tokens_answer_for_learned_classes_alone(clip, classes, batch):
    method = build(clip, classes).eval()
    with torch.no_grad():
        _, both = method.both_logits(batch)
        torch.testing.assert_close(method.logits(batch), 0.7 * both[:, 0] + 0.3 * both[:, 1])
        fewer = method.with_classes(classes.subset([2, 0]))
        torch.testing.assert_close(fewer.logits(batch), method.logits(batch)[:, [2, 0]])
        other = method.with_classes(Classes(("cat", "a boat"), classes.templates))
        again = other.with_classes(Classes(("cat", "a boat"), classes.templates))
        torch.testing.assert_close(other.logits(batch)[:, 0], both[:, 0, 0])
        assert torch.equal(again.logits(batch), other.logits(batch))


def test_a_template_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"has no single \{\} for the class name"):
        resolve("mmrl", MMRL, {"template": "a photo"}, protocol="few_shot", shots=4)
