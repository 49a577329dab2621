"""CLIP: any local folder or hub id that transformers reads as `CLIPModel`.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020. transformers reads the weights,
the configuration and the tokenizer; the arithmetic is that of `Tower`, equal to
transformers' own (tests/operators/test_clip.py).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from operators.backbones.base import Backbone, BackboneCard, PromptPlace, freeze
from operators.backbones.clip_files import (
    BICUBIC,
    CLIP_MEAN,
    CLIP_STD,
    EMBEDDED,
    TOKENIZER,
    fetch,
    fingerprint,
    place_of,
    read_config,
    read_license,
    read_preprocessing,
)
from operators.backbones.packed_text import PackedText
from operators.backbones.prompts import DeepPrompts
from operators.backbones.transformer import (
    Attention,
    Layer,
    Tower,
    TowerShape,
    fold_quick_gelu,
)
from operators.shapes import Float, Int

__all__ = [
    "BICUBIC",
    "CLIP_MEAN",
    "CLIP_STD",
    "EMBEDDED",
    "TOKENIZER",
    "Clip",
    "ImageReading",
    "copy_clip_layer",
    "fetch",
    "read_preprocessing",
]


class ImageReading(NamedTuple):
    """What `Clip.read_images` gives.

    Attributes:
        features: (b, d), as `encode_images` gives them.
        patches: (b, p, d) the patches in the same space, row by row from the top left one.
        states: Layer -> (b, n, v), all tokens after that layer.
    """

    features: Float[Tensor, "b d"]
    patches: Float[Tensor, "b p d"]
    states: dict[int, Tensor]


class Clip(Backbone):
    """A CLIP with a ViT image tower."""

    def __init__(self, card: BackboneCard, folder: Path, device: torch.device) -> None:
        from transformers import AutoTokenizer, CLIPModel  # seconds to import

        model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32)
        text, vision = model.text_model, model.vision_model
        config = model.config
        self.card = card
        self.device = device
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.preprocess = read_preprocessing(folder, config.vision_config.image_size)
        self.logit_scale = math.exp(float(model.logit_scale.detach()))
        self.token_width = config.text_config.hidden_size
        self.feature_width = config.projection_dim
        self.context_length = config.text_config.max_position_embeddings

        self.token_embedding = text.embeddings.token_embedding
        self.text_positions = text.embeddings.position_embedding.weight
        self.text_tower = tower(config.text_config, text.encoder.layers, causal=True)
        self.packed_text = PackedText(self.text_tower, self.text_inputs)
        self.text_norm = text.final_layer_norm
        self.text_projection = model.text_projection

        self.patches = vision.embeddings.patch_embedding
        self.class_token = vision.embeddings.class_embedding
        self.image_positions = vision.embeddings.position_embedding.weight
        self.image_norm_in = vision.pre_layrnorm
        self.image_tower = tower(config.vision_config, vision.encoder.layers)
        self.image_norm_out = vision.post_layernorm
        self.image_projection = model.visual_projection

        freeze(model, self.text_tower, self.image_tower)
        self.model = model  # owns the embeddings, norms and projections used above
        text.encoder, vision.encoder = nn.Identity(), nn.Identity()
        self.text_tower.to(device)
        self.image_tower.to(device)
        model.to(device)
        self.text_positions = text.embeddings.position_embedding.weight
        self.class_token = vision.embeddings.class_embedding
        self.image_positions = vision.embeddings.position_embedding.weight

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card of the CLIP at a local folder or hub id, without loading its weights.

        Raises:
            BackboneUnavailable: There is no such folder, it holds no CLIP, or the hub cannot
                be reached and has not been before.
        """
        folder = fetch(location)
        config = read_config(folder)
        return BackboneCard(
            name=name,
            family="clip",
            source=location if not Path(location).exists() else place_of(folder),
            license=read_license(folder),
            fingerprint=fingerprint(folder),
            feature_width=config.get("projection_dim", 512),
            capabilities=frozenset({"visual-prompts"}),
        )

    @classmethod
    def load(cls, card: BackboneCard, location: str, device: torch.device) -> "Clip":
        """Loads the weights that `card` describes."""
        return cls(card, fetch(location), device)

    def embed(self, ids: Int[Tensor, "k n"]) -> Float[Tensor, "k n w"]:
        """See `Backbone.embed`."""
        return self.token_embedding(ids)

    def text_inputs(
        self,
        embeddings: Float[Tensor, "*b n w"],
        positions: Int[Tensor, "n"],  # noqa: F821
    ) -> Float[Tensor, "*b n w"]:
        """What enters the text tower."""
        return embeddings + self.text_positions[positions]

    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """See `Backbone.text_outputs`; the state at the end token, projected."""
        return self.text_projection(self.text_norm(states))

    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
    ) -> Float[Tensor, "k d"]:
        """See `Backbone.encode_text`."""
        x = self.text_inputs(embeddings, torch.arange(embeddings.shape[1], device=end.device))
        x = self.text_tower(x, deep_prompts=deep_prompts, attention=attention)
        return self.text_outputs(x[torch.arange(len(x), device=x.device), end])

    def embed_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n v"]:
        """What enters the image tower without prompts: class token and patches, normalised."""
        patches = self.patches(pixels.to(self.device)).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), 1, -1)
        return self.image_norm_in(torch.cat([first, patches], dim=1) + self.image_positions)

    def prompted(
        self,
        tokens: Float[Tensor, "b n v"],
        prompts: Float[Tensor, "*b m v"] | None,
        place: PromptPlace,
    ) -> Float[Tensor, "b n2 v"]:
        """Embedded images with prompts among their tokens; prompts have no position."""
        if prompts is None:
            return tokens
        added = self.image_norm_in(prompts.to(tokens.dtype)).expand(len(tokens), -1, -1)
        at = 1 if place == "second" else tokens.shape[1]
        return torch.cat([tokens[:, :at], added, tokens[:, at:]], dim=1)

    def encode_images(
        self,
        pixels: Float[Tensor, "b 3 s s"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
    ) -> Float[Tensor, "b d"]:
        """See `Backbone.encode_images`."""
        x = self.prompted(self.embed_images(pixels), prompts, place)
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        x = self.image_tower.forward_at(x, first, deep_prompts=deep_prompts, attention=attention)
        return self.image_outputs(x)

    def image_outputs(self, states: Float[Tensor, "*b v"]) -> Float[Tensor, "*b d"]:
        """Features from states after the image tower."""
        return self.image_projection(self.image_norm_out(states))

    def read_images(
        self,
        tokens: Float[Tensor, "b n v"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        layers: Collection[int] = (),
    ) -> ImageReading:
        """Everything that a method may want to see of images.

        Args:
            tokens: From `embed_images`, which a caller may keep: it depends on no prompt.
            prompts: As in `encode_images`.
            place: As in `encode_images`.
            deep_prompts: As in `encode_images`.
            attention: As in `encode_images`.
            layers: Layers whose states are kept.
        """
        x = self.prompted(tokens, prompts, place)
        states: dict[int, Tensor] = {}
        tower = self.image_tower.states(x, deep_prompts=deep_prompts, attention=attention)
        for index, state in enumerate(tower):
            x = state
            if index in layers:
                states[index] = state
        added = x.shape[1] - tokens.shape[1]
        start = 1 + (added if place == "second" else 0)
        patches = self.image_outputs(x[:, start : start + tokens.shape[1] - 1])
        return ImageReading(self.image_outputs(x[:, 0]), patches, states)

    def modules(self) -> Sequence[nn.Module]:
        """See `Backbone.modules`."""
        return (self.model, self.text_tower, self.image_tower)


def tower(config: Any, layers: nn.ModuleList, *, causal: bool = False) -> Tower:
    """A `Tower` with the weights of transformers' CLIP layers."""
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
    """Copies one encoder layer; queries, keys and values become one matrix."""
    attention = theirs.self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    ours.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
    ours.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
    ours.out.load_state_dict(attention.out_proj.state_dict())
    ours.norm1.load_state_dict(theirs.layer_norm1.state_dict())
    ours.norm2.load_state_dict(theirs.layer_norm2.state_dict())
    ours.fc1.load_state_dict(theirs.mlp.fc1.state_dict())
    ours.fc2.load_state_dict(theirs.mlp.fc2.state_dict())
