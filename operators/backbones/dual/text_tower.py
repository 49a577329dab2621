"""What CLIP, SigLIP and CLIP with a ResNet have in common: how a transformer reads their texts."""

import math
from typing import Any

import torch
from torch import Tensor

from operators.backbones.base import BackboneCard, freeze, widened
from operators.backbones.dual.base import DualEncoder
from operators.backbones.towers.packed_text import PackedText, Pool
from operators.backbones.towers.transformer import fold_quick_gelu
from operators.shapes import Float, Int


class TextTowerBackbone(DualEncoder):
    """A backbone with a text tower of its own, whatever reads its images.

    What reads the images is in `modules()` before this begins, which freezes and moves them all.

    Args:
        card: What is known of it.
        model: The weights, one of the classes of parts.py.
        tokenizer: As `load_tokenizer` gives it.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
        pool: What is read of a text; see `PackedText`.
    """

    def __init__(
        self,
        card: BackboneCard,
        model: Any,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
        *,
        pool: Pool,
    ) -> None:
        text = model.text
        self.card = card
        self.device = device
        self.tokenizer = tokenizer
        self.logit_scale = math.exp(float(model.log_scale.detach()))
        self.context_length, self.token_width = text.positions.shape
        self.padded_length = self.context_length
        self.model = model
        self.text_tower = text.tower
        fold_quick_gelu(self.text_tower)
        freeze(self.modules(), device, dtype)

        self.packed_text = PackedText(self.text_tower, self.text_inputs, pool)
        self.token_embedding = text.words
        self.text_positions = text.positions
        self.text_norm = text.norm_out

    def embed(self, ids: Int[Tensor, "k n"]) -> Float[Tensor, "k n w"]:
        """See `DualEncoder.embed`."""
        return widened(self.token_embedding(ids))

    def text_inputs(
        self,
        embeddings: Float[Tensor, "*b n w"],
        positions: Int[Tensor, "n"],  # noqa: F821
    ) -> Float[Tensor, "*b n w"]:
        """What enters the text tower.

        Args:
            embeddings: Of n tokens a text, with learned ones among them.
            positions: Where each of the n tokens stands in its text, from 0.
        """
        return embeddings.to(self.text_positions.dtype) + self.text_positions[positions]
