"""KAPT: prompts made of what is known of a class, and a head that looks at an image's patches.

Source: Kan et al., "Knowledge-Aware Prompt Tuning for Generalizable Vision-Language Models", ICCV
2023, https://arxiv.org/abs/2308.11186. There is no code of the authors, and of the paper only the
abstract was read. It names three parts: a discrete prompt of the key information in a description
of the class, a learned continuous prompt that captures all of it, and an adaptation head of the
image encoder that aggregates salient visual cues. Their inner form is inferred:

- The key information is up to `n_keywords` words, by how often they describe the class and how
  few classes they describe (`keywords.py`); they follow the class name.
- The continuous prompt of class c is v + g(e_c): v is shared and starts from words, e_c is the
  mean feature of the sentences about c under the frozen text tower, and g a network of two
  layers that starts near zero. So a class that was not learned has a prompt of its own too.
- The head attends from an image's feature to its patches, and adds what it finds.
- The loss is cross-entropy; the optimiser and its settings are CoOp's.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import sentence_vectors
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.blocks.patch_attention import PatchAttention, PatchReader
from operators.blocks.prompt_tokens import (
    PLACEHOLDER,
    random_context,
    refuse_few_words,
    started_prompts,
)
from operators.bounds import Bounds, Deviation, Reduction, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.text_prompts.keywords import keywords
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class KAPT(StaticClassifier):
    """Classifies with the prompts `[v_1 + g_1(e_c)] ... [v_m + g_m(e_c)] <name>, <keywords>.`.

    Dimensions: b images, k classes, m context tokens, w width of a token embedding, d of a
    feature.

    Args:
        backbone: Frozen image and text encoders; the image tower shows its patches.
        classes: The k classes, with descriptions.
        generator: Draws the networks, and the context where it starts at random.
        n_context: m.
        context_init: Words whose first m tokens the context starts from; empty for
            N(0, init_std^2).
        init_std: Standard deviation of a random start, and of the second layer of g.
        n_keywords: Most words of the discrete prompt; 0 for the class name alone. What the text
            tower has no room for is cut.
        reduction: The inner layer of g is d / reduction wide, at least 1.
        head_reduction: The same of the adaptation head.
    """

    card = MethodCard(
        title="KAPT (Knowledge-Aware Prompt Tuning)",
        family="text_prompts",
        tunes="m context vectors, a network that shifts them by the description of each class, "
        "and an attention head over the patches of an image",
        source="Kan et al., ICCV 2023, https://arxiv.org/abs/2308.11186",
        cost="a step takes all class prompts through the text tower and back; an image passes the "
        "image tower once, and its patches are kept",
        needs=frozenset({"patch-features"}),
        external_knowledge=True,
        descriptions=True,
        views="fresh",
        views_source="no code of the authors; inferred from CoOp's, whose loop is taken here",
        departures=(
            "no code was published: the parts are the paper's, their inner form is inferred",
            "the settings of the loop are CoOp's, with 50 epochs for all shots",
            "descriptions are what the dataset comes with; the paper's are Wikipedia's",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=50, batch_size=32)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        n_keywords: Annotated[int, Bounds(0, 64)] = 4,
        reduction: Reduction = 16,
        head_reduction: Reduction = 4,
    ) -> None:
        super().__init__(backbone, classes)
        found = keywords(classes.names, classes.descriptions, n_keywords)
        known = [
            ", ".join([name, *words]) for name, words in zip(classes.names, found, strict=True)
        ]
        lead = context_init or " ".join([PLACEHOLDER] * n_context)
        backbone.tokenize([f"{lead} {name}." for name in classes.names])  # names must have room
        self.prompts, context = started_prompts(
            backbone,
            known,
            words=context_init,
            n_context=n_context,
            std=init_std,
            generator=generator,
            cut=True,
        )
        self.described = sentence_vectors(backbone, classes.descriptions)
        self.patches = PatchReader(backbone)

        d, device = backbone.feature_width, backbone.device
        inner = max(1, d // reduction)
        self.context = nn.Parameter(context.clone())
        self.narrow = drawn_linear(d, inner, generator, device)
        widen = random_context((context.numel(), inner), init_std, generator, like=context)
        self.widen = nn.Parameter(widen)
        self.head = PatchAttention(d, head_reduction, generator=generator, device=device)

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

    def contexts(self) -> Float[Tensor, "k m w"]:
        """The continuous prompt of each class."""
        shifts = F.linear(F.gelu(self.narrow(self.described)), self.widen)
        return self.context + shifts.view(len(shifts), *self.context.shape)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that both prompts give."""
        return self.backbone.encode_prompts(self.prompts, self.contexts())

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The adapted features; where no gradient is needed, of some images at a time."""
        return in_parts(self.adapted, batch, IMAGE_ROWS)

    def adapted(self, batch: Batch) -> Float[Tensor, "b d"]:
        """What the head makes of the images at once: the unit feature, and what it adds."""
        seen = self.patches.read(batch)
        features = unit(seen.features)
        return features + self.head(features, unit(seen.patches))
