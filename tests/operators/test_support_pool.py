"""The pool of all views, and which of its rows a step has."""

from dataclasses import replace

import pytest
import torch

from operators.blocks.support_pool import HeldFeatures, SupportPool
from operators.episodes.views import CENTRE, ViewPolicy
from operators.tuning import Tuning, batches

LABELS = [0, 1, 2, 3, 1, 0]
TEXTS = torch.arange(24.0).view(4, 6), torch.tensor([0, 1, 2, 3])


@pytest.fixture
def shots(few_shot):
    return replace(few_shot(6, LABELS, [0, 1]), views=ViewPolicy("bank", 4))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_all_views_lie_one_after_the_other_with_their_labels_then_the_texts(shots):
    pool = SupportPool(shots, 3, TEXTS)
    shown = [shots.in_epoch(epoch).features for epoch in range(3)]
    assert torch.equal(pool.train.features, torch.cat([*shown, TEXTS[0]]))
    assert pool.train.labels.tolist() == LABELS * 3 + [0, 1, 2, 3]
    assert pool.shots.views == CENTRE
    assert pool.shots.val is shots.val


def test_more_passes_than_a_bank_has_show_each_view_once(shots):
    assert len(SupportPool(shots, 20).train) == 4 * len(LABELS)
    assert len(SupportPool(replace(shots, views=CENTRE), 20).train) == len(LABELS)


def test_an_epoch_has_as_many_steps_as_the_images_fill_of_rows_of_any_view(shots):
    pool = SupportPool(shots, 4)
    drawn = pool.draw(Tuning(batch_size=4), seeded())
    assert [len(index) for index in drawn] == [4]
    assert len(pool.draw(Tuning(batch_size=4, drop_last=False), seeded())) == 2
    (whole,) = pool.draw(Tuning(batch_size=100), seeded())
    assert sorted(whole.tolist()) == list(range(24))  # fewer images than a batch: views fill it
    seen = {
        int(row) for seed in range(30) for row in pool.draw(Tuning(batch_size=4), seeded(seed))[0]
    }
    assert seen == set(range(24))


def test_one_view_is_drawn_as_the_loop_draws_it(shots):
    pool = SupportPool(replace(shots, views=CENTRE), 20)
    for tuning in (Tuning(batch_size=4), Tuning(batch_size=4, drop_last=False)):
        found, wanted = pool.draw(tuning, seeded()), batches(6, tuning, seeded())
        assert [index.tolist() for index in found] == [index.tolist() for index in wanted]


def test_a_step_has_images_and_as_many_texts_or_all_of_them(shots):
    pool = SupportPool(shots, 2, TEXTS)
    steps = pool.draw_with_texts(Tuning(batch_size=3), seeded(), steps=9)
    assert len(steps) == 9
    assert all(
        len(index) == 6 and (index[:3] < 12).all() and (index[3:] >= 12).all() for index in steps
    )
    for first in range(0, 8, 4):  # a pass over the images is four steps, and shows each once
        images = torch.cat([index[:3] for index in steps[first : first + 4]])
        assert sorted(images.tolist()) == list(range(12))
    (few,) = pool.draw_with_texts(Tuning(batch_size=100), seeded(), steps=0)
    assert sorted(few.tolist()) == list(range(16))


def test_held_features_are_part_of_no_whole_and_have_no_pixels(shots):
    held = SupportPool(shots, 2).train
    part = held.select(torch.tensor([7, 1]))
    assert isinstance(part, HeldFeatures)
    assert torch.equal(part.features, held.features[[7, 1]])
    assert part.labels.tolist() == [1, 1]
    with pytest.raises(ValueError, match="no pixels behind held features"):
        _ = part.pixels
