"""Operations of the towers, layer by layer, from shapes alone; accounting.py says what counts.

Each function gives one `Flops` a layer. A test compares them with what torch counts in a run.
"""

from torch import Tensor

from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.packing import PackPlan
from operators.backbones.towers.prompts import DeepPrompts
from operators.backbones.towers.transformer import TowerShape
from operators.engine.accounting import Flops


def product(rows: int, width: int, out: int) -> int:
    """Operations of a linear layer on so many rows.

    Args:
        rows: Tokens that are multiplied.
        width: Numbers that come in, of each.
        out: Numbers that go out, of each.
    """
    return 2 * rows * width * out


def finish(shape: TowerShape, tokens: int) -> int:
    """Operations of the linear layers behind attention: its output and the feed-forward part.

    Args:
        shape: Widths of the tower.
        tokens: How many pass through the layer.
    """
    return product(tokens, shape.width, shape.width + 2 * shape.mlp_width)


def pairs(shape: TowerShape, count: int) -> int:
    """Operations of so many pairs of a query and a key: the scores, and the sum of the values.

    Args:
        shape: Its width is that of all heads together.
        count: Queries times the keys that each of them reads.
    """
    return 4 * count * shape.width


def full_layers(
    shape: TowerShape,
    sequences: int,
    length: int,
    deep: DeepPrompts | None = None,
    hooks: Hooks | None = None,
) -> list[Flops]:
    """All tokens through all layers: the plain form.

    Args:
        shape: Of the tower.
        sequences: Texts or images.
        length: Tokens of each that enter the first layer.
        deep: Tokens that enter later layers; they may make the sequences longer.
        hooks: What changes some layers.
    """
    layers, w = [], shape.width
    for index in range(shape.layers):
        n = length_in(index, length, deep)
        tokens = sequences * n
        linear = product(tokens, w, 3 * w) + finish(shape, tokens)
        learned = hooked(hooks, index, tokens, tokens)
        layers.append(Flops(linear, pairs(shape, tokens * n), learned))
    return layers


def layers_read_at_one(
    shape: TowerShape,
    sequences: int,
    length: int,
    deep: DeepPrompts | None = None,
    hooks: Hooks | None = None,
) -> list[Flops]:
    """The same where one position is read of each sequence: the last layer has no other.

    See `full_layers`.
    """
    layers, w = full_layers(shape, sequences, length, deep, hooks), shape.width
    tokens = sequences * length_in(shape.layers - 1, length, deep)
    linear = product(sequences, w, w) + product(tokens, w, 2 * w) + finish(shape, sequences)
    learned = hooked(hooks, shape.layers - 1, tokens, sequences)
    return [*layers[:-1], Flops(linear, pairs(shape, tokens), learned)]


def hooked(hooks: Hooks | None, layer: int, tokens: int, read: int) -> int:
    """Operations of what a hook has learned for a layer.

    Args:
        hooks: By layer.
        layer: From 0.
        tokens: Whose keys and values are made.
        read: Whose queries are made, and what comes behind attention.
    """
    hook = None if hooks is None else hooks.get(layer)
    return 0 if hook is None else hook.operations(tokens, read)


def length_in(layer: int, length: int, deep: DeepPrompts | None) -> int:
    """Tokens of a sequence in a layer, where so many enter the first one.

    Args:
        layer: From 0.
        length: Tokens that enter layer 0.
        deep: Prompts; those that are inserted make later sequences longer.
    """
    if deep is None or not deep.insert or layer < deep.first:
        return length
    return length + deep.width


def packed_layers(
    shape: TowerShape,
    plan: PackPlan,
    slots: int,
    contexts: int,
    *,
    at_ends: bool,
    hooks: Hooks | None = None,
) -> list[Flops]:
    """Texts as `PackedText` computes them.

    Args:
        shape: Of the tower.
        plan: Layout of the texts.
        slots: Learned tokens in the layout: the first layer projects no others.
        contexts: Contexts that each text is computed under.
        at_ends: The last layer computes end tokens alone.
        hooks: What changes some layers.
    """
    w, texts = shape.width, len(plan.end)
    seen = plan.prefix + plan.row_length  # tokens that a token of a row may read, masked ones too
    attended = plan.prefix**2 + plan.rows * plan.row_length * seen
    attention, after = pairs(shape, attended), finish(shape, plan.tokens)
    first = Flops(product(slots, w, 3 * w) + after, attention)
    layers = [first, *[Flops(product(plan.tokens, w, 3 * w) + after, attention)] * shape.layers]
    layers = layers[: shape.layers]
    if at_ends and shape.layers > 1:
        linear = product(texts, w, w) + product(plan.tokens, w, 2 * w) + finish(shape, texts)
        layers[-1] = Flops(linear, pairs(shape, plan.row_ends.numel() * seen))
    ends = at_ends and shape.layers > 1
    reads = [plan.tokens] * (shape.layers - ends) + [texts] * ends
    return [
        Flops(
            contexts * each.linear,
            contexts * each.attention,
            contexts * hooked(hooks, index, plan.tokens, read),
        )
        for index, (each, read) in enumerate(zip(layers, reads, strict=True))
    ]


def gradient_since(first: Tensor, deep: DeepPrompts | None, hooks: Hooks | None = None) -> int:
    """First layer that a gradient reaches, where one does.

    Args:
        first: What enters the first layer, or is put into it.
        deep: Tokens that enter later ones.
        hooks: What changes some layers.
    """
    if first.requires_grad or (deep is None and not hooks):
        return 0
    return min([*(hooks or ()), *(() if deep is None else (deep.first,))])
