"""PromptSRC: deep prompts in both towers that are held to what the frozen towers give.

Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without
Forgetting", ICCV 2023, https://arxiv.org/abs/2307.06948, section 3.2. Three constraints: mutual
agreement (equations 3 to 5), a mean of the prompts over the epochs (section 3.2.2), and
frozen class features that average over many templates (section 3.2.3).

Departures from the authors' code: the prompts are kept in float32; the mean over epochs is
taken of what is learned alone, where the code averages the frozen weights along, and so
rounds them, in float16; and a tower with fewer layers than `text_depth` or `image_depth` is
prompted in all it has. As in that code, the divergence of the logits is divided by the number of
logits, not of images.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.anchor_loss import logit_gap
from operators.blocks.deep_prompts import IndependentPrompts
from operators.blocks.imagenet_templates import IMAGENET_60
from operators.blocks.prompt_tokens import refuse_few_words
from operators.bounds import Bounds, Deviation, Layers, Tokens, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.views import ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.deep_prompts.trajectory import (
    Trajectory,
    gaussian_weights,
)
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

# Datasets where the last epochs of a few-shot run count most.
LATE = ("stanford_cars", "flowers102", "fgvc_aircraft", "dtd", "eurosat")


class PromptSRC(StaticClassifier):
    """Classifies as IVLP does; differs in what it is tuned by.

    Dimensions: b images, k classes, m learned text tokens, n learned image tokens, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        text_tokens: m.
        image_tokens: n.
        text_depth: Text layers that are prompted, the input included.
        image_depth: The same of the image tower.
        context_init: Words whose first m tokens the prompt of the text input starts from;
            empty for N(0, init_std^2).
        init_std: Standard deviation of all other prompts.
        text_weight: Weight of the distance of class features from the frozen ones.
        image_weight: The same of image features.
        logit_weight: Weight of the divergence of the logits from the frozen ones.
        mean_epoch: Epoch whose prompts count most, from 1.
        epoch_std: Standard deviation of the weights of epochs about it.
        frozen_templates: What the frozen class features average over: `imagenet`, the
            published 60, or `card`, the dataset's own.
    """

    card = MethodCard(
        title="PromptSRC (Prompting with Self-regulating Constraints)",
        family="deep_prompts",
        tunes="tokens in several layers of both towers, held to the frozen features and logits",
        source="Khattak et al., ICCV 2023, https://arxiv.org/abs/2307.06948",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="PromptSRC code, configs/trainers/PromptSRC: random_resized_crop and "
        "random_flip",
        departures=(
            "prompts in float32, not float16",
            "the mean over epochs leaves the frozen weights alone",
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
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        text_weight: Weight = 25.0,
        image_weight: Weight = 10.0,
        logit_weight: Weight = 1.0,
        mean_epoch: Annotated[float, Bounds(0, 10_000)] = 15.0,
        epoch_std: Annotated[float, Bounds(0, 10_000, above=True)] = 1.0,
        frozen_templates: Literal["imagenet", "card"] = "imagenet",
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = IndependentPrompts(
            backbone,
            classes.names,
            generator=generator,
            text_tokens=text_tokens,
            image_tokens=image_tokens,
            text_depth=text_depth,
            image_depth=image_depth,
            words=context_init,
            std=init_std,
        )
        self.text_weight = text_weight
        self.image_weight = image_weight
        self.logit_weight = logit_weight
        self.mean_epoch = mean_epoch
        self.epoch_std = epoch_std
        self.frozen_templates = frozen_templates

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Longer runs for few-shot, shallower prompts where other datasets are asked about.

        See `Method.recipe`.
        """
        if protocol == "few_shot":
            late = dataset in LATE
            return {
                "epochs": 50,
                "mean_epoch": 45.0 if late else 30.0,
                "epoch_std": 5.0 if late else 30.0,
            }
        if protocol in ("cross_dataset", "domain_generalization"):
            shallow = {"text_depth": 3, "image_depth": 3}
            return {**shallow, "mean_epoch": 6.0, "epoch_std": 10.0}
        return {}

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: the frozen tower sees what the prompted one sees."""
        return (cls.view_epochs(hyperparameters) if views.kind == "fresh" else 0), 0

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        words = hyperparameters["context_init"]
        refuse_few_words(hyperparameters["text_tokens"], words, called="text_tokens")
        if hyperparameters["selection"] == "val":
            raise ValueError(
                "selection='val' keeps one epoch, but PromptSRC is a mean over all: use "
                "selection='last'."
            )

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes the prompts and keeps their mean over the epochs. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        epochs = tuning.over(len(shots.train)).epochs
        weights = gaussian_weights(epochs, self.mean_epoch, self.epoch_std)
        trajectory = Trajectory(self.parameters(), weights)
        report = tune(self, shots, tuning, generator, epoch_end=trajectory.add)
        trajectory.settle()
        return report

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current text prompts give."""
        return self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them."""
        return self.prompt.image_features(batch)

    @cached_property
    def frozen_texts(self) -> Float[Tensor, "k d"]:
        """Unit-norm class vectors of the frozen tower; only tuning asks for them."""
        card = self.classes.ensemble or self.classes.templates
        templates = card if self.frozen_templates == "card" else IMAGENET_60
        return unit(mean_class_features(self.backbone, self.classes, templates))

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy and the three ways in which the prompts are held (equation 5)."""
        scale = self.backbone.logit_scale
        texts, images = self.weights(), unit(self.image_features(batch))
        logits = scale * images @ texts.T
        frozen_images = unit(batch.features)
        frozen_logits = scale * frozen_images @ self.frozen_texts.T
        return (
            F.cross_entropy(logits, batch.labels)
            + self.text_weight * feature_gap(texts, self.frozen_texts)
            + self.image_weight * feature_gap(images, frozen_images)
            + self.logit_weight * logit_gap(logits, frozen_logits)
        )


def mean_class_features(
    backbone: DualEncoder, classes: Classes, templates: Sequence[str]
) -> Float[Tensor, "k d"]:
    """Mean over templates of the features of each class, which keep their length.

    Args:
        backbone: Encodes the sentences.
        classes: The k classes.
        templates: Sentences with one `{}` each. One with a longer feature counts for more,
            which is how PromptSRC's code averages.
    """
    prompts = [prompt for template in templates for prompt in classes.prompts(template)]
    features = backbone.whole_text_features(prompts)
    return features.view(len(templates), len(classes), -1).mean(dim=0)


def feature_gap(found: Float[Tensor, "n d"], frozen: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the entries of features.

    Args:
        found: Features that are learned.
        frozen: Features that they are held to.

    Source: Khattak et al., "Self-regulating Prompts", ICCV 2023, equation 3, whose norm the
    authors' code takes as a mean over all n d entries.
    """
    return (found - frozen).abs().mean()
