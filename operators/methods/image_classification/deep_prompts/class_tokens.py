"""Class tokens: tokens of an image tower that stand for one class each and score it.

Source: Chowdhury et al., "Prompt-CAM: Making Vision Transformers Interpretable for Fine-Grained
Analysis", CVPR 2025, https://arxiv.org/abs/2501.09333, section 3, and the authors' code.
"""

import torch
from torch import Tensor

from operators.backbones import DeepPrompts, DualEncoder
from operators.backbones.dual.vit import ViTBackbone
from operators.shapes import Float


class ClassTokenAttention:
    """The usual softmax of a layer, which remembers what the last c tokens attend to.

    Dimensions: b images, h heads, n tokens, c class tokens, e width of a head.

    Args:
        tokens: c.

    Attributes:
        weights: (b, h, c, n), of the last call.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.weights: Tensor | None = None

    def __call__(
        self,
        q: Float[Tensor, "b h n e"],
        k: Float[Tensor, "b h n e"],
        v: Float[Tensor, "b h n e"],
        mask: Tensor | None,
    ) -> Float[Tensor, "b h n e"]:
        """What each head reads; an image tower has no mask."""
        weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
        self.weights = weights[:, :, -self.tokens :]
        return weights @ v


def class_states(
    backbone: DualEncoder,
    pixels: Float[Tensor, "b 3 s s"],
    tokens: Float[Tensor, "j c v"],
    watch: ClassTokenAttention | None = None,
) -> Float[Tensor, "b c v"]:
    """What the last layer makes of the class tokens of each image, normalised as its outputs are.

    Every layer has tokens of its own, which stand behind the patches and take the place of what
    the layer before made of its own.

    Args:
        backbone: With the capabilities `visual-prompts` and `layer-states`.
        pixels: Of b images.
        tokens: c tokens for each of the j layers, as wide as the tower.
        watch: Is told what they attend to in the last layer.
    """
    assert isinstance(backbone, ViTBackbone)  # `Method` has refused other backbones
    last, (_, c, _) = len(backbone.image_tower.layers) - 1, tokens.shape
    embedded = backbone.embed_images(pixels)
    # They enter the first layer as they are, where prompts of CLIP pass a norm before it.
    first = tokens[0].to(embedded.dtype).expand(len(embedded), -1, -1)
    deep = DeepPrompts(tokens[1:], start=-c) if len(tokens) > 1 else None
    reading = backbone.read_images(
        torch.cat([embedded, first], dim=1),
        deep_prompts=deep,
        attention=None if watch is None else {last: watch},
        layers=(last,),
    )
    states = reading.states[last][:, -c:]
    return backbone.image_norm_out(states.to(backbone.image_norm_out.weight.dtype)).to(states)


def patch_attention(
    backbone: DualEncoder, weights: Float[Tensor, "b h c n"], classes: Tensor
) -> Float[Tensor, "b h p"]:
    """What the token of one class an image attends to of its p patches.

    Args:
        backbone: Of the tower.
        weights: As `ClassTokenAttention` remembers them.
        classes: (b,) positions of the classes.
    """
    rows = torch.arange(len(weights), device=weights.device)
    return weights[rows, :, classes, backbone.image_start : backbone.image_tokens]
