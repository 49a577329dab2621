"""Cross-modal linear probe: texts of the classes are training examples beside the images.

Source: Lin et al., "Multimodality Helps Unimodality: Cross-Modal Few-Shot Learning with Multimodal
Models", CVPR 2023, https://arxiv.org/abs/2301.06267, section 3, and the authors' code. Left out are
partial fine-tuning and the adapter.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import ChosenTemplates, mean_vectors, templates_of
from operators.blocks.free_vectors import FreeVectors
from operators.blocks.linear_maps import draw_uniform
from operators.blocks.support_pool import Passes, SupportPool
from operators.bounds import Bounds, Brief, Share
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class CrossModal(StaticClassifier):
    """Scores unit-norm features by one learned vector a class, of any length, times the scale.

    A step has a batch of images and as many texts, or all of them if there are fewer.

    Dimensions: b images or texts, k classes, m sentences a class, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws a random start.
        start: `text`, the unit-norm mean of the texts of a class, or `random`, as torch draws it.
        epoch_steps: Steps of an epoch; 0 for as many as the images fill.
        view_passes: Views of each image that are learned from together.
        templates: The m sentences: those of the dataset's card, the seven that were selected on
            ImageNet, or both.
        cosine: Whether vectors are compared by their direction alone, as in CLAP's copy.
        text_share: Share of the texts that is mixed into the vectors in the end (the paper's
            WiSE-FT has 0.5).
    """

    card = MethodCard(
        title="Cross-modal linear probe",
        family="feature_heads",
        tower_steps=False,
        tunes="one vector a class on features of images and texts alike",
        source="Lin et al., CVPR 2023, https://arxiv.org/abs/2301.06267",
        cost="a step takes a product of a few images and texts with the class vectors there and "
        "back, and no tower",
        new_classes=False,
        views="bank:2:flip",
        views_source="Cross-modal adaptation code, linear_probe.sh: the centre crop and its mirror "
        "image (IMAGE_AUGS flip, IMAGE_VIEWS 1)",
        departures=(
            "lr, weight decay and batch size are the first of those that the authors search on "
            "validation images",
            "validation is asked after every 50 steps, where theirs is after every 100",
            "the scale is the backbone's own, where theirs is 100, that of CLIP",
            "where there are fewer texts than images of a batch all are in it; theirs leaves such "
            "batch sizes out",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.0,
        epochs=256,
        batch_size=4,
        schedule="rise",
        selection="val",
    )
    block = "head"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        start: Literal["text", "random"] = "text",
        epoch_steps: Annotated[int, Bounds(0, 100_000), Brief(0)] = 50,
        view_passes: Passes = 2,
        templates: ChosenTemplates = "card",
        cosine: bool = False,
        text_share: Share = 0.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.sentences = templates_of(classes, templates)
        self.epoch_steps, self.view_passes = epoch_steps, view_passes
        self.cosine, self.text_share = cosine, text_share
        texts = unit(mean_vectors(backbone, classes, self.sentences))
        self.register_buffer("texts", texts, persistent=False)
        if start == "random":
            drawn = draw_uniform(torch.empty(texts.shape), texts.shape[1], generator)
            texts = drawn.to(texts)
        self.head = FreeVectors(texts)

    texts: Tensor

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The sentences of ImageNet. See `Method.recipe`."""
        return {"templates": "imagenet"} if dataset == "imagenet" else {}

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`."""
        return hyperparameters["view_passes"]

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns from images and texts together, then mixes texts in. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        pool = SupportPool(shots, self.view_passes, self.examples_of_text())
        draw = partial(pool.draw_with_texts, steps=self.epoch_steps)
        report = tune(self, pool.shots, tuning, generator, draw=draw)
        self.head.vectors.data.lerp_(self.texts, self.text_share)
        return report

    def examples_of_text(self) -> tuple[Tensor, Tensor]:
        """(m k, d) features of all sentences, and their classes."""
        prompts = [prompt for text in self.sentences for prompt in self.classes.prompts(text)]
        features = self.backbone.text_features(prompts)
        labels = torch.arange(len(self.classes), device=features.device)
        return features, labels.repeat(len(self.sentences))

    def class_features(self) -> Float[Tensor, "k d"]:
        """The learned vectors."""
        return self.head()

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Linear scores of unit-norm features, or their cosines, times the scale."""
        return self.compare(batch, self.weights() if self.cosine else self.head())
