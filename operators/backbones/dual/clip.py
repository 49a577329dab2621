"""CLIP with a ViT: a local folder or hub id in transformers' format or in open_clip's.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020. The arithmetic
is that of `Tower`, equal to transformers' own (tests/operators/test_clip.py), also of weights that
come under open_clip's names (tests/operators/test_open_clip.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.base import VIT, BackboneCard, widened
from operators.backbones.dual.text_tower import TextTowerBackbone
from operators.backbones.dual.vit import ViTBackbone
from operators.backbones.formats import open_clip
from operators.backbones.formats.clip_files import (
    fetch,
    fingerprint,
    in_open_clip,
    place_of,
    read_config,
    read_license,
    read_preprocessing,
)
from operators.backbones.formats.open_clip_weights import fill_clip
from operators.backbones.formats.parts import PROJECTION, ClipModel, names
from operators.backbones.formats.tokenizer import load_tokenizer
from operators.backbones.formats.weights import fill
from operators.backbones.towers.flops import (
    full_layers,
    gradient_since,
    layers_read_at_one,
    product,
)
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.prompts import DeepPrompts, refuse_inserted_text
from operators.backbones.towers.transformer import Attention
from operators.engine.accounting import Flops, Pass, count
from operators.images import Preprocessing
from operators.shapes import Float, Int

IMAGE_SIZE = 224  # where a configuration leaves it out, as transformers does


class ClipTexts(TextTowerBackbone):
    """How every CLIP reads texts, whatever reads its images.

    Attributes:
        text_projection: From states to features.
    """

    text_projection: nn.Module

    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """See `DualEncoder.text_outputs`; the state at the end token, projected."""
        return widened(self.text_projection(self.text_norm(states)))

    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "k d"]:
        """See `DualEncoder.encode_text`."""
        refuse_inserted_text(deep_prompts)
        x = self.text_inputs(embeddings, torch.arange(embeddings.shape[1], device=end.device))
        x = self.text_tower(x, deep_prompts=deep_prompts, attention=attention, hooks=hooks)
        return self.text_outputs(x[torch.arange(len(x), device=x.device), end])


class Clip(ClipTexts, ViTBackbone):
    """A CLIP with a ViT image tower.

    Args:
        card: What is known of it.
        folder: Where its files are, of transformers or OpenCLIP.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
    """

    capabilities = VIT | {"class-token"}

    def __init__(
        self, card: BackboneCard, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> None:
        config = read_config(folder)
        model, tokenizer = load(folder, config)
        super().__init__(card, model, tokenizer, device, dtype, pool="end")
        self.preprocess = preprocessing(folder, config)
        self.feature_width = model.text_projection.out_features
        self.text_output_flops = product(1, self.token_width, self.feature_width)
        self.text_projection = model.text_projection
        self.class_token = model.image.class_token
        self.image_norm_in = model.image.norm_in
        self.image_projection = model.image_projection

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card of the CLIP at a local folder or hub id, without loading its weights.

        Args:
            name: What users call it.
            location: Folder with the files of transformers or OpenCLIP, or id on the Hugging Face
                hub.

        Raises:
            BackboneUnavailable: There is no such folder, it holds no CLIP, or the hub cannot
                be reached and has not been before.
        """
        folder = fetch(location)
        config = read_config(folder)
        preprocessing(folder, config)
        return BackboneCard(
            name=name,
            family="clip",
            source=place_of(location, folder),
            license=read_license(folder),
            fingerprint=fingerprint(folder),
            feature_width=config.get("projection_dim", PROJECTION),
            capabilities=Clip.capabilities,
            cleans=open_clip.other_tokenizer(folder) is None,
        )

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "Clip":
        """Loads the weights that `card` describes.

        Args:
            card: As `describe` gave it.
            location: As in `describe`.
            device: Where the weights go.
            dtype: Of the frozen weights and of the arithmetic with them.

        Raises:
            BackboneUnavailable: The files are gone, damaged, or lack weights.
        """
        return cls(card, fetch(location), device, dtype)

    def placed(self, patches: Float[Tensor, "b p v"]) -> Float[Tensor, "b n v"]:
        """See `ViTBackbone.placed`: class token and patches, normalised."""
        first = self.class_token.expand(len(patches), 1, -1)
        return self.image_norm_in(torch.cat([first, patches], dim=1) + self.image_positions)

    def image_prompts(self, prompts: Float[Tensor, "*b m v"]) -> Float[Tensor, "*b m v"]:
        """See `ViTBackbone.image_prompts`; they pass the norm before the first layer."""
        return self.image_norm_in(prompts)

    def encode_tokens(
        self,
        tokens: Float[Tensor, "b n v"],
        deep_prompts: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
        hooks: Hooks | None,
    ) -> Float[Tensor, "b d"]:
        """See `ViTBackbone.encode_tokens`; the last layer computes the class token alone."""
        first = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        x = self.image_tower.forward_at(
            tokens, first, deep_prompts=deep_prompts, attention=attention, hooks=hooks
        )
        features = self.image_outputs(x)

        def made() -> Pass:
            b, n, _ = tokens.shape
            shape, output = self.image_tower.shape, self.output_flops(b, n)
            plain = full_layers(shape, b, n, deep_prompts, hooks)
            whole = attention is not None and shape.layers - 1 in attention
            done = plain if whole else layers_read_at_one(shape, b, n, deep_prompts, hooks)
            since = gradient_since(tokens, deep_prompts, hooks)
            return Pass([*done, output], [*plain, output], since)

        count(features, made)
        return features

    def image_outputs(self, states: Float[Tensor, "*b v"]) -> Float[Tensor, "*b d"]:
        """Features from states after the image tower."""
        return widened(self.image_projection(self.image_norm_out(states)))

    def pooled(self, states: Float[Tensor, "b n v"]) -> Float[Tensor, "b d"]:
        """See `ViTBackbone.pooled`; the class token."""
        return self.image_outputs(states[:, 0])

    def dense(self, states: Float[Tensor, "b p v"]) -> Float[Tensor, "b p d"]:
        """See `ViTBackbone.dense`; the class token's projection of each patch."""
        return self.image_outputs(states)

    def output_flops(self, images: int, tokens: int) -> Flops:
        """See `ViTBackbone.output_flops`; one token an image is read."""
        return Flops(product(images, self.image_tower.shape.width, self.feature_width))


def preprocessing(folder: Path, config: Mapping[str, Any]) -> Preprocessing:
    """What the folder says of its images; see `read_preprocessing`.

    Args:
        folder: Where the files of the model are.
        config: Its `config.json`, which says how large images are.
    """
    size = config.get("vision_config", {}).get("image_size", IMAGE_SIZE)
    return read_preprocessing(folder, size)


def load(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The weights and the tokenizer, from either format.

    Args:
        folder: Where the files of the model are.
        config: Its `config.json`, or what `read_config` makes of OpenCLIP's.

    Raises:
        BackboneUnavailable: Weights are missing, or of another shape.
    """
    with torch.device("meta"):
        model = ClipModel(config)
    if in_open_clip(folder):
        fill_clip(folder, model)
        return model, open_clip.load_tokenizer(folder, config)
    fill(model, folder, "CLIPModel", names)
    return model, load_tokenizer(folder)
