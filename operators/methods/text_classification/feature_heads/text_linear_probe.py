"""Linear probe: logistic regression on frozen sentence features.

Source: Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
EMNLP 2019, https://arxiv.org/abs/1908.10084, section 5 (SentEval: a logistic regression on sentence
features), with the search for the regularisation of CoOp's linear probe of images, in
`blocks/logistic_regression.py`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones.language import LanguageModel
from operators.blocks.logistic_regression import RegressionHead
from operators.bounds import Bounds, Brief
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import TextClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class TextLinearProbe(TextClassifier):
    """Classifies sentence features with weights of its own for each class.

    Args:
        backbone: Any language model or encoder of sentences; only its features are used.
        classes: The k classes; neither names nor template are read.
        generator: Not used.
        max_iterations: Of L-BFGS, for each C.
        search_steps: Bisections of C after the coarse search.
    """

    card = MethodCard(
        title="Linear probe of sentence features",
        family="feature_heads",
        tunes="one weight vector and intercept a class on sentence features",
        source="Reimers and Gurevych, EMNLP 2019, section 5; CoOp code, lpclip",
        cost="no step; up to 23 logistic regressions on kept features",
        new_classes=False,
        departures=("C is searched as CoOp does, on the validation rows of the draw",),
    )
    block = "head"

    def __init__(
        self,
        backbone: LanguageModel,
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
