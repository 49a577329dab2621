"""Pseudo-labels: who is taken for what, the boards of the authors' code, and the weights."""

import numpy as np
import pytest
import torch

from operators.contract.drawn import drawn_features
from operators.episodes.episode import Batch, FewShot, Unlabelled
from operators.methods.image_classification.text_prompts.pseudo_labels import (
    TwoPartLoss,
    confident_by_class,
    growing_count,
    joined,
    kept_apart,
    not_labelled,
    on_boards,
)
from operators.tuning import FitReport


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(images, classes, seed=0):
    return torch.randn(images, classes, generator=seeded(seed)).softmax(dim=1)


def pairs(found):
    return sorted(zip(found.images.tolist(), found.labels.tolist(), strict=True))


def in_the_order_of_scores(scores, count):
    """The definition: pairs from the greatest score down, while image and class are free."""
    classes = scores.shape[1]
    found, room = {}, [count] * classes
    for pair in scores.flatten().argsort(descending=True).tolist():
        image, label = divmod(pair, classes)
        if image not in found and room[label]:
            found[image] = label
            room[label] -= 1
    return sorted(found.items())


@pytest.mark.parametrize("count", [1, 3, 10, 50])
def test_pairs_are_taken_from_the_surest_down(count):
    scores = drawn(40, 4)
    assert pairs(confident_by_class(scores, count)) == in_the_order_of_scores(scores, count)


def test_the_order_of_the_images_makes_no_difference():
    scores = drawn(30, 3)
    order = torch.randperm(30, generator=seeded(1))
    found = confident_by_class(scores[order], 4)
    moved = confident_by_class(scores, 4)
    assert sorted(order[found.images].tolist()) == sorted(moved.images.tolist())


def test_every_image_has_a_label_and_every_class_as_many_where_there_is_room_for_all():
    found = confident_by_class(drawn(40, 4), 10)
    assert sorted(found.images.tolist()) == list(range(40))
    assert found.labels.bincount().tolist() == [10] * 4


def theirs(scores, count):
    """The board as a list that is sorted when a better image comes, in plain words."""
    boards = {label: [] for label in range(scores.shape[1])}
    for image, row in enumerate(scores.tolist()):
        best = max(range(len(row)), key=row.__getitem__)
        for label in [best, *sorted(set(range(len(row))) - {best}, key=lambda j: -row[j])]:
            taken = True
            if len(boards[label]) < count:
                boards[label].append((row[label], image))
            elif boards[label][-1][0] < row[label]:
                boards[label].append((row[label], image))
                boards[label] = sorted(boards[label], reverse=True)[:count]
            else:
                taken = False
            if label == best and taken:
                break
    return sorted((image, label) for label, board in boards.items() for _, image in board)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_boards_are_those_of_the_authors_code(count):
    scores = drawn(40, 4)
    assert pairs(on_boards(scores, count)) == theirs(scores, count)


def test_a_board_holds_an_image_twice_and_forgets_a_surer_one():
    # Two places of class 0 hold 0.9 and 0.6 when 0.8 comes, and the last of them is compared.
    scores = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.55, 0.45]])
    assert pairs(on_boards(scores, 2)) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert pairs(confident_by_class(scores, 2)) == [(0, 1), (1, 0), (2, 0), (3, 1)]
    twice = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]])
    assert pairs(on_boards(twice, 1)) == [(0, 0), (1, 1), (1, 2)]
    assert pairs(confident_by_class(twice, 1)) == [(0, 0), (1, 1)]


def test_a_round_of_grip_takes_its_share_until_all_are_used():
    counts = [growing_count(number, 10, 103, 5) for number in range(1, 11)]
    assert counts == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert growing_count(1, 10, 8, 5) == 1  # never none


def test_a_share_is_kept_of_all_classes_together():
    found = confident_by_class(drawn(40, 4), 10)
    kept = kept_apart(found, 0.8, seeded())
    assert len(kept.images) == 32
    assert set(pairs(kept)) < set(pairs(found))
    assert pairs(kept) != pairs(kept_apart(found, 0.8, seeded(1)))


@pytest.fixture
def rows():
    def make(count):
        return Batch(drawn_features([0] * 8, 4), np.arange(count), None)

    return make


@pytest.mark.parametrize(
    ("labelled", "pseudo", "apart", "power", "weights"),
    [
        (4, 12, False, 1.0, (3.0, 1.0)),
        (4, 12, False, -1.0, (1 / 3, 1.0)),
        (4, 12, True, 1.0, (1.0, 1 / 3)),
        (4, 16, False, 0.5, (2.0, 1.0)),
        (0, 12, False, 1.0, (0.0, 1.0)),
        (4, 0, False, 1.0, (1.0, 0.0)),
    ],
)
def test_the_smaller_part_counts_as_much_as_the_larger(labelled, pseudo, apart, power, weights):
    found = TwoPartLoss.of(np.arange(labelled), pseudo, apart=apart, power=power)
    assert (found.labelled, found.pseudo) == pytest.approx(weights)


def test_each_part_of_a_batch_has_a_mean_of_its_own():
    each = torch.tensor([1.0, 2.0, 6.0])
    loss = TwoPartLoss(np.array([7]), 10.0, 1.0)
    assert float(loss(each, np.array([3, 7, 4]))) == pytest.approx(10 * 2 + (1 + 6) / 2)
    assert float(loss(each, np.array([3, 5, 4]))) == pytest.approx(3.0)  # none is labelled


def test_what_is_labelled_is_no_longer_among_the_unlabelled(classes, rows):
    train = rows(3)
    shots = FewShot(1, train, train, unlabelled=Unlabelled(rows(8), classes))
    assert not_labelled(shots).images.rows.tolist() == [3, 4, 5, 6, 7]


def test_without_any_image_there_is_nothing_to_learn(classes, rows):
    shots = FewShot(0, rows(0), rows(0), unlabelled=Unlabelled(rows(0), classes))
    with pytest.raises(ValueError, match="no image to learn from"):
        not_labelled(shots)


def test_reports_of_rounds_are_one_whose_epoch_counts_from_the_first():
    one = FitReport((3.0, 2.0), 4, {"epoch": 0.0, "val_accuracy": 0.1}, (0.1, 0.0))
    two = FitReport((2.5, 1.0), 6, {"epoch": 1.0, "val_accuracy": 0.3}, (0.2, 0.3))
    selected = {"epoch": 3.0, "val_accuracy": 0.3}
    assert joined([one, two]) == FitReport((3.0, 2.0, 2.5, 1.0), 10, selected, (0.1, 0.0, 0.2, 0.3))
