"""How the texts of many classes are laid out for a text tower without padding or repetition.

In a causal tower a token sees only what comes before it. So the tokens that all texts begin
with, the start token and a shared context, have the same states in all of them: they are
laid out once, as a prefix, and what is left of each text, its suffix, reads their keys and
values. Suffixes are packed into rows of equal length, many to a row; a mask keeps them from
reading each other. In a bidirectional tower nothing can be shared, and whole texts are
packed.

Three classes with a shared context of two tokens, in a causal tower, as one prefix and two rows:

    prefix   <start> c1 c2
    row 0    cat . <end> dog . <end>
    row 1    tabby cat . <end> (padding)

The prefix is computed once. "dog" stands at position 3 of its text as "cat" does, reads the prefix
and itself, and nothing of "cat ."; what a text is read at is the state at its own <end>.

This file is about places alone: no weight, no width of a token, no gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from operators.shapes import Bool, Int

# What a pair of attending tokens costs, in linear passes of one token through a layer: 4 of
# 24 w multiplications a pair and w, times 3, since it runs that much slower than a matrix product.
PAIR_COST = 0.5
# What a prefix apart from the rows costs in more and smaller operations: 0.3 ms a layer on one
# core, in the same unit, which takes 48 w^2 / 60 GFLOP/s.
PREFIX_COST = 4e5
LONG_ROW = 512  # tokens; longer rows are not tried, but for a text that is longer itself

SHARED, PADDING = -1, -2  # in the place of a class


class PackedToken(NamedTuple):
    """Where one token of a text comes from.

    Attributes:
        text: Its class, `SHARED` or `PADDING`.
        position: In the text.
    """

    text: int
    position: int


@dataclass(frozen=True, eq=False)
class PackPlan:
    """The layout of k texts as t = prefix + rows * row_length tokens.

    A layout of one row has no prefix: the shared tokens then stand at the head of the row.

    Attributes:
        prefix: Tokens that all rows read, laid out first, each reading those before it.
        rows: Number of rows.
        row_length: Tokens a row, padding included.
        text: (t,) class of each token; -1 in the shared part, -2 where there is padding.
        source: (t,) row in the (k, n) table of tokens, flattened, that each is copied from.
        position: (t,) in its text; 0 where there is padding.
        mask: (rows, row_length, prefix + row_length) true where a token of a row may be read.
        end: (k,) place of the last token of each text.
        row_ends: (rows, e) class whose last token lies in this row, repeated to equal length.
        answer: (k,) where each class is found in `row_ends`, flattened.
    """

    prefix: int
    rows: int
    row_length: int
    text: Int[Tensor, "t"]  # noqa: F821
    source: Int[Tensor, "t"]  # noqa: F821
    position: Int[Tensor, "t"]  # noqa: F821
    mask: Bool[Tensor, "r l q"]
    end: Int[Tensor, "k"]  # noqa: F821
    row_ends: Int[Tensor, "r e"]
    answer: Int[Tensor, "k"]  # noqa: F821

    @property
    def tokens(self) -> int:
        """t, all tokens that pass through the tower."""
        return len(self.source)

    def at(self, start: int, width: int) -> Int[Tensor, "p"]:  # noqa: F821
        """Places of the tokens at positions `start` to `start + width - 1` of any text.

        Args:
            start: First position in a text, from 0.
            width: How many, one after the other.
        """
        inside = (self.position >= start) & (self.position < start + width)
        return (inside & (self.text != PADDING)).nonzero()[:, 0]

    @cached_property
    def apart(self) -> tuple[Int[Tensor, "k n"], Int[Tensor, "t"]]:  # noqa: F821
        """The texts side by side again, each in a row of its own, as long as the longest.

        Place of each token of each text, arbitrary after its last; and for each of the t places a
        position in that table, flattened, whose token it holds. Made once: how large it is has to
        be read from the plan.
        """
        n = int(self.position.max()) + 1
        back = self.text.clamp(min=0) * n + self.position
        places = self.end[:, None].repeat(1, n)
        here = torch.arange(self.tokens, device=back.device)
        shared, own = self.text == SHARED, self.text >= 0
        places[:, self.position[shared]] = here[shared]
        places.view(-1)[back[own]] = here[own]
        return places, back

    @cached_property
    def lengths(self) -> Int[Tensor, "k"]:  # noqa: F821
        """Tokens of each text that are its own."""
        k = len(self.end)
        return self.text.masked_fill(self.text < 0, k).bincount(minlength=k + 1)[:k]

    def to(self, device: torch.device) -> "PackPlan":
        """The same plan with its tables on `device`."""
        tables = {n: v.to(device) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tables)


def pack(
    ids: Sequence[Sequence[int]],
    end: Sequence[int],
    slots: Sequence[Sequence[int]],
    *,
    shared_context: bool,
    causal: bool,
    width: int,
    apart: bool = False,
) -> PackPlan:
    """Lays out k texts.

    Args:
        ids: Token ids of each text, padded to the same length n.
        end: Position of the last token of each text.
        slots: Positions of each text that hold the learned context, in its order.
        shared_context: All texts have the same context, so that their slots are equal.
        causal: A token sees only what comes before it.
        width: Of the tower; decides how long rows may be before attention costs too much.
        apart: No token is shared, though texts begin alike: noise makes them different.
    """
    # In a bidirectional tower a first token, too, has another state in each text.
    sharing = causal and not apart
    shared = common_prefix(ids, end, slots, shared_context=shared_context) if sharing else 0
    lengths = [last + 1 - shared for last in end]
    row_length, rows = cheapest_rows(lengths, shared, width)
    head = [PackedToken(SHARED, p) for p in range(shared)]
    laid = [[PackedToken(c, shared + p) for c in row for p in range(lengths[c])] for row in rows]
    if len(laid) == 1:  # the shared tokens may as well stand at the head of the only row
        head, laid = [], [head + laid[0]]
        row_length = len(laid[0])
    return _plan(head, laid, row_length, end, len(ids[0]), causal)


def common_prefix(
    ids: Sequence[Sequence[int]],
    end: Sequence[int],
    slots: Sequence[Sequence[int]],
    *,
    shared_context: bool,
) -> int:
    """How many tokens all texts begin with; the last token of a text is never one of them.

    A slot equals the same slot of another text where they share the context, and nothing
    else. Words that stand after the context count where all texts have them.

    Args:
        ids: Token ids of each text, padded.
        end: Position of each text's last token.
        slots: Positions of each text's context tokens, whose ids mean nothing.
        shared_context: All texts have the same context.
    """
    # A mark is what a token comes from: two that are equal have equal embeddings. A context of its
    # own numbers the slots of each text apart, so that none equals one of another text.
    marks = []
    for text, (row, places) in enumerate(zip(ids, slots, strict=True)):
        mark = [("token", token) for token in row]
        for index, place in enumerate(places):
            mark[place] = ("slot", index if shared_context else index + text * len(places))
        marks.append(mark)
    longest = min(end)
    first = marks[0]
    return next((p for p in range(longest) if any(mark[p] != first[p] for mark in marks)), longest)


def cheapest_rows(lengths: Sequence[int], prefix: int, width: int) -> tuple[int, list[list[int]]]:
    """Row length with the least cost, and which of the lengths stand in each row.

    Long rows waste less on padding, short rows less on attention.

    Args:
        lengths: Tokens of each text behind the prefix.
        prefix: Tokens that every row reads besides its own.
        width: w of a token, against which the cost of attention is weighed.
    """
    # Tried: rows of one to eight times the longest text, and all texts cut in 1 to 32 equal rows.
    total, longest = sum(lengths), max(lengths)
    lengths_tried = {longest * many for many in range(1, 9)}
    lengths_tried |= {max(longest, -(-total // parts)) for parts in range(1, 33)}
    lengths_tried = {tried for tried in lengths_tried if tried <= max(longest, LONG_ROW)}
    best: tuple[float, int, list[list[int]]] | None = None
    for row_length in sorted(lengths_tried):
        rows = fill_rows(lengths, row_length)
        packed = len(rows) * row_length if len(rows) > 1 else total  # one row needs no padding
        cost = packed * (1 + PAIR_COST * (prefix + row_length) / width)
        if prefix and len(rows) > 1:
            cost += PREFIX_COST / width**2
        if best is None or cost < best[0]:
            best = cost, row_length, rows
        if len(rows) == 1:
            break
    assert best is not None
    return best[1], best[2]


def fill_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Best-fit decreasing: puts each length into the row that it leaves fullest.

    Args:
        lengths: Tokens of each text behind the prefix.
        row_length: Tokens a row; no text is longer.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row_length + 1)]  # rows by tokens left
    for item in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        need = lengths[item]
        left = next((left for left in range(need, row_length) if with_room[left]), row_length)
        if left < row_length:
            row = with_room[left].pop()
            rows[row].append(item)
        else:
            row = len(rows)
            rows.append([item])
        with_room[left - need].append(row)
    return rows


def _plan(
    head: list[PackedToken],
    rows: list[list[PackedToken]],
    row_length: int,
    end: Sequence[int],
    n: int,
    causal: bool,
) -> PackPlan:
    """The tables of a layout."""
    laid = list(head)
    for row in rows:
        laid += row + [PackedToken(PADDING, 0)] * (row_length - len(row))
    text = torch.tensor([place.text for place in laid])
    position = torch.tensor([place.position for place in laid])
    last = {PackedToken(c, position): c for c, position in enumerate(end)}
    ends = {last[place]: t for t, place in enumerate(laid) if place in last}
    by_row = [[last[place] for place in row if place in last] for row in rows]
    most = max(len(texts) for texts in by_row)
    found = {c: r * most + e for r, texts in enumerate(by_row) for e, c in enumerate(texts)}
    return PackPlan(
        prefix=len(head),
        rows=len(rows),
        row_length=row_length,
        text=text,
        source=text.clamp(min=0) * n + position,
        position=position,
        mask=_mask(text[len(head) :].view(len(rows), row_length), len(head), causal),
        end=torch.tensor([ends[c] for c in range(len(end))]),
        row_ends=torch.tensor([texts + texts[:1] * (most - len(texts)) for texts in by_row]),
        answer=torch.tensor([found[c] for c in range(len(end))]),
    )


def _mask(text: Int[Tensor, "r l"], prefix: int, causal: bool) -> Bool[Tensor, "r l q"]:
    """Who may read whom: one's own text and the shared tokens. Nobody reads padding but itself."""
    rows, length = text.shape
    reader, read = text[:, :, None], text[:, None, :]
    own = ((reader == read) | (read == SHARED)) & (reader != PADDING)
    if causal:
        own = own & torch.ones(length, length, dtype=torch.bool).tril()
    own = own | torch.eye(length, dtype=torch.bool)
    return torch.cat([torch.ones(rows, length, prefix, dtype=torch.bool), own], dim=2)
