"""What the weights of CLIP and SigLIP are: two towers, and what stands before and behind them.

Made without memory, and filled from the files of a folder (`formats/weights.py`), whose names are
those of transformers' `CLIPModel` and `SiglipModel`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from operators.backbones.towers.transformer import ACTIVATIONS, Tower, TowerShape

# What holds where a configuration is silent, as in transformers' `CLIPConfig` and `SiglipConfig`.
_SIZES = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "clip": {
        "text_config": {
            "vocab_size": 49408,
            "hidden_size": 512,
            "intermediate_size": 2048,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
        "vision_config": {
            **_SIZES,
            "num_attention_heads": 12,
            "num_channels": 3,
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    },
    "siglip": {
        "text_config": {
            **_SIZES,
            "vocab_size": 32000,
            "num_attention_heads": 12,
            "max_position_embeddings": 64,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
        "vision_config": {
            **_SIZES,
            "num_attention_heads": 12,
            "num_channels": 3,
            "image_size": 224,
            "patch_size": 16,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
    },
}
PROJECTION = 512  # width of a CLIP's feature, likewise

LAYER = {  # parts of a layer, and their names in the files
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.out_proj",),
    "norm1": ("layer_norm1",),
    "norm2": ("layer_norm2",),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}
NAMES = {  # likewise of all else: how names begin
    "text.tower.": "text_model.encoder.",
    "text.words.": "text_model.embeddings.token_embedding.",
    "text.positions": "text_model.embeddings.position_embedding.weight",
    "text.norm_out.": "text_model.final_layer_norm.",
    "text.head.": "text_model.head.",
    "text_projection.": "text_projection.",
    "image.tower.": "vision_model.encoder.",
    "image.class_token": "vision_model.embeddings.class_embedding",
    "image.patches.": "vision_model.embeddings.patch_embedding.",
    "image.positions": "vision_model.embeddings.position_embedding.weight",
    "image.norm_in.": "vision_model.pre_layrnorm.",
    "image.norm_out.": "vision_model.post_layernorm.",
    "image.head.": "vision_model.head.",
    "image_projection.": "visual_projection.",
    "log_scale": "logit_scale",
}


class TextPart(nn.Module):
    """Embeddings, layers and last norm of a text tower.

    Args:
        config: `text_config`, whole.
        causal: A token reads those before it alone.
    """

    def __init__(self, config: Mapping[str, Any], *, causal: bool) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.tower = Tower(shape_of(config), causal=causal)
        self.words = embedding(config["vocab_size"], width)
        self.positions = nn.Parameter(torch.empty(config["max_position_embeddings"], width))
        self.norm_out = nn.LayerNorm(width, eps=config["layer_norm_eps"])


class ImagePart(nn.Module):
    """Embeddings, layers and last norm of a ViT.

    Args:
        config: `vision_config`, whole.
        class_token: There is a class token, and a norm before the layers, as in CLIP.
    """

    def __init__(self, config: Mapping[str, Any], *, class_token: bool) -> None:
        super().__init__()
        width, side, eps = config["hidden_size"], config["patch_size"], config["layer_norm_eps"]
        tokens = (config["image_size"] // side) ** 2 + class_token
        self.tower = Tower(shape_of(config))
        self.patches = nn.Conv2d(
            config["num_channels"], width, side, stride=side, bias=not class_token
        )
        self.positions = nn.Parameter(torch.empty(tokens, width))
        if class_token:
            self.class_token = nn.Parameter(torch.empty(width))
            self.norm_in = nn.LayerNorm(width, eps=eps)
        self.norm_out = nn.LayerNorm(width, eps=eps)


class ClipTextModel(nn.Module):
    """The text tower of every CLIP.

    Args:
        config: As the folder has it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        text = whole(config, "clip", "text_config")
        feature = config.get("projection_dim", PROJECTION)
        self.text = TextPart(text, causal=True)
        self.text_projection = nn.Linear(text["hidden_size"], feature, bias=False)
        self.log_scale = nn.Parameter(torch.empty(()))


class ClipModel(ClipTextModel):
    """A CLIP with a ViT. See `ClipTextModel`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        vision = whole(config, "clip", "vision_config")
        feature = self.text_projection.out_features
        self.image = ImagePart(vision, class_token=True)
        self.image_projection = nn.Linear(vision["hidden_size"], feature, bias=False)


class FeedForward(nn.Module):
    """Two linear maps with an activation between. The arguments are those of a tower."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[shape.activation]
        self.fc1 = nn.Linear(shape.width, shape.mlp_width)
        self.fc2 = nn.Linear(shape.mlp_width, shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to `x`, (.., w)."""
        return self.fc2(self.activation(self.fc1(x)))


class PoolingHead(nn.Module):
    """What reads an image of SigLIP from its tokens. The arguments are those of a tower."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, shape.width))
        self.attention = nn.MultiheadAttention(shape.width, shape.heads, batch_first=True)
        self.layernorm = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.mlp = FeedForward(shape)


class SiglipModel(nn.Module):
    """A SigLIP. See `ClipTextModel`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        text = whole(config, "siglip", "text_config")
        vision = whole(config, "siglip", "vision_config")
        width = text["hidden_size"]
        self.text = TextPart(text, causal=False)
        self.text.head = nn.Linear(width, text.get("projection_size") or width)
        self.image = ImagePart(vision, class_token=False)
        self.image.head = PoolingHead(shape_of(vision))
        self.log_scale = nn.Parameter(torch.empty(1))


def embedding(rows: int, width: int) -> nn.Embedding:
    """An embedding that draws nothing: torch's own imports its compiler to draw without memory.

    Args:
        rows: Tokens that there are.
        width: Of what each becomes.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


def whole(config: Mapping[str, Any], family: str, part: str) -> dict[str, Any]:
    """The configuration of a tower with what holds where it is silent.

    Args:
        config: `config.json`.
        family: Key of `DEFAULTS`.
        part: `text_config` or `vision_config`.
    """
    values = {**DEFAULTS[family][part], **(config.get(part) or {})}
    # Old files of CLIP have a second copy of it, which holds where the two differ.
    if family == "clip" and (second := config.get(f"{part}_dict")) is not None:
        values |= {**DEFAULTS[family][part], **second}
    return values


def shape_of(config: Mapping[str, Any]) -> TowerShape:
    """The shape of a tower, from `text_config` or `vision_config`."""
    return TowerShape(
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        mlp_width=config["intermediate_size"],
        activation=config["hidden_act"],
        norm_eps=config["layer_norm_eps"],
    )


def names(ours: str) -> tuple[str, ...]:
    """Names in the files of a weight of the classes here: one, or those of its parts."""
    begin = next(begin for begin in NAMES if ours.startswith(begin))
    theirs = ours.replace(begin, NAMES[begin], 1)
    if ".tower.layers." not in ours:
        return (theirs,)
    return tuple(renamed_layer(theirs, LAYER))


def renamed_layer(name: str, parts: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names of a weight of a layer in the files.

    Args:
        name: As `encoder.layers.0.qkv.weight`.
        parts: Names of the parts of a layer, as `LAYER`.
    """
    before, part, kind = name.rsplit(".", 2)
    return [f"{before}.{theirs}.{kind}" for theirs in parts[part]]
