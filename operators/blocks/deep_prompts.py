"""Block P, learned tokens in several layers of both towers: independent of each other, or coupled.

See deep_tokens.py for what the layers read of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.deep_tokens import (
    deepened,
    effective_depth,
    image_tower,
    prompted_images,
    prompted_texts,
    started_image_tokens,
    text_tower,
)
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.prompt_tokens import started_prompts
from operators.episodes.episode import Batch
from operators.shapes import Float


class IndependentPrompts(nn.Module):
    """Tokens of the text tower, and others of the image tower.

    Dimensions: b images, k classes, m learned text tokens, n learned image tokens, w and v width
    of the text and the image tower, d of a feature.

    Args:
        backbone: Frozen encoders, with the capability `visual-prompts`.
        names: The k class names.
        generator: Draws the start, the text first.
        text_tokens: m.
        image_tokens: n.
        text_depth: Text layers that are prompted, the input included; all where there are fewer.
        image_depth: The same of the image tower.
        words: What the first m tokens of the text input start from; empty for N(0, std^2).
        std: Standard deviation of all other tokens at the start.

    Attributes:
        layout: The prompts of the classes, with places for m tokens.
        text: (text layers, m, w).
        image: (image layers, n, v).

    Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, section 4.2.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        text_tokens: int,
        image_tokens: int,
        text_depth: int,
        image_depth: int,
        words: str,
        std: float,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.layout, first = started_prompts(
            backbone, names, words=words, n_context=text_tokens, std=std, generator=generator
        )
        depth = effective_depth(text_depth, text_tower(backbone))
        self.text = nn.Parameter(deepened(first, depth, std, generator))
        self.image = nn.Parameter(
            started_image_tokens(backbone, image_tokens, image_depth, std, generator)
        )

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text tokens give, of any length."""
        return prompted_texts(self.backbone, self.layout, self.text)

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them, of any length."""
        return prompted_images(self.backbone, batch, self.image)


class CoupledPrompts(nn.Module):
    """Tokens of the text tower, and in the image tower linear maps of the same.

    Dimensions: b images, k classes, m learned tokens a layer, J prompted layers, w and v width of
    the text and the image tower, d of a feature.

    Args:
        backbone: Frozen encoders, with the capability `visual-prompts`.
        names: The k class names.
        generator: Draws tokens, then maps.
        n_context: m.
        depth: J, the input included; as many as the shallower tower has where that has fewer.
        words: What the first m tokens of the text input start from; empty for N(0, std^2).
        std: Standard deviation of all other tokens at the start.

    Attributes:
        layout: The prompts of the classes, with places for m tokens.
        text: (J, m, w).
        coupling: From these to the tokens of the image tower.

    Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, section 3.2.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        n_context: int,
        depth: int,
        words: str,
        std: float,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.layout, first = started_prompts(
            backbone, names, words=words, n_context=n_context, std=std, generator=generator
        )
        text, image = text_tower(backbone), image_tower(backbone)
        depth = effective_depth(depth, text, image)
        self.text = nn.Parameter(deepened(first, depth, std, generator))
        self.coupling = LayerMaps(
            depth, text.width, image.width, generator=generator, device=backbone.device
        )

    @property
    def image(self) -> Float[Tensor, "J m v"]:
        """The tokens of the image tower."""
        return self.coupling(self.text)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text tokens give, of any length."""
        return prompted_texts(self.backbone, self.layout, self.text)

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the mapped tokens, of any length."""
        return prompted_images(self.backbone, batch, self.image)


class LayerMaps(nn.Module):
    """Block G, coupling: token j of layer l becomes W_l p + b_l, with a map for each layer.

    Dimensions: J layers, m tokens, w width of what comes in, v of what goes out.

    Args:
        layers: J.
        inputs: w.
        outputs: v.
        generator: Draws the maps, one for the first layer and one that all others start from.
        device: Where they go.
        alike: Whether they do; else each layer has a draw of its own.

    Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, section 3.2, "Vision
    Language Prompt Coupling". That the later maps start alike is in the code alone.
    """

    def __init__(
        self,
        layers: int,
        inputs: int,
        outputs: int,
        *,
        generator: torch.Generator,
        device: torch.device,
        alike: bool = True,
    ) -> None:
        super().__init__()
        draws = min(layers, 2) if alike else layers
        maps = [drawn_linear(inputs, outputs, generator, device) for _ in range(draws)]
        maps += maps[1:] * (layers - len(maps))
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in maps]))
        self.bias = nn.Parameter(torch.stack([m.bias.detach() for m in maps]))

    def forward(self, tokens: Float[Tensor, "J m w"]) -> Float[Tensor, "J m v"]:
        """The tokens of every layer, each through its own map."""
        return torch.baddbmm(self.bias[:, None], tokens, self.weight.mT)
