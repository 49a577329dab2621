"""ProDA: the bound that its loss is, the penalty on alike contexts, and whose turn it is."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.proda import (
    bounding_logits,
    in_turns,
)
from operators.tuning import Tuning

ProDA = METHODS["proda"]
LABELS = [0, 1, 2, 3, 1, 0]


@pytest.fixture
def shots(few_shot, backbone):
    return few_shot(backbone.feature_width, LABELS)


def build(backbone, classes, **given):
    how = {"n_prompts": 8, "n_context": 3, **given}
    return ProDA(backbone, classes, generator=torch.Generator().manual_seed(0), **how)


def plain_texts(method, backbone, chosen):
    """(n, k, d): every text of some contexts padded and encoded on its own."""
    prompts = {place: layout for layout, places in method.prompt.layouts for place in places}
    return unit(
        torch.stack(
            [
                backbone.encode_prompts_plainly(prompts[place], method.prompt.context[place][None])
                for place in chosen
            ]
        )
    )


def plain_loss(method, backbone, batch, chosen, weight):
    """With the covariance of all classes written out, a channel at a time."""
    texts = plain_texts(method, backbone, chosen)
    images, scale = unit(batch.features), backbone.logit_scale
    mean = texts.mean(dim=0)
    covariance = torch.einsum("nid,njd->ijd", texts - mean, texts - mean) / (len(chosen) + 1)
    rows = []
    for image, label in zip(images, batch.labels.tolist(), strict=True):
        logits = []
        for k in range(len(mean)):
            spread = covariance[label, label] + covariance[k, k] - 2 * covariance[label, k]
            logits.append(scale * image @ mean[k] + scale**2 / 2 * (image.square() * spread).sum())
        rows.append(torch.stack(logits))
    cosines = []
    for one in range(len(method.prompt.context)):
        for other in range(len(method.prompt.context)):
            if one != other:
                pair = [
                    unit(
                        backbone.encode_prompts_plainly(
                            method.nameless, method.prompt.context[place][None]
                        )[0]
                    )
                    for place in (one, other)
                ]
                cosines.append((pair[0] @ pair[1]).abs())
    loss = F.cross_entropy(torch.stack(rows), batch.labels)
    return loss + weight * torch.stack(cosines).mean()


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_loss_and_gradient_are_those_of_plain_arithmetic(clip, classes, few_shot, weight):
    batch = few_shot(clip.feature_width, LABELS).train
    method = build(clip, classes, n_prompts=4, prompts_a_step=2, orthogonality_weight=weight)
    method.chosen = [3, 1]
    loss = method.loss(batch)
    wanted = plain_loss(method, clip, batch, [3, 1], weight)
    torch.testing.assert_close(loss, wanted)
    (found,) = torch.autograd.grad(loss, method.prompt.context)
    (plain,) = torch.autograd.grad(wanted, method.prompt.context)
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5)
    idle = found.abs().sum(dim=(1, 2)) == 0
    assert idle.tolist() == ([True, False, True, False] if weight == 0 else [False] * 4)


def test_the_bound_lies_above_the_cross_entropy_of_draws():
    generator = torch.Generator().manual_seed(0)
    images = unit(torch.randn(5, 16, generator=generator))
    centres = unit(torch.randn(3, 16, generator=generator))
    texts = unit(centres + 0.05 * torch.randn(4000, 3, 16, generator=generator))
    labels = torch.tensor([0, 1, 2, 1, 0])
    each = 20 * torch.einsum("bd,nkd->nbk", images, texts)
    drawn = torch.stack([F.cross_entropy(logits, labels) for logits in each]).mean()
    bound = F.cross_entropy(bounding_logits(images, texts, labels, 20.0), labels)
    at_the_mean = F.cross_entropy(20 * images @ texts.mean(dim=0).T, labels)
    assert at_the_mean < drawn < bound


def test_an_image_is_compared_to_the_mean_of_all_prompts_as_long_as_it_is(backbone, classes, shots):
    method = build(backbone, classes).eval()
    texts = plain_texts(method, backbone, range(8))
    wanted = backbone.logit_scale * unit(shots.train.features) @ texts.mean(dim=0).T
    torch.testing.assert_close(method.logits(shots.train), wanted.detach(), rtol=1e-4, atol=1e-4)


def test_names_stand_behind_half_of_the_contexts(clip, classes):
    method = build(clip, classes, n_prompts=32)
    counts = {tuple(prompts.slots[0].tolist()): len(at) for prompts, at in method.prompt.layouts}
    assert sorted(counts.values()) == [8, 8, 16]
    assert counts[1, 2, 3] == 16  # the name is behind the start token and these


def test_all_contexts_have_their_turn_before_one_has_another():
    turns = in_turns(8, 4, torch.Generator().manual_seed(0))
    first, second = ([next(turns), next(turns)] for _ in range(2))
    assert sorted(first[0] + first[1]) == sorted(second[0] + second[1]) == list(range(8))
    assert first != second


def test_tuning_moves_contexts_in_turns(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, LABELS)
    method = build(clip, classes, n_prompts=4, prompts_a_step=1, orthogonality_weight=0.0)
    before = method.prompt.context.detach().clone()
    tuning = Tuning(lr=0.01, epochs=1, batch_size=2, warmup_epochs=0, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    method.fit(shots, tuning=tuning, generator=generator)
    moved = (method.prompt.context != before).flatten(1).any(dim=1)
    assert int(moved.sum()) == 3  # steps


def test_a_step_that_does_not_divide_the_prompts_is_refused():
    given = {"n_prompts": 32, "prompts_a_step": 5}
    with pytest.raises(ValueError, match=r"prompts_a_step=5 does not divide n_prompts=32: .*ask"):
        resolve("proda", ProDA, given, protocol="few_shot", shots=4)


def test_one_prompt_has_no_other_to_be_like():
    given = {"n_prompts": 1, "prompts_a_step": 1, "orthogonality_weight": 0.5}
    with pytest.raises(ValueError, match="one prompt has no other"):
        resolve("proda", ProDA, given, protocol="few_shot", shots=4)
    assert next(in_turns(1, 1, torch.Generator())) == [0]
