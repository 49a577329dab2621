"""LP++: a linear probe whose class weights are blended with the class texts, by steps from data.

Source: Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", CVPR 2024,
https://arxiv.org/abs/2404.02285, and the authors' code, `methods/linear_probe_p2.py`, which decides
where they differ.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import ChosenTemplates, class_vectors, templates_of
from operators.blocks.linear_maps import draw_uniform
from operators.blocks.support_pool import Passes, SupportPool
from operators.bounds import Bounds, Brief
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class LPPlusPlus(ImageClassifier):
    """Scores an image by f . (w_c + a_c t_c) + b_c, with f and t_c of unit norm and no temperature.

    Learned are the weights w_c, which start as the sum of the features of a class, the intercepts
    b_c, and one blend a_c a class. All images are a step. The rates follow from the features F (n,
    d): 4 n / (largest eigenvalue of F'F) for w and b, and n / (4 max_c sum_i (f_i . t_c)^2) for a.

    Args:
        backbone: Frozen image and text encoders; the logit scale is not used.
        classes: The k classes.
        generator: Draws the intercepts, as torch does.
        blend_start: All a_c start at this number times the mean similarity of the images of a class
            to its text.
        blend_every: Epochs from one step of a to the next.
        blend_gradient: What a step of a follows: `summed`, the gradients of all epochs so far, as
            the code never clears them; or `last`, the gradient of its epoch.
        view_passes: Views of each image that are learned from together.
        templates: Sentences of t: those of the dataset's card, the seven that were selected on
            ImageNet, or both.
    """

    card = MethodCard(
        title="LP++",
        family="feature_heads",
        tower_steps=False,
        tunes="one weight vector, intercept and share of the text a class on image features",
        source="Huang et al., CVPR 2024, https://arxiv.org/abs/2404.02285",
        cost="a step takes a product with the weights there and back on all kept features, and no "
        "tower",
        new_classes=False,
        views="fresh:crop-0.5",
        views_source="LP++ code, main.py: RandomResizedCrop with scale 0.5 to 1, and flip, once an "
        "image",
        without_validation="the paper's algorithm, whose start and rates follow from the images, "
        "ends with it; an epoch is chosen in the code alone",
        departures=(
            "the gradient of the blend is summed over all epochs, as in the code, which never "
            "clears it; blend_gradient=last is the step that the paper describes",
            "validation images are those of the draw, at most 4 a class, where theirs are as many "
            "as the shots",
            "float32 instead of float16",
        ),
    )
    tuning = Tuning(
        lr=1.0,
        weight_decay=0.0,
        epochs=300,
        batch_size=65_536,
        warmup_epochs=0,
        schedule="constant",
        drop_last=False,
        selection="val",
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        blend_start: Annotated[float, Bounds(0, 1e6)] = 250.0,
        blend_every: Annotated[int, Bounds(1, 10_000), Brief(1)] = 10,
        blend_gradient: Literal["summed", "last"] = "summed",
        view_passes: Passes = 1,
        templates: ChosenTemplates = "card",
    ) -> None:
        super().__init__(backbone, classes)
        self.blend_start, self.blend_every = blend_start, blend_every
        self.sums, self.view_passes = blend_gradient == "summed", view_passes
        texts = class_vectors(backbone, classes, templates_of(classes, templates))
        self.register_buffer("texts", texts, persistent=False)
        self.weights = nn.Parameter(torch.zeros_like(texts))
        intercepts = draw_uniform(torch.empty(len(classes)), texts.shape[1], generator)
        self.intercepts = nn.Parameter(intercepts.to(texts))
        self.blend = nn.Parameter(texts.new_full((len(classes),), blend_start))

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
        """Starts from the images, then takes steps of the rates that they give. See `Method.fit`.

        `lr` multiplies the rate of weights and intercepts. Of equally good epochs the last is kept.
        """
        if tuning is None:
            return FitReport()
        pool = SupportPool(shots, self.view_passes)
        features, labels = unit(pool.train.features), pool.train.labels
        members = F.one_hot(labels, len(self.classes)).to(features.dtype)
        similar = features @ self.texts.T
        own = (members * similar).sum(dim=0) / members.sum(dim=0).clamp(min=1)
        self.weights.data = members.T @ features
        self.blend.data.fill_(self.blend_start * own.mean())
        rate = 4 * len(features) / _largest_eigenvalue(features)
        blend_rate = len(features) / (4 * similar.square().sum(dim=0).max())
        followed = torch.zeros_like(self.blend)

        def step_of_blend(epoch: int) -> None:
            assert self.blend.grad is not None
            followed.mul_(self.sums).add_(self.blend.grad)
            if (epoch + 1) % self.blend_every == 0:
                self.blend.data.sub_(blend_rate * followed)

        return tune(
            self,
            pool.shots,
            tuning,
            generator,
            epoch_end=step_of_blend,
            rates={"weights": rate, "intercepts": rate, "blend": 0.0},
            draw=pool.draw,
            later_of_equals=True,
        )

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Linear scores, in which the text is a part of the weights."""
        blended = self.weights + self.blend[:, None] * self.texts
        return F.linear(unit(batch.features), blended, self.intercepts)


def _largest_eigenvalue(features: Float[Tensor, "n d"]) -> float:
    """Of F'F, taken from the smaller of F'F and FF', which have the same."""
    n, d = features.shape
    product = features.T @ features if d <= n else features @ features.T
    return float(torch.linalg.eigvalsh(product)[-1])
