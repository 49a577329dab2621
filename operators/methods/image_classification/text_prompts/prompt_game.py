"""The game of SPG: one net makes prompts of images, the other tells them from those of domains.

Source: Bai et al., "Soft Prompt Generation for Domain Generalization", ECCV 2024, section 3.3; the
sizes and starts are in the authors' code, `trainers/spg_cgan.py`.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import unit
from operators.blocks.linear_maps import draw_uniform
from operators.engine.transfer import onto
from operators.episodes.episode import Batch, FewShot
from operators.shapes import Float, Int
from operators.tuning import Tuning, learning_rate

SLOPE = 0.2  # of both nets below 0
LAST_BIASES = ("norms.2.bias", "maps.4.bias")  # of the generator


class Lengths(NamedTuple):
    """The longest gradients of a net, tensor by tensor.

    Attributes:
        weights: Of a weight.
        biases: Of an intercept.
        ends: Of the tensors that each net has as its ends.
    """

    weights: float
    biases: float
    ends: float


def net(widths: list[int], generator: torch.Generator, device: torch.device) -> list[nn.Linear]:
    """Linear maps from one width to the next, with He's uniform start and torch's intercepts.

    Args:
        widths: Of the input, of what is between, and of the output.
        generator: Draws them, on the CPU.
        device: Where they go then.
    """
    maps = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs, device="meta")
        weight = draw_uniform(torch.empty(outputs, inputs), inputs / 6, generator)
        linear.weight = nn.Parameter(weight.to(device))
        bias = draw_uniform(torch.empty(outputs), inputs, generator)
        linear.bias = nn.Parameter(bias.to(device))
        maps.append(linear)
    return maps


class Generator(nn.Module):
    """Prompts from noise and images.

    Dimensions: b images, d width of a feature, z of the noise, m tokens of width w a prompt.

    Args:
        features: d.
        noise: z.
        prompt: (m, w).
        hidden: Width of the first of four inner layers, each twice as wide as the one before.
        generator: Draws the start.
        device: Where it goes.
    """

    def __init__(
        self,
        features: int,
        noise: int,
        prompt: tuple[int, int],
        hidden: int,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.prompt, self.noise = prompt, noise
        inner = [hidden * 2**layer for layer in range(4)]
        widths = [noise + features, *inner, prompt[0] * prompt[1]]
        self.maps = nn.ModuleList(net(widths, generator, device))
        # The code gives 0.8 where a norm has what it adds to the variance.
        self.norms = nn.ModuleList(nn.BatchNorm1d(w, eps=0.8, device=device) for w in inner[1:])

    def forward(self, noise: Float[Tensor, "b z"], images: Float[Tensor, "b d"]) -> Tensor:
        """(b, m, w) prompts, each number between -1 and 1.

        Args:
            noise: Of a standard normal.
            images: Their unit-norm features.
        """
        x = F.leaky_relu(self.maps[0](torch.cat([noise, images], dim=1)), SLOPE)
        for linear, norm in zip(self.maps[1:-1], self.norms, strict=True):
            x = F.leaky_relu(norm(linear(x)), SLOPE)
        return self.maps[-1](x).tanh().view(-1, *self.prompt)


class Critic(nn.Module):
    """Whether a prompt is that of an image's domain: 1 says so, 0 that it was made.

    Args:
        features: d.
        prompt: (m, w).
        hidden: Width of its three inner layers.
        dropout: Share of the second and the third that is dropped.
        generator: Draws the start, and what is dropped.
        device: Where it goes.
    """

    def __init__(
        self,
        features: int,
        prompt: tuple[int, int],
        hidden: int,
        dropout: float,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [prompt[0] * prompt[1] + features, hidden, hidden, hidden, 1]
        self.maps = nn.ModuleList(net(widths, generator, device))
        self.generator = generator

    def forward(self, prompts: Float[Tensor, "b m w"], images: Float[Tensor, "b d"]) -> Tensor:
        """(b, 1), of prompts and the unit-norm features of images.

        Args:
            prompts: One for each image.
            images: The features.
        """
        x = torch.cat([prompts.flatten(1), images], dim=1)
        x = F.leaky_relu(self.maps[0](x), SLOPE)
        for linear in self.maps[1:-1]:
            x = linear(x)
            kept = onto(torch.rand(x.shape, generator=self.generator), x.device) >= self.dropout
            x = F.leaky_relu(x * kept / (1 - self.dropout), SLOPE)
        return self.maps[-1](x)


def gap_to(found: Tensor, wanted: float) -> Float[Tensor, ""]:
    """Mean squared distance from what should be said.

    Args:
        found: What the critic says.
        wanted: 1 of a domain's own prompt, 0 of one that was made.
    """
    return (found - wanted).square().mean()


def critic_loss(
    critic: Critic, real: Tensor, images: Tensor, made: Tensor, others: Tensor
) -> Float[Tensor, ""]:
    """What the critic minimises.

    Args:
        critic: Says what a pair is.
        real: Words of the domains of some images.
        images: Features of these.
        made: Prompts that were made of others.
        others: Features of those.
    """
    return gap_to(critic(real, images), 1.0) + gap_to(critic(made, others), 0.0)


def cut(maps: Any, lengths: Lengths, *, ends: tuple[int, ...]) -> None:
    """Shortens the gradients of linear maps, each by itself.

    Args:
        maps: In order.
        lengths: Both tensors of the maps at the ends have that of the ends.
        ends: Places of those.
    """
    outer = [maps[place] for place in ends]
    for linear in maps:
        at_end = any(linear is one for one in outer)
        for parameter, length in ((linear.weight, lengths.weights), (linear.bias, lengths.biases)):
            parameter.grad = shortened(parameter.grad, lengths.ends if at_end else length)


def shortened(gradient: Tensor, length: float) -> Tensor:
    """A gradient no longer than that, as `clip_grad_norm_` shortens one.

    Args:
        gradient: Of one tensor.
        length: The longest that it may be.
    """
    return gradient * (length / (gradient.norm() + 1e-6)).clamp(max=1.0)


class Game:
    """The steps of generator and critic.

    Dimensions: n training images of D domains, m words of width w a prompt.

    Args:
        nets: The generator, and the critic.
        shots: What is learned from.
        labels: Words of each domain.
        domains: Domain of each training image, from 0 to D - 1.
        tuning: Of both nets.
        lengths: Of the generator's gradients, and of the critic's.
        generator: Draws noise, other images, and what the critic drops.
    """

    def __init__(
        self,
        nets: tuple[Generator, Critic],
        shots: FewShot,
        labels: Float[Tensor, "D m w"],
        domains: Int[Tensor, "n"],  # noqa: F821
        tuning: Tuning,
        lengths: tuple[Lengths, Lengths],
        generator: torch.Generator,
    ) -> None:
        self.maker, self.critic = nets
        self.lengths, self.critic_lengths = lengths
        self.shots, self.tuning = shots, tuning
        self.labels, self.generator = labels, generator
        order = np.argsort(shots.train.rows)
        self.rows = shots.train.rows[order]
        self.domains = domains[torch.from_numpy(order).to(domains.device)]
        self.moves = torch.optim.AdamW(
            self.critic.parameters(), lr=tuning.lr, weight_decay=tuning.weight_decay
        )
        self.epoch = 0

    def end_epoch(self, epoch: int) -> None:
        """Follows the schedule."""
        self.epoch = epoch + 1

    def others(self, count: int) -> Batch:
        """As many training images of another draw, as this epoch shows them."""
        shown = self.shots.in_epoch(self.epoch)
        return shown.select(torch.randperm(len(shown), generator=self.generator)[:count])

    def step(self, batch: Batch) -> Float[Tensor, ""]:
        """Moves the critic, puts the generator's gradients in place, and returns the critic's loss.

        The generator's says little: it rises as the critic learns.
        """
        images, others = unit(batch.features), unit(self.others(len(batch)).features)
        places = torch.from_numpy(np.searchsorted(self.rows, batch.rows))
        own = self.domains[onto(places, self.domains.device)]
        noise = torch.randn(len(others), self.maker.noise, generator=self.generator)
        made = self.maker(onto(noise, others.device).to(others.dtype), others)
        for group in self.moves.param_groups:
            group["lr"] = learning_rate(self.tuning, self.epoch)
        self.moves.zero_grad(set_to_none=True)
        told = critic_loss(self.critic, self.labels[own], images, made.detach(), others)
        told.backward()
        cut(self.critic.maps, self.critic_lengths, ends=(0, -1))
        self.moves.step()
        loss = gap_to(self.critic(made, others), 1.0)
        names, parameters = zip(*self.maker.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
            parameter.grad = shortened(gradient, self.length_of(name))
        return told.detach()

    def length_of(self, name: str) -> float:
        """What the gradient of a tensor of the generator is cut to, by its name."""
        if name.endswith("weight"):
            return self.lengths.weights
        return self.lengths.ends if name in LAST_BIASES else self.lengths.biases
