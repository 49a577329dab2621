"""CLIP's ResNet: a stem of three convolutions, and attention that pools the last map.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
ICML 2021, section 2.4, https://arxiv.org/abs/2103.00020; what the section leaves open is as in
OpenAI's released models. Where a ResNet has a stride, an average pool stands instead, against
aliasing. Of the last map one query is read, made of its mean, which attends to the mean and to all
places. Modules are named as in open_clip's files, so that their weights are read as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.shapes import Float

EXPANSION = 4  # output channels of a block over those of its middle convolution
STRIDE = 32  # pixels that a place of the last map stands for, each way


@dataclass(frozen=True)
class ResNetShape:
    """Dimensions of a tower.

    Attributes:
        layers: Blocks of each of the four stages.
        width: Channels after the stem.
        heads: Of the attention that pools the last map; divides `channels`.
        image_size: Side of an image in pixels.
        feature_width: Size of a feature.
    """

    layers: Sequence[int]
    width: int
    heads: int
    image_size: int
    feature_width: int

    @property
    def channels(self) -> int:
        """Channels of the last map."""
        return self.width * 2 ** (len(self.layers) - 1) * EXPANSION

    @property
    def places(self) -> int:
        """Places of the last map."""
        return (self.image_size // STRIDE) ** 2


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut, both behind an average pool where the map shrinks.

    Args:
        entering: Channels of the map that comes in.
        width: Channels of the convolution of 3 x 3; `EXPANSION` times as many go out.
        shrink: Factor by which the sides of the map shrink; 1 leaves them.
    """

    def __init__(self, entering: int, width: int, shrink: int) -> None:
        super().__init__()
        leaving = EXPANSION * width
        self.conv1 = nn.Conv2d(entering, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, leaving, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(leaving)
        self.downsample = None
        if entering != leaving or shrink > 1:
            shortcut = nn.Conv2d(entering, leaving, 1, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(leaving))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """One block."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(self.pool(x))))


class AttentionPool(nn.Module):
    """What a map's mean reads of the mean and all places, and what each of these reads if asked."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        width = shape.channels
        self.heads = shape.heads
        self.positional_embedding = nn.Parameter(torch.empty(shape.places + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, shape.feature_width)

    def forward(
        self, places: Float[Tensor, "b p c"], *, every: bool = False
    ) -> Float[Tensor, "b n d"]:
        """Features of maps: of their mean (n = 1), or of it and behind it all places (n = p + 1).

        Args:
            places: The places of each map, row by row.
            every: Whether all places ask.
        """
        mean = places.mean(dim=1, keepdim=True)
        x = torch.cat([mean, places], dim=1) + self.positional_embedding
        b, n, width = x.shape
        asked = n if every else 1
        split = (b, -1, self.heads, width // self.heads)
        q = self.q_proj(x[:, :asked]).view(split).transpose(1, 2)
        k, v = (part(x).view(split).transpose(1, 2) for part in (self.k_proj, self.v_proj))
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        read = (scores.softmax(dim=-1) @ v).transpose(1, 2)
        return self.c_proj(read.reshape(b, asked, width))


class ResNet(nn.Module):
    """From pixels to features."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        half = shape.width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, shape.width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(shape.width)
        self.pool = nn.AvgPool2d(2)
        entering = shape.width
        for stage, count in enumerate(shape.layers):
            width, blocks = shape.width * 2**stage, nn.Sequential()
            for block in range(count):
                blocks.append(Bottleneck(entering, width, 2 if stage > 0 and block == 0 else 1))
                entering = EXPANSION * width
            self.add_module(f"layer{stage + 1}", blocks)
        self.attnpool = AttentionPool(shape)
        self.stages = len(shape.layers)

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of preprocessed images."""
        return self.attnpool(self.last_map(pixels))[:, 0]

    def last_map(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b p c"]:
        """The places of the last map of preprocessed images, row by row."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.pool(F.relu(self.bn3(self.conv3(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.flatten(2).transpose(1, 2)
