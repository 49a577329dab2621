"""Transport plans: their sums, the early stop that freezing stands for, and the gradient."""

import pytest
import torch

from operators.backbones import unit
from operators.blocks.optimal_transport import (
    similarities,
    transport_plan,
    transported_similarity,
)


@pytest.fixture
def similarity():
    """(3, 5, 7, 4): problems that take from a few to many iterations."""
    generator = torch.Generator().manual_seed(0)
    near = torch.randn(3, 5, 7, 4, generator=generator)
    return 0.2 + torch.tensor([0.02, 0.1, 0.6]).view(3, 1, 1, 1) * near.clamp(-1, 1)


def stopped(similarity, iterations=100, tolerance=1e-2):
    """One problem by itself, until its rows stand still; and how long that took."""
    m, n = similarity.shape
    kernel = torch.exp((similarity - 1) / 0.1)
    rows, columns = torch.ones(m), torch.ones(n)
    taken = 0
    for _ in range(iterations):
        before, taken = rows, taken + 1
        rows = 1 / m / (kernel @ columns)
        columns = 1 / n / (kernel.T @ rows)
        if (rows - before).abs().mean() < tolerance:
            break
    return rows[:, None] * kernel * columns, taken


def test_a_plan_that_stands_still_is_that_of_an_early_stop(similarity):
    found = transport_plan(similarity).flatten(0, 1)
    taken = set()
    for plan, problem in zip(found, similarity.flatten(0, 1), strict=True):
        wanted, iterations = stopped(problem)
        taken.add(iterations)
        torch.testing.assert_close(plan, wanted, rtol=1e-5, atol=1e-8)
    assert len(taken) > 2  # they stop at different times


def test_without_a_look_at_what_moves_all_iterations_give_the_same(similarity):
    looked = transport_plan(similarity)
    # A problem that goes on to the last iteration keeps the loop going for all others.
    with_one_more = torch.cat([similarity.flatten(0, 1), torch.eye(7, 4)[None] * 1.9 - 0.95])
    torch.testing.assert_close(
        transport_plan(with_one_more)[:-1], looked.flatten(0, 1), rtol=1e-6, atol=1e-9
    )


def test_columns_sum_to_their_share_and_rows_nearly(similarity):
    plan = transport_plan(similarity, tolerance=1e-6, iterations=2000)
    torch.testing.assert_close(plan.sum(dim=-2), torch.full((3, 5, 4), 1 / 4))
    torch.testing.assert_close(plan.sum(dim=-1), torch.full((3, 5, 7), 1 / 7), rtol=1e-3, atol=1e-5)


def test_vectors_go_to_their_own_where_sets_are_alike():
    vectors = unit(torch.randn(4, 64, generator=torch.Generator().manual_seed(1)))
    assert transported_similarity(vectors @ vectors.T) > 0.99


def test_the_gradient_is_the_plan(similarity):
    similarity.requires_grad_()
    transported_similarity(similarity).sum().backward()
    torch.testing.assert_close(similarity.grad, transport_plan(similarity.detach()))


def test_similarities_are_dot_products():
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, 8, generator=generator)
    texts = torch.randn(4, 5, 8, generator=generator)
    wanted = torch.einsum("bmd,nkd->bkmn", images, texts)
    torch.testing.assert_close(similarities(images, texts), wanted)
