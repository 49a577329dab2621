"""What a trial has learned, as a method again: to teach another, or to classify its like."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from operators.backbones import Backbone
from operators.engine.arithmetic import products_in
from operators.episodes.episode import Batch, ImageSource, TextSource
from operators.methods import Classifier, StaticClassifier, Teacher, method_for
from operators.methods.classifier import logits_of
from operators.spec import TrialSpec
from operators.tracks import Data, track_of
from operators.tracks.rows import episode_of


class Ranked(NamedTuple):
    """A class and its softmax probability among those that were chosen from."""

    name: str
    probability: float


def method_of(
    spec: TrialSpec,
    backbone: Backbone,
    data: Data,
    learned: Mapping[str, Tensor],
    teacher: Teacher | None = None,
) -> Classifier:
    """The method of a trial as it was after tuning, over the classes that it learned.

    Args:
        spec: Of the trial.
        backbone: The backbone that `spec` names.
        data: The dataset that `spec` names.
        learned: What the trial learned.
        teacher: The outcome of `spec.teacher`, where there is one.

    Raises:
        ValueError: The method has a teacher and none was given, or one was given in vain.
    """
    episode = episode_of(spec, data.table)
    track = track_of(spec.protocol)
    with products_in(spec.precision):
        method = track.build(spec, backbone, data, episode, torch.Generator(), teacher)
    assert isinstance(method, Classifier)
    method.load_state_dict(learned)
    return method.eval()


def teacher_of(
    spec: TrialSpec,
    backbone: Backbone,
    data: Data,
    learned: Mapping[str, Tensor],
    images: ImageSource | None,
) -> Teacher:
    """The tuned model that a trial left behind, as a teacher.

    Args:
        spec: Of the teacher's trial.
        backbone: The backbone that `spec` names.
        data: The dataset that `spec` names.
        learned: What the trial learned.
        images: As in `Teacher`.

    Raises:
        ValueError: Its method has no class vectors that are the same for every image.
    """
    if not issubclass(method_for(spec), StaticClassifier):
        raise ValueError(f"{spec.method} has no class vectors, so it is no teacher.")
    method = method_of(spec, backbone, data, learned)
    assert isinstance(method, StaticClassifier)
    return Teacher(method, images, data.all_classes)


def classify(
    method: Classifier, source: ImageSource | TextSource, rows: np.ndarray, top: int
) -> list[tuple[Ranked, ...]]:
    """The most probable classes of some images or texts, best first.

    Args:
        method: Chooses from its classes.
        source: Reads the images or texts.
        rows: Of them; a row decides what random views of its image are.
        top: Classes an image, at most.

    Raises:
        ValueError: A logit is infinite or no number.
    """
    logits = logits_of(method, Batch(source, rows, None, device=method.backbone.device)).double()
    if not logits.isfinite().all():
        raise ValueError(
            "the logits are infinite or no numbers: try a trial of a smaller lr, or one in fp32."
        )
    # The first of equals stays first, so that the order of the classes alone decides.
    probabilities, places = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    return [
        tuple(Ranked(method.classes.names[place], p) for p, place in zip(*best, strict=True))
        for best in zip(probabilities[:, :top].tolist(), places[:, :top].tolist(), strict=True)
    ]
