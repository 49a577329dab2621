"""The texts of a dataset as a language model reads them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from operators.backbones.language import LanguageModel
from operators.episodes.features import FeatureStore
from operators.episodes.views import View
from operators.shapes import Float


class DatasetTexts:
    """The texts of a dataset; see `TextSource`.

    Args:
        read: Gives the texts of some rows.
        backbone: Encodes them.
        stores: Gives the store of sentence features, asked with None: texts have no views. None
            encodes whatever is asked for.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Sequence[str]],
        backbone: LanguageModel,
        stores: Callable[[Any], FeatureStore] | None = None,
    ) -> None:
        self.read = read
        self.backbone = backbone
        self.stores = stores

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """Frozen sentence features: kept ones, or encoded now. See `TextSource.features`."""
        if self.stores is not None:
            return self.stores(None).read(rows)
        return self.backbone.sentence_features(self.texts(rows))

    def texts(self, rows: np.ndarray) -> list[str]:
        """The texts, read now."""
        return list(self.read(rows))
