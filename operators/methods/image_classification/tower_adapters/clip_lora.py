"""CLIP-LoRA: low-rank changes of queries, keys and values in every layer of both towers.

Source: Zanella and Ben Ayed, "Low-Rank Few-Shot Adaptation of Vision-Language Models", CVPR
Workshops 2024, https://arxiv.org/abs/2405.18541, section 3: W x + s B A x in place of W x. As in
the authors' code, each A sees its input through a dropout of its own, and s is alpha / sqrt(r),
where the paper, as LoRA, has alpha / r: alpha = 0.7071 at rank 2 is the paper's. One setting is for
all datasets and numbers of shots, and the last step is kept.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.class_text import refuse_no_place
from operators.blocks.deep_tokens import image_tower, text_tower
from operators.blocks.hooked_towers import hooked_images, hooked_texts, laid_sentences
from operators.bounds import Bounds
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.shots import ALL_SHOTS, shots_order
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.tower_adapters.low_rank import LowRankMaps
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

STEPS_A_SHOT = 500


class ClipLora(StaticClassifier):
    """Classifies images by class prompts, both through changed towers.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the A of all layers.
        rank: r, rows of each A.
        alpha: The changes are scaled by alpha / sqrt(r).
        dropout: Share of the numbers of a token that an A does not see in a step.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
    """

    card = MethodCard(
        title="CLIP-LoRA",
        family="tower_adapters",
        tunes="low-rank changes of queries, keys and values in every layer of both towers",
        source="Zanella and Ben Ayed, CVPR Workshops 2024, https://arxiv.org/abs/2405.18541",
        cost="a step takes images and class prompts through both towers and back; 500 steps a shot",
        needs=frozenset({"layer-hooks"}),
        views="fresh",
        views_source="CLIP-LoRA code, main.py: RandomResizedCrop(scale=(0.08, 1)) and "
        "RandomHorizontalFlip",
        departures=(
            "the learning rate ends at 0, not at 1e-6",
            "the backbone's own scale of logits, not 100",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=2e-4,
        weight_decay=1e-2,
        batch_size=32,
        warmup_epochs=0,
        schedule="step",
        drop_last=False,
    )
    block = "maps"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        rank: Annotated[int, Bounds(1, 1024)] = 2,
        alpha: Annotated[float, Bounds(0, 1000, above=True)] = 1.0,
        dropout: Annotated[float, Bounds(0, 1, below=True)] = 0.25,
        template: str = "a photo of a {}.",
    ) -> None:
        super().__init__(backbone, classes)
        self.dropout = dropout
        self.sentences = laid_sentences(backbone, classes.prompts(template or classes.templates[0]))
        scale = alpha / rank**0.5
        device = backbone.device
        self.text, self.image = (
            LowRankMaps(tower, rank, scale, generator=generator, device=device)
            for tower in (text_tower(backbone), image_tower(backbone))
        )
        self.noise: torch.Generator | None = None  # while it is tuned

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """So many steps a shot; of a whole train split as many as of 16. See `Method.recipe`."""
        return {"total_steps": STEPS_A_SHOT * (16 if shots == shots_order(ALL_SHOTS) else shots)}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes with dropout. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        self.noise = generator
        try:
            return tune(self, shots, tuning, generator)
        finally:
            self.noise = None

    def hooks(self, maps: LowRankMaps) -> dict[int, Any]:
        """What changes the layers of one tower, with dropout while it is tuned."""
        seed = None
        if self.training and self.noise is not None:
            seed = int(torch.randint(2**48, (), generator=self.noise))
        return maps.hooks(self.dropout, seed)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the changed text tower gives."""
        return hooked_texts(self.backbone, self.sentences, self.hooks(self.text))

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the changed tower reads them."""
        return hooked_images(self.backbone, batch, self.hooks(self.image))
