"""The weights of a CLIP in open_clip's format, under the names of transformers and in `ResNet`.

Source: mlfoundations/open_clip (89fb801): names are those of its `CLIP`, or of its
`CustomTextCLIP`, which differ by a prefix.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.base import BackboneUnavailable
from operators.backbones.formats.open_clip import CONFIG, WEIGHTS, weights_file
from operators.backbones.formats.parts import ClipTextModel, names
from operators.backbones.formats.weights import put, wanted
from operators.backbones.towers.resnet import ResNet, ResNetShape

VISUAL = "visual."  # what the names of an image tower's weights begin with
UNUSED = ("num_batches_tracked", "attn_mask")  # ends of names of which no feature depends

# Names in open_clip's files, and those of transformers.
LAYERS = (
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)
NAMES = {
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "visual.proj": "visual_projection.weight",
    "transformer.resblocks.": "text_model.encoder.layers.",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.": "text_model.final_layer_norm.",
    "text_projection": "text_projection.weight",
}
TURNED = ("visual_projection.weight", "text_projection.weight")  # there (in, out), here (out, in)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in float32, without those that no feature depends on.

    Raises:
        BackboneUnavailable: There is no file with weights, it is damaged, or it holds other things.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = weights_file(folder)
    try:
        if file.suffix == ".safetensors":
            weights = load_file(file)
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BackboneUnavailable(
            f"{file} holds more than weights, and what else it holds is not run: save its "
            f"state_dict() as {WEIGHTS[0]}."
        ) from error
    except (EOFError, RuntimeError, SafetensorError) as error:
        raise BackboneUnavailable(
            f"{file} cannot be read as weights ({str(error) or 'it is empty'}): fetch it again, or "
            f"save the model's state_dict() as {WEIGHTS[0]}."
        ) from error
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise BackboneUnavailable(
            f"{file} holds {', '.join(map(str, weights))}, which are no weights by name: save the "
            f"model's state_dict() as {WEIGHTS[0]}."
        )
    return {
        name.removeprefix("text."): weight.float()
        for name, weight in weights.items()
        if not name.endswith(UNUSED)
    }


def fill_clip(folder: Path, model: nn.Module) -> None:
    """Gives a `ClipModel` its weights.

    Args:
        folder: With the weights.
        model: Made without memory, as `open_clip.read_config` says.

    Raises:
        BackboneUnavailable: The weights are not those of such a model.
    """
    weights = renamed(read_weights(folder))
    refuse_misfit(folder, wanted(model, names), weights)
    put(model, weights, names)


def load_clip_resnet(folder: Path, config: Mapping[str, Any]) -> tuple[ClipTextModel, ResNet]:
    """The text tower of a CLIP, and its ResNet.

    Args:
        folder: With the weights.
        config: As `open_clip.read_config` gives it.

    Raises:
        BackboneUnavailable: The weights are not those of such a model.
    """
    weights = read_weights(folder)
    image = {name: weights.pop(name) for name in list(weights) if name.startswith(VISUAL)}
    text = renamed(weights)
    with torch.device("meta"):
        model, tower = ClipTextModel(config), ResNet(ResNetShape(**config["vision_config"]))
    shapes = {f"{VISUAL}{name}": tuple(w.shape) for name, w in tower.state_dict().items()}
    refuse_misfit(folder, shapes | wanted(model, names), text | image)
    tower.load_state_dict({n.removeprefix(VISUAL): w for n, w in image.items()}, assign=True)
    put(model, text, names)
    return model, tower


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under transformers' names; queries, keys and values apart."""
    result: dict[str, Tensor] = {}
    for name, weight in weights.items():
        theirs = next((old for old in NAMES if name.startswith(old)), "")
        ours = name.replace(theirs, NAMES[theirs], 1) if theirs else name
        for old, new in LAYERS:
            ours = ours.replace(old, new)
        if ".attn.in_proj_" in ours:
            for part, value in zip("qkv", weight.chunk(3), strict=True):
                place = ours.replace(".attn.in_proj_", f".self_attn.{part}_proj.")
                result[place] = value.contiguous()
        else:
            result[ours] = weight.T.contiguous() if ours in TURNED else weight
    if "logit_scale" in result:
        result["logit_scale"] = result["logit_scale"].reshape(())
    return result


def refuse_misfit(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]
) -> None:
    """Raises where weights are missing, too many, or of another shape.

    Args:
        folder: Named in the message.
        shapes: Of the weights of a model that was built as the configuration says, by name.
        weights: What the file holds, under the same names.

    Raises:
        BackboneUnavailable: Names the first of them.
    """
    there = {n: tuple(shape) for n, shape in shapes.items() if not n.endswith(UNUSED)}
    found = {n: tuple(w.shape) for n, w in weights.items()}
    for name in sorted(there.keys() | found.keys()):
        one, other = there.get(name, "none"), found.get(name, "none")
        if one != other:
            raise BackboneUnavailable(
                f"{folder} holds the weights of another model than {CONFIG} describes: of {name} "
                f"there should be {one}, and there is {other}. Take both from the same place."
            )
