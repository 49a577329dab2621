"""The mean over epochs: its weights, and what the tuning loop leaves behind."""

import math

import pytest
import torch
from torch import nn

from operators.methods.image_classification.deep_prompts.trajectory import (
    Trajectory,
    gaussian_weights,
)
from operators.tuning import Tuning, tune


def test_weights_are_the_normal_density_at_each_epoch_scaled_to_one():
    density = [math.exp(-0.5 * ((e - 15) / 1) ** 2) / math.sqrt(2 * math.pi) for e in range(1, 21)]
    wanted = [value / sum(density) for value in density]
    assert gaussian_weights(20, 15.0, 1.0) == pytest.approx(wanted, rel=1e-12)


def test_weights_far_from_the_mean_are_still_told_apart():
    weights = gaussian_weights(3, 500.0, 1.0)  # the density itself is 0 in double precision
    assert sum(weights) == pytest.approx(1)
    assert weights[2] == pytest.approx(1)
    assert weights[0] < weights[1]


def test_the_mean_is_weighted_by_epoch():
    parameter = nn.Parameter(torch.zeros(2))
    trajectory = Trajectory([parameter], [0.5, 0.3, 0.2])
    for epoch, value in enumerate((1.0, 2.0, 10.0)):
        parameter.data.fill_(value)
        trajectory.add(epoch)
    assert parameter.tolist() == [10.0, 10.0]
    trajectory.settle()
    assert parameter.tolist() == pytest.approx([3.1, 3.1])
    assert parameter.requires_grad


class Scripted(nn.Module):
    """One number, which plain gradient steps lower by the learning rate."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    selects_by = "accuracy"

    def validation_score(self, batch):
        raise AssertionError("only the loss is asked for")

    def loss(self, batch):
        return self.value * 1.0


def test_the_loop_calls_at_the_end_of_each_epoch_after_its_last_step(few_shot):
    scripted, seen = Scripted(), []
    tuning = Tuning(
        epochs=3, batch_size=2, momentum=0.0, weight_decay=0.0, warmup_epochs=3, warmup_lr=0.25
    )
    tune(
        scripted,
        few_shot(6, [0, 1, 0, 1]),
        tuning,
        torch.Generator(),
        epoch_end=lambda epoch: seen.append((epoch, float(scripted.value.detach()))),
    )
    assert seen == [(0, -0.5), (1, -1.0), (2, -1.5)]
