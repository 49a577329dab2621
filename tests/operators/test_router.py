"""The router: which prompts are mixed, how, and what it is taught."""

import math

import pytest
import torch

from operators.methods.image_classification.text_prompts.mocoop import (
    FAVOUR,
    guided_gating_loss,
    mixed_similarity,
    top_gates,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_gates_are_a_softmax_over_the_largest_scores():
    found = top_gates(torch.tensor([[1.0, 3.0, -2.0, 2.0], [0.0, -1.0, 5.0, 0.0]]), 2)
    first = math.exp(3) / (math.exp(3) + math.exp(2))
    assert found[0].tolist() == pytest.approx([0, first, 0, 1 - first])
    assert float(found[1].sum()) == pytest.approx(1)
    assert int((found[1] > 0).sum()) == 2  # of two equal scores one is chosen


def test_one_active_prompt_is_all_and_all_of_them_are_a_softmax():
    scores = drawn(5, 3)
    assert torch.equal(top_gates(scores, 1).argmax(1), scores.argmax(1))
    assert torch.equal(top_gates(scores, 1).sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(top_gates(scores, 3), scores.softmax(1))


def test_scores_that_were_not_chosen_get_no_gradient():
    scores = drawn(4, 5).requires_grad_()
    (top_gates(scores, 2) ** 2).sum().backward()
    chosen = torch.zeros(4, 5).scatter(1, scores.detach().topk(2).indices, 1.0).bool()
    assert torch.equal(scores.grad != 0, chosen)


def test_an_image_is_compared_to_its_own_mixture():
    images, texts, gates = drawn(3, 6), drawn(4, 5, 6, seed=1), top_gates(drawn(3, 4, seed=2), 2)
    found = mixed_similarity(images, texts, gates)
    for image in range(3):
        mixture = sum(gates[image, g] * texts[g] for g in range(4))
        torch.testing.assert_close(found[image], mixture @ images[image])


@pytest.mark.parametrize("active", [1, 2, 4])
def test_the_loss_is_the_divergence_from_the_favoured_groups(active):
    scores, similarities = drawn(6, 4), drawn(6, 4, seed=3)
    total = 0.0
    for score, similarity in zip(scores.tolist(), similarities.tolist(), strict=True):
        favoured = sorted(range(4), key=lambda g: -similarity[g])[:active]
        raised = [s + (FAVOUR if g in favoured else 0) for g, s in enumerate(similarity)]
        wanted = [math.exp(r) / sum(map(math.exp, raised)) for r in raised]
        given = [math.exp(s) / sum(map(math.exp, score)) for s in score]
        total += sum(w * math.log(w / g) for w, g in zip(wanted, given, strict=True))
    found = float(guided_gating_loss(scores, similarities, active))
    assert found == pytest.approx(total / 6, rel=1e-9)


def test_it_has_the_gradient_of_the_cross_entropy_of_the_published_code():
    scores, similarities = drawn(6, 4).requires_grad_(), drawn(6, 4, seed=3)
    guided_gating_loss(scores, similarities, 2).backward()
    raised = similarities.scatter_add(
        1, similarities.topk(2).indices, torch.full((6, 2), FAVOUR, dtype=torch.float64)
    )
    other = scores.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(other, raised.softmax(1)).backward()
    torch.testing.assert_close(scores.grad, other.grad)


def test_a_router_that_agrees_loses_nothing_and_the_similarities_learn_nothing():
    similarities = drawn(5, 4).requires_grad_()
    raised = similarities.detach().scatter_add(
        1, similarities.topk(2).indices, torch.full((5, 2), FAVOUR, dtype=torch.float64)
    )
    assert float(guided_gating_loss(raised, similarities.detach(), 2)) == pytest.approx(
        0, abs=1e-12
    )
