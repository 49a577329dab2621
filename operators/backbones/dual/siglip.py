"""SigLIP and SigLIP 2 of one resolution: what transformers reads as `SiglipModel`.

Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
https://arxiv.org/abs/2303.15343; Tschannen et al., "SigLIP 2: Multilingual Vision-Language
Encoders with Improved Semantic Understanding, Localization, and Dense Features", 2025,
https://arxiv.org/abs/2502.14786. Equal to transformers' (tests/operators/test_siglip.py).

What differs from CLIP:

- The text tower is bidirectional. Every text is padded to its full length, 64 tokens, the
  padding is attended to as in training, and the state at the last place is the text's. So no
  two texts share anything, and none is cut shorter.
- There is no start token. Learned context begins at place 0, the class name follows it, then
  the end token and the padding.
- The image tower has no class token; a learned query attends to all tokens after the last
  layer, learned ones included.
- Training scores a pair by sigmoid(scale * cos + bias). Classification asks which class is
  likeliest: methods take the softmax of scale * cos over classes, in which the bias, the same
  for all of them, cancels, as it does in the argmax. It is not read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones.base import VIT, BackboneCard, BackboneUnavailable, Tokens, widened
from operators.backbones.dual.vit import ViTBackbone
from operators.backbones.formats.clip_files import (
    fetch,
    fingerprint,
    place_of,
    read_config,
    read_license,
    read_preprocessing,
)
from operators.backbones.formats.parts import SiglipModel, names
from operators.backbones.formats.tokenizer import load_tokenizer
from operators.backbones.formats.weights import fill
from operators.backbones.towers.flops import finish, full_layers, gradient_since, pairs, product
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.packed_attention import split_heads
from operators.backbones.towers.prompts import DeepPrompts, refuse_inserted_text
from operators.backbones.towers.transformer import Attention
from operators.engine.accounting import Flops, Pass, count
from operators.images import Preprocessing
from operators.shapes import Float, Int

HALF = (0.5, 0.5, 0.5)  # mean and deviation of the channels: pixels become -1..1
IMAGE_SIZE, WIDTH = 224, 768  # where a configuration leaves them out, as transformers does


class Siglip(ViTBackbone):
    """A SigLIP whose image tower pools by attention. See `Clip`."""

    text_start = 0
    image_start = 0
    capabilities = VIT

    def __init__(
        self, card: BackboneCard, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> None:
        config = read_config(folder)
        with torch.device("meta"):
            model: Any = SiglipModel(config)
        fill(model, folder, "SiglipModel", names)
        tokenizer = load_tokenizer(folder, "file")
        super().__init__(card, model, tokenizer, device, dtype, pool="last")
        self.preprocess = preprocessing(folder, config)
        self.text_head = model.text.head
        self.image_head = model.image.head
        self.feature_width = self.text_head.out_features
        self.text_output_flops = product(1, self.token_width, self.feature_width)

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card of the SigLIP at a local folder or hub id, without loading its weights.

        Args:
            name: What users call it.
            location: Folder with the files of transformers or OpenCLIP, or id on the Hugging Face
                hub.

        Raises:
            BackboneUnavailable: There is no such folder, it holds no SigLIP that can be read,
                or the hub cannot be reached and has not been before.
        """
        folder = fetch(location)
        config = read_config(folder)
        preprocessing(folder, config)
        if not config.get("vision_config", {}).get("vision_use_head", True):
            raise BackboneUnavailable(
                f"{folder} says 'vision_use_head': false; without its pooling head an image has no "
                "feature in the space of the texts."
            )
        if not (folder / "tokenizer.json").is_file():
            raise BackboneUnavailable(
                f"{folder} holds no tokenizer.json. Save its tokenizer in that form beside the "
                "weights, or take the model's own files from the hub, which has it."
            )
        text = config.get("text_config", {})
        width = text.get("projection_size") or text.get("hidden_size", WIDTH)
        return BackboneCard(
            name=name,
            family="siglip",
            source=place_of(location, folder),
            license=read_license(folder),
            fingerprint=fingerprint(folder),
            feature_width=width,
            capabilities=Siglip.capabilities,
            note="Trained with a sigmoid loss: confidences are those of a softmax over the "
            "classes, for which it was not calibrated.",
        )

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "Siglip":
        """Loads the weights that `card` describes. See `Clip.load`."""
        return cls(card, fetch(location), device, dtype)

    def tokenize(self, texts: Sequence[str], *, cut: bool = False) -> Tokens:
        """See `DualEncoder.tokenize`; every text is padded to the full length.

        In lower case, as all texts were in training; the tokenizer of SigLIP 2 leaves that to
        its callers.
        """
        limit = {"truncation": True, "max_length": self.context_length} if cut else {}
        rows = self.tokenizer([text.lower() for text in texts], **limit).input_ids
        lengths = [len(row) for row in rows]
        self.refuse_long(texts, lengths)
        padding = self.tokenizer.pad_token_id
        padded = [row + [padding] * (self.context_length - len(row)) for row in rows]
        end = torch.tensor(lengths, device=self.device) - 1
        return Tokens(torch.tensor(padded, device=self.device), end)

    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """See `DualEncoder.text_outputs`; the state at the last place, projected."""
        return widened(self.text_head(self.text_norm(states)))

    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "k d"]:
        """See `DualEncoder.encode_text`; `end` is not needed, since padding is read too.

        Raises:
            ValueError: The texts are not padded to the full length.
        """
        refuse_inserted_text(deep_prompts)
        length = embeddings.shape[1]
        if length != self.context_length:
            raise ValueError(
                f"texts of {length} tokens: the text tower of {self.card.name} reads all of them "
                f"padded to {self.context_length}, as `tokenize` gives them."
            )
        x = self.text_inputs(embeddings, torch.arange(length, device=embeddings.device))
        x = self.text_tower(x, deep_prompts=deep_prompts, attention=attention, hooks=hooks)
        return self.text_outputs(x[:, -1])

    def placed(self, patches: Float[Tensor, "b p v"]) -> Float[Tensor, "b n v"]:
        """See `ViTBackbone.placed`: the patches."""
        return patches + self.image_positions

    def image_prompts(self, prompts: Float[Tensor, "*b m v"]) -> Float[Tensor, "*b m v"]:
        """See `ViTBackbone.image_prompts`; they enter as they are."""
        return prompts

    def encode_tokens(
        self,
        tokens: Float[Tensor, "b n v"],
        deep_prompts: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
        hooks: Hooks | None,
    ) -> Float[Tensor, "b d"]:
        """See `ViTBackbone.encode_tokens`; the head needs all of them."""
        x = self.image_tower(tokens, deep_prompts=deep_prompts, attention=attention, hooks=hooks)
        features = self.pooled(x)

        def made() -> Pass:
            b, n, _ = x.shape
            shape, entered = self.image_tower.shape, tokens.shape[1]
            tower = full_layers(shape, b, entered, deep_prompts, hooks)
            layers = [*tower, self.output_flops(b, n)]
            return Pass(layers, layers, gradient_since(tokens, deep_prompts, hooks))

        count(features, made)
        return features

    def pooled(self, states: Float[Tensor, "b n v"]) -> Float[Tensor, "b d"]:
        """See `ViTBackbone.pooled`; what the head's query reads of all tokens."""
        head, shape = self.image_head, self.image_tower.shape
        weights = head.attention.in_proj_weight.split([shape.width, 2 * shape.width])
        biases = head.attention.in_proj_bias.split([shape.width, 2 * shape.width])
        query = F.linear(head.probe, weights[0], biases[0]).expand(len(states), -1, -1)
        keys_values = F.linear(self.image_norm_out(states), weights[1], biases[1])
        parts = (query, *keys_values.split(shape.width, dim=-1))
        q, k, v = (split_heads(part, shape.heads) for part in parts)
        read = F.scaled_dot_product_attention(q, k, v)
        x = head.attention.out_proj(read.flatten(1))
        return widened(x + head.mlp(head.layernorm(x)))

    def dense(self, states: Float[Tensor, "b p v"]) -> Float[Tensor, "b p d"]:
        """See `ViTBackbone.dense`; what the head's query reads where it is shown one patch."""
        b, p, _ = states.shape
        return self.pooled(states.flatten(0, 1)[:, None]).view(b, p, -1)

    def output_flops(self, images: int, tokens: int) -> Flops:
        """See `ViTBackbone.output_flops`; one query for all, a feed-forward part for each."""
        shape, every = self.image_tower.shape, images * tokens
        linear = product(1 + 2 * every, shape.width, shape.width) + finish(shape, images)
        return Flops(linear, pairs(shape, every))


def preprocessing(folder: Path, config: Mapping[str, Any]) -> Preprocessing:
    """What the folder says of its images; see `read_preprocessing`.

    Args:
        folder: Where the files of the model are.
        config: Its `config.json`, which says how large images are.
    """
    size = config.get("vision_config", {}).get("image_size", IMAGE_SIZE)
    return read_preprocessing(folder, size, mean=HALF, std=HALF, crops=False)
