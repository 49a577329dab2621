"""DPL: deep prompts in both towers, with attention that weighs prompts and instance apart.

Source: Xu et al., "DPL: Decoupled Prompt Learning for Vision-Language Models", 2023,
https://arxiv.org/abs/2308.10061. There is no code, and of the paper the summary alone was read. It
says that self-attention between prompts and instance is rewritten as four processes, some of which
are strengthened; that textual prompts are conditioned on language by decoupled attention, which
preserves the generality of the text input; that both towers are prompted; and that nothing is
regularised.

The rest is inferred. A strength is a factor of what a process weighs in the softmax
(decoupled_attention.py). The two processes that read the instance have 2, the others 1, so that an
image and a class name count for more than what few images have taught. For the conditioning, a
hand-written sentence stays whole behind the prompts; at the input they read all of it by the frozen
first layer, so each class has prompts of its own, and no more numbers are learned. Tokens, depths
and the loop are those of IVLP in the code of PromptSRC; a tower with fewer layers than its depth
is prompted in all it has.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.backbones.towers.transformer import Attention, TowerShape
from operators.blocks.class_text import refuse_no_place
from operators.blocks.deep_tokens import (
    effective_depth,
    image_tower,
    prompted_images,
    prompted_texts,
    started_image_tokens,
    text_tower,
)
from operators.blocks.prompt_tokens import prompt_tokens, random_context
from operators.bounds import Bounds, Deviation, Layers, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.deep_prompts.decoupled_attention import (
    DecoupledAttention,
    SentenceReading,
    Strengths,
)
from operators.shapes import Float
from operators.tuning import Tuning

# Of two strengths of a reader only the ratio matters.
Strength = Annotated[float, Bounds(0, 1e6, above=True)]


class DPL(StaticClassifier):
    """Classifies prompted images by the texts `[P_c] <sentence about class c>`.

    Dimensions: k classes, m learned text tokens, n learned image tokens, w and v width of the
    text and the image tower, d of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        text_tokens: m.
        image_tokens: n.
        text_depth: Text layers that are prompted, the input included.
        image_depth: The same of the image tower.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
        conditioned: Whether the prompts at the text input read the sentence.
        prompt_to_prompt: Strength with which prompts read prompts. Of the two strengths of each
            reader only the ratio matters.
        prompt_to_instance: The same for what they read of the image or the sentence.
        instance_to_prompt: The same for what that reads of prompts.
        instance_to_instance: The same for what it reads of itself.
        init_std: Standard deviation of the prompts.
    """

    card = MethodCard(
        title="DPL (Decoupled Prompt Learning)",
        family="deep_prompts",
        tunes="tokens in several layers of both towers, read with strengths of their own",
        source="Xu et al., 2023, https://arxiv.org/abs/2308.10061",
        cost="a step takes images and class prompts through both towers and back; no layer is cut "
        "to the tokens that are read",
        needs=frozenset({"visual-prompts", "image-attention"}),
        views="fresh",
        views_source="no code of the authors; inferred from PromptSRC's IVLP, whose loop is taken "
        "here",
        departures=(
            "written from the paper's summary, since there is no code: strengths, conditioning, "
            "depths and settings of the loop are inferred",
            "depth 9 means every layer of a tower that has fewer",
        ),
    )
    tuning = Tuning(lr=0.0025, epochs=20, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        text_tokens: Tokens = 4,
        image_tokens: Tokens = 4,
        text_depth: Layers = 9,
        image_depth: Layers = 9,
        template: str = "a photo of a {}.",
        conditioned: bool = True,
        prompt_to_prompt: Strength = 1.0,
        prompt_to_instance: Strength = 2.0,
        instance_to_prompt: Strength = 1.0,
        instance_to_instance: Strength = 2.0,
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        sentences = classes.prompts(template or classes.templates[0])
        self.prompts = prompt_tokens(
            backbone,
            [sentence.removesuffix(".") for sentence in sentences],
            n_context=text_tokens,
            position="end",
        )
        self.reading = SentenceReading(backbone, self.prompts) if conditioned else None
        strengths = Strengths(
            prompt_to_prompt, prompt_to_instance, instance_to_prompt, instance_to_instance
        )
        texts = DecoupledAttention(backbone.text_start, text_tokens, strengths)
        images = DecoupledAttention(-image_tokens, image_tokens, strengths)
        self.text_attention = everywhere(texts, text_tower(backbone))
        self.image_attention = everywhere(images, image_tower(backbone))
        shape = effective_depth(text_depth, text_tower(backbone)), text_tokens, backbone.token_width
        like = self.prompts.embeddings
        self.text = nn.Parameter(random_context(shape, init_std, generator, like=like))
        self.image = nn.Parameter(
            started_image_tokens(backbone, image_tokens, image_depth, init_std, generator)
        )

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current text prompts give."""
        first = None if self.reading is None else self.reading(self.text[0])
        return prompted_texts(
            self.backbone, self.prompts, self.text, first=first, attention=self.text_attention
        )

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them."""
        return prompted_images(self.backbone, batch, self.image, attention=self.image_attention)


def everywhere(attention: DecoupledAttention, tower: TowerShape) -> Mapping[int, Attention] | None:
    """An attention for all layers of a tower; nothing where it is the usual softmax.

    Args:
        attention: With its strengths.
        tower: Says how many layers there are.
    """
    if attention.strengths.change_nothing:
        return None
    return dict.fromkeys(range(tower.layers), attention)
