"""Block P, prompt tokens: sentences with places for learned context vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operators.backbones import Backbone
from operators.shapes import Float, Int

ClassPosition = Literal["end", "middle", "front"]
POSITIONS = ("end", "middle", "front")
PLACEHOLDER = "X"  # one token in every vocabulary


@dataclass(frozen=True)
class PromptTokens:
    """Embedded prompts of k classes and the places of their m context tokens.

    Attributes:
        embeddings: (k, n, w) token embeddings; placeholders stand where context goes.
        end: (k,) position of the last token of each prompt.
        slots: (k, m) positions of the context tokens.
    """

    embeddings: Float[Tensor, "k n w"]
    end: Int[Tensor, "k"]  # noqa: F821
    slots: Int[Tensor, "k m"]

    def fill(self, context: Float[Tensor, "c m w"]) -> Float[Tensor, "k n w"]:
        """The prompts with the context in place.

        Args:
            context: One context for all classes (c = 1) or one each (c = k).
        """
        k, _, w = self.embeddings.shape
        places = self.slots[..., None].expand(-1, -1, w)
        return self.embeddings.scatter(
            1, places, context.expand(k, -1, -1).to(self.embeddings.dtype)
        )


@torch.no_grad()
def prompt_tokens(
    backbone: Backbone, names: Sequence[str], *, n_context: int, position: ClassPosition
) -> PromptTokens:
    """Lays out `[context] name.`, `[context] name [context].` or `name [context].`.

    Args:
        backbone: Gives tokens and embeddings.
        names: Class names.
        n_context: m, context tokens a prompt.
        position: Where the class name stands; in the middle, the first half of the context,
            rounded down, goes before it.

    Raises:
        ValueError: A prompt is longer than the text tower reads.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, sec. 3.2.
    """
    before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
    head = f"{PLACEHOLDER} " * before
    tail = f" {PLACEHOLDER}" * (n_context - before)
    tokens = backbone.tokenize([f"{head}{name}{tail}." for name in names])
    # A name's own length: its tokens less the start and the end token.
    name_lengths = backbone.tokenize(list(names)).end - 1
    index = torch.arange(n_context, device=tokens.ids.device)
    after_name = torch.where(index >= before, name_lengths[:, None], 0)
    return PromptTokens(backbone.embed(tokens.ids), tokens.end, 1 + index + after_name)


@torch.no_grad()
def worded_context(backbone: Backbone, words: str) -> Float[Tensor, "1 m w"]:
    """The embeddings of a phrase such as `a photo of a`, as a first context.

    Args:
        backbone: Gives tokens and embeddings.
        words: m is the number of its tokens, which for a rare word is more than one.
    """
    tokens = backbone.tokenize([words])
    return backbone.embed(tokens.ids)[:, 1 : int(tokens.end[0])].clone()


def random_context(
    shape: Sequence[int], std: float, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Draws N(0, std^2) on the CPU, so that the same seed gives the same start anywhere."""
    return (std * torch.randn(tuple(shape), generator=generator)).to(like.device)
