"""The head over patches against a plain form, and how often images pass the tower for it."""

import numpy as np
import pytest
import torch

from operators.blocks.patch_attention import PatchAttention, PatchQuery, PatchReader
from operators.engine.accounting import counting
from operators.episodes.episode import batch_of
from operators.episodes.views import View


@pytest.fixture
def head():
    """A head away from its start, in double precision."""
    made = PatchAttention(
        8, 2, generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
    ).double()
    with torch.no_grad():
        drawn = torch.randn(made.out.shape, generator=torch.Generator().manual_seed(1))
        made.out.copy_(drawn)
    return made


def drawn(*shape, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_the_head_is_attention_from_a_feature_to_its_patches(head):
    features, patches = drawn(3, 8), drawn(3, 5, 8, seed=3)
    wanted = []
    for feature, own in zip(features, patches, strict=True):
        scores = [float((head.query @ feature) @ (head.key @ patch)) / 4**0.5 for patch in own]
        weights = np.exp(scores) / np.exp(scores).sum()
        seen = sum(w * (head.value @ patch) for w, patch in zip(weights, own, strict=True))
        wanted.append(head.out @ seen)
    torch.testing.assert_close(head(features, patches), torch.stack(wanted))


def test_several_queries_of_an_image_are_each_answered_on_their_own(head):
    queries, patches = drawn(3, 4, 8), drawn(3, 5, 8, seed=3)
    together = head(queries, patches)
    for place in range(4):
        torch.testing.assert_close(together[:, place], head(queries[:, place], patches))


def test_the_queries_of_one_image_are_put_to_all(head):
    queries, patches = drawn(4, 8), drawn(3, 5, 8, seed=3)
    found = PatchQuery.forward(head, queries[None], patches)
    assert found.shape == (3, 4, 8)
    for image, own in zip(found, patches, strict=True):
        weights = head.attention(queries[None], own[None])[0]
        torch.testing.assert_close(image, weights @ own)


def test_the_attention_sums_to_one_and_knows_no_order(head):
    features, patches = drawn(3, 8), drawn(3, 5, 8, seed=3)
    weights = head.attention(features, patches)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(head.attention(features, patches.flip(1)), weights.flip(1))
    torch.testing.assert_close(head(features, patches.flip(1)), head(features, patches))


def test_it_starts_by_adding_nothing_and_is_drawn_from_the_generator():
    made = [
        PatchAttention(
            8, 2, generator=torch.Generator().manual_seed(seed), device=torch.device("cpu")
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(made[0](torch.ones(2, 8), torch.ones(2, 3, 8)), torch.zeros(2, 8))
    assert torch.equal(made[0].query, made[1].query)
    assert not torch.equal(made[0].query, made[2].query)
    assert {tuple(p.shape) for p in made[0].parameters()} == {(4, 8), (8, 4)}


@pytest.mark.parametrize("reduction", [8, 100])
def test_it_is_at_least_one_wide_inside(reduction):
    made = PatchAttention(
        8, reduction, generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
    )
    assert made.query.shape == (1, 8)


class Read:
    """Pictures; counts how often the pixels of each row were asked for, by view."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.asked = []

    def features(self, rows, view=None):
        raise AssertionError("the tower gives features with the patches")

    def pixels(self, rows, view=None):
        self.asked += [(view, row) for row in rows.tolist()]
        return self.pictures.pixels(rows)


@pytest.fixture(params=["clip", "siglip"])
def tower(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def source(tower, drawn_pictures):
    return Read(drawn_pictures(tower, [0, 1, 2, 1, 0]))


@pytest.fixture
def batch(tower, source):
    return batch_of(source, np.arange(5), np.array([0, 1, 2, 1, 0]), range(3), tower.device)


def test_features_and_patches_are_those_of_the_tower(tower, source, batch):
    reading = tower.read_images(tower.embed_images(source.pictures.values))
    found = PatchReader(tower).read(batch)
    torch.testing.assert_close(found.features, reading.features)
    torch.testing.assert_close(found.patches, reading.patches)
    assert not found.patches.requires_grad
    torch.testing.assert_close(found.features, tower.encode_images(source.pictures.values))


def test_while_keeping_an_image_passes_the_tower_once(tower, source, batch):
    reader = PatchReader(tower)
    with reader.keeping():
        first = reader.read(batch.select(torch.tensor([1, 3])))
        every = reader.read(batch)
        again = reader.read(batch.select(torch.tensor([3, 0, 1])))
    assert sorted(row for _, row in source.asked) == [0, 1, 2, 3, 4]
    assert torch.equal(every.patches[[1, 3]], first.patches)
    assert torch.equal(again.patches, every.patches[[3, 0, 1]])
    assert torch.equal(again.features, every.features[[3, 0, 1]])


def test_outside_of_it_nothing_is_kept(tower, source, batch):
    reader = PatchReader(tower)
    with reader.keeping():
        reader.read(batch)
    reader.read(batch)
    reader.read(batch)
    assert len(source.asked) == 15


def test_each_view_is_kept_apart_and_a_fresh_one_not_at_all(tower, source, batch):
    reader, kept, fresh = PatchReader(tower), View(0), View(0, seed=3)
    assert (kept.kept, fresh.kept) == (True, False)
    with reader.keeping():
        for view in (None, kept, fresh) * 2:
            reader.read(batch.under(view))
    asked = [view for view, _ in source.asked]
    assert [asked.count(view) for view in (None, kept, fresh)] == [5, 5, 10]


def test_what_the_budget_has_no_room_for_is_read_each_time(tower, source, batch):
    one = PatchReader(tower).read(batch.select(torch.tensor([0])))
    source.asked.clear()
    reader = PatchReader(tower, budget=2 * (one.features.nbytes + one.patches.nbytes))
    with reader.keeping():
        reader.read(batch)
        reader.read(batch)
    assert [row for _, row in source.asked] == [0, 1, 2, 3, 4, 2, 3, 4]


def test_kept_images_are_counted_as_the_plain_form_would_encode_them(tower, batch):
    reader = PatchReader(tower)
    with reader.keeping(), counting() as work:
        reader.read(batch)
        done, plain = work.done, work.plain
        assert (work.cached_images, done > 0) == (0, True)
        reader.read(batch)
    assert (work.done, work.plain, work.cached_images) == (done, plain, 5)
