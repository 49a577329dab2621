"""One trial from specification to numbers: build, fit, evaluate."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.engine.accounting import Work, counting
from operators.engine.stacking import clock, lanes_worth
from operators.episodes.episode import (
    Batch,
    Classes,
    Episode,
    FewShot,
    ImageSource,
    Unlabelled,
    batch_of,
)
from operators.episodes.kept_pixels import KeptPixels
from operators.episodes.protocols import PROTOCOLS, Domain, Table, domain_of
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.methods import METHODS, Method, Teacher
from operators.methods.hyperparameters import own_of, tuning_of
from operators.metrics import metrics_of
from operators.spec import TrialSpec
from operators.trials.divergence import refuse_diverged, refuse_nonsense
from operators.trials.results import PREDICTIONS, Cost, Metric
from operators.tuning import FitReport, logits_of


@runtime_checkable
class Data(Protocol):
    """What a trial needs of a dataset."""

    @property
    def table(self) -> Table:
        """Labels and splits."""
        ...

    @property
    def all_classes(self) -> Classes:
        """All classes in label order, with the card's templates."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a trial computed.

    Attributes:
        metrics: Of every split.
        predictions: Schema `PREDICTIONS`.
        learned: The prompt, as `Method.learned` gives it.
        cost: Time, memory, size and operations.
        report: What happened while fitting.
        episode_fingerprint: Digest of the rows used.
    """

    metrics: tuple[Metric, ...]
    predictions: pa.Table
    learned: dict[str, Tensor]
    cost: Cost
    report: FitReport
    episode_fingerprint: str


def episode_of(spec: TrialSpec, table: Table) -> Episode:
    """The rows that a trial learns from and is tested on."""
    protocol = PROTOCOLS[spec.protocol]
    return protocol.episode(table, spec.shots, spec.seed, spec.test_rows_per_class)


def validation_of(spec: TrialSpec, table: Table, episode: Episode) -> np.ndarray:
    """The rows that a trial chooses on: those of the draw, or the val split of the learned classes.

    The draw stays that of all methods, so that trials of other methods can be paired with it.
    """
    if not METHODS[spec.method].whole_validation(spec.hyperparameters):
        return episode.val
    rows = table.rows("val")
    return rows[np.isin(table.labels[rows], episode.classes)]


def unlabelled_of(spec: TrialSpec, table: Table, episode: Episode) -> Domain | None:
    """The images that a trial learns from without labels; None where its method asks for none."""
    if not METHODS[spec.method].card.unlabelled:
        return None
    return domain_of(table, episode, clean=spec.setting == "clean")


def view_policy(spec: TrialSpec) -> ViewPolicy:
    """How a trial sees its training images.

    Raises:
        ValueError: `views` is no policy, or one that the method would never look at: that would
            be another trial with the same number.
    """
    policy = ViewPolicy.parse(spec.views)
    if policy != CENTRE and not METHODS[spec.method].view_epochs(spec.hyperparameters):
        raise ValueError(
            f"views={spec.views!r}: {spec.method} reads the centre crop alone, so its trials have "
            "the views none."
        )
    return policy


def views_shown(spec: TrialSpec) -> tuple[View | None, ...]:
    """The different views that a trial has of its training images; None is the centre crop."""
    epochs = METHODS[spec.method].view_epochs(spec.hyperparameters)
    return view_policy(spec).shown(epochs, seed=spec.seed)


def build(
    spec: TrialSpec,
    backbone: DualEncoder,
    classes: Classes,
    generator: torch.Generator,
    teacher: Teacher | None = None,
) -> Method:
    """The method of a trial, not fitted yet.

    Args:
        spec: Says which method and hyperparameters.
        backbone: Frozen encoders.
        classes: Those that are learned.
        generator: Source of the initial parameters.
        teacher: For methods that learn from another tuned model.

    Raises:
        ValueError: The method has a teacher and none was given, or one was given in vain.
    """
    method: type = METHODS[spec.method]
    if (teacher is None) == METHODS[spec.method].card.teacher:
        needs = "learns from a teacher: give one" if teacher is None else "has no teacher"
        raise ValueError(f"{spec.method} {needs}.")
    taught = {} if teacher is None else {"teacher": teacher}
    own = own_of(method, spec.hyperparameters)
    return method(backbone, classes, generator=generator, **taught, **own)


def lanes_of(spec: TrialSpec, backbone: DualEncoder, episode: Episode) -> int:
    """How many trials that differ from this one by seed alone are worth tuning together.

    Args:
        spec: One of them.
        backbone: The backbone that it names.
        episode: Of it, or of any with the same protocol and shots.
    """
    method = METHODS[spec.method]
    if method.tuning is None or not spec.shots:
        return 1
    through_tower = bool(method.card.needs)
    images = min(spec.hyperparameters["batch_size"], len(episode.train)) if through_tower else 0
    return lanes_worth(backbone.device, len(episode.classes), images * backbone.image_tokens)


def run_trial(
    spec: TrialSpec,
    backbone: DualEncoder,
    data: Data,
    images: ImageSource,
    teacher: Teacher | None = None,
) -> Outcome:
    """Computes a trial.

    Args:
        spec: What to compute.
        backbone: The backbone that `spec` names.
        data: The dataset that `spec` names.
        images: Reads its images.
        teacher: The outcome of `spec.teacher`, where there is one.

    Raises:
        TuningError: The loss is no number any more.
        ValueError: The method cannot do what the protocol or the view policy asks, or its
            logits are no numbers.
    """
    policy = view_policy(spec)
    reset_peak_memory(backbone.device)
    started = clock()
    table, every = data.table, data.all_classes
    episode = episode_of(spec, table)
    for evaluation in episode.evaluations:
        if not len(evaluation.rows):  # before hours of tuning that no number would come of
            raise ValueError(f"split {evaluation.split!r} has no test rows.")
    if spec.shots and not len(episode.train):
        raise ValueError("the classes that are learned have no train rows.")
    generator = torch.Generator().manual_seed(spec.seed)

    def batch(rows: np.ndarray, classes: tuple[int, ...], source: ImageSource = images):
        return batch_of(source, rows, table.labels, classes, backbone.device)

    report = FitReport()
    with counting() as work:
        method = build(spec, backbone, every.subset(episode.classes), generator, teacher)
        if spec.shots:
            reread = KeptPixels(images)
            train, val = (
                batch(rows, episode.classes, reread)
                for rows in (episode.train, validation_of(spec, table, episode))
            )
            shots = FewShot(spec.shots, train, val, policy, spec.seed)
            if (domain := unlabelled_of(spec, table, episode)) is not None:
                seen = Batch(reread, domain.rows, None, device=backbone.device)
                shots = replace(shots, unlabelled=Unlabelled(seen, every.subset(domain.classes)))
            tuning = tuning_of(type(method), spec.hyperparameters)
            report = method.fit(shots, tuning=tuning, generator=generator)
    method.eval()
    refuse_diverged(method)
    tuned = clock()

    metrics: list[Metric] = []
    tables: list[pa.Table] = []
    for evaluation in episode.evaluations:
        asked = method
        if evaluation.classes != episode.classes:
            asked = method.with_classes(every.subset(evaluation.classes))
        scores = logits_of(asked, batch(evaluation.rows, evaluation.classes)).double()
        refuse_nonsense(f"split {evaluation.split!r}", scores)
        confidence, position = scores.softmax(dim=1).max(dim=1)
        predicted = np.array(evaluation.classes)[position.cpu().numpy()]
        labels = table.labels[evaluation.rows]
        sure = confidence.float().cpu().numpy()  # as the file keeps it, so metrics follow from it
        metrics += metrics_of(evaluation.split, labels, predicted, sure)
        tables.append(
            pa.table(
                {
                    "split": [evaluation.split] * len(labels),
                    "row_id": evaluation.rows,
                    "label": labels,
                    "predicted": predicted,
                    "confidence": sure,
                }
            ).cast(PREDICTIONS)
        )
    ended = clock()
    cost = Cost(
        tune_seconds=tuned - started,
        evaluate_seconds=ended - tuned,
        peak_memory_bytes=peak_memory(backbone.device),
        trainable_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        steps=report.steps,
        tune_flops=work.done,
        plain_tune_flops=plain_flops(work, backbone),
    )
    return Outcome(
        tuple(metrics),
        pa.concat_tables(tables),
        method.learned(),
        cost,
        report,
        episode.fingerprint,
    )


def plain_flops(work: Work, backbone: DualEncoder) -> int:
    """Operations of the plain form, which encodes an image each time a step reads its features."""
    encoding = work.cached_images * backbone.image_flops if work.cached_images else 0
    return work.plain + encoding


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory, where the system lets it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or a sandbox: the peak is then that of the whole process
        return


def peak_memory(device: torch.device) -> int:
    """Peak bytes since `reset_peak_memory`: of the GPU where there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
