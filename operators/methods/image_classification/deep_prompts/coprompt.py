"""CoPrompt: MaPLe with adapters, held to what the frozen towers say of other views and sentences.

Source: Roy and Etemad, "Consistency-guided Prompt Learning for Vision-Language Models", ICLR
2024, https://arxiv.org/abs/2306.01195, section 3, and the authors' code, which says what the
paper leaves open: the adapters are CLIP-Adapter's, and a step takes one sentence of each class.

What the frozen image tower sees is never what the prompted one sees: both have random views, the
published ones by RandAugment without a crop. Under the view policy `none` the prompted tower reads
the centre crop, and the frozen one a random crop of its own in every epoch. Departures from the
authors' code: prompts, maps and adapters are kept in float32; sentences are those that the dataset
comes with, and classes need not have equally many; and towers with fewer layers than `depth` are
prompted in as many as they have. The defaults are those of its yaml file, which are for other
datasets than the authors' eleven: each of these has settings of its own (`PUBLISHED`).
"""

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.anchor_loss import cosine_distance
from operators.blocks.deep_prompts import CoupledPrompts
from operators.blocks.feature_head import Adapter, mixed
from operators.blocks.prompt_tokens import refuse_few_words
from operators.bounds import Deviation, Layers, Reduction, Share, Tokens, Weight
from operators.engine.stacking import take_step
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.views import View, ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


def published(weight: float, depth: int, n_context: int) -> dict[str, Any]:
    """Settings of one dataset.

    Args:
        weight: Of the consistency loss.
        depth: Layers that are prompted.
        n_context: Learned tokens a layer.
    """
    return {"consistency_weight": weight, "depth": depth, "n_context": n_context}


# `trainers/constants.py` of the authors' code.
PUBLISHED: dict[str, dict[str, Any]] = {
    "imagenet": published(8.0, 12, 4),
    "sun397": published(8.0, 12, 4),
    "flowers102": published(8.0, 9, 4),
    "dtd": published(8.0, 12, 2),
    "caltech101": published(4.0, 12, 4),
    "stanford_cars": published(4.0, 12, 4),
    "fgvc_aircraft": published(2.0, 9, 4),
    "ucf101": published(2.0, 12, 4),
    "food101": {**published(0.5, 9, 4), "epochs": 5},
    "oxford_pets": published(0.1, 12, 2),
    "eurosat": published(0.1, 12, 2),
}


class CoPrompt(StaticClassifier):
    """Classifies as MaPLe does, by features that an adapter behind each tower has changed.

    Dimensions: b images, k classes, m learned tokens a layer, J prompted layers, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with descriptions.
        generator: Draws the initial prompts, maps and adapters.
        n_context: m.
        depth: J, the input included.
        context_init: Words whose first m tokens the prompt of the text input starts from;
            empty for N(0, init_std^2).
        init_std: Standard deviation of all other prompts.
        reduction: The inner layer of an adapter is d / reduction wide, at least 1.
        image_ratio: Share of what the adapter gives in the features of images, 0..1.
        text_ratio: The same in those of classes.
        consistency_weight: Weight of the distance from the frozen features.
    """

    card = MethodCard(
        title="CoPrompt (Consistency-guided Prompt Learning)",
        family="deep_prompts",
        tunes="MaPLe's tokens and maps, and an adapter behind each tower, held to frozen features",
        source="Roy and Etemad, ICLR 2024, https://arxiv.org/abs/2306.01195",
        cost="a step takes images and class prompts through both towers and back, and another view "
        "of the images through the frozen one",
        needs=frozenset({"visual-prompts"}),
        external_knowledge=True,
        descriptions=True,
        views="fresh:randaugment",
        views_source="CoPrompt code, configs/trainers/coprompt.yaml: randaugment alone, for two "
        "views (K_TRANSFORMS); Dassl resizes all of the image before, and has n = 2 and m = 10",
        departures=(
            "whatever sentences the dataset comes with; the paper's are GPT-3's",
            "prompts, maps and adapters in float32, not float16",
            "depth 9 means every layer of towers that have fewer",
        ),
    )
    tuning = Tuning(lr=0.0035, epochs=8, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 2,
        depth: Layers = 9,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        reduction: Reduction = 4,
        image_ratio: Share = 0.1,
        text_ratio: Share = 0.2,
        consistency_weight: Weight = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = CoupledPrompts(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            depth=depth,
            words=context_init,
            std=init_std,
        )
        self.image_adapter, self.text_adapter = (
            Adapter(backbone.feature_width, reduction, generator=generator, device=backbone.device)
            for _ in range(2)
        )
        self.image_ratio, self.text_ratio = image_ratio, text_ratio
        self.consistency_weight = consistency_weight
        # What the frozen towers are shown; `fit` moves both on.
        self.second_view: View | None = None
        self.place = 0.0  # among the sentences of each class, 0 the first and 1 behind the last

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The weight, depth and tokens of each of the authors' datasets. See `Method.recipe`."""
        return PUBLISHED.get(dataset, {})

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: the second views alone, which a bank of two has already."""
        epochs = cls.view_epochs(hyperparameters)
        return (0 if len(views.shown(epochs, seed=0)) > 1 and views.kind == "bank" else epochs), 0

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes with another view in every epoch and another sentence of each class in every step.

        See `Method.fit`.

        The same place among the sentences of all classes is drawn, as in the authors' code.
        """
        if tuning is None:
            return FitReport()
        epochs = tuning.over(len(shots.train)).epochs

        def show(epoch: int) -> None:
            own = (shots.views.augmentation,)
            (self.second_view,) = shots.views.further(epoch, own, epochs=epochs, seed=shots.seed)

        def backward(batch: Batch) -> Tensor:
            self.place = float(torch.rand((), generator=generator))
            return take_step(partial(self.loss, batch))

        show(0)
        return tune(
            self,
            shots,
            tuning,
            generator,
            backward=backward,
            epoch_end=lambda epoch: show(epoch + 1),
        )

    @cached_property
    def described(self) -> tuple[Tensor, ...]:
        """Frozen features of the sentences about each class; only tuning asks for them."""
        sentences = self.classes.descriptions
        every = [sentence for own in sentences for sentence in own]
        features = self.backbone.whole_text_features(every, cut=True)
        return features.split([len(own) for own in sentences])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text prompts give, adapted."""
        return mixed(self.text_adapter, self.prompt.class_features(), self.text_ratio)

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them, adapted."""
        return mixed(self.image_adapter, self.prompt.image_features(batch), self.image_ratio)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy and the consistency of both modalities (section 3).

        The frozen towers are shown `second_view` of each image, and of each class the sentence
        at `place`.
        """
        texts, images = self.weights(), unit(self.image_features(batch))
        logits = self.backbone.logit_scale * images @ texts.T
        seen = batch.under(self.second_view).features
        sentences = torch.stack([own[int(self.place * len(own))] for own in self.described])
        apart = cosine_distance(images, seen) + cosine_distance(texts, sentences)
        return F.cross_entropy(logits, batch.labels) + self.consistency_weight * apart
