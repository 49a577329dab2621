"""A transformer tower whose every layer can be reached: CLIP's two and BERT's.

Written once for all families, so that deep prompts, and every later way to cut in, work in
each of them alike. Layers are pre-norm (CLIP: ViT and text) or post-norm (BERT).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones.towers.hooks import QKV, Hooks, LayerHook, Seats, refuse_hooks_outside
from operators.backbones.towers.prompts import DeepPrompts
from operators.shapes import Bool, Float, Int

QUICK_GELU = 1.702

# What may stand in for softmax(q k^T) v in a layer. It gets queries, keys and values, each
# (b, heads, n, w / heads), and a mask that is true where a token may be attended to, or None
# where every token may; it gives the heads' outputs, (b, heads, n, w / heads).
Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation, x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(QUICK_GELU * x)


ACTIVATIONS = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),  # SigLIP's
}


@dataclass(frozen=True)
class TowerShape:
    """Dimensions of a tower.

    Attributes:
        width: Size of a token embedding.
        layers: Number of layers.
        heads: Attention heads; divides `width`.
        mlp_width: Hidden size of the feed-forward part.
        activation: Key of `ACTIVATIONS`.
        norm_eps: Epsilon of layer normalisation.
        post_norm: Normalise after the residual sum, as BERT does.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str
    norm_eps: float
    post_norm: bool = False


class Layer(nn.Module):
    """Self-attention and a feed-forward part, each with a residual sum and a norm.

    `project`, attention and `finish` follow each other; paths that attend in a way of their
    own (`PackedText`) put theirs between the other two.
    """

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.post_norm = shape.post_norm
        self.activation = ACTIVATIONS[shape.activation]
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.fc1 = nn.Linear(shape.width, shape.mlp_width)
        self.fc2 = nn.Linear(shape.mlp_width, shape.width)

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        mask: Bool[Tensor, "b 1 1 n"] | None,
        causal: bool,
        attention: Attention | None = None,
        hook: LayerHook | None = None,
    ) -> Float[Tensor, "b n w"]:
        """One layer; `mask` is true where a token may be attended to.

        Args:
            x: What enters the layer.
            mask: True where a token may be attended to; None where all are.
            causal: A token reads those before it alone.
            attention: What attends instead of the usual softmax.
            hook: What changes the layer.
        """
        b, n, w = x.shape
        normed = self.normed(x)
        qkv = self.qkv(normed)
        if hook is not None:
            qkv = hook.project(qkv, normed, QKV, Seats(b, n))
        q, k, v = qkv.view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        if attention is None:
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        else:
            before = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
            heads = attention(q, k, v, before if causal and mask is None else mask)
        return self.finish(x, heads.transpose(1, 2).reshape(b, n, w), hook, normed)

    def forward_at(
        self,
        x: Float[Tensor, "b n w"],
        at: Int[Tensor, "b"],  # noqa: F821
        causal: bool,
        hook: LayerHook | None = None,
    ) -> Float[Tensor, "b w"]:
        """What the layer gives at one position of each sequence, and no more work.

        Args:
            x: What enters the layer.
            at: The position that is read of each sequence.
            causal: It reads what stands before it alone.
            hook: What changes the layer.
        """
        b, n, w = x.shape
        rows = torch.arange(b, device=x.device)
        split = (b, -1, self.heads, w // self.heads)
        states = self.normed(x)
        asking = states[rows, at]
        q, kv = self.queries(asking), self.keys_values(states)
        if hook is not None:
            q = hook.project(q, asking, ("q",), Seats(b, n, at * b + rows))
            kv = hook.project(kv, states, ("k", "v"), Seats(b, n))
        k, v = (part.view(split).transpose(1, 2) for part in kv.split(w, dim=-1))
        mask = (torch.arange(n, device=x.device) <= at[:, None])[:, None, None] if causal else None
        heads = F.scaled_dot_product_attention(q.view(split).transpose(1, 2), k, v, attn_mask=mask)
        return self.finish(x[rows, at], heads.reshape(b, w), hook, asking)

    def normed(self, x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
        """What queries, keys and values are made of."""
        return x if self.post_norm else self.norm1(x)

    def project(self, x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w3"]:
        """Queries, keys and values of all heads, side by side."""
        return self.qkv(self.normed(x))

    def queries(self, normed: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
        """The queries alone, of states that are `normed`."""
        w = normed.shape[-1]
        return F.linear(normed, self.qkv.weight[:w], self.qkv.bias[:w])

    def keys_values(self, normed: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w2"]:
        """Keys and values alone, side by side, of states that are `normed`."""
        w = normed.shape[-1]
        return F.linear(normed, self.qkv.weight[w:], self.qkv.bias[w:])

    def finish(
        self,
        x: Float[Tensor, "*b w"],
        heads: Float[Tensor, "*b w"],
        hook: LayerHook | None = None,
        normed: Float[Tensor, "*b w"] | None = None,
    ) -> Tensor:
        """The layer's output, from its input and what its heads read.

        Args:
            x: What entered the layer.
            heads: What its heads read, side by side, before they are mixed.
            hook: What changes the layer.
            normed: What queries were made of; a hook reads it.
        """
        mixed = self.out(heads)
        if hook is not None and normed is not None:
            mixed = hook.after_attention(mixed, normed)
        x = self.norm1(x + mixed) if self.post_norm else x + mixed
        x = x + self.fc2(self.activation(self.fc1(x if self.post_norm else self.norm2(x))))
        if hook is not None and normed is not None:
            x = hook.after_block(x, normed)
        return self.norm2(x) if self.post_norm else x


class Tower(nn.Module):
    """A stack of layers.

    Args:
        shape: Widths, depth and norms.
        causal: A token reads those before it alone.
    """

    def __init__(self, shape: TowerShape, *, causal: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.causal = causal
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def states(
        self,
        x: Float[Tensor, "b n w"],
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Iterator[Float[Tensor, "b n w"]]:
        """The states after each layer, one by one.

        Args:
            x: Embedded tokens, positions added.
            mask: False where a token is padding. A causal tower needs none: what follows the
                end token cannot reach it.
            deep_prompts: Tokens to put in before later layers.
            attention: What attends in some layers instead of the usual softmax.
            hooks: What changes some layers.

        Raises:
            ValueError: Deep prompts have no layer or no place, or a hook has no layer.
        """
        self.refuse_outside(x, deep_prompts, attention)
        refuse_hooks_outside(hooks, len(self.layers))
        attended = None if mask is None else mask[:, None, None, :]
        for index, layer in enumerate(self.layers):
            if deep_prompts is not None:
                x = deep_prompts.put(index, x)
            override = None if attention is None else attention.get(index)
            hook = None if hooks is None else hooks.get(index)
            x = layer(x, attended, self.causal, override, hook)
            yield x

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "b n2 w"]:
        """The states after the last layer; see `states`. See `Tower.states`."""
        for state in self.states(
            x, mask=mask, deep_prompts=deep_prompts, attention=attention, hooks=hooks
        ):
            x = state
        return x

    def forward_at(
        self,
        x: Float[Tensor, "b n w"],
        at: Int[Tensor, "b"],  # noqa: F821
        *,
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "b w"]:
        """`forward(x)` at one position of each sequence, for a tower without padding.

        The last layer computes that position alone, which saves most of its work.

        Args:
            x: Embedded tokens, positions added.
            at: Position of each sequence that is wanted.
            deep_prompts: As in `states`.
            attention: As in `states`.
            hooks: As in `states`.
        """
        hooks = hooks or {}
        final = len(self.layers) - 1
        if attention is not None and final in attention:
            x = self(x, deep_prompts=deep_prompts, attention=attention, hooks=hooks)
            return x[torch.arange(len(x), device=x.device), at]
        self.refuse_outside(x, deep_prompts, attention)
        refuse_hooks_outside(hooks, len(self.layers))
        for index, layer in enumerate(self.layers):
            if deep_prompts is not None:
                x = deep_prompts.put(index, x)
            if index < final:
                override = None if attention is None else attention.get(index)
                x = layer(x, None, self.causal, override, hooks.get(index))
        last: Layer = self.layers[final]  # pyright: ignore[reportAssignmentType]
        return last.forward_at(x, at, self.causal, hooks.get(final))

    def refuse_outside(
        self,
        x: Tensor,
        deep_prompts: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
    ) -> None:
        """Raises where something cuts in at a layer or a position that is not there.

        Args:
            x: (b, n, w) what enters the tower.
            deep_prompts: Tokens that are to replace others before later layers.
            attention: By layer, what is to attend instead of the usual softmax.

        Raises:
            ValueError: See `DeepPrompts.refuse_outside` and `refuse_overrides`.
        """
        if deep_prompts is not None:
            deep_prompts.refuse_outside(len(self.layers), x.shape[1])
        self.refuse_overrides(attention)

    def refuse_overrides(self, attention: Mapping[int, Attention] | None) -> None:
        """Raises where attention is to be replaced in a layer that is not there.

        Raises:
            ValueError: Names the layer and those that there are.
        """
        for layer in attention or ():
            if not 0 <= layer < len(self.layers):
                raise ValueError(
                    f"attention override for layer {layer} of a tower of {len(self.layers)} "
                    f"layers: they are 0 to {len(self.layers) - 1}."
                )


@torch.no_grad()
def fold_quick_gelu(tower: Tower) -> None:
    """Moves the factor of quick GELU into the weights of a frozen tower.

    x sigmoid(a x) = silu(a x) / a, so with a in `fc1` and 1 / a in `fc2` the activation is
    silu: one kernel, and one saved tensor where quick GELU keeps two. Results move by float
    rounding alone. Weights that are trained or exported are not folded.
    """
    for layer in tower.layers:
        assert isinstance(layer, Layer)
        if layer.activation is quick_gelu:
            layer.fc1.weight.mul_(QUICK_GELU)
            layer.fc1.bias.mul_(QUICK_GELU)
            layer.fc2.weight.div_(QUICK_GELU)
            layer.activation = F.silu
