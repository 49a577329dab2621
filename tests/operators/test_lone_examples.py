"""Whether a batch holds one example alone is said of the batches that are drawn."""

import torch

from operators.tuning import Tuning, batches


def test_what_is_said_of_lone_examples_holds_for_the_batches_that_are_drawn():
    for rows in range(1, 14):
        for size in range(2, 7):
            for drop_last in (True, False):
                tuning = Tuning(batch_size=size, drop_last=drop_last)
                drawn = batches(rows, tuning, torch.Generator().manual_seed(0))
                assert tuning.leaves_one_alone(rows) == (1 in map(len, drawn))
