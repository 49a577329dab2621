"""What CLIP, SigLIP and CLIP with a ResNet have in common: how a transformer reads their texts.

transformers holds the weights; the arithmetic is that of `Tower`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.base import BackboneCard, freeze, widened
from operators.backbones.dual.base import DualEncoder
from operators.backbones.towers.packed_text import PackedText, Pool
from operators.backbones.towers.transformer import Layer, Tower, TowerShape, fold_quick_gelu
from operators.shapes import Float, Int


class TextTowerBackbone(DualEncoder):
    """A backbone with the text tower of a model of transformers, whatever reads its images.

    What reads the images is in `modules()` before this begins, which freezes and moves them all.

    Args:
        card: What is known of it.
        model: Its `text_model` is a `CLIPTextModel` or one whose parts have the same names; the
            layers are taken over.
        config: Of the text model.
        log_scale: Logarithm of `logit_scale`.
        tokenizer: That of transformers.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
        causal: Of the text tower.
        pool: What is read of a text; see `PackedText`.
    """

    def __init__(
        self,
        card: BackboneCard,
        model: Any,
        config: Any,
        log_scale: Tensor,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
        *,
        causal: bool,
        pool: Pool,
    ) -> None:
        text = model.text_model
        self.card = card
        self.device = device
        self.tokenizer = tokenizer
        self.logit_scale = math.exp(float(log_scale.detach()))
        self.token_width = config.hidden_size
        self.context_length = self.padded_length = config.max_position_embeddings

        self.text_tower = tower(config, text.encoder.layers, causal=causal)
        text.encoder = nn.Identity()
        self.model = model  # owns the embeddings, norms and projections
        freeze(self.modules(), device, dtype)

        self.packed_text = PackedText(self.text_tower, self.text_inputs, pool)
        self.token_embedding = text.embeddings.token_embedding
        self.text_positions = text.embeddings.position_embedding.weight
        self.text_norm = text.final_layer_norm

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


def tower(config: Any, layers: nn.ModuleList, *, causal: bool = False) -> Tower:
    """A `Tower` with the weights of transformers' CLIP or SigLIP layers.

    Args:
        config: `text_config` or `vision_config` of transformers.
        layers: Encoder layers of transformers, from the first to the last.
        causal: A token reads those before it alone.
    """
    shape = TowerShape(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        mlp_width=config.intermediate_size,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
    )
    result = Tower(shape, causal=causal)
    for ours, theirs in zip(result.layers, layers, strict=True):
        copy_clip_layer(ours, theirs)  # pyright: ignore[reportArgumentType]
    fold_quick_gelu(result)
    return result


@torch.no_grad()
def copy_clip_layer(ours: Layer, theirs: Any) -> None:
    """Copies one encoder layer; queries, keys and values become one matrix.

    Args:
        ours: Written in place.
        theirs: `CLIPEncoderLayer` or `SiglipEncoderLayer` of transformers, of the same widths.
    """
    attention = theirs.self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    ours.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
    ours.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
    ours.out.load_state_dict(attention.out_proj.state_dict())
    ours.norm1.load_state_dict(theirs.layer_norm1.state_dict())
    ours.norm2.load_state_dict(theirs.layer_norm2.state_dict())
    ours.fc1.load_state_dict(theirs.mlp.fc1.state_dict())
    ours.fc2.load_state_dict(theirs.mlp.fc2.state_dict())
