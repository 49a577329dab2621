"""The prompts that GRIP learns: of the text tower, of the image tower, or of both."""

from typing import Literal

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.class_text import class_vectors
from operators.blocks.deep_tokens import image_tower, prompted_images, started_image_tokens
from operators.blocks.learned_context import LearnedContext
from operators.blocks.unified_prompts import UnifiedPrompts
from operators.episodes.episode import Batch, Classes
from operators.shapes import Float

Modality = Literal["text", "visual", "multimodal"]
# What goes on from round to round in the authors' code: the tensor that the parameter was made of.
TOKENS = {"text": ("context",), "visual": (), "multimodal": ("text", "image")}
READ_BY: dict[str, tuple[Modality, ...]] = {
    "n_context": ("text",),
    "image_tokens": ("visual",),
    "unified_tokens": ("multimodal",),
    "unified_width": ("multimodal",),
    "unified_rate": ("multimodal",),
    "init_std": ("text", "multimodal"),
}


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


def prompt_of(
    modality: Modality,
    backbone: DualEncoder,
    classes: Classes,
    generator: torch.Generator,
    *,
    n_context: int,
    image_tokens: int,
    template: str,
    unified_tokens: int,
    unified_width: int,
    pairs: bool,
    init_std: float,
) -> LearnedContext | VisualPrompts | UnifiedPrompts:
    """The prompts of a modality.

    Args:
        modality: Whose tokens are learned.
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        n_context: Tokens of a text prompt.
        image_tokens: Tokens of a visual one.
        template: Of the texts beside a visual one; see `VisualPrompts`.
        unified_tokens: Of each tower in a multimodal one.
        unified_width: Of the layer between them.
        pairs: Whether there token j of one tower and token j of the other attend to each other
            alone.
        init_std: Standard deviation of text prompts at the start.
    """
    if modality == "visual":
        return VisualPrompts(
            backbone,
            classes,
            generator=generator,
            image_tokens=image_tokens,
            template=template,
        )
    if modality == "text":
        return LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words="",
            std=init_std,
            ending="",
        )
    return UnifiedPrompts(
        backbone,
        classes.names,
        generator=generator,
        text_tokens=unified_tokens,
        image_tokens=unified_tokens,
        image_depth=1,
        width=unified_width,
        mixing="pairs" if pairs else "all",
        std=init_std,
        ending="",
    )
