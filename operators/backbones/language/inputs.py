"""What enters a language model: token ids, then embeddings that a method may change or put among.

Positions are counted from 0; shorter rows are padded at their end, and what is there changes
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from operators.engine.transfer import onto
from operators.shapes import Float, Int

KeyValues = list[tuple[Tensor, Tensor]]  # of each layer: (b, heads, m, width of a head)


@dataclass(frozen=True)
class Layout:
    """What the host knows of rows of tokens without reading them from a device.

    Attributes:
        rows: Token ids of each row, none of them empty, padding apart.
    """

    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Layout":
        """That of some rows of token ids, none of them empty."""
        return cls(tuple(map(tuple, rows)))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row, padding apart."""
        return tuple(map(len, self.rows))

    @cached_property
    def shared(self) -> int:
        """Leading tokens that all rows share, less than the shortest row has."""
        columns = zip(*self.rows, strict=False)
        unlike = (place for place, column in enumerate(columns) if len(set(column)) > 1)
        return min(next(unlike, min(self.lengths)), min(self.lengths) - 1)

    @property
    def full(self) -> bool:
        """Whether no row is padded to the longest."""
        return min(self.lengths) == max(self.lengths)

    def followed(self, tails: Sequence[Sequence[int]]) -> "Layout":
        """That of the same rows with more tokens behind each.

        Args:
            tails: Token ids that follow, a row each.
        """
        pairs = zip(self.rows, tails, strict=True)
        return Layout.of([(*row, *tail) for row, tail in pairs])


class PromptTokens(NamedTuple):
    """Filled templates as token ids.

    Attributes:
        ids: (b, n), padded to the longest.
        end: (b,) position of each row's last token.
        slots: (b,) position whose output scores the answer: the mask token of a masked model,
            the last token of a causal one, which predicts the next.
        layout: What the host knows of the rows; None where they have to be read for it.
    """

    ids: Int[Tensor, "b n"]
    end: Int[Tensor, "b"]  # noqa: F821
    slots: Int[Tensor, "b"]  # noqa: F821
    layout: Layout | None = None

    def rows(self, index: Int[Tensor, "r"]) -> "PromptTokens":  # noqa: F821
        """Some rows, padded to the longest of them."""
        end = self.end[index]
        return PromptTokens(self.ids[index, : int(end.max()) + 1], end, self.slots[index])


class Answers(NamedTuple):
    """Words that answer a template, as token ids.

    Attributes:
        words: As they were given.
        ids: (c, t), padded to the longest with 0.
        lengths: (c,) tokens of each, at least 1.
        rows: The ids of each, where the host has them.
    """

    words: tuple[str, ...]
    ids: Int[Tensor, "c t"]
    lengths: Int[Tensor, "c"]  # noqa: F821
    rows: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        """Most tokens of an answer: a model needs room for them behind a prompt."""
        return max(map(len, self.rows))


@dataclass(frozen=True)
class PromptEmbeddings:
    """Prompts as what enters the first layer, positions not yet added.

    Attributes:
        embeddings: (b, n, w), padded to the longest.
        end: (b,) as in `PromptTokens`.
        slots: (b,) as in `PromptTokens`.
        start: Positions of special tokens in front of every text; learned tokens go behind them.
        shared: Leading positions that are the same in all rows *and come from the same values*,
            so that a gradient may reach them through one row: a causal model computes them once.
            Equal numbers are not enough: prompts that a network makes for each text may be equal
            when training begins.
        full: Whether no row is padded; None where the rows have to be read for it.
    """

    embeddings: Float[Tensor, "b n w"]
    end: Int[Tensor, "b"]  # noqa: F821
    slots: Int[Tensor, "b"]  # noqa: F821
    start: int = 0
    shared: int = 0
    full: bool | None = None

    def with_soft_prompt(self, tokens: Float[Tensor, "*b m w"]) -> "PromptEmbeddings":
        """The same with m learned tokens behind the special tokens in front.

        Differentiable in `tokens`: one soft prompt for all rows, or (b, m, w), one for each.

        Source: Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP
        2021, https://arxiv.org/abs/2104.08691, section 2.
        """
        b, start, m = len(self.embeddings), self.start, tokens.shape[-2]
        many = tokens.to(self.embeddings.dtype).expand(b, -1, -1)
        parts = (self.embeddings[:, :start], many, self.embeddings[:, start:])
        # The start tokens are the same in all rows by construction of `start`, unless a row's
        # own values took their place, which `shared` says.
        same = self.shared >= start and tokens.ndim == 2
        return replace(
            self,
            embeddings=torch.cat(parts, dim=1),
            end=self.end + m,
            slots=self.slots + m,
            shared=self.shared + m if same else min(self.shared, start),
        )

    def with_embeddings(self, embeddings: Float[Tensor, "b n w"]) -> "PromptEmbeddings":
        """The same with other values at all positions, none of which rows need have in common."""
        return replace(self, embeddings=embeddings, shared=0)

    def added(self, offsets: Float[Tensor, "*b n w"]) -> "PromptEmbeddings":
        """The same with offsets by position: for all rows alike, or (b, n, w) for each its own.

        Source: Shi and Lipani, "DePT: Decomposed Prompt Tuning for Parameter-Efficient
        Fine-tuning", ICLR 2024, https://arxiv.org/abs/2309.05173, section 2.3.
        """
        moved = self.embeddings + offsets
        return replace(self, embeddings=moved, shared=self.shared if offsets.ndim == 2 else 0)


def padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids as (b, n), padded with 0, and the position of each row's last token, (b,).

    Args:
        rows: Token ids of b texts, none of them empty.
        device: Where the tensors go.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return onto(ids, device), onto(torch.tensor([len(row) - 1 for row in rows]), device)


def common_prefix(ids: Int[Tensor, "b n"], end: Int[Tensor, "b"]) -> int:  # noqa: F821
    """Leading tokens that all rows share, less than the shortest row has.

    Args:
        ids: Padded at the end.
        end: Position of each row's last token.
    """
    same = (ids == ids[:1]).all(dim=0)
    return min(int(same.cumprod(dim=0).sum()), int(end.min()))


def by_layer(key_values: Float[Tensor, "*b l 2 m h"], heads: int) -> KeyValues:
    """Learned keys and values by layer and head, one set for all rows or one each.

    Args:
        key_values: As `LanguageModel.states` takes them, in the precision of the layers.
        heads: Into which h is cut.
    """
    stacked = key_values if key_values.ndim == 5 else key_values[None]
    parts = stacked.unflatten(-1, (heads, -1)).transpose(-2, -3)
    return [(parts[:, layer, 0], parts[:, layer, 1]) for layer in range(parts.shape[1])]


def cache_of(past: KeyValues, rows: int) -> Any:
    """The cache of transformers with these keys and values in front of so many rows.

    Args:
        past: Of one row, which all share, or of each.
        rows: b.
    """
    from transformers import DynamicCache  # seconds to import

    return DynamicCache([(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in past])


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 where a token is seen, else the least number.

    Args:
        seen: Who sees whom, of any shape; the answer has the same.
        dtype: Of the scores.
    """
    blank = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return blank.masked_fill(~seen, torch.finfo(dtype).min)
