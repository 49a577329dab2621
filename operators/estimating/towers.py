"""Operations of one pass through the towers of a backbone, whose weights need not be here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from operators.backbones import BackboneReference, BackboneUnavailable, DualEncoder
from operators.backbones.formats.model_files import read_settings
from operators.backbones.towers.flops import full_layers, product
from operators.backbones.towers.transformer import TowerShape
from operators.engine.accounting import forward

T = TypeVar("T")
FULL_LENGTH = 77  # tokens to which CLIP's code pads a text; texts of all towers are counted in it


class TowerOperations(NamedTuple):
    """Floating-point operations of a plain pass, forward.

    Attributes:
        text: Of a text of `FULL_LENGTH` tokens.
        image: Of an image.
    """

    text: float
    image: float


# Source: open_clip, `docs/model_profile.csv`; of `effnet-minilm`, our own count.
_KNOWN = {
    "clip-vit-b32": TowerOperations(5.96e9, 8.82e9),
    "clip-vit-b16": TowerOperations(5.96e9, 35.13e9),
    "clip-vit-l14": TowerOperations(13.3e9, 162.03e9),
    "clip-rn50": TowerOperations(5.96e9, 12.22e9),
    "clip-rn101": TowerOperations(5.96e9, 19.54e9),
    "siglip-vit-b16": TowerOperations(11.02e9, 35.42e9),
    "siglip2-vit-b16": TowerOperations(11.02e9, 35.42e9),
    "effnet-minilm": TowerOperations(1.69e9, 0.77e9),
}


def tower_operations(reference: BackboneReference) -> TowerOperations | None:
    """What a pass through each tower of a backbone takes; None where nobody knows.

    Args:
        reference: A known name, or a folder in the format of transformers, whose settings say it.
    """
    return known_or_read(reference, _KNOWN, _operations)


def known_or_read(
    reference: BackboneReference,
    known: Mapping[str, T],
    read: Callable[[Mapping[str, Any], Mapping[str, Any]], T],
) -> T | None:
    """Something about the towers of a backbone; None where nobody knows.

    Args:
        reference: A known name, or a folder in the format of transformers, whose settings say it.
        known: By name.
        read: Makes it of the settings of the text tower and of the image tower.
    """
    if reference.name in known:
        return known[reference.name]
    settings = Path(reference.location) / "config.json"
    if not settings.is_file():
        return None
    try:
        values = read_settings(settings)
        return read(values["text_config"], values["vision_config"])
    except (BackboneUnavailable, LookupError, TypeError, ZeroDivisionError):
        return None  # of another make, such as open_clip's ResNets


def _operations(text: Mapping[str, Any], image: Mapping[str, Any]) -> TowerOperations:
    """See `tower_operations`."""
    side, patch = image["image_size"], image["patch_size"]
    patches = (side // patch) ** 2
    embedding = product(patches, 3 * patch**2, image["hidden_size"])
    layers = full_layers(_shape(image), 1, patches + 1)
    return TowerOperations(
        text_operations(_shape(text), FULL_LENGTH), float(embedding + forward(layers))
    )


def operations_in(backbone: DualEncoder) -> TowerOperations:
    """What a pass through each tower of a backbone takes that is loaded."""
    text = text_operations(backbone.packed_text.tower.shape, FULL_LENGTH)
    return TowerOperations(text, float(backbone.image_flops))


def _shape(settings: Mapping[str, Any]) -> TowerShape:
    """Sizes of a tower in the words of transformers; what counts no operation is left as it is."""
    width, layers = settings["hidden_size"], settings["num_hidden_layers"]
    return TowerShape(
        width, layers, settings["num_attention_heads"], settings["intermediate_size"], "gelu", 1e-5
    )


def text_operations(shape: TowerShape, length: int) -> float:
    """Operations of one text of so many tokens through a tower, forward.

    Args:
        shape: Of the tower.
        length: Tokens.
    """
    return float(forward(full_layers(shape, 1, length)))
