"""PVP: the two heads, and what the second stage takes over from the first."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.blocks.deep_tokens import prompted_images
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

PVP = METHODS["pvp"]


def build(clip, classes, seed=0, **given):
    return PVP(clip, classes, generator=torch.Generator().manual_seed(seed), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, labels = drawn_pictures(clip, [0, 1]), torch.arange(2)
    return Batch(source, labels.numpy(), labels)


@pytest.mark.parametrize("head", ["texts", "linear"])
def test_a_step_is_that_of_the_plain_arithmetic(clip, classes, batch, head):
    method = build(clip, classes, head=head).train()
    loss = method.loss(batch)
    loss.backward()
    fast = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    features = prompted_images(clip, batch, method.image, behind_norm=True)
    if head == "texts":
        logits = clip.logit_scale * unit(features) @ method.texts.T
    else:
        logits = features @ method.head.weight.T + method.head.bias
    plain = F.cross_entropy(logits, batch.labels)
    plain.backward()
    torch.testing.assert_close(loss, plain)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(fast[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_second_stage_takes_over_the_tokens_and_drops_the_head(clip, classes):
    other = Classes(("oak", "elm", "ash", "yew", "fir"), ("{}.",))
    first = build(clip, other, head="linear", seed=1)
    assert set(first.learned()) == {"image", "head.weight", "head.bias"}
    for head in ("texts", "linear"):
        second = build(clip, classes, head=head)
        before = second.learned()
        second.start_from(first.learned())
        assert torch.equal(second.image, first.image)
        for name in before.keys() - {"image"}:
            assert torch.equal(second.learned()[name], before[name])


def test_the_first_stage_has_the_same_tokens_and_a_linear_head():
    given = {"image_tokens": 4, "depth": 2}
    values = resolve("pvp", PVP, given, protocol="few_shot", shots=4)
    assert PVP.source_settings(values) == {**given, "head": "linear"}


def test_a_linear_head_stays_with_its_classes(clip, classes):
    method = build(clip, classes, head="linear")
    with pytest.raises(ValueError, match="cannot classify others: tune it with head='texts'"):
        method.with_classes(Classes(("oak", "elm"), ("{}.",)))
    again = method.with_classes(Classes(classes.names, ("a drawing of a {}.",)))
    assert torch.equal(again.head.weight, method.head.weight)


@pytest.mark.parametrize(
    ("given", "protocol", "message"),
    [
        ({"source_datasets": "dtd,eurosat"}, "few_shot", "belongs to the classes of one dataset"),
        ({"head": "linear"}, "base_to_new", "use head='texts' in base_to_new"),
        ({"head": "linear", "template": "{}"}, "few_shot", "a linear head reads no texts"),
        ({"template": "a photo"}, "few_shot", r"no single \{\} for the class name"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, protocol, message):
    with pytest.raises(ValueError, match=message):
        resolve("pvp", PVP, given, protocol=protocol, shots=4)
