"""Classification, of images and of texts alike: choose one of some classes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.divergence import refuse_nonsense
from operators.episodes.episode import (
    Batch,
    Classes,
    Episode,
    Evaluation,
    FewShot,
    Unlabelled,
    batch_of,
)
from operators.methods import Classifier, method_for
from operators.methods.classifier import logits_of
from operators.methods.hyperparameters import own_of
from operators.metrics import CLASSIFICATION
from operators.metrics.predictions import CLASSIFICATION as PREDICTIONS
from operators.metrics.predictions import TOP
from operators.shapes import Float
from operators.spec import TrialSpec
from operators.tracks.base import Data, Track
from operators.tracks.rows import unlabelled_of, validation_of, view_policy


class ClassificationTrack(Track):
    """What tracks share whose methods are `Classifier`s, whatever these are shown."""

    contract = Classifier
    predictions = PREDICTIONS
    metrics = tuple(CLASSIFICATION)
    primary = "accuracy"

    def build(
        self,
        spec: TrialSpec,
        backbone: Any,
        data: Data,
        episode: Episode,
        generator: torch.Generator,
        teacher: Any = None,
    ) -> Classifier:
        """See `Track.build`."""
        method: Any = method_for(spec)
        if (teacher is None) == method.card.teacher:
            needs = "learns from a teacher: give one" if teacher is None else "has no teacher"
            raise ValueError(f"{spec.method} {needs}.")
        given = {} if teacher is None else {"teacher": teacher}
        classes = self.known(data).subset(episode.classes)
        own = own_of(method, spec.hyperparameters)
        return method(backbone, classes, generator=generator, **given, **own)

    def shots(
        self, spec: TrialSpec, backbone: Any, data: Data, source: Any, episode: Episode
    ) -> FewShot:
        """See `Track.shots`."""
        table, device = data.table, backbone.device
        train, val = (
            batch_of(source, rows, table.labels, episode.classes, device)
            for rows in (episode.train, validation_of(spec, table, episode))
        )
        shots = FewShot(spec.shots, train, val, view_policy(spec), spec.seed)
        if method_for(spec).card.domains and table.domain_names:
            own = torch.from_numpy(table.domains[episode.train]).to(device)
            shots = replace(shots, domains=own)
        if (domain := unlabelled_of(spec, table, episode)) is None:
            return shots
        seen = Batch(source, domain.rows, None, device=device)
        return replace(shots, unlabelled=Unlabelled(seen, data.all_classes.subset(domain.classes)))

    def evaluate(
        self, method: Any, data: Data, source: Any, episode: Episode, evaluation: Evaluation
    ) -> pa.Table:
        """See `Track.evaluate`."""
        asked, classes = method, data.all_classes.subset(evaluation.classes)
        if evaluation.dataset:  # of the same classes it may have other templates
            same = not method.card.new_classes and _alike(classes, method.classes)
        else:
            same = evaluation.classes == episode.classes
        if not same:
            asked = method.with_classes(classes)
        labels = data.table.labels
        device = method.backbone.device
        known = batch_of(source, evaluation.rows, labels, evaluation.classes, device)
        batch = Batch(source, evaluation.rows, None, device=device)  # labels are for us alone
        asked.forget()
        scores = logits_of(asked, batch).double()
        asked.forget()
        refuse_nonsense(f"split {evaluation.split!r}", scores)
        answers = answers_of(scores, known.labels, np.array(evaluation.classes))
        answers |= {
            "split": [evaluation.split] * len(batch),
            "row_id": evaluation.rows,
            "label": labels[evaluation.rows],
        }
        return pa.table({name: answers[name] for name in PREDICTIONS.names}).cast(PREDICTIONS)


def _alike(one: Classes, other: Classes) -> bool:
    """Whether two lists of classes have the same names in the same order."""
    return [*map(str.casefold, one.names)] == [*map(str.casefold, other.names)]


def answers_of(
    scores: Float[Tensor, "b k"], positions: Tensor, classes: np.ndarray
) -> dict[str, Any]:
    """What logits say of each row, in the columns of the predictions.

    Args:
        scores: Logits in double precision, all finite.
        positions: (b,) of the right class among the k.
        classes: (k,) labels.
    """
    probabilities = scores.softmax(dim=1)
    confidence, best = probabilities.max(dim=1)
    # Of equals the one that `max` chose comes first, then those that stand first.
    order = probabilities.clone().scatter_(1, best[:, None], 2.0)
    places = order.argsort(dim=1, descending=True, stable=True)[:, :TOP]
    right = scores.log_softmax(dim=1).gather(1, positions[:, None])[:, 0]
    return {
        "predicted": classes[best.cpu().numpy()],
        "confidence": confidence.float().cpu().numpy(),
        "log_probability": right.float().cpu().numpy(),
        "squared_probability": probabilities.square().sum(dim=1).float().cpu().numpy(),
        "top": list(classes[places.cpu().numpy()]),
        "top_probability": list(probabilities.gather(1, places).float().cpu().numpy()),
    }
