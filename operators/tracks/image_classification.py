"""Classification of images with a dual encoder: the track of CoOp and its kin."""

from collections.abc import Callable
from typing import Any

import numpy as np

from operators.backbones import DualEncoder
from operators.episodes.episode import Episode, FewShot
from operators.episodes.features import DatasetImages
from operators.episodes.kept_pixels import KeptPixels
from operators.methods.image_classification.base import ImageClassifier
from operators.spec import TrialSpec
from operators.tracks.base import Data
from operators.tracks.classification import ClassificationTrack


class ImageClassification(ClassificationTrack):
    """Images, and the names of classes as a dual encoder reads them."""

    name = "image-classification"
    title = "classification of images with a dual encoder"
    kind = "image"
    contract = ImageClassifier
    backbones = DualEncoder

    def source(
        self, read: Callable[[np.ndarray], list[Any]], backbone: Any, stores: Any
    ) -> DatasetImages:
        """See `Track.source`."""
        return DatasetImages(read, backbone, stores)

    def shots(
        self, spec: TrialSpec, backbone: Any, data: Data, source: Any, episode: Episode
    ) -> FewShot:
        """See `Track.shots`; an image that is trained on is decoded once."""
        return super().shots(spec, backbone, data, KeptPixels(source), episode)
