"""The frozen models. A new family is one file and one line in `FAMILIES`."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from operators.backbones.base import (
    CAPABILITIES,
    PRECISIONS,
    Backbone,
    BackboneCard,
    BackboneUnavailable,
    Tokens,
    unit,
)
from operators.backbones.dual.base import DualEncoder, ImageReading
from operators.backbones.dual.clip import Clip
from operators.backbones.dual.clip_resnet import ClipResNet
from operators.backbones.dual.effnet_minilm import EffnetMiniLM
from operators.backbones.dual.siglip import Siglip
from operators.backbones.formats.clip_files import EMBEDDED
from operators.backbones.formats.clip_files import family_of as dual_family_of
from operators.backbones.formats.model_files import making_a_model
from operators.backbones.language.base import CAPABILITIES as LANGUAGE_CAPABILITIES
from operators.backbones.language.base import LanguageModel
from operators.backbones.language.causal import CausalLM
from operators.backbones.language.files import family_at as language_family_at
from operators.backbones.language.masked import MaskedLM, SentenceEncoder
from operators.backbones.language.minilm import MiniLM
from operators.backbones.language.smollm2 import SmolLM2
from operators.backbones.own import own_family
from operators.backbones.towers.prompts import DeepPrompts, TextPrompts
from operators.files import at_home

FAMILIES: dict[str, Any] = {
    "effnet-minilm": EffnetMiniLM,
    "clip": Clip,
    "clip-resnet": ClipResNet,
    "siglip": Siglip,
    "causal-lm": CausalLM,
    "masked-lm": MaskedLM,
    "sentence-encoder": SentenceEncoder,
    "smollm2": SmolLM2,
    "minilm": MiniLM,
}


class Known(NamedTuple):
    """A backbone that has a name of its own.

    Attributes:
        family: Key of `FAMILIES`.
        location: Folder or hub id; empty where the family has only one member.
        title: One line for listings.
    """

    family: str
    location: str
    title: str


BACKBONES: dict[str, Known] = {
    "mini-clip": Known("clip", str(EMBEDDED / "mini_clip"), "CLIP of 48 pixels, embedded"),
    "effnet-minilm": Known("effnet-minilm", "", "EfficientNet-Lite0 + MiniLM-L6, embedded"),
    "clip-vit-b32": Known("clip", "openai/clip-vit-base-patch32", "OpenAI CLIP ViT-B/32"),
    "clip-vit-b16": Known("clip", "openai/clip-vit-base-patch16", "OpenAI CLIP ViT-B/16"),
    "clip-vit-l14": Known("clip", "openai/clip-vit-large-patch14", "OpenAI CLIP ViT-L/14"),
    "clip-rn50": Known("clip-resnet", "timm/resnet50_clip.openai", "OpenAI CLIP RN50"),
    "clip-rn101": Known("clip-resnet", "timm/resnet101_clip.openai", "OpenAI CLIP RN101"),
    "siglip-vit-b16": Known("siglip", "google/siglip-base-patch16-224", "SigLIP ViT-B/16"),
    "siglip2-vit-b16": Known("siglip", "google/siglip2-base-patch16-224", "SigLIP 2 ViT-B/16"),
    "smollm2-135m-q4": Known("smollm2", "", "SmolLM2-135M-Instruct in 4 bits, causal"),
    "minilm": Known("minilm", "", "all-MiniLM-L6-v2, sentence features, embedded"),
    "gpt2": Known("causal-lm", "openai-community/gpt2", "GPT-2 of 124 M numbers, causal"),
    "bert-base": Known("masked-lm", "google-bert/bert-base-uncased", "BERT base, masked"),
    "roberta-large": Known("masked-lm", "FacebookAI/roberta-large", "RoBERTa large, masked"),
}


class BackboneReference(NamedTuple):
    """Which backbone a name stands for, before anything of it is read.

    Attributes:
        name: As it stands on the board: the known name, the hub id, or the folder's own name,
            after that of the folder round it where it is also a known one.
        family: Key of `FAMILIES`; empty for a folder or hub id, whose configuration says it; for
            code of a user's own as `add_own` of own.py gave it.
        location: Folder or hub id.
        precision: Key of `PRECISIONS`: of the frozen weights, once they are loaded, and of the
            arithmetic with them.
    """

    name: str
    family: str
    location: str
    precision: str = "fp32"

    def __reduce__(self) -> Any:
        """Weights that come with our packages are looked for where these lie, not as they were."""
        if Path(self.location).is_relative_to(EMBEDDED):
            place = Path(self.location).relative_to(EMBEDDED).as_posix()
            return _embedded, (self.name, self.family, place, self.precision)
        return BackboneReference, tuple(self)

    def describe(self) -> BackboneCard:
        """The card, with the fingerprint of the weights.

        Raises:
            BackboneUnavailable: The weights cannot be had here.
        """
        if (own := own_family(self.family)) is not None:
            return own.describe(self.name, self.family)
        with making_a_model("the settings", self.location):
            family = self.family or family_of(self.location)
            return FAMILIES[family].describe(self.name, self.location)

    def files(self) -> list[Path] | None:
        """All files that its card may be made of; None where they are not known to be here.

        Raises:
            BackboneUnavailable: The package that has them is not installed.
        """
        if own_family(self.family) is not None:
            return None
        if not self.location:
            return FAMILIES[self.family].files()
        folder = Path(self.location)
        return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else None

    def load(self, card: BackboneCard, device: str = "cpu") -> Any:
        """The backbone itself, of the kind that its family is of, frozen, on `device`.

        Args:
            card: As `describe` gave it; its family says which class reads the files.
            device: Name that torch knows, such as `cuda:0`.

        Raises:
            LookupError: There is no such precision.
            ValueError: It is one of GPUs, and the device is none.
            BackboneUnavailable: Its files are damaged, or make no model.
        """
        if self.precision not in PRECISIONS:
            raise LookupError(
                f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}."
            )
        if self.precision == "tf32" and torch.device(device).type != "cuda":
            raise ValueError(
                f"precision 'tf32' is how a GPU multiplies, and {self.name} is to be on "
                f"{device}: use fp32 there, which is more exact."
            )
        dtype = PRECISIONS[self.precision]
        if (own := own_family(card.family)) is not None:
            return own.load(card, torch.device(device), dtype)
        with making_a_model("the weights or the tokenizer", self.location):
            return FAMILIES[card.family].load(card, self.location, torch.device(device), dtype)


def _embedded(name: str, family: str, place: str, precision: str) -> BackboneReference:
    """See `BackboneReference.__reduce__`."""
    return BackboneReference(name, family, str(EMBEDDED / place), precision)


def family_of(location: str) -> str:
    """The family of the model at a folder or hub id; key of `FAMILIES`.

    Raises:
        BackboneUnavailable: It cannot be had here, or is of no family that is known.
    """
    return language_family_at(location) or dual_family_of(location)


def is_a(card: BackboneCard, kind: type[Backbone]) -> bool:
    """Whether a backbone is of a kind.

    Args:
        card: Its card.
        kind: `DualEncoder` or `LanguageModel`, as a track asks for it.
    """
    return issubclass(class_of(card), kind)


def class_of(card: BackboneCard) -> Any:
    """The class that reads the files of a backbone, or a user's own."""
    own = own_family(card.family)
    return FAMILIES[card.family] if own is None else own.kind


def is_location(text: str) -> bool:
    """Whether `text` is a folder or a hub id, not a name of `BACKBONES`."""
    return text not in BACKBONES and ("/" in text or at_home(text).is_dir())


def reference(text: str) -> BackboneReference:
    """The backbone that a user means by `text`: a known name, a folder or a hub id.

    Raises:
        LookupError: It is none of these.
    """
    if text in BACKBONES:
        known = BACKBONES[text]
        return BackboneReference(text, known.family, known.location)
    if not is_location(text):
        raise LookupError(f"no backbone is called {text!r}.")
    folder = at_home(text)
    if folder.is_dir():
        folder = folder.resolve()
        # A folder may be called like the weights that everybody knows and hold others, and rows
        # of the board are told apart by name.
        name = f"{folder.parent.name}/{folder.name}" if folder.name in BACKBONES else folder.name
        return BackboneReference(name, "", str(folder))
    return BackboneReference(text, "", text)


__all__ = [
    "BACKBONES",
    "CAPABILITIES",
    "FAMILIES",
    "LANGUAGE_CAPABILITIES",
    "PRECISIONS",
    "Backbone",
    "BackboneCard",
    "BackboneReference",
    "BackboneUnavailable",
    "DeepPrompts",
    "DualEncoder",
    "ImageReading",
    "LanguageModel",
    "TextPrompts",
    "Tokens",
    "class_of",
    "family_of",
    "is_a",
    "is_location",
    "reference",
    "unit",
]
