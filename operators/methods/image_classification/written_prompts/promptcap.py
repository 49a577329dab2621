"""PromptCap: an image is described in words under a question, and the words are classified.

Source: Hu et al., "PromptCap: Prompt-Guided Image Captioning for VQA with GPT-3", ICCV 2023,
https://arxiv.org/abs/2211.09699, sections 3 and 5. A captioner that has been told what will be
asked writes a caption, and a model that sees no image answers by it. Paper and code answer
questions with GPT-3; that an image is classified by the text feature of its caption is inferred,
and no published number compares.

The question has the words of PromptCap's own prompt.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.imagenet_templates import PHOTOS_8, SELECTED_7
from operators.bounds import Share
from operators.episodes.episode import Batch, Classes
from operators.functions import Functions, texts_of
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.wording import either

ASKED = "please describe this image according to the given question: {}"
QUESTION = "what is in the picture, {}?"
LISTED = (*SELECTED_7, *PHOTOS_8)  # sentences that are told apart, with each class name in them


@torch.no_grad()
def listed(
    pixels: Float[Tensor, "b 3 s s"], prompt: str, names: Sequence[str], backbone: DualEncoder
) -> list[str]:
    """For each image the most similar of some sentences about the classes.

    Args:
        pixels: b preprocessed images.
        prompt: Not read: no language model looks at it.
        names: Of the classes, that the sentences are about.
        backbone: Says what is similar.
    """
    sentences = [text.replace("{}", name) for text in LISTED for name in names]
    texts = unit(backbone.whole_text_features(sentences, cut=True))
    nearest = (unit(backbone.encode_images(pixels).float()) @ texts.T).argmax(dim=1)
    return [sentences[place] for place in nearest.tolist()]


CAPTIONERS = Functions(
    "a captioner",
    ("pixels", "prompt", "names", "backbone"),
    "a list of one caption an image",
    {"listed": listed},
    reads=texts_of,
)


class PromptCap(StaticClassifier):
    """Classifies the caption of an image, together with the image itself where asked.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used.
        captioner: Who describes images; see `CAPTIONERS`.
        question: What will be asked; `{}` is replaced by the class names.
        image_share: Of the image's own feature in what is classified, 0 to 1; the rest is that of
            the caption.
    """

    card = MethodCard(
        title="PromptCap",
        family="written_prompts",
        tunes="nothing",
        source="Hu et al., ICCV 2023, https://arxiv.org/abs/2211.09699",
        cost="no step; an image is decoded and described, and its caption passes the text tower",
        learns=False,
        external_knowledge=True,
        pixels=True,
        departures=(
            "inferred: an image is classified by the text feature of its caption, where the paper "
            "has GPT-3 answer a question by it",
            "the captioner picks one of a list of sentences, unless a function is given for it",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        captioner: Annotated[str, CAPTIONERS] = "listed",
        question: str = QUESTION,
        image_share: Share = 0.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.describe: Callable[..., Sequence[str]] = CAPTIONERS.find(captioner)
        self.prompt = ASKED.replace("{}", question.replace("{}", either(classes.names)))
        self.image_share = image_share

    def class_features(self) -> Float[Tensor, "k d"]:
        """The hand-written prompts."""
        return self.hand_written

    @torch.no_grad()
    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The unit-norm feature of each caption, mixed with that of the image.

        Raises:
            ValueError: The captioner gave another number of captions.
        """
        pixels = batch.pixels.clone()  # a captioner may change what it is given
        captions = self.describe(pixels, self.prompt, self.classes.names, self.backbone)
        if len(captions) != len(batch):
            raise ValueError(
                f"the captioner gave {len(captions)} captions of {len(batch)} images: one each."
            )
        told = unit(self.backbone.whole_text_features(list(captions), cut=True))
        if not self.image_share:
            return told
        return torch.lerp(told, unit(batch.features), self.image_share)
