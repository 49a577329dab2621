"""The exact fast path of texts: many classes through a frozen text tower, packed.

This is where a text prompt meets the tower. Equal to filling in the context and encoding
every text on its own, padded (`DualEncoder.encode_prompts_plainly`), up to rounding, with less
work: a causal tower's shared prefix is computed once (packing.py), no padding passes through
it, its last layer computes end tokens alone, and what the first layer makes of fixed tokens
is kept. Where the activations that autograd saves would outgrow a budget, the work is cut
into pieces, and those that do not fit are computed again on the way back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from operators.backbones.towers.flops import gradient_since, packed_layers, product
from operators.backbones.towers.hooks import QKV, Hooks, Seats, draws_noise, refuse_hooks_outside
from operators.backbones.towers.packed_attention import (
    attend,
    attend_apart,
    finish_at_ends,
    mean_states,
)
from operators.backbones.towers.packing import PADDING, PackPlan, pack
from operators.backbones.towers.prompts import DeepPrompts, TextPrompts
from operators.backbones.towers.transformer import Attention, Layer, Tower, TowerShape
from operators.engine.accounting import Flops, Pass, count, forward
from operators.shapes import Float, Int

# What is read of a text: the state at its end token (CLIP), the mean over its tokens (sentence
# encoders), or the state at the last place of the padded row, all of which is attended to (SigLIP).
Pool = Literal["end", "mean", "last"]

TEXT_BUDGET = 2 << 30  # bytes that autograd may save of a text tower


@dataclass(frozen=True, eq=False)
class Piece:
    """Some classes, laid out, with everything that no context can change.

    Attributes:
        plan: Their layout, of t tokens.
        first: The first of them, among all classes.
        slots: Places of their context tokens.
        context: Which token of all contexts, flattened, stands in each of `slots`.
        inputs: What enters the first layer; arbitrary in `slots`.
        projected: Queries, keys and values that the first layer makes of it.
        bias: Added to the attention scores of rows: 0, or -inf where one may not read.
        end_bias: The same for the end tokens of each row.
        seats: Where its tokens stand among those of all texts, those of other pieces included.
    """

    plan: PackPlan
    first: int
    slots: Int[Tensor, "p"]  # noqa: F821
    context: Int[Tensor, "p"]  # noqa: F821
    inputs: Float[Tensor, "t w"]
    projected: Float[Tensor, "t w3"]
    bias: Float[Tensor, "r 1 l q"]
    end_bias: Float[Tensor, "r 1 e q"]
    seats: Seats
    _deep: dict[tuple[int, int, bool], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def owner(self, places: Int[Tensor, "p"]) -> Int[Tensor, "p"]:  # noqa: F821
        """The class, among all, whose token stands in each of some places."""
        # A text alone shares its prefix with none, so what is shared there is its own.
        return self.first + self.plan.text[places].clamp(min=0)

    def deep_places(self, start: int, width: int, own: bool) -> tuple[Tensor, Tensor]:
        """Where deep prompts go, and which of the tokens goes to each place.

        Args:
            start: Position in a text of the first replaced token, from 0.
            width: How many are replaced, one after the other.
            own: Whether each class has `width` tokens of its own, one class after the other.
        """
        key = start, width, own
        if key not in self._deep:
            places = self.plan.at(start, width)
            which = self.plan.position[places] - start
            self._deep[key] = places, which + width * self.owner(places) if own else which
        return self._deep[key]

    def saved_bytes(self, shape: TowerShape) -> int:
        """About what autograd saves of one pass: the inputs of norms, attention and activation."""
        plan, w = self.plan, shape.width
        rows = plan.rows * (plan.prefix + plan.row_length) if plan.prefix else 0
        numbers = plan.tokens * (7 * w + shape.mlp_width) + rows * 2 * w
        return numbers * shape.layers * self.inputs.element_size()


class Part(NamedTuple):
    """One pass through the tower: a piece of the classes under some of the contexts."""

    piece: Piece
    contexts: slice
    recompute: bool


class PackedText:
    """Texts with learned tokens through one tower.

    Dimensions: s contexts (images, or trials side by side), k classes, c contexts of one
    image (1 or k), m tokens a context, w width of a token.

    Args:
        tower: Frozen.
        inputs: Gives what enters the tower from embeddings and their positions.
        pool: What is read of each text.
    """

    def __init__(
        self, tower: Tower, inputs: Callable[[Tensor, Tensor], Tensor], pool: Pool
    ) -> None:
        self.tower = tower
        self.inputs = inputs
        self.pool: Pool = pool
        # (pieces, shared context, apart) -> the pieces of a class list, for as long as it lives
        self._kept: WeakKeyDictionary[TextPrompts, dict[tuple[int, bool, bool], list[Piece]]]
        self._kept = WeakKeyDictionary()

    def __call__(
        self,
        prompts: TextPrompts,
        context: Float[Tensor, "s c m w"],
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
        *,
        budget: int = TEXT_BUDGET,
    ) -> Float[Tensor, "s k w"]:
        """The tower's reading of each text; see `Pool`.

        Args:
            prompts: The texts.
            context: One context for all classes (c = 1) or one each (c = k).
            deep_prompts: Tokens that replace those at the same positions of all texts.
            attention: What attends in some layers instead of the usual softmax.
            hooks: What changes some layers.
            budget: Bytes that autograd may save; work beyond is done twice.
        """
        refuse_hooks_outside(hooks, len(self.layers))
        if deep_prompts is not None and deep_prompts.own:
            # What is shared by all texts in one layer must not be each text's own in the next.
            context = context.expand(-1, len(prompts.ids), -1, -1)
        columns: dict[int, list[Tensor]] = {}
        for part in self.parts(prompts, context, budget, apart=draws_noise(hooks)):
            some, deep = context[part.contexts], deep_prompts
            if deep is not None and deep.tokens.ndim > 3 and deep.tokens.shape[1] > 1:
                deep = replace(deep, tokens=deep.tokens[:, part.contexts])
            # Nothing in a frozen tower is random, and hooks draw from seeds of their own, so no
            # generator's state is kept for the second time round.
            if part.recompute:
                states = checkpoint(
                    self.encode,
                    part.piece,
                    some,
                    deep,
                    attention,
                    hooks,
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            else:
                states = self.encode(part.piece, some, deep, attention, hooks)
            self.count(part, states, some, deep, attention, hooks)
            # Pieces of the same contexts are classes side by side, those of others come below.
            columns.setdefault(part.contexts.start, []).append(states)
        return torch.cat([torch.cat(parts, dim=1) for parts in columns.values()])

    def count(
        self,
        part: Part,
        states: Tensor,
        context: Tensor,
        deep: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
        hooks: Hooks | None,
    ) -> None:
        """Reports the operations of one part where they are counted.

        Args:
            part: What was computed.
            states: (s, k, w) what came of it, in whose backward pass its gradient's work is
                counted.
            context: (s, c, m, w) what was put into the slots.
            deep: What replaced tokens before later layers.
            attention: By layer, what attended instead of the usual softmax.
            hooks: By layer, what changed it.
        """

        def made() -> Pass:
            piece, shape = part.piece, self.tower.shape
            slots, contexts = len(piece.slots), len(context)
            at_ends = self.pool != "mean" and shape.layers - 1 not in (attention or ())
            layers = packed_layers(shape, piece.plan, slots, contexts, at_ends=at_ends, hooks=hooks)
            again = forward(layers) if part.recompute else 0
            return Pass(layers, since=gradient_since(context, deep, hooks), recomputed=again)

        count(states, made)

    def parts(
        self, prompts: TextPrompts, context: Tensor, budget: int, *, apart: bool = False
    ) -> list[Part]:
        """Cuts the work so that each part fits the budget, if need be down to one class.

        Parts at the end of the list keep their activations, as many as fit together: they
        come first on the way back, so that they are gone when the others are recomputed.

        Args:
            prompts: Texts of all k classes.
            context: (s, c, m, w) what is put into their slots.
            budget: Bytes that autograd may save of all parts together.
            apart: Texts share no token.
        """
        k, shape = len(prompts.ids), self.tower.shape
        shared = context.shape[1] == 1
        cuts = 1
        pieces = self.pieces(prompts, cuts, shared, apart=apart)
        while cuts < k and (most := max(p.saved_bytes(shape) for p in pieces)) > budget:
            cuts = min(k, max(cuts + 1, cuts * most // budget))
            pieces = self.pieces(prompts, cuts, shared, apart=apart)
        most = max(p.saved_bytes(shape) for p in pieces)
        together = max(1, budget // most)
        spans = [slice(at, at + together) for at in range(0, len(context), together)]
        parts: list[Part] = []
        # From the end, since autograd goes back from there. The very last part keeps what it has in
        # any case: recomputed, it would hold the same at the same time.
        left = budget if torch.is_grad_enabled() else float("inf")
        for span in reversed(spans):
            for piece in reversed(pieces):
                left -= piece.saved_bytes(shape) * len(range(*span.indices(len(context))))
                parts.append(Part(piece, span, recompute=left < 0 and bool(parts)))
        return parts[::-1]

    def pieces(
        self, prompts: TextPrompts, cuts: int, shared: bool, *, apart: bool = False
    ) -> list[Piece]:
        """The classes in `cuts` parts of about equal size, each laid out; made once.

        Args:
            prompts: Texts of all k classes.
            cuts: Into how many parts.
            shared: All classes have one context; it may then belong to the shared prefix.
            apart: Texts share no token.
        """
        kept = self._kept.setdefault(prompts, {})
        if (cuts, shared, apart) not in kept:
            k = len(prompts.ids)
            edges = [k * cut // cuts for cut in range(cuts + 1)]
            kept[cuts, shared, apart] = [
                self.prepare(prompts, start, stop, shared, apart) for start, stop in pairwise(edges)
            ]
        return kept[cuts, shared, apart]

    @torch.no_grad()
    def prepare(
        self, prompts: TextPrompts, start: int, stop: int, shared: bool, apart: bool
    ) -> Piece:
        """Lays out the classes from `start` to `stop`.

        Args:
            prompts: Texts of all k classes.
            start: First class.
            stop: The class behind the last.
            shared: All classes have one context.
            apart: Texts share no token.
        """
        part = prompts.subset(start, stop)
        k, n, w = part.embeddings.shape
        m = part.slots.shape[1]
        plan = pack(
            part.ids.tolist(),
            [n - 1] * k if self.pool == "last" else part.end.tolist(),
            part.slots.tolist(),
            shared_context=shared,
            causal=self.tower.causal,
            width=w,
            apart=apart,
        ).to(part.ids.device)
        # (k, n): which token of its context stands at each position of a text, -1 for none. Read
        # through `source` it says the same of each of the t places.
        which = torch.full((k, n), -1, device=part.ids.device)
        which.scatter_(1, part.slots, torch.arange(m, device=which.device).expand(k, -1))
        slot = which.flatten()[plan.source].masked_fill(plan.text == PADDING, -1)
        slots = (slot >= 0).nonzero()[:, 0]
        # What the table has in a slot goes in too; `fill` puts the context over it.
        inputs = self.inputs(part.embeddings.flatten(0, 1)[plan.source], plan.position)
        first = self.layers[0]
        # Added to the scores. A mask of booleans would be turned into this by torch, anew in every
        # layer of every step.
        bias = torch.zeros(plan.mask.shape, dtype=inputs.dtype, device=inputs.device)
        bias = bias.masked_fill(~plan.mask, float("-inf"))
        # Rows lie one after the other behind the prefix, hence an end token's place in its row.
        places = (plan.end - plan.prefix)[plan.row_ends] % plan.row_length
        end_bias = bias.gather(1, places[..., None].expand(-1, -1, bias.shape[2]))
        projected = first.project(inputs)
        operations = product(len(inputs), inputs.shape[1], projected.shape[1])
        count(projected, lambda: Pass([Flops(operations)]))
        which, every = slot[slots], len(prompts.ids)
        bias, end_bias = bias[:, None], end_bias[:, None]
        seats = Seats(every, n, plan.position * every + start + plan.text.clamp(min=0))
        piece = Piece(plan, start, slots, which, inputs, projected, bias, end_bias, seats)
        return piece if shared else replace(piece, context=which + m * piece.owner(slots))

    def encode(
        self,
        piece: Piece,
        context: Float[Tensor, "s c m w"],
        deep: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
        hooks: Hooks | None,
    ) -> Float[Tensor, "s k w"]:
        """One pass through the tower.

        Args:
            piece: The k classes, laid out.
            context: What is put into their slots.
            deep: Tokens that replace others before later layers; (j, s, m, w) where each context
                has its own, (j, s, all classes, m, w) where each class has.
            attention: By layer, what attends there instead of the usual softmax.
            hooks: By layer, what changes it.
        """
        plan, contexts = piece.plan, len(context)
        x, qkv = self.fill(piece, context)
        bias, end_bias = piece.bias, piece.end_bias
        if contexts > 1 and plan.rows > 1:
            bias, end_bias = (b.repeat(contexts, 1, 1, 1) for b in (bias, end_bias))
        for index, layer in enumerate(self.layers):
            override = None if attention is None else attention.get(index)
            hook = None if hooks is None else hooks.get(index)
            normed = None
            if index > 0:  # `fill` has the projections of layer 0 already
                x = replaced(piece, deep, index, x)
                # Only end tokens are read of the last layer, so it need make no others. What stands
                # in for the usual softmax is shown whole texts, and a mean reads all.
                if self.pool != "mean" and override is None and index == len(self.layers) - 1:
                    return finish_at_ends(layer, x, plan, end_bias, hook, piece.seats)
                normed = layer.normed(x)
                qkv = layer.qkv(normed)
            if hook is not None:
                normed = layer.normed(x) if normed is None else normed
                qkv = hook.project(qkv, normed, QKV, piece.seats)
            if override is None:
                heads = attend(layer, qkv, plan, bias)
            else:
                heads = attend_apart(layer, qkv, plan, override, self.tower.causal)
            x = layer.finish(x, heads, hook, normed)
        return mean_states(plan, x) if self.pool == "mean" else x.index_select(1, plan.end)

    def fill(self, piece: Piece, context: Float[Tensor, "s c m w"]) -> tuple[Tensor, Tensor]:
        """The tower's input with the context in place, and its first projections.

        Args:
            piece: The classes, laid out.
            context: What is put into their slots.
        """
        x = piece.inputs.expand(len(context), -1, -1)
        qkv = piece.projected.expand(len(context), -1, -1)
        if not len(piece.slots):
            return x, qkv
        # The first projections act on each token alone: those of fixed tokens were made when the
        # piece was laid out, and a step makes those of the context.
        tokens = context.flatten(1, 2).to(x.dtype).index_select(1, piece.context)
        tokens = self.inputs(tokens, piece.plan.position[piece.slots])
        projected = self.layers[0].project(tokens)
        return x.index_copy(1, piece.slots, tokens), qkv.index_copy(1, piece.slots, projected)

    @property
    def layers(self) -> list[Layer]:
        """The tower's layers."""
        return list(self.tower.layers)  # pyright: ignore[reportReturnType]


def replaced(
    piece: Piece, deep: DeepPrompts | None, layer: int, x: Float[Tensor, "s t w"]
) -> Float[Tensor, "s t w"]:
    """The input of `layer` with this layer's deep prompts in place, if it has any.

    Args:
        piece: The classes, laid out; says where their positions lie among the t tokens.
        deep: Prompts of all layers, if there are any.
        layer: From 0.
        x: What would enter it.
    """
    prompts = None if deep is None else deep.before(layer)
    if deep is None or prompts is None:
        return x
    places, which = piece.deep_places(deep.start, deep.width, deep.own)
    prompts = prompts.flatten(-3, -2) if deep.own else prompts
    prompts = prompts.to(x.dtype).index_select(-2, which)
    return x.index_copy(1, places, prompts.expand(len(x), -1, -1))
