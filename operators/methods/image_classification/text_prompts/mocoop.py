"""MoCoOp: soft prompts for groups of templates, and a router that mixes two for each image.

Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024,
https://arxiv.org/abs/2409.12011, section 3. The code was published under other names than the
paper gives, github.com/dyabel/mocoop. Departures from it: it also tunes the layer norms of the
image tower, which stays frozen here; its text loss reads the names of all classes of a dataset,
ours those of the learned classes alone; the templates of a dataset are those of its card and eight
photos that most of its lists hold, where it has a list for each dataset (docs/fidelity.md says
how they differ); prompts are kept in float32.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.anchor_loss import kl_divergence
from operators.blocks.imagenet_templates import IMAGENET_60, PHOTOS_8
from operators.blocks.linear_maps import drawn_linear
from operators.bounds import Bounds, Weight
from operators.engine.stacking import take_step
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.classifier import Classifier
from operators.methods.image_classification.base import KeepsTexts
from operators.methods.image_classification.text_prompts.template_groups import (
    group_vectors,
    learned_template,
    template_groups,
)
from operators.methods.material import Material
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

FAVOUR = 10.0  # added to the similarity of the groups that a router is taught to choose
TEMPLATES = {"photos": PHOTOS_8, "imagenet": IMAGENET_60}


class MoCoOp(KeepsTexts):
    """Compares an image to a mixture of the class features of g soft prompts.

    The soft prompt of a group is its first template, all words of it learned. A linear router
    reads the image's unit-norm feature and gives the shares of the `active` best prompts. The loss
    is cross-entropy + text_weight * a contrast of each soft prompt to the hand-written prompts of
    its group + gate_weight * the divergence of the router from the groups whose hand-written
    prompts of the image's class are nearest to it.

    Dimensions: b images, g groups, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes; their templates are in front of those of `templates`.
        generator: Draws the router.
        templates: `photos` or `imagenet`, the 60 that PromptSRC averages.
        active: Prompts that are mixed for an image.
        text_weight: Of the contrast.
        gate_weight: Of the divergence.
        clip_norm: Largest norm of the gradient of a step.
    """

    card = MethodCard(
        title="MoCoOp (Mixture of Prompt Learning)",
        family="text_prompts",
        tunes="the words of one template of each group, a linear router over the groups, and one "
        "vector that is added to all class features",
        source="Du et al., 2024, https://arxiv.org/abs/2409.12011",
        cost="a step takes all class prompts of each group through the text tower and back; a test "
        "image takes none",
        views="fresh",
        views_source="mocoop code, configs/MoCoOp: random_resized_crop and random_flip",
        departures=(
            "the layer norms of the image tower stay frozen",
            "the text loss reads no name of a class that is not learned",
            "templates of the dataset's card and eight photos on every dataset",
            "prompts in float32",
        ),
    )
    tuning = Tuning(lr=0.032, epochs=50, batch_size=32, warmup_epochs=5)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        templates: Literal["photos", "imagenet"] = "photos",
        active: Annotated[int, Bounds(1, 64)] = 2,
        text_weight: Weight = 5.0,
        gate_weight: Weight = 1.0,
        clip_norm: Annotated[float, Bounds(0, 1e6, above=True)] = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.groups = template_groups((*classes.templates, *TEMPLATES[templates]))
        if reason := _few_groups(active, len(self.groups)):
            raise ValueError(reason)
        self.active, self.clip_norm = active, clip_norm
        self.text_weight, self.gate_weight = text_weight, gate_weight
        laid = [learned_template(backbone, classes.names, group[0]) for group in self.groups]
        self.prompts = [prompts for prompts, _ in laid]
        self.contexts = nn.ParameterList(
            nn.Parameter(words, requires_grad=len(words) > 0) for _, words in laid
        )
        d = backbone.feature_width
        self.router = drawn_linear(d, len(self.groups), generator, backbone.device)
        self.correction = nn.Parameter(torch.zeros(d, device=backbone.device))

    @cached_property
    def anchors(self) -> Float[Tensor, "g k d"]:
        """Unit-norm features of the hand-written prompts of each group."""
        return group_vectors(self.backbone, self.classes, self.groups)

    def with_classes(self, classes: Classes) -> Classifier:
        """See `Classifier.with_classes`; the templates stay those that were learned."""
        return super().with_classes(replace(classes, templates=self.classes.templates))

    @classmethod
    def lacking(
        cls, hyperparameters: Mapping[str, Any], tuning: Tuning | None, material: Material
    ) -> str:
        """As many groups are active as there are. See `Method.lacking`."""
        written = TEMPLATES[hyperparameters["templates"]]
        groups = template_groups((*material.templates, *written))
        return _few_groups(hyperparameters["active"], len(groups))

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """ImageNet has a loop of its own. See `Method.recipe`."""
        if dataset != "imagenet":
            return {}
        return {"lr": 0.002, "epochs": 10, "batch_size": 1, "warmup_epochs": 1}

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns with gradients of bounded length. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        return tune(self, shots, tuning, generator, backward=self.backward)

    def backward(self, batch: Batch) -> Float[Tensor, ""]:
        """Gives the parameters the gradient of the loss, shortened where it is too long."""
        loss = take_step(partial(self.loss, batch))
        nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)
        return loss

    def class_features(self) -> Float[Tensor, "g k d"]:
        """The class features of each soft prompt."""
        share = len(self.groups)
        features = [
            self.backbone.encode_prompts(prompts, words[None], share=share)
            for prompts, words in zip(self.prompts, self.contexts, strict=True)
        ]
        return torch.stack(features) + self.correction

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled similarity of each image to its own mixture of class features."""
        images = unit(batch.features)
        gates = top_gates(self.router(images), self.active)
        return self.backbone.logit_scale * mixed_similarity(images, self.weights(), gates)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy, the contrast of texts and the guidance of the router."""
        images, texts = unit(batch.features), self.weights()
        scores = self.router(images)
        gates = top_gates(scores, self.active)
        logits = self.backbone.logit_scale * mixed_similarity(images, texts, gates)
        own = torch.einsum("bd,gbd->bg", images, self.anchors[:, batch.labels])
        return (
            F.cross_entropy(logits, batch.labels)
            + self.text_weight * text_contrast(texts, self.anchors)
            + self.gate_weight * guided_gating_loss(scores, own, self.active)
        )


def text_contrast(soft: Float[Tensor, "g k d"], hard: Float[Tensor, "g k d"]) -> Float[Tensor, ""]:
    """Cross-entropy of finding a class among the hand-written texts of its group.

    Args:
        soft: Unit-norm class features of each soft prompt.
        hard: Those of the hand-written prompts of each group.

    Source: Du et al., 2024, "Semantically Grouped Text-level Supervision"; that cosines are not
    scaled is in the authors' code.
    """
    similarity = torch.einsum("gcd,ged->gce", soft, hard).flatten(0, 1)
    classes = torch.arange(soft.shape[1], device=soft.device).repeat(len(soft))
    return F.cross_entropy(similarity, classes)


def top_gates(scores: Float[Tensor, "b g"], active: int) -> Float[Tensor, "b g"]:
    """Softmax over the `active` largest scores of each image, and 0 for the others.

    Args:
        scores: Of each image for each of g groups.
        active: How many groups of an image have a share.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024, section 3.2.
    """
    largest, chosen = scores.topk(active, dim=1)
    return torch.zeros_like(scores).scatter(1, chosen, largest.softmax(dim=1))


def mixed_similarity(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "g k d"], gates: Float[Tensor, "b g"]
) -> Float[Tensor, "b k"]:
    """Dot product of each image with sum over g of gate_g t_{g,c}, its own mixture of texts.

    Args:
        images: f.
        texts: t, features of k classes under each of g prompts.
        gates: One row an image. The mixture keeps the length that it has.
    """
    return torch.einsum("bgd,gkd->bk", gates[..., None] * images[:, None], texts)


def guided_gating_loss(
    scores: Float[Tensor, "b g"], similarities: Float[Tensor, "b g"], active: int
) -> Float[Tensor, ""]:
    """Mean KL(wanted || softmax(scores)) over images.

    The wanted shares are nearly those of the `active` groups of largest similarity alone: a
    softmax after FAVOUR is added to these.

    Args:
        scores: Of the router, before its choice.
        similarities: Cosine of each image and each group of hand-written prompts of its class.
        active: Groups that are favoured.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024, "Hard Prompt
    Guided Gating Loss"; the addition is in the authors' code, whose cross-entropy has the same
    gradient.
    """
    largest, chosen = similarities.topk(active, dim=1)
    return kl_divergence(scores, similarities.scatter(1, chosen, largest + FAVOUR)).mean()


def _few_groups(active: int, groups: int) -> str:
    """Why so many groups cannot be active; empty if they can."""
    if active <= groups:
        return ""
    return (
        f"active={active}, but the templates are of {groups} groups: ask for active={groups} or "
        "fewer."
    )
