"""Backbones that do not ship: classes of a user's own, beside each other by their source.

Such a class is a family with one member. It reads weights, tokenizer and preprocessing as it likes,
so no file says what it makes of an image: the digest of its source is part of its fingerprint.
"""

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from operators.backbones.base import CAPABILITIES, Backbone, BackboneCard, BackboneUnavailable
from operators.backbones.dual.base import DualEncoder
from operators.backbones.language.base import CAPABILITIES as LANGUAGE_CAPABILITIES
from operators.backbones.language.base import LanguageModel
from operators.spec import digest

KINDS = (DualEncoder, LanguageModel)
# How a family is called: by these names, with these arguments, on the class.
_CALLS = {"describe": ("name", "location"), "load": ("card", "location", "device", "dtype")}


class OwnFamily(NamedTuple):
    """A class of a user's own.

    Attributes:
        kind: The class.
        source: Digest of the file that it is in.
    """

    kind: Any
    source: str

    def describe(self, name: str, family: str) -> BackboneCard:
        """The card that the class gives, with the source in its fingerprint.

        Args:
            name: On the board.
            family: Under which the class is known.

        Raises:
            BackboneUnavailable: The class raises, or its card lacks what must be known.
        """
        with _told(f"{name}: its describe", self.kind):
            card = self.kind.describe(name, "")
        if not isinstance(card, BackboneCard):
            raise BackboneUnavailable(
                f"{name}: its describe gives a {type(card).__name__}, not a BackboneCard."
            )
        if not card.fingerprint or not card.feature_width:
            missing = "feature_width" if card.fingerprint else "fingerprint"
            raise BackboneUnavailable(
                f"{name}: the card that its describe gives has no {missing}: give the width of a "
                "feature, and a digest of all files that are read, as digest_files makes it."
            )
        if odd := sorted(card.capabilities - CAPABILITIES.keys() - LANGUAGE_CAPABILITIES.keys()):
            raise BackboneUnavailable(
                f"{name}: {', '.join(odd)} is no capability; those are "
                f"{', '.join([*CAPABILITIES, *LANGUAGE_CAPABILITIES])}."
            )
        made_of = [card.fingerprint, self.source, self.kind.__qualname__]
        return replace(card, name=name, family=family, fingerprint=digest(made_of))

    def load(self, card: BackboneCard, device: torch.device, dtype: torch.dtype) -> Backbone:
        """The backbone itself.

        Args:
            card: As `describe` gave it.
            device: Where the weights go.
            dtype: Of the frozen weights and of the arithmetic with them.

        Raises:
            BackboneUnavailable: The class raises, or gives something else.
        """
        with _told(f"{card.name}: its load", self.kind):
            backbone = self.kind.load(card, "", device, dtype)
            told = getattr(backbone, "card", None)
        if not isinstance(backbone, self.kind) or told != card:
            raise BackboneUnavailable(
                f"{card.name}: its load must give a {self.kind.__name__} with the card that it "
                "was handed."
            )
        return backbone


_OWN: dict[str, OwnFamily] = {}  # by family


def add_own(name: str, kind: Any, source: str) -> str:
    """Makes a class known to this process; returns the family under which it is.

    Args:
        name: Of its backbone, on the board.
        kind: The class, in which `unusable` finds no fault.
        source: Digest of its file.
    """
    family = f"{name}@{source}"
    _OWN[family] = OwnFamily(kind, source)
    return family


def own_family(family: str) -> OwnFamily | None:
    """A class that was made known; None for other families."""
    return _OWN.get(family)


def source_of(family: str) -> str:
    """Digest of the file that a family is of; empty for one that ships."""
    return family.rpartition("@")[2] if "@" in family else ""


def unusable(name: str, found: Any) -> str:
    """What keeps something from being a backbone, in a sentence; empty where nothing does.

    Args:
        name: As the user has it, for messages.
        found: A class, or whatever was found under the name.
    """
    if not inspect.isclass(found) or not issubclass(found, KINDS) or found in KINDS:
        return (
            f"{name}: it is no backbone: write a class that derives from DualEncoder or "
            "LanguageModel of operators.backbones, or from a family of theirs."
        )
    missing = sorted(found.__abstractmethods__)
    missing += [call for call in _CALLS if not callable(getattr(found, call, None))]
    if missing:
        return f"{name}: it lacks {', '.join(missing)}, without which it cannot be used. Write it."
    for call, arguments in _CALLS.items():
        try:
            inspect.signature(getattr(found, call)).bind(*arguments)
        except TypeError as error:
            return (
                f"{name}: its {call} is called as {call}({', '.join(arguments)}) on the class, "
                f"and cannot be ({error}). Make it a static or a class method with these arguments."
            )
    return ""


@contextmanager
def _told(what: str, kind: type) -> Iterator[None]:
    """Turns what a user's class raises into one sentence with the line of its file."""
    try:
        yield
    except (BackboneUnavailable, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        file = inspect.getfile(kind)
        lines = [
            at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file
        ]
        where = f" in line {lines[-1]} of {file}" if lines else ""
        reason = (str(error).strip().splitlines() or [""])[0]
        raise BackboneUnavailable(
            f"{what} raised {type(error).__name__}{where}: {reason}"
        ) from error
