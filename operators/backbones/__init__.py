"""The frozen dual encoders. A new family is one file and one line in `FAMILIES`."""

from pathlib import Path
from typing import NamedTuple

import torch

from operators.backbones.base import (
    Backbone,
    BackboneCard,
    BackboneUnavailable,
    Tokens,
    unit,
)
from operators.backbones.clip import EMBEDDED, Clip
from operators.backbones.effnet_minilm import EffnetMiniLM
from operators.backbones.prompts import DeepPrompts, TextPrompts

FAMILIES = {
    "effnet-minilm": EffnetMiniLM,
    "clip": Clip,
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
}


class BackboneReference(NamedTuple):
    """Which backbone a name stands for, before anything of it is read.

    Attributes:
        name: As it stands on the board: the known name, the hub id, or the folder's own name.
        family: Key of `FAMILIES`.
        location: Folder or hub id.
    """

    name: str
    family: str
    location: str

    def describe(self) -> BackboneCard:
        """The card, with the fingerprint of the weights.

        Raises:
            BackboneUnavailable: The weights cannot be had here.
        """
        return FAMILIES[self.family].describe(self.name, self.location)

    def load(self, card: BackboneCard, device: str = "cpu") -> Backbone:
        """The backbone itself, frozen, on `device`."""
        return FAMILIES[self.family].load(card, self.location, torch.device(device))


def is_location(text: str) -> bool:
    """Whether `text` is a folder or a hub id, not a name of `BACKBONES`."""
    return text not in BACKBONES and ("/" in text or Path(text).expanduser().is_dir())


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
    folder = Path(text).expanduser()
    if folder.is_dir():
        return BackboneReference(folder.resolve().name, "clip", str(folder.resolve()))
    return BackboneReference(text, "clip", text)


__all__ = [
    "BACKBONES",
    "FAMILIES",
    "Backbone",
    "BackboneCard",
    "BackboneReference",
    "BackboneUnavailable",
    "DeepPrompts",
    "TextPrompts",
    "Tokens",
    "is_location",
    "reference",
    "unit",
]
