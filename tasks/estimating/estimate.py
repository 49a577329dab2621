"""What a plan will take, before anything of it is run: operations, time, room and downloads.

Operations of the towers are counted from the rows of each trial and from how often its method
passes the towers (operators/estimating); seconds follow from a rate that is measured here, either
by trials of the store with the same backbone or by a product of matrices, and from the time that a
step takes whatever its size. It is an estimate: between half and twice of what comes is good.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from data_catalog import Dataset
from operators.backbones import BackboneCard, BackboneReference
from operators.estimating.towers import TowerOperations, tower_operations
from operators.estimating.work import Size, Work, known_work, operations_of, steps_of
from operators.methods import method_for
from operators.spec import TrialSpec
from tasks.estimating.rates import STEP_SECONDS, Rate, rate_of
from tasks.planning.data import Imagined
from tasks.planning.encodings import Draws, encoded_anew, kept_images
from tasks.planning.planned import Plan
from tasks.storage.store import Store

FLOAT_BYTES = 4
ROW_BYTES = 34  # of a prediction (docs/benchmarks.md)
TRIAL_BYTES = 20_000  # of the other files of a trial, prompts of usual methods included


@dataclass(frozen=True)
class Estimate:
    """What the missing trials of a plan take.

    Attributes:
        trials: That are missing.
        operations: Of their fits and evaluations.
        images: That have to be encoded, once for all or anew in single trials.
        image_operations: Of that.
        seconds: Of one core, or of the GPU.
        rates: By backbone.
        disk_bytes: Of features, predictions and prompts.
        unknown: What the figures do not hold, a sentence each.
    """

    trials: int
    operations: float
    images: int
    image_operations: float
    seconds: float
    rates: Mapping[str, Rate]
    disk_bytes: int
    unknown: tuple[str, ...] = ()


def estimate(
    store: Store,
    plan: Plan,
    datasets: Mapping[str, Dataset | Imagined],
    references: Mapping[str, BackboneReference],
    cards: Mapping[str, BackboneCard],
) -> Estimate:
    """What the missing trials take; datasets may be imagined.

    Args:
        store: Its trials say how fast this machine is.
        plan: Its missing trials are meant.
        datasets: By name; those that are not ingested may be imagined. Trials over others are left
            out, and named.
        references: Of the backbones, by name.
        cards: Likewise.
    """
    every = {name: tower_operations(each) for name, each in references.items()}
    towers = {name: tower for name, tower in every.items() if tower is not None}
    works, unknown = known_work(), dict[str, None]()
    meant: list[TrialSpec] = []
    for spec in plan.missing:
        if reason := _left_out(spec, towers, works, datasets):
            unknown[reason] = None
        else:
            meant.append(spec)
    rates = {name: rate_of(store, name) for name in dict.fromkeys(s.backbone for s in meant)}
    draws = Draws(datasets)
    anew = encoded_anew(meant, draws)
    operations = image_operations = seconds = 0.0
    images = rows = room = 0
    for spec in meant:
        tower, size = towers[spec.backbone], size_of(spec, draws)
        values = spec.hyperparameters
        fit = operations_of(works[spec.method], size, values, tower)
        encoded = anew.get(spec.trial_id, 0)
        images += encoded
        operations += fit
        image_operations += encoded * tower.image
        done = fit + encoded * tower.image
        seconds += done / rates[spec.backbone].per_second
        seconds += steps_of(size, values) * STEP_SECONDS
        rows += sum(count for _, count in size.answers)
    for (name, _), count in kept_images(meant, draws).items():
        images += count
        image_operations += count * towers[name].image
        seconds += count * towers[name].image / rates[name].per_second
        room += count * (cards[name].feature_width or 0) * FLOAT_BYTES
    room += rows * ROW_BYTES + len(meant) * TRIAL_BYTES
    return Estimate(
        *(len(plan.missing), operations, images, image_operations),
        *(seconds, rates, room, tuple(unknown)),
    )


def _left_out(
    spec: TrialSpec,
    towers: Mapping[str, TowerOperations],
    works: Mapping[str, Work],
    datasets: Container[str],
) -> str:
    """Why nothing is known of a trial; empty where it is.

    Args:
        spec: The trial.
        towers: Of the backbones whose operations are known.
        works: What methods take.
        datasets: Names of those whose rows are known.
    """
    if missing := [name for name in (spec.dataset, *spec.targets) if name not in datasets]:
        return f"{', '.join(missing)}: how many rows there are is not known before ingestion"
    if spec.backbone not in towers:
        return f"{spec.backbone}: the operations of its towers are not known"
    if spec.method not in works:
        return f"{spec.method}: its operations are not known"
    return ""


def size_of(spec: TrialSpec, draws: Draws) -> Size:
    """How large a trial is.

    Args:
        spec: The trial.
        draws: Over its datasets.
    """
    episode, pool = draws.episode(spec), draws.unlabelled(spec)
    learned = (episode.classes, episode.train) if pool is None else (pool.classes, pool.rows)
    answers = tuple((len(each.classes), len(each.rows)) for each in episode.evaluations)
    classes, images = len(learned[0]), len(learned[1])
    fresh = np.empty(0) if pool is None else np.setdiff1d(pool.rows, episode.train)
    runs = method_for(spec).tuned_on(
        spec.hyperparameters,
        images=images,
        classes=classes,
        labelled=len(episode.train),
        unlabelled=len(fresh),
    )
    return Size(classes, images, answers, runs)
