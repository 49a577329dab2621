"""What a backbone is: a frozen dual encoder with places where methods cut in."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from operators.backbones.packed_text import TEXT_BUDGET, PackedText
from operators.backbones.prompts import DeepPrompts, TextPrompts
from operators.backbones.transformer import Attention
from operators.images import TRANSFORM_VERSION, Preprocessing
from operators.shapes import Float, Int
from operators.spec import ID_LENGTH

PromptPlace = Literal["last", "second"]  # of visual prompts, among the tokens of an image
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
        packed_text: The fast path of its text tower.
        text_budget: Bytes that autograd may save of the text tower.
    """

    card: BackboneCard
    logit_scale: float
    preprocess: Preprocessing
    tokenizer: Any
    token_width: int
    feature_width: int
    context_length: int
    device: torch.device
    packed_text: PackedText
    text_budget: int = TEXT_BUDGET

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
        attention: Mapping[int, Attention] | None = None,
    ) -> Float[Tensor, "k d"]:
        """Features of embedded texts, each computed on its own.

        Differentiable in `embeddings` and `deep_prompts`. Methods that learn tokens of texts
        use `encode_prompts`, which gives the same with less work.

        Args:
            embeddings: Padded to the longest text.
            end: Position of the last token of each text.
            deep_prompts: Tokens that replace others before later layers.
            attention: What attends in some layers instead of the usual softmax.
        """

    @abstractmethod
    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """Features from what is read of each text after the tower."""

    def encode_prompts(
        self,
        prompts: TextPrompts,
        context: Float[Tensor, "*s c m w"],
        deep_prompts: DeepPrompts | None = None,
    ) -> Float[Tensor, "*s k d"]:
        """Features of k texts with learned tokens in their slots: where text prompts go in.

        Differentiable in `context` and `deep_prompts`; see `PackedText` for what it saves.

        Args:
            prompts: The texts, and where their slots are.
            context: One context for all classes (c = 1) or one each (c = k). A leading
                dimension s is one context an image, and gives every image its own k features.
            deep_prompts: Tokens that replace those at the same positions of all texts before
                later layers; (j, s, m, w) where each image has its own.

        Raises:
            ValueError: Deep prompts have no layer, or would replace the end of a text.
        """
        if deep_prompts is not None:
            refuse_deep_text(deep_prompts, prompts, self.packed_text.tower.shape.layers)
        stacked = context if context.ndim == 4 else context[None]
        states = self.packed_text(prompts, stacked, deep_prompts, budget=self.text_budget)
        return self.text_outputs(states if context.ndim == 4 else states[0])

    def encode_prompts_plainly(
        self,
        prompts: TextPrompts,
        context: Float[Tensor, "*s c m w"],
        deep_prompts: DeepPrompts | None = None,
    ) -> Float[Tensor, "*s k d"]:
        """What `encode_prompts` must equal: every text filled in and encoded on its own."""
        if deep_prompts is not None:
            refuse_deep_text(deep_prompts, prompts, self.packed_text.tower.shape.layers)
        filled = prompts.fill(context).flatten(0, -3)  # (s k, n, w)
        copies = len(filled) // len(prompts.end)
        if deep_prompts is not None and deep_prompts.tokens.ndim == 4:
            tokens = deep_prompts.tokens.repeat_interleave(len(prompts.end), dim=1)
            deep_prompts = replace(deep_prompts, tokens=tokens)
        features = self.encode_text(filled, prompts.end.repeat(copies), deep_prompts)
        return features.view(*context.shape[:-3], len(prompts.end), -1)

    @abstractmethod
    def encode_images(
        self,
        pixels: Float[Tensor, "b 3 s s"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
    ) -> Float[Tensor, "b d"]:
        """Features of preprocessed images; differentiable in the prompts.

        What is more than `pixels` needs the capability `visual-prompts`.

        Args:
            pixels: As `preprocess` gives them.
            prompts: m tokens of the image tower's width v that are put in before its first
                layer: the same for every image, or (b, m, v).
            place: `last` puts them after the patches (MaPLe, IVLP), `second` between the class
                token and the patches (VPT).
            deep_prompts: Tokens that replace others before later layers: at `start=-m` for
                place `last`, at `start=1` for `second`.
            attention: What attends in some layers instead of the usual softmax.
        """

    @abstractmethod
    def modules(self) -> Sequence[nn.Module]:
        """The frozen modules, for tests that nothing moves them."""

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "k d"]:
        """Unit-norm features of whole texts, as zero-shot classification uses them."""
        parts = []
        for start in range(0, len(texts), TEXT_BATCH):
            tokens = self.tokenize(texts[start : start + TEXT_BATCH])
            embeddings, no_slots = self.embed(tokens.ids), tokens.ids[:, :0]
            prompts = TextPrompts(tokens.ids, embeddings, tokens.end, no_slots)
            parts.append(unit(self.encode_prompts(prompts, embeddings[:1, :0])))
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


def refuse_deep_text(deep: DeepPrompts, prompts: TextPrompts, layers: int) -> None:
    """Raises where deep prompts have no layer, or would replace the last token of a text.

    Raises:
        ValueError: Names the position, and the shortest text.
    """
    width, shortest = deep.tokens.shape[-2], prompts.shortest
    if deep.start < 0 or deep.start + width > shortest:
        raise ValueError(
            f"deep prompts of {width} tokens at position {deep.start} of texts: the shortest has "
            f"its last token at position {shortest}, and they must stand before it."
        )
    deep.refuse_outside(layers, shortest)


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
