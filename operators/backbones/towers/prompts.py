"""What methods hand to the towers: texts with places for learned tokens, and deep prompts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from operators.shapes import Float, Int

PromptPlace = Literal["last", "second"]  # of visual prompts, among the tokens of an image


@dataclass(frozen=True, eq=False)
class TextPrompts:
    """Tokenised texts of k classes and the places of their m context tokens.

    `DualEncoder.encode_prompts` takes them with the context. They are compared by identity, so
    that what is computed of them once can be kept for as long as they live.

    Attributes:
        ids: (k, n) token ids; any one token stands where context goes.
        embeddings: (k, n, w) embeddings of these.
        end: (k,) position of the last token of each text.
        slots: (k, m) positions of the context tokens.
    """

    ids: Int[Tensor, "k n"]
    embeddings: Float[Tensor, "k n w"]
    end: Int[Tensor, "k"]  # noqa: F821
    slots: Int[Tensor, "k m"]

    def fill(self, context: Float[Tensor, "*s c m w"]) -> Float[Tensor, "*s k n w"]:
        """The embedded texts with the context in place.

        Args:
            context: One context for all classes (c = 1) or one each (c = k); a leading
                dimension, where there is one, makes as many copies of the k texts.
        """
        k, n, w = self.embeddings.shape
        copies = context.shape[:-3]
        places = self.slots[..., None].expand(*copies, -1, -1, w)
        context = context.expand(*copies, k, -1, -1).to(self.embeddings.dtype)
        return self.embeddings.expand(*copies, k, n, w).scatter(-2, places, context)

    @cached_property
    def shortest(self) -> int:
        """Position of the last token of the shortest text."""
        return int(self.end.min())

    @cached_property
    def first_slots(self) -> frozenset[int]:
        """Positions at which the context of some text begins."""
        return frozenset(self.slots[:, :1].flatten().tolist())

    def subset(self, start: int, stop: int) -> "TextPrompts":
        """The texts of classes `start` to `stop` - 1.

        Args:
            start: First class.
            stop: The class behind the last.
        """
        part = slice(start, stop)
        return TextPrompts(self.ids[part], self.embeddings[part], self.end[part], self.slots[part])


@dataclass(frozen=True)
class DeepPrompts:
    """Tokens that take the place of others before later layers (Jia et al., VPT-deep).

    Attributes:
        tokens: (j, m, w), or (j, b, m, w) with tokens of its own for each sequence: before
            layer `first` + i the m tokens at `start` become `tokens[i]`. Of texts
            (j, s, k, m, w), too, has tokens of its own for each of k texts under s contexts.
        start: Position of the first replaced token; negative counts from the end.
        first: First layer that is prompted, from 1: layer 0 reads the shallow prompt. With
            `insert` it may be 0, behind the norm that a CLIP's image tower has before that layer.
        insert: Before layer `first` the tokens are put between those that are there, and
            replaced from then on: for image towers that are prompted in later layers alone.
    """

    tokens: Tensor
    start: int
    first: int = 1
    insert: bool = False

    @property
    def own(self) -> bool:
        """Whether each text has tokens of its own."""
        return self.tokens.ndim == 5

    @property
    def width(self) -> int:
        """The m tokens before one layer."""
        return self.tokens.shape[-2]

    def before(self, layer: int) -> Tensor | None:
        """What replaces tokens at the input of `layer`, or nothing; see `tokens` less the j."""
        index = layer - self.first
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def put(self, layer: int, x: Float[Tensor, "b n w"]) -> Float[Tensor, "b n2 w"]:
        """The input of `layer`, with this layer's prompts in place.

        Args:
            layer: From 0.
            x: n tokens a sequence; n2 = n, or n + m in the layer that prompts are inserted before.
        """
        prompts = self.before(layer)
        if prompts is None:
            return x
        prompts = prompts.to(x.dtype).expand(len(x), -1, -1)
        added = self.width if self.insert and layer == self.first else 0
        start = self.start % (x.shape[1] + added)
        return torch.cat([x[:, :start], prompts, x[:, start + self.width - added :]], dim=1)

    def refuse_outside(self, layers: int, length: int) -> None:
        """Raises where a prompt has no layer or no place in a sequence of `length` tokens.

        Args:
            layers: Of the tower.
            length: Tokens that enter it, before any are inserted.

        Raises:
            ValueError: Names the layers or the positions, and what there is.
        """
        last, width = self.first + len(self.tokens) - 1, self.width
        length += width if self.insert else 0
        if self.first < (0 if self.insert else 1) or last >= layers:
            raise ValueError(
                f"deep prompts before layers {self.first} to {last}, {len(self.tokens)} deep "
                f"prompts for a tower of {layers} layers: layer 0 reads the shallow prompt, so "
                f"they fit before layers 1 to {layers - 1}."
            )
        start = self.start + length if self.start < 0 else self.start
        if start < 0 or start + width > length:
            raise ValueError(
                f"deep prompts of {width} tokens at position {self.start} do not fit into "
                f"sequences of {length} tokens."
            )


def refuse_inserted_text(deep: DeepPrompts | None) -> None:
    """Raises where deep prompts would make texts longer.

    Raises:
        ValueError: Says what texts have instead.
    """
    if deep is not None and deep.insert:
        raise ValueError(
            "deep prompts of texts cannot be inserted, since the tokens after them would move: "
            "give the texts slots and replace those."
        )


def refuse_deep_text(deep: DeepPrompts, prompts: TextPrompts, layers: int) -> None:
    """Raises where deep prompts have no layer, or would replace the last token of a text.

    Args:
        deep: What is to replace tokens of every text.
        prompts: The texts.
        layers: Of the text tower.

    Raises:
        ValueError: Names the position, and the shortest text; or they would be inserted; or each
            text has its own, and they do not begin where its context does.
    """
    refuse_inserted_text(deep)
    width, shortest = deep.width, prompts.shortest
    if deep.own and prompts.first_slots != {deep.start}:
        raise ValueError(
            f"deep prompts of each text's own at position {deep.start}, and contexts begin at "
            f"{sorted(prompts.first_slots)}: what stands before a context may be shared by all "
            "texts, so let them begin where it does."
        )
    if deep.start < 0 or deep.start + width > shortest:
        raise ValueError(
            f"deep prompts of {width} tokens at position {deep.start} of texts: the shortest has "
            f"its last token at position {shortest}, and they must stand before it."
        )
    deep.refuse_outside(layers, shortest)
