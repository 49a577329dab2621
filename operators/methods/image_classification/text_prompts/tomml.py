"""TOMML: prompts and image features of each class, both from what its name finds in the patches.

Source: Long et al., "Task-Oriented Multi-Modal Mutual Learning for Vision-Language Models", ICCV
2023, https://arxiv.org/abs/2303.17169. There is no code of the authors, and of the paper only the
abstract was read. It names two parts: class-aware text prompts, which bring what an image shows of
a class into the prompt of that class, where CoCoOp brings the same into all; and text-guided
feature tuning, by which the image branch attends to what is of the class. Their inner form is
inferred:

- What asks is the frozen feature e_c of the hand-written prompt of class c.
- Class-aware prompts: e_c attends to the patches of image x, and CoCoOp's network h maps what it
  finds, A(e_c, x), to a shift of the context of class c.
- Text-guided tuning: a second attention head adds H(e_c, x) to the feature of the image, which so
  has one feature a class. H starts at zero.
- The loss is cross-entropy; the optimiser, its settings and the sizes of h are CoCoOp's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.learned_context import ConditionalContext
from operators.blocks.parts import IMAGE_ROWS, PAIRS, in_parts
from operators.blocks.patch_attention import PatchAttention, PatchQuery, PatchReader
from operators.blocks.prompt_tokens import idle_start, refuse_few_words
from operators.bounds import Deviation, Reduction, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class TOMML(ImageClassifier):
    """Compares f(x) + H(e_c, x) to the prompt `[v_1 + h(A(e_c, x))] ... [v_m + ..] <class name>.`.

    Dimensions: b images, k classes, p patches, m context tokens, d width of a feature. All features
    and patches have unit norm before they meet.

    Args:
        backbone: Frozen image and text encoders; the image tower shows its patches.
        classes: The k classes, with the card's template.
        generator: Draws the network and the heads, and the context where it starts at random.
        n_context: m.
        context_init: Words whose first m tokens the context starts from; empty for
            N(0, init_std^2).
        init_std: Standard deviation of a random start.
        reduction: The inner layer of h is d / reduction wide, at least 1.
        head_reduction: The same of the two attention heads.
    """

    card = MethodCard(
        title="TOMML (Task-Oriented Multi-Modal Mutual Learning)",
        family="text_prompts",
        tunes="m context vectors, a network of two layers that shifts them for each image and "
        "class, and two attention heads over the patches of an image",
        source="Long et al., ICCV 2023, https://arxiv.org/abs/2303.17169",
        cost="a step takes all class prompts through the text tower and back for each image, and "
        "shares nothing among them; a test image takes them through it once more; an image passes "
        "the image tower once, and its patches are kept",
        needs=frozenset({"patch-features"}),
        views="fresh",
        views_source="no code of the authors; inferred from CoCoOp's, whose loop is taken here",
        departures=(
            "no code was published: the parts are the paper's, their inner form is inferred",
            "the settings of the loop are CoCoOp's",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=10, batch_size=1)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        reduction: Reduction = 16,
        head_reduction: Reduction = 4,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = ConditionalContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
            reduction=reduction,
        )
        d, device = backbone.feature_width, backbone.device
        self.patches = PatchReader(backbone)
        self.find = PatchQuery(d, head_reduction, generator=generator, device=device)
        self.guide = PatchAttention(d, head_reduction, generator=generator, device=device)

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes as all methods, and reads the patches of each image once. See `Method.fit`."""
        with self.patches.keeping():
            return super().fit(shots, tuning=tuning, generator=generator)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of what an image and a class are to each other."""
        return in_parts(self.own_logits, batch, min(IMAGE_ROWS, PAIRS // len(self.classes)))

    def own_logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The logits of images at once; each has a feature and prompts of its own for a class."""
        seen = self.patches.read(batch)
        patches = unit(seen.patches)
        images = unit(unit(seen.features)[:, None] + self.guide(self.hand_written[None], patches))
        texts = unit(self.prompt.class_features(self.find(self.hand_written[None], patches)))
        return self.backbone.logit_scale * torch.einsum("bkd,bkd->bk", images, texts)
