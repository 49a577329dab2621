"""Block P over several layers: learned tokens at the input of a tower and of its next layers.

The tokens of one tower are one tensor (J, m, w): the first m stand at its input, and before
layer l = 1 .. J - 1 the outputs at their places give way to those of layer l. What the
layers after the J-th read there is what the J-th made of its own.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119,
equations 6 and 7; Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023,
https://arxiv.org/abs/2210.03117, equations 1 to 6.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from operators.backbones import DeepPrompts, DualEncoder, TextPrompts
from operators.backbones.towers.transformer import Attention, TowerShape
from operators.blocks.linear_maps import draw_uniform
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.blocks.prompt_tokens import random_context
from operators.episodes.episode import Batch
from operators.shapes import Float


def effective_depth(depth: int, *towers: TowerShape) -> int:
    """Prompted layers where `depth` are asked for: no more than the shallowest tower has.

    Published depths are those of towers of 12 layers; in a smaller one every layer is prompted.
    """
    return min(depth, *(tower.layers for tower in towers))


def image_tower(backbone: DualEncoder) -> TowerShape:
    """Dimensions of the ViT of a backbone with the capability `visual-prompts`."""
    assert backbone.image_tower is not None  # `Method` has refused other backbones
    return backbone.image_tower.shape


def text_tower(backbone: DualEncoder) -> TowerShape:
    """Dimensions of the text tower."""
    return backbone.packed_text.tower.shape


def deepened(
    first: Float[Tensor, "m w"], depth: int, std: float, generator: torch.Generator
) -> Float[Tensor, "depth m w"]:
    """The tokens of `depth` layers before they are learned: `first`, and N(0, std^2) below it.

    Args:
        first: The m tokens of width w that enter the first layer.
        depth: Layers with tokens, the first included; at least 1.
        std: Of what is drawn for the layers below.
        generator: Draws them, on the CPU.
    """
    below = random_context((depth - 1, *first.shape), std, generator, like=first)
    return torch.cat([first[None], below.to(first.dtype)])


def started_image_tokens(
    backbone: DualEncoder, tokens: int, depth: int, std: float, generator: torch.Generator
) -> Float[Tensor, "depth m v"]:
    """Tokens for up to `depth` layers of the image tower, all drawn from N(0, std^2).

    Args:
        backbone: With the capability `visual-prompts`.
        tokens: m, a layer.
        depth: Layers with tokens, or all that the tower has, if fewer.
        std: Of what is drawn.
        generator: Draws them, on the CPU.
    """
    tower = image_tower(backbone)
    shape = (effective_depth(depth, tower), tokens, tower.width)
    like = torch.empty(0, device=backbone.device)
    return random_context(shape, std, generator, like=like)


def uniform_image_tokens(
    backbone: DualEncoder, tokens: int, depth: int, generator: torch.Generator
) -> Float[Tensor, "depth m v"]:
    """Tokens for up to `depth` layers of the image tower, drawn as VPT's authors draw them.

    That is U(-a, a) with a^2 = 6 / (numbers of a patch + v), as Glorot starts the map that makes
    tokens of patches.

    Args:
        backbone: With the capability `visual-prompts`.
        tokens: m, a layer.
        depth: Layers with tokens, or all that the tower has, if fewer.
        generator: Draws them, on the CPU.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, in the authors' code (Xavier uniform).
    """
    tower = image_tower(backbone)
    patches = backbone.image_tokens - backbone.image_start
    inputs = 3 * backbone.preprocess.size**2 // patches + tower.width
    numbers = torch.empty(effective_depth(depth, tower), tokens, tower.width)
    return draw_uniform(numbers, inputs / 6, generator).to(backbone.device)


def prompted_texts(
    backbone: DualEncoder,
    prompts: TextPrompts,
    tokens: Float[Tensor, "depth m w"],
    *,
    first: Float[Tensor, "k m w"] | None = None,
    attention: Mapping[int, Attention] | None = None,
) -> Float[Tensor, "k d"]:
    """Features of texts whose first m own tokens are learned, in `depth` layers.

    Args:
        backbone: With the text tower.
        prompts: The texts.
        tokens: Of each prompted layer.
        first: Tokens of each text's own at the input, in place of `tokens[0]`.
        attention: What attends in some layers instead of the usual softmax.
    """
    deep = DeepPrompts(tokens[1:], start=backbone.text_start) if len(tokens) > 1 else None
    return backbone.encode_prompts(prompts, tokens[:1] if first is None else first, deep, attention)


def prompted_images(
    backbone: DualEncoder,
    batch: Batch,
    tokens: Float[Tensor, "depth m v"],
    *,
    attention: Mapping[int, Attention] | None = None,
    behind_norm: bool = False,
) -> Float[Tensor, "b d"]:
    """Features of images with m learned tokens after their patches, in `depth` layers.

    The image tower has no causal mask and the tokens no position, so it is the same function
    wherever among the tokens of the image they stand.

    Args:
        backbone: With the capability `visual-prompts`.
        batch: The images; their pixels are read.
        tokens: Of each prompted layer.
        attention: What attends in some layers instead of the usual softmax.
        behind_norm: Whether the first of them enter behind the norm that CLIP's image tower has
            before its first layer, and not in front of it.
    """
    first = None if behind_norm else tokens[0]
    start = -tokens.shape[1]
    if behind_norm:
        deep = DeepPrompts(tokens, start=start, first=0, insert=True)
    else:
        deep = DeepPrompts(tokens[1:], start=start) if len(tokens) > 1 else None

    def encode(part: Batch) -> Tensor:
        return backbone.encode_images(
            part.pixels, prompts=first, deep_prompts=deep, attention=attention
        )

    return in_parts(encode, batch, IMAGE_ROWS)
