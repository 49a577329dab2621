"""What a backbone is: a frozen dual encoder with places where methods cut in."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from operators.backbones.transformer import DeepPrompts
from operators.images import TRANSFORM_VERSION, Preprocessing
from operators.shapes import Float, Int
from operators.spec import ID_LENGTH

TEXT_BATCH = 256  # prompts a forward pass where no gradient is needed


class BackboneUnavailable(ValueError):
    """The weights of a backbone cannot be had here; the message says why and what to do."""


class Tokens(NamedTuple):
    """Token ids of k texts, padded to the longest.

    Attributes:
        ids: (k, n).
        end: (k,) position of each text's last token, where a causal tower is read.
    """

    ids: Int[Tensor, "k n"]
    end: Int[Tensor, "k"]  # noqa: F821


@dataclass(frozen=True, kw_only=True)
class BackboneCard:
    """What is known of a backbone without loading its weights.

    Attributes:
        name: As it stands on the board.
        family: Key of `FAMILIES`.
        source: Where the weights come from, as a person would look for them.
        license: Of the weights.
        fingerprint: Digest of weights, tokenizer and preprocessing; None until they are here.
        feature_width: d, size of an image or class feature.
        capabilities: What methods may ask for beyond frozen features and text prompts:
            `visual-prompts` (a ViT with per-layer token access).
        note: What a user should know before reading its numbers.
    """

    name: str
    family: str
    source: str
    license: str
    fingerprint: str | None = None
    feature_width: int | None = None
    capabilities: frozenset[str] = field(default_factory=frozenset)
    note: str = ""


class Backbone(ABC):
    """Frozen image and text encoders that meet in one feature space.

    Dimensions: k texts or classes, n tokens a text, w width of a token embedding, b images,
    s side of an image in pixels, d width of a feature. Features come as the projection
    gives them, not normalised: methods that use magnitudes need them so.

    Not a module on purpose: a method holds a backbone without owning its parameters, so
    that they are in no optimizer, no checkpoint and no count.

    Attributes:
        card: What is known of it.
        logit_scale: Factor from cosine similarity to logit.
        preprocess: From encoded images to pixels.
        tokenizer: That of transformers; it adds the start and the end token.
        token_width: w.
        feature_width: d.
        context_length: Most tokens that a text may have.
        device: Where its weights are.
    """

    card: BackboneCard
    logit_scale: float
    preprocess: Preprocessing
    tokenizer: Any
    token_width: int
    feature_width: int
    context_length: int
    device: torch.device

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of `texts`, with the family's start and end tokens.

        Raises:
            ValueError: A text is longer than the tower reads; the message names it.
        """
        batch = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        lengths = batch["attention_mask"].sum(dim=1)
        self.refuse_long(texts, lengths.tolist())
        return Tokens(batch["input_ids"].to(self.device), (lengths - 1).to(self.device))

    @abstractmethod
    def embed(self, ids: Int[Tensor, "k n"]) -> Float[Tensor, "k n w"]:
        """Token embeddings, before positions are added: where text prompts are learned."""

    @abstractmethod
    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
    ) -> Float[Tensor, "k d"]:
        """Features of embedded texts; differentiable in `embeddings` and `deep_prompts`."""

    @abstractmethod
    def encode_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of preprocessed images; no gradient is kept."""

    @abstractmethod
    def modules(self) -> Sequence[nn.Module]:
        """The frozen modules, for tests that nothing moves them."""

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "k d"]:
        """Unit-norm features of whole texts, as zero-shot classification uses them."""
        parts = []
        for start in range(0, len(texts), TEXT_BATCH):
            tokens = self.tokenize(texts[start : start + TEXT_BATCH])
            parts.append(unit(self.encode_text(self.embed(tokens.ids), tokens.end)))
        return torch.cat(parts)

    def refuse_long(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Raises where a text has more tokens than the tower reads.

        Raises:
            ValueError: Names the first such text, its length and the limit.
        """
        for text, length in zip(texts, lengths, strict=True):
            if length > self.context_length:
                raise ValueError(
                    f"{text!r} has {length} tokens, but the text tower of {self.card.name} reads "
                    f"{self.context_length}. Shorten the class name or learn fewer context tokens."
                )


def unit(x: Tensor) -> Tensor:
    """`x` with the last dimension scaled to length 1."""
    return x / x.norm(dim=-1, keepdim=True)


def freeze(*modules: nn.Module) -> None:
    """Turns gradients and training behaviour off for good."""
    for module in modules:
        module.eval().requires_grad_(False)


def digest_files(files: Sequence[Path]) -> str:
    """Digest of files by name and content, and of the version of the preprocessing."""
    total = hashlib.sha256(f"transform {TRANSFORM_VERSION}".encode())
    for path in files:
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:ID_LENGTH]
