"""Attention over packed texts: rows read the shared prefix and themselves (packing.py)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones.towers.hooks import LayerHook, Seats
from operators.backbones.towers.packing import PADDING, PackPlan
from operators.backbones.towers.transformer import Attention, Layer
from operators.shapes import Float


def attend(
    layer: Layer, qkv: Float[Tensor, "s t w3"], plan: PackPlan, bias: Float[Tensor, "b 1 l q"]
) -> Float[Tensor, "s t w"]:
    """What the heads of every token read.

    Args:
        layer: Gives the number of heads.
        qkv: Queries, keys and values of the t tokens, under s contexts.
        plan: Their layout.
        bias: Added to the scores of each row.
    """
    s, w = len(qkv), qkv.shape[-1] // 3
    head, rows = parted(qkv, plan)
    q, k, v = rows.split(w, dim=-1)
    if head is None:
        return merge_heads(read(layer, q, k, v, bias), s)
    # There is a prefix in causal towers alone. It reads nothing behind itself, so it is computed
    # once for all rows, and each row has its keys in front of its own.
    head_q, head_k, head_v = head.split(w, dim=-1)
    k, v = with_head(head_k, k), with_head(head_v, v)
    read_q, read_k, read_v = (split_heads(x, layer.heads) for x in (head_q, head_k, head_v))
    first = F.scaled_dot_product_attention(read_q, read_k, read_v, is_causal=True)
    return torch.cat([merge_heads(first, s), merge_heads(read(layer, q, k, v, bias), s)], dim=1)


def attend_apart(
    layer: Layer, qkv: Float[Tensor, "s t w3"], plan: PackPlan, attention: Attention, causal: bool
) -> Float[Tensor, "s t w"]:
    """What the heads of every token read where something else attends than the usual softmax.

    It is shown every text on its own, padded, as in a tower that is not packed.

    Args:
        layer: Says how many heads there are.
        qkv: Queries, keys and values of all t tokens, side by side.
        plan: Where the tokens of each text lie among the t.
        attention: What attends instead.
        causal: A token reads those before it alone.
    """
    s, w = len(qkv), qkv.shape[-1] // 3
    places, back = plan.apart
    k, n = places.shape
    texts = qkv.index_select(1, places.flatten()).view(s * k, n, 3 * w)
    q, key, v = (split_heads(part, layer.heads) for part in texts.split(w, dim=-1))
    positions = torch.arange(n, device=places.device)
    if causal:
        mask = positions <= positions[:, None]
    else:
        mask = (positions <= plan.position[plan.end][:, None])[:, None, None].repeat(s, 1, 1, 1)
    return merge_heads(attention(q, key, v, mask), s).index_select(1, back)


def finish_at_ends(
    layer: Layer,
    x: Float[Tensor, "s t w"],
    plan: PackPlan,
    bias: Float[Tensor, "b 1 e q"],
    hook: LayerHook | None,
    seats: Seats,
) -> Float[Tensor, "s k w"]:
    """What the layer gives at the end token of each text, and no more work.

    Args:
        layer: The last one.
        x: What enters it.
        plan: Says where each text ends.
        bias: Added to the scores of the e end tokens of a row over the q tokens that it may read:
            0, or -inf.
        hook: What changes the layer.
        seats: Of the tokens of `x`.
    """
    s, _, w = x.shape
    # Keys and values of all tokens, since the end tokens read them; queries, the second half of the
    # layer and what comes after it of end tokens alone. Rows have different numbers of these, and
    # `row_ends` repeats some so that one product does for all; `answer` picks each once.
    normed = layer.normed(x)
    asking = normed.index_select(1, plan.end)
    q, kv = layer.queries(asking), layer.keys_values(normed)
    if hook is not None:
        q = hook.project(q, asking, ("q",), seats.at(plan.end))
        kv = hook.project(kv, normed, ("k", "v"), seats)
    q = q.index_select(1, plan.row_ends.flatten()).unflatten(1, (plan.rows, -1))
    head, rows = parted(kv, plan)
    k, v = rows.split(w, dim=-1)
    if head is not None:
        head_k, head_v = head.split(w, dim=-1)
        k, v = with_head(head_k, k), with_head(head_v, v)
    heads = merge_heads(read(layer, q, k, v, bias), s).index_select(1, plan.answer)
    return layer.finish(x.index_select(1, plan.end), heads, hook, asking)


def parted(
    x: Float[Tensor, "s t w"], plan: PackPlan
) -> tuple[Float[Tensor, "s p w"] | None, Float[Tensor, "s r l w"]]:
    """The prefix, where there is one, and the rows.

    Here and above by `split`, whose way back is one copy; slices would each fill and add a
    whole tensor.

    Args:
        x: t = prefix + rows * row_length tokens.
        plan: Their layout.
    """
    if not plan.prefix:
        return None, x.unflatten(1, (plan.rows, plan.row_length))
    head, rows = x.split([plan.prefix, plan.rows * plan.row_length], dim=1)
    return head, rows.unflatten(1, (plan.rows, plan.row_length))


def with_head(head: Float[Tensor, "s p w"], rows: Float[Tensor, "s r l w"]) -> Tensor:
    """Each row with the prefix before it.

    Args:
        head: The p tokens of the prefix; the same before every row.
        rows: r rows of l tokens.
    """
    return torch.cat([head[:, None].expand(-1, rows.shape[1], -1, -1), rows], dim=2)


def read(
    layer: Layer,
    q: Float[Tensor, "s r l w"],
    k: Float[Tensor, "s r n w"],
    v: Float[Tensor, "s r n w"],
    bias: Float[Tensor, "b 1 l n"],
) -> Float[Tensor, "sr h l c"]:
    """What the queries of each row read from its keys and values.

    Args:
        layer: Says how many heads there are.
        q: Queries of l tokens in each of r rows.
        k: Keys of n tokens that such a row may read, those of the prefix first.
        v: Values of the same tokens.
        bias: Added to the scores: 0, or -inf where a token may not be read.
    """
    heads = (split_heads(part.flatten(0, 1), layer.heads) for part in (q, k, v))
    return F.scaled_dot_product_attention(*heads, attn_mask=bias)


def split_heads(x: Float[Tensor, "b n w"], heads: int) -> Float[Tensor, "b h n c"]:
    """The parts of each head.

    Args:
        x: n tokens of width w = heads * c.
        heads: How many.
    """
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "b h n c"], contexts: int) -> Float[Tensor, "s t w"]:
    """The reverse, with all rows of a context side by side.

    Args:
        x: b = contexts * rows sequences, as `split_heads` gives them.
        contexts: s, how many contexts are computed side by side.
    """
    return x.transpose(1, 2).reshape(contexts, -1, x.shape[1] * x.shape[3])


def mean_states(plan: PackPlan, x: Float[Tensor, "s t w"]) -> Float[Tensor, "s k w"]:
    """The mean over the tokens of each text, taken in float32 at least.

    Args:
        plan: Says which token belongs to which of k texts.
        x: States of all t tokens after the last layer.
    """
    k, x = len(plan.end), x.to(torch.promote_types(x.dtype, torch.float32))
    text = plan.text.masked_fill(plan.text == PADDING, k)  # padding goes to a row of its own
    total = x.new_zeros(len(x), k + 1, x.shape[-1]).index_add(1, text, x)[:, :k]
    return total / plan.lengths[:, None]
