"""The folder of a CLIP in open_clip's format: what its files say, in the words of transformers.

Source: mlfoundations/open_clip (89fb801): `CLIPVisionCfg`, `CLIPTextCfg` and `PreprocessCfg`, whose
defaults hold where a file is silent. The ViT, the ResNet and the text tower that are its own are
read, as OpenAI built CLIP's: a key that would make another model of them is refused. A key that is
not known here must be off.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operators.backbones.base import BackboneUnavailable
from operators.backbones.formats.model_files import read_settings
from operators.backbones.formats.tokenizer import load_tokenizer as tokenizer_of

CONFIG = "open_clip_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = (  # the first that is there is read
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
FILTERS = {"bicubic": 3, "bilinear": 2, "random": 3}  # Pillow's numbers; training alone draws one
PROCESSOR = {  # of `preprocess_cfg`: what is known, and first what holds where a file is silent
    "mode": ("RGB",),
    "resize_mode": ("shortest", "squash"),
    "interpolation": tuple(FILTERS),
}

# Keys that are read.
READ = {
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"},
    "vision_cfg": {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"},
}
# Keys of which no feature depends: how training began, what it left out, what is given back beside
# features, and choices within parts that are off.
IDLE = {
    "model_cfg": {"custom_text", "init_logit_scale", "nonscalar_logit_scale", "output_dict"},
    "vision_cfg": {
        "patch_dropout",
        "output_tokens",
        "pos_embed_type",  # either way the positions are among the weights
        "final_ln_after_pool",  # the class token is the same before and after
        "attn_pooler_queries",
        "attn_pooler_heads",
        "timm_model_pretrained",
        "timm_pool",
        "timm_proj",
    },
    "text_cfg": {
        "hf_tokenizer_name",  # the folder holds its files
        "pad_id",  # nothing before the end token sees what follows it
        "bos_id",
        "eos_id",
        "output_tokens",
        "final_ln_after_pool",
        "tiktoken_name",
        "hf_model_pretrained",
        "hf_proj_type",
        "hf_pooler_type",
    },
}
# Keys with one value that is read.
ONE: dict[str, dict[str, str]] = {
    "model_cfg": {},
    "vision_cfg": {"pool_type": "tok", "block_type": "default"},
    "text_cfg": {
        "text_arch": "clip",
        "pool_type": "argmax",
        "proj_type": "linear",
        "block_type": "default",
    },
}
INSTEAD = "use a CLIP with OpenAI's towers, such as timm/resnet50_clip.openai."
WHY = {
    "timm_model_name": "its image tower is a model of timm, and of open_clip's towers its own ViT "
    "and ResNet are read: use such a CLIP, or for a SigLIP its copy in transformers' format, "
    "such as google/siglip-base-patch16-224.",
    "hf_model_name": "its text tower is a model of transformers, and of open_clip's text towers "
    f"that of CLIP is read: {INSTEAD}",
    "init_logit_bias": "it was trained as SigLIPs are, and of those the copies in transformers' "
    "format are read, such as google/siglip-base-patch16-224.",
    "multimodal_cfg": f"it is a CoCa, whose two towers pool in another way: {INSTEAD}",
}


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration, as transformers would write it.

    Returns:
        `model_type` is "clip", or "clip-resnet", whose `vision_config` has the fields of
        `ResNetShape`.

    Raises:
        BackboneUnavailable: It is of a model that cannot be read; names the key, the value and
            what to use. Or the folder lacks CLIP's tokenizer.
    """
    model = read_file(folder).get("model_cfg") or {}
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if not model.get(key):
            raise BackboneUnavailable(
                f"{folder / CONFIG} has no {key!r} in its 'model_cfg', so it is none of a CLIP: "
                "take the file from where the weights come from."
            )
    vision, text = model["vision_cfg"], model["text_cfg"]
    for name, values in (("model_cfg", model), ("vision_cfg", vision), ("text_cfg", text)):
        refuse_unread(folder, name, values)
    refuse_other_tokenizer(folder)
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    width, words = text.get("width", 512), text.get("vocab_size", 49408)
    result = {
        "projection_dim": model["embed_dim"],
        "text_config": {
            "vocab_size": words,
            "bos_token_id": words - 2,
            "eos_token_id": words - 1,
            "max_position_embeddings": text.get("context_length", 77),
            "hidden_size": width,
            "intermediate_size": int(width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "hidden_act": activation,
            "projection_dim": model["embed_dim"],
        },
    }
    width, head_width = vision.get("width", 768), vision.get("head_width", 64)
    layers, size = vision.get("layers", 12), side(folder, "image_size", vision, 224)
    if isinstance(layers, list):
        resnet = {
            "layers": layers,
            "width": width,
            "heads": 32 * width // head_width,
            "image_size": size,
            "feature_width": model["embed_dim"],
        }
        return {"model_type": "clip-resnet", "vision_config": resnet, **result}
    vit = {
        "hidden_size": width,
        "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
        "num_hidden_layers": layers,
        "num_attention_heads": width // head_width,
        "image_size": size,
        "patch_size": side(folder, "patch_size", vision, 16),
        "hidden_act": activation,
    }
    return {"model_type": "clip", "vision_config": vit, **result}


def read_file(folder: Path) -> dict[str, Any]:
    """The configuration as it stands there."""
    return read_settings(folder / CONFIG)


def refuse_unread(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Raises where a section asks for something that is not read.

    Args:
        folder: Named in the message.
        name: Key of `READ`: the section of OpenCLIP's configuration.
        values: What stands in that section.

    Raises:
        BackboneUnavailable: Names the key, the value and what to use.
    """
    for key in sorted(values, key=lambda key: key not in WHY):
        value, only = values[key], ONE[name].get(key)
        if not value or key in READ[name] | IDLE[name] or value == only:
            continue
        rule = f"it must be {only!r}" if only else "it must be off"
        why = WHY.get(key, f"{rule} in models that are read: {INSTEAD}")
        raise BackboneUnavailable(f"{folder} says {key!r}: {json.dumps(value)} in {CONFIG}; {why}")


def side(folder: Path, key: str, vision: Mapping[str, Any], default: int) -> int:
    """The side of a square, which may stand there as a pair.

    Args:
        folder: Named in the message.
        key: Under which the side stands, such as `image_size`.
        vision: Section `vision_cfg`.
        default: Pixels, where the section does not say.

    Raises:
        BackboneUnavailable: It is no square.
    """
    value = vision.get(key) or default
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or pair[0] != pair[1]:
        raise BackboneUnavailable(
            f"{folder} says {key!r}: {json.dumps(value)} in {CONFIG}; images and patches are "
            f"squares: {INSTEAD}"
        )
    return pair[0]


def refuse_other_tokenizer(folder: Path) -> None:
    """Raises where a folder has no tokenizer, or another than CLIP's.

    Raises:
        BackboneUnavailable: Says what is missing, or names the other.
    """
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise BackboneUnavailable(
            f"{folder} holds no tokenizer (tokenizer.json, or vocab.json and merges.txt). Most "
            "CLIPs have OpenAI's: lay those files of openai/clip-vit-base-patch32 beside the "
            "weights."
        )
    if kind := other_tokenizer(folder):
        raise BackboneUnavailable(
            f"{folder} says 'tokenizer_class': {kind!r} in {TOKENIZER_CONFIG}; texts of "
            f"open_clip's own text tower are read with CLIPTokenizer alone: {INSTEAD}"
        )


def other_tokenizer(folder: Path) -> str | None:
    """The class of a folder's tokenizer, where it says one and that is not CLIP's."""
    settings = folder / TOKENIZER_CONFIG
    try:
        kind = str(json.loads(settings.read_text()).get("tokenizer_class") or "")
    except (
        OSError,
        ValueError,
        AttributeError,
        RecursionError,
    ):  # what is wrong with it is said when it is loaded
        return None
    return kind if kind.removesuffix("Fast") not in ("", "CLIPTokenizer") else None


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> Any:
    """CLIP's tokenizer.

    Args:
        folder: With its files.
        config: As `read_config` gives it.

    Raises:
        BackboneUnavailable: It does not end texts with the highest token, at which open_clip
            reads them.
    """
    tokenizer = tokenizer_of(folder, "clip")
    end, highest = tokenizer.eos_token_id, config["text_config"]["vocab_size"] - 1
    if end != highest:
        raise BackboneUnavailable(
            f"{folder} holds a tokenizer that ends texts with token {end}, but {CONFIG} describes "
            f"a model that reads texts at token {highest}. Take both from the same place."
        )
    return tokenizer


def read_processor(folder: Path) -> dict[str, Any]:
    """What is done to images, as transformers' image processors say it.

    Their size is not read: as in open_clip, it is that of the image tower.

    Raises:
        BackboneUnavailable: It cannot be done here; names the key and the value.
    """
    settings = read_file(folder).get("preprocess_cfg") or {}
    chosen = {key: settings.get(key) or known[0] for key, known in PROCESSOR.items()}
    for key, value in chosen.items():
        if value not in PROCESSOR[key]:
            raise BackboneUnavailable(
                f"{folder} says {key!r}: {json.dumps(value)} in {CONFIG}; known is "
                f"{' or '.join(map(repr, PROCESSOR[key]))}: use a model that was trained so."
            )
    result: dict[str, Any] = {
        "do_center_crop": chosen["resize_mode"] == "shortest",
        "resample": FILTERS[chosen["interpolation"]],
    }
    for key, name in (("mean", "image_mean"), ("std", "image_std")):
        if (value := settings.get(key)) is not None:
            result[name] = [float(x) for x in (value if isinstance(value, list) else [value] * 3)]
    return result


def weights_file(folder: Path) -> Path:
    """The file with the weights.

    Raises:
        BackboneUnavailable: There is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise BackboneUnavailable(f"{folder} holds no weights ({' or '.join(WEIGHTS)}).")
