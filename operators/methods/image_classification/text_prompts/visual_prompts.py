"""Learned tokens of the image tower alone, beside hand-written class prompts."""

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.class_text import class_vectors
from operators.blocks.deep_tokens import image_tower, prompted_images, started_image_tokens
from operators.episodes.episode import Batch, Classes
from operators.shapes import Float


class VisualPrompts(nn.Module):
    """Tokens at the input of the image tower; the class texts stay as they are.

    Dimensions: b images, k classes, n learned image tokens, v width of the image tower, d of a
    feature.

    Args:
        backbone: Frozen encoders, with the capability `visual-prompts`.
        classes: The k classes.
        generator: Draws the tokens from N(0, 1/v), as CLIP starts its class token.
        image_tokens: n.
        template: Sentence with one `{}`; empty for that of the dataset's card.

    Attributes:
        image: (1, n, v).

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, equation 4 (VPT-shallow).
    """

    texts: Tensor

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        image_tokens: int,
        template: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        templates = (template,) if template else classes.templates
        self.register_buffer("texts", class_vectors(backbone, classes, templates), persistent=False)
        std = image_tower(backbone).width ** -0.5
        self.image = nn.Parameter(started_image_tokens(backbone, image_tokens, 1, std, generator))

    def class_features(self) -> Float[Tensor, "k d"]:
        """The frozen class vectors."""
        return self.texts

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them, of any length."""
        return prompted_images(self.backbone, batch, self.image)
