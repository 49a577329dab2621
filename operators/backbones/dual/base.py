"""What a dual encoder is: images and texts in one space, with places where methods cut in."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from operators.backbones.base import Backbone, Tokens, unit
from operators.backbones.dual.merged_calls import TextCall
from operators.backbones.formats.cleaning import clean
from operators.backbones.towers.flops import full_layers, gradient_since
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.packed_text import TEXT_BUDGET, PackedText
from operators.backbones.towers.prompts import (
    DeepPrompts,
    PromptPlace,
    TextPrompts,
    refuse_deep_text,
)
from operators.backbones.towers.transformer import Attention, Tower
from operators.engine.accounting import Flops, Pass, count
from operators.engine.stacking import merged
from operators.images import Preprocessing
from operators.shapes import Float, Int

KeptTokens = Literal["all", "class"]  # of the states after a layer
TEXT_BATCH = 256  # prompts a forward pass where no gradient is needed


class ImageReading(NamedTuple):
    """What `DualEncoder.read_images` gives.

    Attributes:
        features: (b, d), as `encode_images` gives them.
        patches: (b, p, d) the patches in the same space, row by row from the top left one.
        states: Layer -> (b, n, v), all tokens after that layer, or (b, v), the class token.
    """

    features: Float[Tensor, "b d"]
    patches: Float[Tensor, "b p d"]
    states: dict[int, Tensor]


class DualEncoder(Backbone):
    """Frozen image and text encoders that meet in one feature space.

    Dimensions: k texts or classes, n tokens a text, w width of a token embedding, b images,
    s side of an image in pixels, d width of a feature. Features come as the projection
    gives them, not normalised: methods that use magnitudes need them so. Frozen weights and
    the arithmetic with them have the precision that the backbone was loaded in; embeddings and
    features leave it in float32 at least, so that prompts, logits and losses have that too.

    Attributes:
        logit_scale: Factor from cosine similarity to logit.
        preprocess: From encoded images to pixels.
        tokenizer: Called as those of transformers are; it adds the start and the end token.
        text_start: Tokens of every text before its own: 1 with a start token. There learned
            context begins.
        image_start: Tokens of every image before its patches: 1 with a class token.
        token_width: w.
        feature_width: d.
        context_length: Most tokens that a text may have.
        packed_text: The fast path of its text tower.
        image_tower: The ViT; None where images are read without tokens.
        text_budget: Bytes that autograd may save of the text tower.
        padded_length: Tokens to which the family's published code pads every text; None where it
            pads to the longest.
        text_output_flops: Operations of `text_outputs` for one text, as
            operators/engine/accounting.py counts them.
    """

    title = "dual encoder of images and texts"
    logit_scale: float
    preprocess: Preprocessing
    tokenizer: Any
    token_width: int
    feature_width: int
    context_length: int
    text_start: int = 1
    image_start: int = 1
    packed_text: PackedText
    image_tower: Tower | None = None
    text_budget: int = TEXT_BUDGET
    padded_length: int | None = None
    text_output_flops: int = 0

    @property
    def merges_calls(self) -> bool:
        """See `Backbone.merges_calls`."""
        return True

    @property
    def counts_operations(self) -> bool:
        """See `Backbone.counts_operations`."""
        return True

    def tokenize(self, texts: Sequence[str], *, cut: bool = False) -> Tokens:
        """Token ids of `texts`, with the family's start and end tokens.

        Args:
            texts: Class prompts, or sentences from elsewhere.
            cut: A text that is longer than the tower reads loses its last words, as in CLIP's
                `truncate`, and is not refused.

        Raises:
            ValueError: A text is longer than the tower reads; the message names it.
        """
        limit = {"truncation": True, "max_length": self.context_length} if cut else {}
        read = [clean(text) for text in texts] if self.card.cleans else list(texts)
        rows = self.tokenizer(read, **limit).input_ids
        lengths = [len(row) for row in rows]
        self.refuse_long(texts, lengths)
        padding, longest = self.tokenizer.pad_token_id, max(lengths)
        padded = [row + [padding] * (longest - len(row)) for row in rows]
        end = torch.tensor(lengths, device=self.device) - 1
        return Tokens(torch.tensor(padded, device=self.device), end)

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
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "k d"]:
        """Features of embedded texts, each computed on its own.

        Differentiable in `embeddings` and `deep_prompts`. Methods that learn tokens of texts
        use `encode_prompts`, which gives the same with less work.

        Args:
            embeddings: Padded to the longest text.
            end: Position of the last token of each text.
            deep_prompts: Tokens that replace others before later layers.
            attention: What attends in some layers instead of the usual softmax.
            hooks: What changes some layers; needs the capability `layer-hooks`.
        """

    @abstractmethod
    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """Features from what is read of each text after the tower."""

    def encode_prompts(
        self,
        prompts: TextPrompts,
        context: Float[Tensor, "*s c m w"],
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        *,
        hooks: Hooks | None = None,
        share: int = 1,
    ) -> Float[Tensor, "*s k d"]:
        """Features of k texts with learned tokens in their slots: where text prompts go in.

        Differentiable in `context` and `deep_prompts`; see `PackedText` for what it saves.

        Args:
            prompts: The texts, and where their slots are.
            context: One context for all classes (c = 1) or one each (c = k). A leading
                dimension s is one context an image, and gives every image its own k features.
            deep_prompts: Tokens that replace those at the same positions of all texts before
                later layers; (j, s, m, w) where each image has its own, (j, s, k, m, w) where
                each class has (s = 1 for a context without it).
            attention: What attends in some layers instead of the usual softmax; it is shown each
                text on its own, padded, whatever the fast path does in the others.
            hooks: What changes some layers; needs the capability `layer-hooks`.
            share: Calls of one step among which `text_budget` is divided.

        Raises:
            ValueError: Deep prompts have no layer, or would replace the end of a text; or
                `attention` or `hooks` name a layer that is not there.
        """
        if attention is None and hooks is None:
            call = TextCall(self, prompts, context, deep_prompts, share)
            if (together := merged(call)) is not None:
                return together
        tower = self.packed_text.tower
        if deep_prompts is not None:
            refuse_deep_text(deep_prompts, prompts, tower.shape.layers)
        tower.refuse_overrides(attention)
        stacked = context if context.ndim == 4 else context[None]
        budget = self.text_budget // share
        states = self.packed_text(prompts, stacked, deep_prompts, attention, hooks, budget=budget)
        features = self.text_outputs(states if context.ndim == 4 else states[0])
        self.count_texts(features, prompts, context, deep_prompts, hooks)
        return features

    def count_texts(
        self,
        features: Tensor,
        prompts: TextPrompts,
        context: Tensor,
        deep_prompts: DeepPrompts | None,
        hooks: Hooks | None = None,
    ) -> None:
        """Reports what `encode_prompts` does after the tower, and all that its plain form does.

        Args:
            features: (*s, k, d) what was computed, in whose backward pass its gradient's work is
                counted.
            prompts: The k texts, whose padded length the plain form computes.
            context: (*s, c, m, w) what was put into their slots.
            deep_prompts: What replaced tokens before later layers.
            hooks: What changed some layers.
        """
        texts, length = features.shape[:-1].numel(), self.padded_length or prompts.ids.shape[1]
        output = Flops(texts * self.text_output_flops)

        def plainly() -> Pass:
            layers = full_layers(self.packed_text.tower.shape, texts, length, None, hooks)
            since = gradient_since(context, deep_prompts, hooks)
            return Pass(plain=[*layers, output], since=since)

        count(features, lambda: Pass(done=[output]))  # `PackedText` counts its own layers
        count(features, plainly)

    def encode_prompts_plainly(
        self,
        prompts: TextPrompts,
        context: Float[Tensor, "*s c m w"],
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        *,
        hooks: Hooks | None = None,
        share: int = 1,
    ) -> Float[Tensor, "*s k d"]:
        """What `encode_prompts` must equal: every text filled in and encoded on its own.

        See `DualEncoder.encode_prompts`.
        """
        if deep_prompts is not None:
            refuse_deep_text(deep_prompts, prompts, self.packed_text.tower.shape.layers)
        filled = prompts.fill(context).flatten(0, -3)  # (s k, n, w)
        copies = len(filled) // len(prompts.end)
        if deep_prompts is not None and deep_prompts.own:
            tokens = deep_prompts.tokens.expand(-1, copies, -1, -1, -1).flatten(1, 2)
            deep_prompts = replace(deep_prompts, tokens=tokens)
        elif deep_prompts is not None and deep_prompts.tokens.ndim == 4:
            tokens = deep_prompts.tokens.repeat_interleave(len(prompts.end), dim=1)
            deep_prompts = replace(deep_prompts, tokens=tokens)
        ends = prompts.end.repeat(copies)
        features = self.encode_text(filled, ends, deep_prompts, attention, hooks)
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
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "b d"]:
        """Features of preprocessed images; differentiable in the prompts.

        What is more than `pixels` needs the capability `visual-prompts`, `image-attention` or
        `layer-hooks`.

        Args:
            pixels: As `preprocess` gives them.
            prompts: m tokens of the image tower's width v that are put in before its first
                layer: the same for every image, or (b, m, v).
            place: `last` puts them after the patches (MaPLe, IVLP), `second` before them, behind
                the class token where there is one (VPT).
            deep_prompts: Tokens that replace others before later layers: at `start=-m` for
                place `last`, at `start=image_start` for `second`. With `insert` there need be
                no others, and a tower may be prompted in later layers alone.
            attention: What attends in some layers instead of the usual softmax.
            hooks: What changes some layers.
        """

    def embed_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n v"]:
        """What enters the image tower without prompts: its tokens, positions added.

        Raises:
            ValueError: The image tower has no tokens.
        """
        raise ValueError(self.no_tokens)

    def read_images(
        self,
        tokens: Float[Tensor, "b n v"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        layers: Collection[int] = (),
        keep: KeptTokens = "all",
    ) -> ImageReading:
        """Everything that a method may want to see of images.

        Needs the capabilities `patch-features` and `layer-states`.

        Args:
            tokens: From `embed_images`, which a caller may keep: it depends on no prompt.
            prompts: As in `encode_images`.
            place: As in `encode_images`.
            deep_prompts: As in `encode_images`.
            attention: As in `encode_images`.
            layers: Layers whose states are kept, from 0.
            keep: All tokens after these layers, prompts included, or the class token alone,
                which needs the capability `class-token`.

        Raises:
            ValueError: The image tower has no tokens, no such layer or no class token.
        """
        raise ValueError(self.no_tokens)

    def normed_states(self, states: Float[Tensor, "*b v"]) -> Float[Tensor, "*b v"]:
        """States after the last layer of the image tower, as they are projected from.

        Raises:
            ValueError: The image tower has no tokens.
        """
        raise ValueError(self.no_tokens)

    @property
    def no_tokens(self) -> str:
        """Why nothing can cut into an image tower that is no ViT."""
        return (
            f"the image tower of {self.card.name} has no tokens, so it takes no visual prompts, "
            "no attention and no hooks, and has no patches: use a CLIP or SigLIP with a ViT."
        )

    @property
    @abstractmethod
    def image_flops(self) -> int:
        """See `Backbone.image_flops`."""

    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "k d"]:
        """Unit-norm features of whole texts, as zero-shot classification uses them."""
        return unit(self.whole_text_features(texts))

    @torch.no_grad()
    def whole_text_features(
        self, texts: Sequence[str], *, cut: bool = False
    ) -> Float[Tensor, "k d"]:
        """Features of whole texts, not normalised; `cut` as in `tokenize`.

        Args:
            texts: k sentences or class prompts, encoded `TEXT_BATCH` at a time.
            cut: Shortens what is longer than the tower reads, as in `tokenize`.

        Raises:
            ValueError: A text is longer than the tower reads, and `cut` is false.
        """
        parts = []
        for start in range(0, len(texts), TEXT_BATCH):
            tokens = self.tokenize(texts[start : start + TEXT_BATCH], cut=cut)
            embeddings, no_slots = self.embed(tokens.ids), tokens.ids[:, :0]
            prompts = TextPrompts(tokens.ids, embeddings, tokens.end, no_slots)
            parts.append(self.encode_prompts(prompts, embeddings[:1, :0]))
        return torch.cat(parts)

    def refuse_long(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Raises where a text has more tokens than the tower reads.

        Args:
            texts: What is to be encoded.
            lengths: Tokens of each, with the start and end tokens.

        Raises:
            ValueError: Names the first such text, its length and the limit.
        """
        for text, length in zip(texts, lengths, strict=True):
            if length > self.context_length:
                raise ValueError(
                    f"{text!r} has {length} tokens, but the text tower of {self.card.name} reads "
                    f"{self.context_length}. Shorten the class name or learn fewer context tokens."
                )
