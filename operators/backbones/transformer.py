"""A transformer tower whose every layer can be reached: CLIP's two and BERT's.

Written once for all families, so that deep prompts, and every later way to cut in, work in
each of them alike. Layers are pre-norm (CLIP: ViT and text) or post-norm (BERT).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.shapes import Bool, Float, Int


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation, x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": F.gelu}


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


@dataclass(frozen=True)
class DeepPrompts:
    """Tokens that take the place of others before layers 1, 2, ... (Jia et al., VPT-deep).

    Attributes:
        tokens: (j, m, w): before layer l = 1..j the m tokens at `start` become `tokens[l-1]`.
        start: Position of the first replaced token; negative counts from the end.
    """

    tokens: Tensor
    start: int

    def before(self, layer: int, x: Float[Tensor, "b n w"]) -> Float[Tensor, "b n w"]:
        """The input of `layer`, with this layer's prompts in place."""
        if not 1 <= layer <= len(self.tokens):
            return x
        prompts = self.tokens[layer - 1].to(x.dtype).expand(len(x), -1, -1)
        start = self.start % x.shape[1]
        return torch.cat([x[:, :start], prompts, x[:, start + prompts.shape[1] :]], dim=1)


class Layer(nn.Module):
    """Self-attention and a feed-forward part, each with a residual sum and a norm."""

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
        self, x: Float[Tensor, "b n w"], mask: Bool[Tensor, "b 1 1 n"] | None, causal: bool
    ) -> Float[Tensor, "b n w"]:
        """One layer; `mask` is true where a token may be attended to."""
        if self.post_norm:
            x = self.norm1(x + self.attend(x, mask, causal))
            return self.norm2(x + self.fc2(self.activation(self.fc1(x))))
        x = x + self.attend(self.norm1(x), mask, causal)
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))

    def forward_at(
        self,
        x: Float[Tensor, "b n w"],
        at: Int[Tensor, "b"],  # noqa: F821
        causal: bool,
    ) -> Float[Tensor, "b w"]:
        """What a pre-norm layer gives at one position of each sequence, and no more work."""
        b, n, w = x.shape
        states = self.norm1(x)
        rows = torch.arange(b, device=x.device)
        split = (b, -1, self.heads, w // self.heads)
        q = F.linear(states[rows, at], self.qkv.weight[:w], self.qkv.bias[:w])
        kv = F.linear(states, self.qkv.weight[w:], self.qkv.bias[w:])
        k, v = (part.view(split).transpose(1, 2) for part in kv.split(w, dim=-1))
        mask = (torch.arange(n, device=x.device) <= at[:, None])[:, None, None] if causal else None
        heads = F.scaled_dot_product_attention(q.view(split).transpose(1, 2), k, v, attn_mask=mask)
        x = x[rows, at] + self.out(heads.reshape(b, w))
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))

    def attend(
        self, x: Float[Tensor, "b n w"], mask: Bool[Tensor, "b 1 1 n"] | None, causal: bool
    ) -> Float[Tensor, "b n w"]:
        """Multi-head self-attention."""
        b, n, w = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(heads.transpose(1, 2).reshape(b, n, w))


class Tower(nn.Module):
    """A stack of layers."""

    def __init__(self, shape: TowerShape, *, causal: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.causal = causal
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(
        self,
        x: Float[Tensor, "b n w"],
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        deep_prompts: DeepPrompts | None = None,
    ) -> Float[Tensor, "b n w"]:
        """The states after the last layer.

        Args:
            x: Embedded tokens, positions added.
            mask: False where a token is padding. A causal tower needs none: what follows the
                end token cannot reach it.
            deep_prompts: Tokens to put in before layers 1, 2, ...

        Raises:
            ValueError: More deep prompts than layers that could take them.
        """
        if deep_prompts is not None and len(deep_prompts.tokens) >= len(self.layers):
            raise ValueError(
                f"{len(deep_prompts.tokens)} deep prompts for a tower of {len(self.layers)} "
                f"layers: layer 0 reads the shallow prompt, so at most {len(self.layers) - 1} fit."
            )
        attended = None if mask is None else mask[:, None, None, :]
        for index, layer in enumerate(self.layers):
            if deep_prompts is not None:
                x = deep_prompts.before(index, x)
            x = layer(x, attended, self.causal)
        return x

    def forward_at(
        self,
        x: Float[Tensor, "b n w"],
        at: Int[Tensor, "b"],  # noqa: F821
    ) -> Float[Tensor, "b w"]:
        """`forward(x)` at one position of each sequence, for a pre-norm tower without padding.

        The last layer computes that position alone, which saves most of its work.

        Args:
            x: Embedded tokens, positions added.
            at: Position of each sequence that is wanted.
        """
        *before, last = self.layers
        for layer in before:
            x = layer(x, None, self.causal)
        return last.forward_at(x, at, self.causal)  # pyright: ignore[reportCallIssue]
