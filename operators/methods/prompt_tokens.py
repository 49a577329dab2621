"""Block P, prompt tokens: sentences with places for learned context vectors."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from operators.backbones import Backbone, TextPrompts
from operators.shapes import Float

ClassPosition = Literal["end", "middle", "front"]
POSITIONS = ("end", "middle", "front")
PLACEHOLDER = "X"  # one token in every vocabulary


@torch.no_grad()
def prompt_tokens(
    backbone: Backbone, names: Sequence[str], *, n_context: int, position: ClassPosition
) -> TextPrompts:
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
    slots = 1 + index + after_name
    return TextPrompts(tokens.ids, backbone.embed(tokens.ids), tokens.end, slots)


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
