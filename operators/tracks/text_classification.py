"""Classification of texts with a language model or an encoder of sentences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from operators.backbones.language import LanguageModel
from operators.episodes.texts import DatasetTexts
from operators.methods.text_classification.base import TextClassifier
from operators.tracks.classification import ClassificationTrack


class TextClassification(ClassificationTrack):
    """Texts, and a word for each class with which a language model answers."""

    name = "text-classification"
    title = "classification of texts with a language model"
    kind = "text"
    contract = TextClassifier
    backbones = LanguageModel

    def source(
        self, read: Callable[[np.ndarray], list[Any]], backbone: Any, stores: Any
    ) -> DatasetTexts:
        """See `Track.source`."""
        return DatasetTexts(read, backbone, stores)
