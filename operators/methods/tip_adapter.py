"""Tip-Adapter: zero-shot logits plus the votes of the few labelled images.

Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot
Classification", ECCV 2022, https://arxiv.org/abs/2207.09519, equations 2-6. Departures from
the authors' code: Tip-Adapter-F keeps its last step instead of the epoch that is best on the
test set; alpha and beta are searched on the episode's few validation images instead of the
whole validation split, and keep their initial values where a dataset has none. The cached
features are means over the views of ten epochs, as published, where the suite asks for views
(theirs show 50 to 100 percent of an image, ours 8 to 100); else they are those of the centre crop.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import Backbone, unit
from operators.episode import Batch, Classes, FewShot
from operators.methods.base import Method, MethodCard
from operators.methods.cache_head import cache_logits, grid, search
from operators.methods.class_text import class_vectors
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

CACHE_EPOCHS = 10  # `augment_epoch` of the published configurations


class TipAdapter(Method):
    """Training-free: the cache holds the features of the labelled images as they are.

    Dimensions: b images, k classes, r cached images, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used.
        alpha: Initial weight of the votes.
        beta: Initial sharpness of the votes.
        search_alpha: Largest alpha tried on validation.
        search_beta: Largest beta tried on validation.
        search_steps_alpha: Values of alpha tried.
        search_steps_beta: Values of beta tried.
    """

    card = MethodCard(
        title="Tip-Adapter",
        tunes="nothing by gradient; two scalars are searched on validation images",
        source="Zhang et al., ECCV 2022, https://arxiv.org/abs/2207.09519",
        cost="no step; 4,000 pairs of scalars are tried on validation images",
        new_classes=False,
        departures=("alpha and beta searched on the few-shot validation images",),
    )
    learns_keys = False

    def __init__(
        self,
        backbone: Backbone,
        classes: Classes,
        *,
        generator: torch.Generator,
        alpha: float = 1.17,
        beta: float = 1.0,
        search_alpha: float = 3.0,
        search_beta: float = 7.0,
        search_steps_alpha: int = 20,
        search_steps_beta: int = 200,
    ) -> None:
        super().__init__(backbone, classes)
        self.alphas = grid(search_alpha, search_steps_alpha)
        self.betas = grid(search_beta, search_steps_beta)
        self.register_buffer("scalars", torch.tensor([alpha, beta], device=backbone.device))
        self.register_buffer(
            "weights", class_vectors(backbone, classes, classes.templates), persistent=False
        )
        empty = torch.empty(0, backbone.feature_width, device=backbone.device)
        self.keys = nn.Parameter(empty, requires_grad=self.learns_keys)
        self.register_buffer("values", torch.empty(0, len(classes), device=backbone.device))

    scalars: Tensor
    weights: Tensor
    values: Tensor

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`; those that fill the cache, then those of learned keys."""
        return max(CACHE_EPOCHS, super().view_epochs(hyperparameters))

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Fills the cache, learns its keys where they are learned, then searches."""
        shown = [images.features for images in shots.shown(CACHE_EPOCHS)]
        self.keys.data = unit(torch.stack(shown).mean(dim=0))
        self.values = F.one_hot(shots.train.labels, len(self.classes)).to(self.keys.dtype)
        report = FitReport() if tuning is None else tune(self, shots, tuning, generator)
        if not len(shots.val):
            return report
        features = unit(shots.val.features)
        chosen = search(
            self.zero_shot(features),
            features,
            self.keys,
            self.values,
            shots.val.labels,
            alphas=self.alphas,
            betas=self.betas,
        )
        self.scalars.copy_(torch.tensor(chosen))
        selected = {**(report.selected or {}), "alpha": chosen.alpha, "beta": chosen.beta}
        return FitReport(report.losses, report.steps, selected)

    def zero_shot(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Logits without the cache."""
        return self.backbone.logit_scale * features @ self.weights.T

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Zero-shot logits plus alpha times the votes (equation 6)."""
        features = unit(batch.features)
        alpha, beta = self.scalars.tolist()
        votes = cache_logits(features, self.keys, self.values, beta)
        return self.zero_shot(features) + alpha * votes

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Takes the size of the cache from the file: it depends on the episode."""
        self.keys.data = torch.empty_like(state_dict["keys"], device=self.keys.device)
        self.values = torch.empty_like(state_dict["values"], device=self.keys.device)
        return super().load_state_dict(state_dict, *args, **kwargs)


class TipAdapterF(TipAdapter):
    """Fine-tuned: the cached features are the start of learned keys."""

    card = MethodCard(
        title="Tip-Adapter-F",
        tunes="the keys of the cache, started from the labelled features",
        source="Zhang et al., ECCV 2022, https://arxiv.org/abs/2207.09519",
        cost="a step takes a product with the keys there and back, and no tower",
        new_classes=False,
        departures=(
            "last step instead of the epoch that is best on the test set",
            "alpha and beta searched on the few-shot validation images",
        ),
    )
    learns_keys = True
    tuning = Tuning(
        optimizer="adamw",
        lr=0.001,
        eps=1e-4,
        weight_decay=0.01,
        epochs=20,
        batch_size=256,
        warmup_epochs=0,
        schedule="step",
        drop_last=False,
    )
