"""One trial from specification to numbers: build, fit, evaluate."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from operators.backbones import Backbone, DualEncoder
from operators.divergence import refuse_diverged
from operators.engine.accounting import Work, counting
from operators.engine.arithmetic import products_in
from operators.engine.room import WAY_OUT, NoRoom, told
from operators.engine.stacking import clock, lanes_worth
from operators.episodes.episode import Classes, Episode
from operators.episodes.joined import JoinedImages, joined_classes, joined_table, starts_of
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.table import Table
from operators.estimating.towers import operations_in
from operators.estimating.work import known_work
from operators.methods import method_for
from operators.methods.hyperparameters import tuning_of
from operators.metrics import Score, scores_of
from operators.spec import TrialSpec
from operators.tracks import Data, TargetData, track_of
from operators.tracks.rows import episode_of, is_fitted, unlabelled_of, view_policy
from operators.trials.looking import looked_at
from operators.trials.results import Cost
from operators.tuning import FitReport


@dataclass(frozen=True)
class Fitted:
    """A fit that is there already: what a trial of the same fit has left behind.

    Attributes:
        learned: The prompt, as `Method.learned` gave it.
        cost: Of that trial.
        report: What happened while fitting.
    """

    learned: Mapping[str, Tensor]
    cost: Cost
    report: FitReport


@dataclass(frozen=True)
class Outcome:
    """What a trial computed.

    Attributes:
        metrics: Of every split.
        predictions: In the schema of the track.
        learned: The prompt, as `Method.learned` gives it.
        cost: Time, memory, size and operations.
        report: What happened while fitting.
        episode_fingerprint: Digest of the rows used.
        picture: What it looks at, as a WebP; None of methods that do not say.
    """

    metrics: tuple[Score, ...]
    predictions: pa.Table
    learned: dict[str, Tensor]
    cost: Cost
    report: FitReport
    episode_fingerprint: str
    picture: bytes | None = None


def lanes_of(spec: TrialSpec, backbone: Backbone, episode: Episode) -> int:
    """How many trials that differ from this one by seed alone are worth tuning together.

    Args:
        spec: One of them.
        backbone: The backbone that it names.
        episode: Of it, or of any with the same protocol and shots.
    """
    method = method_for(spec)
    if method.tuning is None or not spec.shots or not backbone.merges_calls:
        return 1
    if not method.card.tower_steps:
        return 1
    through_tower = bool(method.needs_of(spec.hyperparameters))
    images = min(spec.hyperparameters["batch_size"], len(episode.train)) if through_tower else 0
    tokens, step = images * backbone.image_tokens, None
    if isinstance(backbone, DualEncoder) and (work := known_work().get(spec.method)) is not None:
        learned = min(spec.hyperparameters["batch_size"], len(episode.train))
        towers = operations_in(backbone)
        step = work.step.operations(towers, classes=len(episode.classes), images=learned)
    return lanes_worth(backbone.device, len(episode.classes), tokens, step)


def run_trial(
    spec: TrialSpec,
    backbone: Backbone,
    data: Data,
    source: Any,
    teacher: Any = None,
    targets: Mapping[str, TargetData] | None = None,
    fitted: Fitted | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> Outcome:
    """Computes a trial.

    Args:
        spec: What to compute.
        backbone: The backbone that `spec` names.
        data: The dataset that `spec` names.
        source: Reads its examples, as `Track.source` gives it.
        teacher: The outcome of `spec.teacher`, where there is one.
        targets: The datasets that `spec` names as targets, by name.
        fitted: Of a trial that differs by what it was tested on alone: it is not fitted again.
            What was learned gives the same answers from a file, bit by bit, as
            `operators/contract/` demands of each method.
        start: What `spec.source` learned, where there is one.

    Raises:
        TuningError: The loss is no number any more.
        NoRoom: A GPU has no memory for a step, or for one example.
        ValueError: The method cannot do what the protocol or the view policy asks, or what it says
            of a test row is no number.
    """
    view_policy(spec)  # refused before anything is computed
    try:
        with products_in(spec.precision):
            return _computed(spec, backbone, data, source, teacher, targets, fitted, start)
    except torch.OutOfMemoryError as error:
        said = told(error)
    # Behind the block: what was computed lives as long as its error.
    raise NoRoom(f"{said}: there is no room for this trial. {WAY_OUT}")


def _computed(
    spec: TrialSpec,
    backbone: Backbone,
    data: Data,
    source: Any,
    teacher: Any,
    targets: Mapping[str, TargetData] | None,
    fitted: Fitted | None,
    start: Mapping[str, Tensor] | None,
) -> Outcome:
    """See `run_trial`."""
    reset_peak_memory(backbone.device)
    started = clock()
    track, tested = track_of(spec.protocol), {"": TargetData(data, source), **(targets or {})}
    tables = {name: tested[name].data.table for name in spec.targets}
    learned = learned_data(spec, tested)
    episode = episode_of(spec, data.table, tables)
    for evaluation in episode.evaluations:
        if not len(evaluation.rows):  # before hours of tuning that no number would come of
            raise ValueError(f"split {evaluation.split!r} has no {spec.tested_on} rows.")
    if spec.shots and not len(episode.train):
        raise ValueError("the classes that are learned have no train rows.")
    pool = unlabelled_of(spec, learned.data.table, episode)
    if pool is not None and not len(pool.rows):
        raise ValueError("there are no examples to learn from without labels.")
    generator = torch.Generator().manual_seed(spec.seed)
    report = FitReport()
    with counting() as work:
        method = track.build(spec, backbone, learned.data, episode, generator, teacher)
        if fitted is not None:
            method.load_state_dict(fitted.learned)
            report = fitted.report
        elif is_fitted(spec):
            if start is not None:
                method.start_from(start)
            shots = track.shots(spec, backbone, *learned, episode)
            tuning = tuning_of(type(method), spec.hyperparameters)
            report = method.fit(shots, tuning=tuning, generator=generator)
    method.eval()
    refuse_diverged(method)
    tuned = clock()
    predictions = pa.concat_tables(
        track.evaluate(method, *tested[evaluation.dataset], episode, evaluation)
        for evaluation in episode.evaluations
    )
    ended = clock()
    cost = Cost(
        tune_seconds=tuned - started,
        evaluate_seconds=ended - tuned,
        peak_memory_bytes=peak_memory(backbone.device),
        trainable_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        steps=report.steps,
        tune_flops=work.done if backbone.counts_operations else None,
        plain_tune_flops=plain_flops(work, backbone) if backbone.counts_operations else None,
    )
    if fitted is not None:
        cost = replace(
            fitted.cost,
            evaluate_seconds=cost.evaluate_seconds,
            peak_memory_bytes=max(cost.peak_memory_bytes, fitted.cost.peak_memory_bytes),
        )
    return Outcome(
        tuple(scores_of(predictions, track.metrics)),
        predictions,
        method.learned(),
        cost,
        report,
        episode.fingerprint,
        looked_at(method, source, data.table.labels, episode.evaluations[0]),
    )


class JoinedData(NamedTuple):
    """Several datasets as one; see `operators/episodes/joined.py`."""

    table: Table
    all_classes: Classes


def learned_data(spec: TrialSpec, tested: Mapping[str, TargetData]) -> TargetData:
    """What a trial learns from: its dataset, or several as one where its protocol joins them.

    Args:
        spec: Of the trial.
        tested: All of its datasets by name; the empty name is the dataset's.
    """
    if not PROTOCOLS[spec.protocol].joins:
        return tested[""]
    each = [tested[name] for name in ("", *spec.targets)]
    tables = [one.data.table for one in each]
    images = JoinedImages([one.source for one in each], starts_of(tables))
    classes = joined_classes([one.data.all_classes for one in each])
    return TargetData(JoinedData(joined_table(tables), classes), images)


def plain_flops(work: Work, backbone: Backbone) -> int:
    """Operations of the plain form, which encodes an image each time a step reads its features.

    Args:
        work: What was counted.
        backbone: Says what an image takes.
    """
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
