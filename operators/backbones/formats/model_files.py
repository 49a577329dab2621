"""Files of a model that a user names: whatever is wrong with one is said in a sentence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ESTALE
from pathlib import Path
from typing import Any

import torch

from operators.backbones.base import BackboneUnavailable

_OF_THE_MACHINE = {EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ESTALE}


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a JSON file, by name.

    Raises:
        BackboneUnavailable: It cannot be read, is no JSON, or holds something else.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneUnavailable(
            f"{path} cannot be read as JSON ({_reason(error)}). Fetch the model again."
        ) from error
    if not isinstance(values, dict):
        raise BackboneUnavailable(
            f"{path} holds {_shown(values)} where settings by name should be. Fetch the model "
            "again."
        )
    return values


@contextmanager
def making_a_model(what: str, location: str) -> Iterator[None]:
    """Turns what odd files of a model raise, wherever that is noticed, into one sentence.

    Args:
        what: What of it is read, such as `the settings`.
        location: Folder or hub id.

    Raises:
        BackboneUnavailable: Something in the files makes no model.
    """
    try:
        yield
    except (BackboneUnavailable, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers, safetensors and pickle raise a dozen kinds
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise
        raise BackboneUnavailable(
            f"{what} of {location or 'the embedded model'} cannot be used ({_reason(error)}). "
            "Compare its files with those of the same model on the hub, or fetch it again."
        ) from error


def load_whole(kind: Any, folder: Path) -> Any:
    """A model of transformers with every one of its weights.

    Args:
        kind: Class of transformers with `from_pretrained`, such as `CLIPModel`.
        folder: Where its `config.json` and weights are.

    Raises:
        BackboneUnavailable: Some are missing: transformers would draw them at random.
    """
    model, found = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    missing = sorted(found["missing_keys"])
    if missing:
        raise BackboneUnavailable(
            f"{len(missing)} weights are missing in {folder}, such as {missing[0]}, and would be "
            "random. Fetch the model again."
        )
    return model


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
