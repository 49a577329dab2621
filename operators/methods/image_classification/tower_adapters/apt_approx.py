"""APT: what prompts would do to a token is worked out of that token alone, behind attention.

Source: Wu et al., "Approximated Prompt Tuning for Vision-Language Pre-trained Models", 2023,
https://arxiv.org/abs/2306.15706, and the authors' code (`vision_transformer_apt.py` of ViLT). With
y what a layer makes queries of and x what attention adds, T tokens of the layer and M a low-rank
map: A = relu(y (T + T M)^T), and x becomes (x + max(A) A T) exp(g), where the maximum over the
tokens has no gradient. Sequences grow by nothing. The authors' code is for models that answer
questions; they say of CLIP that it works as well, and nothing of how: the form for CLIP, the text
side and the settings of the loop are inferred, from VPT in MaPLe's code, which is its rival here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.backbones.towers.hooks import LayerHook
from operators.backbones.towers.transformer import TowerShape
from operators.blocks.class_text import class_vectors, refuse_no_place
from operators.blocks.deep_tokens import effective_depth, image_tower
from operators.blocks.hooked_towers import hooked_images, last_layers
from operators.blocks.prompt_tokens import random_context
from operators.bounds import Bounds, Deviation, Layers
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class ApproximatedPrompts(StaticClassifier):
    """Classifies images, read with tokens beside attention, by hand-written class prompts.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws tokens, then maps.
        tokens: Of each layer.
        rank: Of the map of the tokens to what they are asked by.
        depth: Layers with tokens, the last ones of the image tower.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
        init_std: Standard deviation of the tokens at the start.
    """

    card = MethodCard(
        title="APT (Approximated Prompt Tuning)",
        family="tower_adapters",
        tunes="tokens in the layers of the image tower that act behind attention, not in it",
        source="Wu et al., 2023, https://arxiv.org/abs/2306.15706",
        cost="a step takes its images through the image tower and back; no sequence grows",
        needs=frozenset({"layer-hooks"}),
        views="fresh",
        views_source="no code for CLIP; inferred from MaPLe's VPT, whose loop is taken here",
        departures=(
            "the code is of ViLT and METER; the form for CLIP, frozen class texts in the place of "
            "a head, and the settings of the loop are inferred from MaPLe's VPT",
            "relu, as in the code, where the paper has a softmax",
            "no dropout of what attention adds, which ViLT has at 0.1",
            "depth 12 means every layer of a tower that has fewer",
        ),
    )
    tuning = Tuning(lr=0.0025, epochs=5, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        tokens: Annotated[int, Bounds(1, 4096)] = 50,
        rank: Annotated[int, Bounds(1, 1024)] = 4,
        depth: Layers = 12,
        template: str = "a photo of a {}.",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        templates = (template,) if template else classes.templates
        self.register_buffer("texts", class_vectors(backbone, classes, templates), persistent=False)
        tower = image_tower(backbone)
        count = effective_depth(depth, tower)
        self.layers = last_layers(count, tower.layers)
        self.image = Diffusions(
            count, tower, tokens, rank, init_std, generator=generator, device=backbone.device
        )

    texts: Tensor

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The frozen class vectors."""
        return self.texts

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the tokens."""
        hooks = dict(zip(self.layers, self.image.hooks(), strict=True))
        return hooked_images(self.backbone, batch, hooks)


class Diffusions(nn.Module):
    """Tokens, maps and gains of some layers of a tower.

    Args:
        layers: How many.
        tower: Gives their width.
        tokens: Of each layer, from N(0, std^2).
        rank: Of the maps; the first half from N(0, 1), the second 0.
        std: Standard deviation of the tokens.
        generator: Draws them, on the CPU.
        device: Where they go.
    """

    def __init__(
        self,
        layers: int,
        tower: TowerShape,
        tokens: int,
        rank: int,
        std: float,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        width, like = tower.width, torch.empty(0, device=device)
        self.tokens = nn.Parameter(random_context((layers, tokens, width), std, generator, like))
        self.down = nn.Parameter(random_context((layers, rank, width), 1.0, generator, like))
        self.up = nn.Parameter(torch.zeros(layers, width, rank, device=device))
        self.gain = nn.Parameter(torch.zeros(layers, device=device))

    def hooks(self) -> list[LayerHook]:
        """What changes each layer."""
        asked = self.tokens + self.tokens @ self.down.mT @ self.up.mT
        parts = zip(self.tokens, asked, self.gain.exp(), strict=True)
        return [DiffusionHook(*each) for each in parts]


class DiffusionHook(LayerHook):
    """What attention adds to a token, with what the layer's tokens would give to it.

    Args:
        tokens: What is given.
        asked: What of a token decides how much of each.
        gain: Factor of all that is added.
    """

    def __init__(
        self, tokens: Float[Tensor, "r w"], asked: Float[Tensor, "r w"], gain: Float[Tensor, ""]
    ) -> None:
        self.tokens = tokens
        self.asked = asked
        self.gain = gain

    def after_attention(
        self, mixed: Float[Tensor, "*t w"], normed: Float[Tensor, "*t w"]
    ) -> Float[Tensor, "*t w"]:
        """See `LayerHook.after_attention`."""
        tokens, asked = self.tokens.to(normed.dtype), self.asked.to(normed.dtype)
        amounts = F.relu(normed @ asked.T)
        weight = amounts.detach().amax(dim=-1, keepdim=True)
        return (mixed + weight * (amounts @ tokens)) * self.gain.to(normed.dtype)

    def operations(self, tokens: int, read: int) -> int:
        """See `LayerHook.operations`."""
        return 2 * 2 * read * self.tokens.numel()
