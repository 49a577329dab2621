"""A backbone as the published codes run it, with the same weights."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DeepPrompts, DualEncoder, TextPrompts
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.transformer import QUICK_GELU, Attention, Tower, quick_gelu


class PlainTowers:
    """Both towers, without what the fast paths leave out.

    Every text is padded and passes alone, all tokens pass all layers, and activations are computed
    as they are written.

    Args:
        backbone: Is changed while `in_place`.
    """

    def __init__(self, backbone: DualEncoder) -> None:
        self.backbone = backbone
        both = (backbone.packed_text.tower, backbone.image_tower)
        self.towers = [tower for tower in both if tower is not None]
        self.layers = [unfolded(tower) for tower in self.towers]
        # A program that pads does so once, as it tokenizes.
        self.padded: WeakKeyDictionary[TextPrompts, TextPrompts] = WeakKeyDictionary()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Has the backbone compute plainly until the block ends."""
        backbone: Any = self.backbone
        kept = [tower.layers for tower in self.towers]
        for tower, layers in zip(self.towers, self.layers, strict=True):
            tower.layers = layers
            tower.forward_at = partial(read_at, tower)
        backbone.encode_prompts = self.encode_prompts
        try:
            yield
        finally:
            del backbone.encode_prompts
            for tower, layers in zip(self.towers, kept, strict=True):
                del tower.forward_at
                tower.layers = layers

    def encode_prompts(
        self,
        prompts: TextPrompts,
        context: Tensor,
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        *,
        hooks: Hooks | None = None,
        share: int = 1,
    ) -> Tensor:
        """See `DualEncoder.encode_prompts`; the contexts of several images one after the other."""
        full = self.at_full_length(prompts)
        if context.ndim == 3:
            return self.backbone.encode_prompts_plainly(
                full, context, deep_prompts, attention, hooks=hooks
            )
        features = []
        for place, one in enumerate(context):
            deep = deep_prompts
            if deep is not None and deep.tokens.ndim == 4:
                deep = replace(deep, tokens=deep.tokens.expand(-1, len(context), -1, -1)[:, place])
            features.append(
                self.backbone.encode_prompts_plainly(full, one, deep, attention, hooks=hooks)
            )
        return torch.stack(features)

    def at_full_length(self, prompts: TextPrompts) -> TextPrompts:
        """The same texts, padded as the family's published code pads them."""
        more = (self.backbone.padded_length or 0) - prompts.ids.shape[1]
        if more <= 0:
            return prompts
        if prompts not in self.padded:
            embeddings = F.pad(prompts.embeddings, (0, 0, 0, more))
            self.padded[prompts] = replace(
                prompts, ids=F.pad(prompts.ids, (0, more)), embeddings=embeddings
            )
        return self.padded[prompts]


def unfolded(tower: Tower) -> Any:
    """A copy of the layers of a tower, its activations as they are written."""
    layers = copy.deepcopy(tower.layers)
    if tower.shape.activation != "quick_gelu":
        return layers
    with torch.no_grad():
        for layer in layers:
            inner: Any = layer
            if inner.activation is F.silu:
                inner.fc1.weight.div_(QUICK_GELU)
                inner.fc1.bias.div_(QUICK_GELU)
                inner.fc2.weight.mul_(QUICK_GELU)
                inner.activation = quick_gelu
    return layers


def read_at(tower: Tower, x: Tensor, at: Tensor, **how: Any) -> Tensor:
    """See `Tower.forward_at`; the last layer computes all positions."""
    return tower(x, **how)[torch.arange(len(x), device=x.device), at]
