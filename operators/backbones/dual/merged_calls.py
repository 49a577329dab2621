"""Calls of the towers that trials in one stack make together (operators/engine/stacking.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from operators.backbones.towers.prompts import DeepPrompts, PromptPlace, TextPrompts
from operators.engine.stacking import TowerCall

_compared: WeakKeyDictionary[TextPrompts, WeakKeyDictionary[TextPrompts, bool]] = (
    WeakKeyDictionary()
)


@runtime_checkable
class Encodes(Protocol):
    """The part of a `DualEncoder` that calls are made of."""

    def encode_prompts(
        self,
        prompts: TextPrompts,
        context: Tensor,
        deep_prompts: DeepPrompts | None = None,
        *,
        share: int = 1,
    ) -> Tensor:
        """See `DualEncoder.encode_prompts`."""
        ...

    def encode_images(
        self,
        pixels: Tensor,
        *,
        prompts: Tensor | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
    ) -> Tensor:
        """See `DualEncoder.encode_images`."""
        ...


@dataclass(frozen=True)
class TextCall(TowerCall):
    """`DualEncoder.encode_prompts` without attention of a method's own; arguments as there."""

    backbone: Encodes
    prompts: TextPrompts
    context: Tensor
    deep_prompts: DeepPrompts | None
    share: int

    @property
    def learned(self) -> bool:
        """See `TowerCall.learned`."""
        return _learned(self.context, self.deep_prompts)

    @property
    def size(self) -> int:
        """See `TowerCall.size`; contexts, of which each has texts of its own."""
        return 1 if self.context.ndim == 3 else len(self.context)

    def fits(self, other: Any) -> bool:
        """See `TowerCall.fits`: the same texts, and the same layers prompted."""
        return (
            isinstance(other, TextCall)
            and other.backbone is self.backbone
            and other.share == self.share
            and other.context.shape[-3:] == self.context.shape[-3:]
            and other.context.dtype == self.context.dtype
            and _alike(self.deep_prompts, other.deep_prompts)
            and _same_texts(self.prompts, other.prompts)
        )

    def together(self, calls: Sequence["TextCall"]) -> Sequence[Tensor]:
        """See `TowerCall.together`."""
        copies = [c.size for c in calls]
        contexts = torch.cat(
            [c.context.expand(n, -1, -1, -1) for c, n in zip(calls, copies, strict=True)]
        )
        deep = _joined([c.deep_prompts for c in calls], copies)
        features = self.backbone.encode_prompts(self.prompts, contexts, deep, share=self.share)
        parts = features.split(copies)
        return [p if c.context.ndim == 4 else p[0] for c, p in zip(calls, parts, strict=True)]


@dataclass(frozen=True)
class ImageCall(TowerCall):
    """`DualEncoder.encode_images` without attention of a method's own; arguments as there."""

    backbone: Encodes
    pixels: Tensor
    prompts: Tensor | None
    place: PromptPlace
    deep_prompts: DeepPrompts | None

    @property
    def learned(self) -> bool:
        """See `TowerCall.learned`."""
        return _learned(self.prompts, self.deep_prompts)

    @property
    def size(self) -> int:
        """See `TowerCall.size`; images."""
        return len(self.pixels)

    def fits(self, other: Any) -> bool:
        """See `TowerCall.fits`: as many prompts in the same places."""
        return (
            isinstance(other, ImageCall)
            and other.backbone is self.backbone
            and other.place == self.place
            and _shape(other.prompts) == _shape(self.prompts)
            and _alike(self.deep_prompts, other.deep_prompts)
        )

    def together(self, calls: Sequence["ImageCall"]) -> Sequence[Tensor]:
        """See `TowerCall.together`."""
        counts = [len(c.pixels) for c in calls]
        prompts = None
        if self.prompts is not None:
            each = [c.prompts for c in calls if c.prompts is not None]
            prompts = torch.cat([p.expand(n, -1, -1) for p, n in zip(each, counts, strict=True)])
        features = self.backbone.encode_images(
            torch.cat([c.pixels for c in calls]),
            prompts=prompts,
            place=self.place,
            deep_prompts=_joined([c.deep_prompts for c in calls], counts),
        )
        return features.split(counts)


def _learned(prompts: Tensor | None, deep: DeepPrompts | None) -> bool:
    """Whether prompts of either kind are, or follow from, parameters."""
    parts = (prompts, None if deep is None else deep.tokens)
    return any(part is not None and part.requires_grad for part in parts)


def _shape(prompts: Tensor | None) -> tuple[int, ...] | None:
    """How many prompts of which width; None where there are none."""
    return None if prompts is None else tuple(prompts.shape[-2:])


def _alike(one: DeepPrompts | None, other: DeepPrompts | None) -> bool:
    """Whether deep prompts go to the same places of the same layers."""
    if one is None or other is None:
        return one is other
    return (
        (one.start, one.first, one.insert) == (other.start, other.first, other.insert)
        and len(one.tokens) == len(other.tokens)
        and (one.own, one.tokens.shape[-2:]) == (other.own, other.tokens.shape[-2:])
    )


def _joined(deep: Sequence[DeepPrompts | None], copies: Sequence[int]) -> DeepPrompts | None:
    """Deep prompts of all sequences: each lane's own, for as many as it has."""
    first = deep[0]
    if first is None:
        return None
    parts = [
        (d.tokens[:, None] if d.tokens.ndim == 3 else d.tokens).expand(
            -1, n, *d.tokens.shape[-3 if d.own else -2 :]
        )
        for d, n in zip(deep, copies, strict=True)
        if d is not None
    ]
    return replace(first, tokens=torch.cat(parts, dim=1))


def _same_texts(one: TextPrompts, other: TextPrompts) -> bool:
    """Whether two objects hold the same texts with slots in the same places; looked at once."""
    if one is other:
        return True
    known = _compared.setdefault(one, WeakKeyDictionary())
    if other not in known:
        pairs = [
            (getattr(one, n), getattr(other, n)) for n in ("ids", "end", "slots", "embeddings")
        ]
        known[other] = all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
    return known[other]
