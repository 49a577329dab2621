"""Linear probe: logistic regression on frozen image features.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, section 3.2 and appendix A.3, and CoOp's `lpclip/linear_probe.py`, whose
search for the regularisation is in `blocks/logistic_regression.py`. Departures: the few-shot draw
is that of all other methods, and where a dataset has no validation images C is 1. Whatever views a
suite asks for, it learns from the centre crops, as CoOp's does.
"""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.logistic_regression import searched_regression
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
        departures=("C is 1 where a dataset has no validation images",),
    )

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
        self.max_iterations = max_iterations
        self.search_steps = search_steps
        shape = (len(classes), backbone.feature_width)
        self.weight = nn.Parameter(torch.zeros(shape, device=backbone.device))
        self.bias = nn.Parameter(torch.zeros(len(classes), device=backbone.device))

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Solves for each C that is tried and keeps the one validation prefers.

        See `Method.fit`.
        """
        found = searched_regression(
            shots,
            len(self.classes),
            max_iterations=self.max_iterations,
            search_steps=self.search_steps,
        )
        with torch.no_grad():
            self.weight.copy_(found.linear.weight)
            self.bias.copy_(found.linear.bias)
        return FitReport(steps=found.iterations, selected={"C": found.c})

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Linear scores."""
        return F.linear(batch.features, self.weight, self.bias)
