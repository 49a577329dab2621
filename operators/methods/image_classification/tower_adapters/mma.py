"""MMA: adapters beside the last layers of both towers, joined by a part that the towers share.

Source: Yang et al., "MMA: Multi-Modal Adapter for Vision-Language Models", CVPR 2024, section 3.2:
what leaves a layer becomes y + scale U relu(S relu(D x)), x the normalised input of the layer, with
D and U of each tower and S of both. The gradient scaling is in the authors' code alone: of what is
learned it is divided by the scale, so that it is learned as if the scale were 1, while all that
lies before the layer has the true gradient.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.backbones.towers.hooks import LayerHook
from operators.blocks.class_text import refuse_no_place
from operators.blocks.deep_tokens import effective_depth, image_tower, text_tower
from operators.blocks.hooked_towers import (
    hooked_images,
    hooked_texts,
    laid_sentences,
    last_layers,
)
from operators.bounds import Bounds, Layers
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class MMA(StaticClassifier):
    """Classifies images by class prompts, both through towers with adapters.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws all maps: those of the texts, of the images, then those that are shared.
        depth: Layers with adapters, the last ones of each tower.
        inner_width: Numbers between the maps of an adapter.
        scale: Of what an adapter adds.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
    """

    card = MethodCard(
        title="MMA (Multi-Modal Adapter)",
        family="tower_adapters",
        tunes="adapters beside the last layers of both towers, with a part that they share",
        source="Yang et al., CVPR 2024, https://openaccess.thecvf.com/content/CVPR2024/papers/"
        "Yang_MMA_Multi-Modal_Adapter_for_Vision-Language_Models_CVPR_2024_paper.pdf",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"layer-hooks"}),
        views="fresh",
        views_source="MMA code, configs/trainers/MultiModalAdapter: random_resized_crop and "
        "random_flip",
        departures=(
            "adapters in float32",
            "layers 5 to 12 of 12 are the last 8 of any tower, or all of both where one has fewer",
        ),
    )
    tuning = Tuning(lr=0.0015, epochs=5, batch_size=16, warmup_epochs=0)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        depth: Layers = 8,
        inner_width: Annotated[int, Bounds(1, 4096)] = 32,
        scale: Annotated[float, Bounds(0, 100, above=True)] = 0.001,
        template: str = "a photo of a {}.",
    ) -> None:
        super().__init__(backbone, classes)
        self.scale = scale
        self.sentences = laid_sentences(backbone, classes.prompts(template or classes.templates[0]))
        towers = text_tower(backbone), image_tower(backbone)
        count = effective_depth(depth, *towers)
        self.layers = [last_layers(count, tower.layers) for tower in towers]

        def maps(inputs: int, outputs: int) -> "Maps":
            return Maps(count, inputs, outputs, generator=generator, device=backbone.device)

        self.text, self.image = (
            OwnMaps(maps(tower.width, inner_width), maps(inner_width, tower.width))
            for tower in towers
        )
        self.shared = maps(inner_width, inner_width)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Larger batches on ImageNet. See `Method.recipe`."""
        return {"batch_size": 128} if dataset == "imagenet" else {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    def hooks(self, own: "OwnMaps", layers: range) -> dict[int, LayerHook]:
        """What changes the layers of one tower.

        Args:
            own: Its maps down and up.
            layers: Which of its layers have an adapter.
        """
        parts = zip(own.down.each(), self.shared.each(), own.up.each(), strict=True)
        return {
            layer: AdapterHook(maps, self.scale) for layer, maps in zip(layers, parts, strict=True)
        }

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text tower gives with its adapters."""
        hooks = self.hooks(self.text, self.layers[0])
        return hooked_texts(self.backbone, self.sentences, hooks)

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them with its adapters."""
        return hooked_images(self.backbone, batch, self.hooks(self.image, self.layers[1]))


class Maps(nn.Module):
    """A linear map for each of some layers, from N(0, 2 / outputs); intercepts from 0.

    Args:
        layers: How many.
        inputs: Numbers that each reads.
        outputs: Numbers that each gives.
        generator: Draws the weights, on the CPU.
        device: Where they go.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 14.
    """

    def __init__(
        self,
        layers: int,
        inputs: int,
        outputs: int,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        drawn = torch.randn(layers, outputs, inputs, generator=generator) * math.sqrt(2 / outputs)
        self.weight = nn.Parameter(drawn.to(device))
        self.bias = nn.Parameter(torch.zeros(layers, outputs, device=device))

    def each(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and intercept of every layer."""
        return list(zip(self.weight, self.bias, strict=True))


class OwnMaps(nn.Module):
    """The maps of one tower that the other has no part in.

    Args:
        down: From its width.
        up: Back to it.
    """

    def __init__(self, down: Maps, up: Maps) -> None:
        super().__init__()
        self.down = down
        self.up = up


class AdapterHook(LayerHook):
    """What leaves the layer, and scale times an adapter's output.

    Args:
        maps: Weight and intercept of the maps down, between and up.
        scale: Of the output; gradients of the maps do not see it.
    """

    def __init__(self, maps: tuple[tuple[Tensor, Tensor], ...], scale: float) -> None:
        self.maps = maps
        self.scale = scale

    def after_block(
        self, states: Float[Tensor, "*t w"], normed: Float[Tensor, "*t w"]
    ) -> Float[Tensor, "*t w"]:
        """See `LayerHook.after_block`."""
        down, between, up = (
            (weight.to(normed.dtype), bias.to(normed.dtype)) for weight, bias in self.maps
        )
        x = ScaledGradient.apply(normed, self.scale)
        x = F.relu(F.linear(F.relu(F.linear(x, *down)), *between))
        added = self.scale * F.linear(x, *up)
        return states + ScaledGradient.apply(added, 1 / self.scale)

    def operations(self, tokens: int, read: int) -> int:
        """See `LayerHook.operations`."""
        return 2 * read * sum(weight.numel() for weight, _ in self.maps)


class ScaledGradient(torch.autograd.Function):
    """x itself, whose gradient is multiplied on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        """x; `factor` is kept for the way back.

        Args:
            ctx: Of torch.
            x: Any tensor.
            factor: Of its gradient.
        """
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The scaled gradient of x, and none of the factor.

        Args:
            ctx: Of torch.
            gradients: Of what `forward` gave.
        """
        return ctx.factor * gradients[0], None
