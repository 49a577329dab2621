"""Linear probe: logistic regression on frozen image features.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, section 3.2 and appendix A.3, and CoOp's `lpclip/linear_probe.py`, whose
search for the regularisation is in `blocks/logistic_regression.py`. Departures: the few-shot draw
is that of all other methods, and where a dataset has no validation images C is 1. Whatever views a
suite asks for, it learns from the centre crops, as CoOp's does (`feat_extractor.py`).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.logistic_regression import RegressionHead
from operators.bounds import Bounds, Brief
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class LinearProbe(ImageClassifier):
    """Classifies raw image features with weights of its own for each class.

    Args:
        backbone: Frozen encoders; only image features are used.
        classes: The k classes; their names are not read.
        generator: Not used.
        max_iterations: Of L-BFGS, for each C.
        search_steps: Bisections of C after the coarse search.
    """

    card = MethodCard(
        title="Linear probe",
        family="feature_heads",
        tunes="one weight vector and intercept a class on image features",
        source="Radford et al., ICML 2021, section 3.2; CoOp code, lpclip",
        cost="no step; up to 23 logistic regressions on kept features",
        new_classes=False,
        views_source="CoOp code, lpclip/feat_extractor.py: the transform of test images",
        departures=("C is 1 where a dataset has no validation images",),
    )
    block = "head"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        max_iterations: Annotated[int, Bounds(1, 1_000_000), Brief(30)] = 1000,
        search_steps: Annotated[int, Bounds(0, 100), Brief(2)] = 8,
    ) -> None:
        super().__init__(backbone, classes)
        self.head = RegressionHead(
            backbone.feature_width,
            len(classes),
            device=backbone.device,
            max_iterations=max_iterations,
            search_steps=search_steps,
        )

    @classmethod
    def chooses_on_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """See `Method.chooses_on_validation`; C is chosen so."""
        return True

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Solves for each C that is tried and keeps the one validation prefers.

        See `Method.fit`.
        """
        return self.head.learn(shots)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Linear scores."""
        return self.head(batch.features)
