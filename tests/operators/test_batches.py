"""What a batch says of its examples on the host, and what a device is asked for that."""

import numpy as np
import pytest
import torch

from operators.contract.drawn import drawn_features
from operators.contract.pretended import pretending
from operators.episodes.episode import Batch, batch_of
from operators.episodes.views import View

LABELS = np.array([5, 7, 5, 9, 7, 9])
ROWS = np.arange(1, 6)


def test_labels_stay_on_the_host_through_every_part_of_a_batch():
    source = drawn_features(LABELS, 4)
    with pretending() as waits:
        whole = batch_of(source, ROWS, LABELS, (5, 7, 9), torch.device("cuda"))
        part = whole.under(View(0, seed=1)).select(torch.tensor([4, 0, 2]))
        found = [part.host_labels.tolist(), part.select(torch.tensor([1])).host_labels.tolist()]
        assert not waits.reads()
        assert part.labels.is_cuda
        assert part.labels.tolist() == found[0] == [2, 1, 2]
    assert found[1] == [1]


def test_labels_that_a_device_made_are_read_once():
    source = drawn_features(LABELS, 4)
    with pretending() as waits:
        made = torch.tensor([0, 1, 1], device="cuda")
        batch = Batch(source, np.arange(3), None, device=torch.device("cuda")).labelled(made)
        for _ in range(3):
            assert batch.host_labels.tolist() == [0, 1, 1]
        assert batch.select(torch.tensor([2])).host_labels.tolist() == [1]
    assert waits.reads() == 1


def test_who_has_no_labels_says_so_on_the_host_too():
    with pytest.raises(ValueError, match="these examples have no labels"):
        _ = Batch(drawn_features(LABELS, 4), np.arange(3), None).host_labels
