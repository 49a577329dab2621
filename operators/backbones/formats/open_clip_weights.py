"""The weights of a CLIP in open_clip's format, in a model of transformers and in `ResNet`.

Source: mlfoundations/open_clip (89fb801): names are those of its `CLIP`, or of its
`CustomTextCLIP`, which differ by a prefix.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from operators.backbones.base import BackboneUnavailable
from operators.backbones.formats.open_clip import CONFIG, WEIGHTS, weights_file
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


def load_clip(folder: Path, config: Mapping[str, Any]) -> Any:
    """A `CLIPModel` of transformers.

    Args:
        folder: With the weights.
        config: As `open_clip.read_config` gives it.

    Raises:
        BackboneUnavailable: The weights are not those of such a model.
    """
    from transformers import CLIPConfig, CLIPModel  # seconds to import

    weights, its = renamed(read_weights(folder)), CLIPConfig.from_dict(dict(config))
    with torch.device("meta"):
        wanted = CLIPModel(its).state_dict()
    refuse_misfit(folder, wanted, weights)
    return CLIPModel.from_pretrained(None, config=its, state_dict=weights, dtype=torch.float32)


def load_clip_resnet(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Tensor, ResNet]:
    """A `CLIPTextModelWithProjection` of transformers, the logarithm of the scale, the ResNet.

    Args:
        folder: With the weights.
        config: As `open_clip.read_config` gives it.

    Raises:
        BackboneUnavailable: The weights are not those of such a model.
    """
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    weights = read_weights(folder)
    image = {name: weights.pop(name) for name in list(weights) if name.startswith(VISUAL)}
    text, its = renamed(weights), CLIPTextConfig(**config["text_config"])
    with torch.device("meta"):
        tower = ResNet(ResNetShape(**config["vision_config"]))
        wanted = {f"{VISUAL}{name}": weight for name, weight in tower.state_dict().items()}
        wanted |= CLIPTextModelWithProjection(its).state_dict()
        wanted["logit_scale"] = torch.empty(())
    refuse_misfit(folder, wanted, text | image)
    tower.load_state_dict({n.removeprefix(VISUAL): w for n, w in image.items()}, assign=True)
    scale = text.pop("logit_scale")
    model = CLIPTextModelWithProjection.from_pretrained(
        None, config=its, state_dict=text, dtype=torch.float32
    )
    return model, scale, tower


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
    folder: Path, wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Raises where weights are missing, too many, or of another shape.

    Args:
        folder: Named in the message.
        wanted: Weights of a model that was built as the configuration says, by name.
        weights: What the file holds, under the same names.

    Raises:
        BackboneUnavailable: Names the first of them.
    """
    there = {n: tuple(w.shape) for n, w in wanted.items() if not n.endswith(UNUSED)}
    found = {n: tuple(w.shape) for n, w in weights.items()}
    for name in sorted(there.keys() | found.keys()):
        one, other = there.get(name, "none"), found.get(name, "none")
        if one != other:
            raise BackboneUnavailable(
                f"{folder} holds the weights of another model than {CONFIG} describes: of {name} "
                f"there should be {one}, and there is {other}. Take both from the same place."
            )
