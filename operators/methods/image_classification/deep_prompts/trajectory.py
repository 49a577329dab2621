"""Block E, trajectory ensemble: what is learned is a mean over the epochs of a run.

Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without
Forgetting", ICCV 2023, section 3.2.2, "Gaussian weighted prompt aggregation".
"""

from collections.abc import Iterable, Sequence

import torch
from torch import nn


def gaussian_weights(epochs: int, mean: float, std: float) -> list[float]:
    """Weight of each epoch 1 .. `epochs`, from N(mean, std^2), scaled to sum to 1.

    By way of a softmax, so that epochs far from the mean are still told apart.

    Args:
        epochs: Epochs of the run.
        mean: Epoch with the largest weight, counted from 1; may lie outside of the run.
        std: Above 0.
    """
    number = torch.arange(1, epochs + 1, dtype=torch.float64)
    return (-((number - mean) ** 2) / (2 * std**2)).softmax(dim=0).tolist()


class Trajectory:
    """The weighted mean of parameters over epochs, as it grows.

    Args:
        parameters: Read at the end of each epoch.
        weights: One an epoch, in all 1.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weights: Sequence[float]) -> None:
        self.parameters = list(parameters)
        self.weights = weights
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]

    @torch.no_grad()
    def add(self, epoch: int) -> None:
        """Takes in the parameters as they are at the end of `epoch`, counted from 0."""
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            mean.add_(parameter, alpha=self.weights[epoch])

    @torch.no_grad()
    def settle(self) -> None:
        """Puts the mean in the place of the parameters."""
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            parameter.copy_(mean)
