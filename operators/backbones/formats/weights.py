"""The weights of a model's folder in transformers' format, by the names of its files."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.formats.model_files import load_whole

# The first that is there is read; of each kind also its index, where weights are in several files.
FILES = ("model.safetensors", "pytorch_model.bin")
Names = Callable[[str], tuple[str, ...]]


def fill(model: nn.Module, folder: Path, kind: str, names: Names) -> None:
    """Gives a model that has no memory yet the weights of a folder, in float32.

    Where the files have other names, or numbers of another kind, transformers says what they are,
    or what is missing: it knows all that was ever published, and takes seconds to import.

    Args:
        model: Made under `torch.device("meta")`.
        folder: With the weights.
        kind: Class of transformers with `from_pretrained`, such as `CLIPModel`.
        names: Gives the names in the files of a weight of `model`: one, or those of its parts.

    Raises:
        BackboneUnavailable: Some are missing.
    """
    try:
        put(model, read(folder), names)
    except (KeyError, RuntimeError):
        import transformers  # seconds to import

        put(model, load_whole(getattr(transformers, kind), folder).state_dict(), names)


def read(folder: Path) -> dict[str, Tensor]:
    """The weights as they stand in a folder.

    Raises:
        KeyError: It has no file of a name that is known here.
    """
    for name in FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return _file(folder / name)
        if index.is_file():
            parts = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
            return {key: w for part in parts for key, w in _file(folder / part).items()}
    raise KeyError(f"{folder} has none of {', '.join(FILES)}")


def put(model: nn.Module, weights: Mapping[str, Tensor], names: Names) -> None:
    """Gives a model its weights, each in memory of its own.

    Args:
        model: See `fill`.
        weights: By the names of the files.
        names: See `fill`.

    Raises:
        KeyError: One is missing.
        RuntimeError: One has another shape, or is none.
    """
    state = {}
    for ours in model.state_dict():
        parts = [weights[name] for name in names(ours)]
        if not all(part.is_floating_point() for part in parts):
            raise RuntimeError(f"{ours} is made of whole numbers")
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        state[ours] = whole.to(torch.float32, copy=True)
    model.load_state_dict(state, assign=True)


def wanted(model: nn.Module, names: Names) -> dict[str, tuple[int, ...]]:
    """Shapes of what `put` asks for, by the names of the files.

    Args:
        model: Made under any device.
        names: See `fill`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for ours, weight in model.state_dict().items():
        parts, shape = names(ours), tuple(weight.shape)
        if len(parts) > 1:
            shape = (shape[0] // len(parts), *shape[1:])
        shapes |= dict.fromkeys(parts, shape)
    return shapes


def _file(path: Path) -> dict[str, Any]:
    if path.suffix == ".bin":
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file

    return load_file(path)
