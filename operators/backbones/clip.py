"""CLIP: any local folder or hub id that transformers reads as `CLIPModel`.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020. transformers reads the weights,
the configuration and the tokenizer; the arithmetic is that of `Tower`, equal to
transformers' own (tests/operators/test_clip.py).
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.base import (
    Backbone,
    BackboneCard,
    BackboneUnavailable,
    digest_files,
    freeze,
)
from operators.backbones.transformer import DeepPrompts, Layer, Tower, TowerShape
from operators.images import Preprocessing
from operators.shapes import Float, Int

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SETTINGS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors.index.json",
)


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
            source=location if not Path(location).exists() else "a local folder",
            license="see the model's own card",
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

    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
    ) -> Float[Tensor, "k d"]:
        """See `Backbone.encode_text`."""
        x = embeddings + self.text_positions[: embeddings.shape[1]]
        x = self.text_tower(x, deep_prompts=deep_prompts)
        x = x[torch.arange(len(x), device=x.device), end]
        return self.text_projection(self.text_norm(x))

    @torch.no_grad()
    def encode_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """See `Backbone.encode_images`."""
        patches = self.patches(pixels.to(self.device)).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.image_positions
        x = self.image_tower(self.image_norm_in(x))
        return self.image_projection(self.image_norm_out(x[:, 0]))

    def modules(self) -> Sequence[nn.Module]:
        """See `Backbone.modules`."""
        return (self.model, self.text_tower, self.image_tower)


def fetch(location: str) -> Path:
    """The folder with a model's files: `location` itself, or the hub's copy of that id.

    Raises:
        BackboneUnavailable: See `Clip.describe`.
    """
    if Path(location).is_dir():
        return Path(location)
    if location.startswith((".", "/", "~")) or location.count("/") != 1:
        raise BackboneUnavailable(
            f"no folder at {location!r}. Give a folder that holds a CLIP in transformers' format "
            "(config.json, model.safetensors, tokenizer), or a hub id such as "
            "openai/clip-vit-base-patch16."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(location, allow_patterns=[*WEIGHTS, *TOKENIZER, *SETTINGS]))
    except Exception as error:  # the hub's errors share no narrower ancestor
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneUnavailable(
            f"backbone {location!r} is not on this machine and the model hub did not give it "
            f"({type(error).__name__}: {reason[:160]}). Download it where there is a network and "
            "pass the folder instead: --backbones PATH."
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a CLIP.

    Raises:
        BackboneUnavailable: The file is missing or is that of another kind of model.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise BackboneUnavailable(
            f"{folder} holds no config.json, so it is no model in transformers' format."
        )
    config = json.loads(path.read_text())
    if config.get("model_type") != "clip":
        raise BackboneUnavailable(
            f"{folder} holds a {config.get('model_type', 'nameless')!r} model; "
            "this family reads 'clip'."
        )
    return config


def read_preprocessing(folder: Path, image_size: int) -> Preprocessing:
    """The preprocessing that a model was published with, CLIP's own where it does not say.

    Raises:
        BackboneUnavailable: It resizes in another way than by the short side.
    """
    settings: dict[str, Any] = {}
    if (folder / "preprocessor_config.json").is_file():
        settings = json.loads((folder / "preprocessor_config.json").read_text())
    elif (folder / "processor_config.json").is_file():  # where transformers 5 writes it
        settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    size = settings.get("size", image_size)
    if isinstance(size, dict) and "shortest_edge" not in size:
        raise BackboneUnavailable(
            f"{folder} resizes images to {size}; this family resizes the 'shortest_edge' and crops."
        )
    crop = settings.get("crop_size", image_size)
    return Preprocessing(
        size=crop["height"] if isinstance(crop, dict) else crop,
        short_side=size["shortest_edge"] if isinstance(size, dict) else size,
        mean=tuple(settings.get("image_mean", CLIP_MEAN)),
        std=tuple(settings.get("image_std", CLIP_STD)),
    )


def fingerprint(folder: Path) -> str:
    """Digest of the bytes of weights, tokenizer and preprocessing, and of our arithmetic.

    Raises:
        BackboneUnavailable: The folder holds no weights.
    """
    files = {path for pattern in WEIGHTS for path in folder.glob(pattern)}
    if not files:
        raise BackboneUnavailable(f"{folder} holds no weights (*.safetensors or *.bin).")
    files |= {folder / name for name in (*TOKENIZER, *SETTINGS) if (folder / name).is_file()}
    return digest_files(sorted(files))


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
