"""CuPL: class vectors from sentences that a language model wrote about each class.

Source: Pratt et al., "What does a platypus look like? Generating customized prompts for zero-shot
image classification", ICCV 2023, https://arxiv.org/abs/2209.03320, section 3, and the authors'
code. The sentences come with the dataset or from the user, see `shotboard datasets describe`;
who wrote them is in their file. As in that code, a sentence that is too long for the text tower
is cut. Departure: where hand-written prompts are averaged in, they are those of the dataset's
card, where the code has the 80 that CLIP's authors wrote for ImageNet.
"""

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.class_text import sentence_vectors, sentences_of
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float


class CuPL(StaticClassifier):
    """Compares an image to the mean of the sentences about each class.

    Dimensions: k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with descriptions.
        generator: Not used.
        add_templates: Average over the prompts of the dataset's card too; each counts as much as
            a sentence. The paper's ensemble of both.
    """

    card = MethodCard(
        title="CuPL (Customized Prompts via Language models)",
        family="hand_written",
        tunes="nothing",
        source="Pratt et al., ICCV 2023, https://arxiv.org/abs/2209.03320",
        cost="no step; one pass of all sentences, then a comparison an image",
        learns=False,
        external_knowledge=True,
        descriptions=True,
        departures=(
            "whatever sentences the dataset comes with; the paper's are GPT-3's",
            "hand-written prompts, where asked for, are those of the dataset's card",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        add_templates: bool = False,
    ) -> None:
        super().__init__(backbone, classes)
        self.add_templates = add_templates

    def sentences(self) -> list[list[str]]:
        """What is averaged over, by class."""
        prompts = self.classes.ensemble or self.classes.templates
        return sentences_of(self.classes, prompts if self.add_templates else ())

    def class_features(self) -> Float[Tensor, "k d"]:
        """Unit-norm class vectors."""
        return sentence_vectors(self.backbone, self.sentences())
