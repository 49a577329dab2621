"""From trained towers to a folder that transformers reads as `CLIPModel`."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from operators.backbones.formats.clip_files import BICUBIC, CLIP_MEAN, CLIP_STD, TOKENIZER
from operators.backbones.towers.transformer import Layer, Tower
from operators.pretraining.model import FIRST_SCALE, NORM_EPS, TrainableDualEncoder
from operators.pretraining.recipe import Recipe


def write_clip(
    model: TrainableDualEncoder,
    recipe: Recipe,
    tokenizer_folder: Path,
    tokenizer: Any,
    folder: Path,
) -> Path:
    """Writes configuration, weights in half precision, tokenizer and preprocessing.

    Files of the same names that are in `folder` are replaced, each by a rename.

    Args:
        model: Trained; its weights are copied.
        recipe: Says its widths and depths.
        tokenizer_folder: Holds the tokenizer's files, which are copied as they are.
        tokenizer: The same, loaded; it knows the ids of its special tokens.
        folder: Where the files of transformers go; made where it is not there.
    """
    from transformers import CLIPModel

    clip: Any = CLIPModel(clip_config(recipe, tokenizer, len(model.token_embedding.weight)))
    clip.load_state_dict(clip_weights(model, recipe))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as drafts:
        draft = Path(drafts)
        clip.half().save_pretrained(draft)
        for name in TOKENIZER:
            if (tokenizer_folder / name).is_file():
                shutil.copyfile(tokenizer_folder / name, draft / name)
        settings = json.dumps(preprocessing(recipe.image_size), indent=2) + "\n"
        (draft / "preprocessor_config.json").write_text(settings)
        for file in sorted(draft.iterdir()):
            file.replace(folder / file.name)
    return folder


def clip_config(recipe: Recipe, tokenizer: Any, vocabulary: int) -> Any:
    """The `CLIPConfig` of a recipe.

    Args:
        recipe: Widths, depths and the longest text.
        tokenizer: Knows the ids of its special tokens.
        vocabulary: Rows of the token embedding.
    """
    from transformers import CLIPConfig

    shared = {
        "hidden_act": recipe.activation,
        "layer_norm_eps": NORM_EPS,
        "projection_dim": recipe.projection,
    }
    return CLIPConfig(
        text_config={
            **shared,
            "vocab_size": vocabulary,
            "hidden_size": recipe.text_width,
            "intermediate_size": recipe.mlp_ratio * recipe.text_width,
            "num_hidden_layers": recipe.text_layers,
            "num_attention_heads": recipe.text_heads,
            "max_position_embeddings": recipe.context_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,  # where a text is read; must not be 2
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            **shared,
            "hidden_size": recipe.vision_width,
            "intermediate_size": recipe.mlp_ratio * recipe.vision_width,
            "num_hidden_layers": recipe.vision_layers,
            "num_attention_heads": recipe.vision_heads,
            "image_size": recipe.image_size,
            "patch_size": recipe.patch_size,
        },
        projection_dim=recipe.projection,
        logit_scale_init_value=FIRST_SCALE,
    )


def clip_weights(model: TrainableDualEncoder, recipe: Recipe) -> dict[str, Tensor]:
    """The weights under the names of transformers' `CLIPModel`.

    Args:
        model: Whose weights these are, without a copy.
        recipe: Says the side of a patch, in pixels.
    """
    side = recipe.patch_size
    kernels = model.patches.weight.view(-1, 3, side, side)
    vision, text = "vision_model", "text_model"
    weights: dict[str, Tensor] = {
        "logit_scale": model.log_scale,
        "visual_projection.weight": model.image_projection.weight,
        "text_projection.weight": model.text_projection.weight,
        f"{vision}.embeddings.class_embedding": model.class_token,
        f"{vision}.embeddings.patch_embedding.weight": kernels,
        f"{vision}.embeddings.position_embedding.weight": model.image_positions,
        f"{text}.embeddings.token_embedding.weight": model.token_embedding.weight,
        f"{text}.embeddings.position_embedding.weight": model.text_positions,
        **named(f"{vision}.pre_layrnorm", model.image_norm_in),
        **named(f"{vision}.post_layernorm", model.image_norm_out),
        **named(f"{text}.final_layer_norm", model.text_norm),
        **tower_weights(f"{vision}.encoder.layers", model.image_tower),
        **tower_weights(f"{text}.encoder.layers", model.text_tower),
    }
    return {name: weight.detach() for name, weight in weights.items()}


def tower_weights(prefix: str, tower: Tower) -> dict[str, Tensor]:
    """The layers of a tower; the reverse of `names` of backbones/formats/parts.py.

    Args:
        prefix: What stands before the number of each layer.
        tower: Of transformers' shape, queries, keys and values side by side.
    """
    weights: dict[str, Tensor] = {}
    for index, layer in enumerate(cast(list[Layer], list(tower.layers))):
        theirs = f"{prefix}.{index}"
        for name, weight, bias in zip(
            "qkv", layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True
        ):
            weights[f"{theirs}.self_attn.{name}_proj.weight"] = weight
            weights[f"{theirs}.self_attn.{name}_proj.bias"] = bias
        weights |= named(f"{theirs}.self_attn.out_proj", layer.out)
        weights |= named(f"{theirs}.layer_norm1", layer.norm1)
        weights |= named(f"{theirs}.layer_norm2", layer.norm2)
        weights |= named(f"{theirs}.mlp.fc1", layer.fc1)
        weights |= named(f"{theirs}.mlp.fc2", layer.fc2)
    return weights


def named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Parameters of `module` with `prefix` before their names.

    Args:
        prefix: Its name within `CLIPModel`.
        module: A linear map or a norm.
    """
    return {f"{prefix}.{name}": parameter for name, parameter in module.named_parameters()}


def preprocessing(image_size: int) -> dict[str, Any]:
    """CLIP's preprocessing, as transformers' image processor reads it."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": image_size},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": image_size, "width": image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }
