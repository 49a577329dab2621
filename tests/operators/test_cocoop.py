"""CoCoOp: the context of each image, and the memory that many of them take."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts import cocoop

CoCoOp = METHODS["cocoop"]
LABELS = [0, 1, 2, 3, 1]


def build(backbone, classes, **given):
    return CoCoOp(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def image_by_image(method, backbone, features):
    """Logits as the published code finds them: one image after the other, texts in full."""
    rows = []
    for image in unit(features):
        hidden = F.relu(method.prompt.narrow.weight @ image + method.prompt.narrow.bias)
        shift = method.prompt.widen.weight @ hidden + method.prompt.widen.bias
        filled = method.prompt.layout.fill((method.prompt.context + shift)[None])
        texts = unit(backbone.encode_text(filled, method.prompt.layout.end))
        rows.append(backbone.logit_scale * texts @ image)
    return torch.stack(rows)


def test_every_image_is_compared_to_class_texts_of_its_own(backbone, classes, few_shot):
    method = build(backbone, classes, reduction=4)
    batch = few_shot(backbone.feature_width, LABELS).train
    wanted = image_by_image(method, backbone, batch.features)
    torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-4)


def test_without_a_shift_all_images_share_the_context(clip, classes, few_shot):
    method = build(clip, classes)
    with torch.no_grad():
        method.prompt.widen.weight.zero_()
        method.prompt.widen.bias.zero_()
    coop = METHODS["coop"](
        clip, classes, generator=torch.Generator(), n_context=4, context_init="a photo of a"
    )
    batch = few_shot(24, LABELS).train
    torch.testing.assert_close(method.logits(batch), coop.logits(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pairs", [1, 8, 12])
def test_images_in_parts_give_the_same_logits(clip, classes, few_shot, monkeypatch, pairs):
    method = build(clip, classes).eval()
    batch = few_shot(24, LABELS).train
    with torch.no_grad():
        wanted = method.logits(batch)
    seen = []
    encode = clip.encode_prompts
    monkeypatch.setattr(cocoop, "PAIRS", pairs)
    monkeypatch.setattr(
        clip,
        "encode_prompts",
        lambda p, context: (seen.append(len(context)), encode(p, context))[1],
    )
    with torch.no_grad():
        torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-4)
    assert max(seen) == max(1, pairs // 4)
    assert sum(seen) == len(LABELS)


@pytest.mark.parametrize(("reduction", "inner"), [(16, 1), (4, 6), (100, 1)])
def test_the_network_is_as_narrow_as_asked(clip, classes, reduction, inner):
    method = build(clip, classes, reduction=reduction)
    assert method.prompt.narrow.weight.shape == (inner, 24)
    assert method.prompt.widen.weight.shape == (32, inner)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 5}, "n_context=5, but context_init 'a photo of a' has 4 words"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("cocoop", CoCoOp, given, protocol="few_shot", shots=4)
