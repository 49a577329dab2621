"""What a plan will take, before anything of it is run: operations, time, room and downloads.

Operations of the towers are counted from the rows of each trial and from how often its method
passes the towers (operators/estimating); seconds follow from a rate that is measured here, either
by trials of the store with the same backbone or by a product of matrices, and from the time that a
step takes whatever its size. It is an estimate: between half and twice of what comes is good.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from data_catalog import Dataset
from operators.backbones import BackboneCard, BackboneReference
from operators.episodes.episode import Episode
from operators.episodes.table import Table
from operators.estimating.towers import TowerOperations, tower_operations
from operators.estimating.work import Size, Work, known_work, operations_of, steps_of
from operators.methods import known_method
from operators.spec import TrialSpec
from operators.tracks.rows import episode_of, unlabelled_of
from tasks.estimating.rates import STEP_SECONDS, Rate, rate_of
from tasks.planning.data import Imagined, TrialData
from tasks.planning.encodings import encoded_anew, needed_rows
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
    tables = {name: TrialData(each).table for name, each in datasets.items()}
    works, unknown = known_work(), dict[str, None]()
    meant: list[TrialSpec] = []
    for spec in plan.missing:
        if reason := _left_out(spec, towers, works, tables):
            unknown[reason] = None
        else:
            meant.append(spec)
    rates = {name: rate_of(store, name) for name in dict.fromkeys(s.backbone for s in meant)}
    episodes: dict[tuple[object, ...], Episode] = {}
    anew = encoded_anew(meant, datasets)
    operations = image_operations = seconds = 0.0
    images = rows = room = 0
    for spec in meant:
        tower, size = towers[spec.backbone], size_of(spec, tables, episodes)
        fit = operations_of(works[spec.method], size, spec.hyperparameters, tower)
        encoded = anew.get(spec.trial_id, 0)
        images += encoded
        operations += fit
        image_operations += encoded * tower.image
        done = fit + encoded * tower.image
        seconds += done / rates[spec.backbone].per_second
        seconds += steps_of(size, spec.hyperparameters) * STEP_SECONDS
        rows += sum(count for _, count in size.answers)
    for (name, on), specs in _encoded(meant).items():
        kept = needed_rows(specs, datasets[on], datasets)
        count = sum(len(found) for found in kept.values())
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
    tables: Mapping[str, Table],
) -> str:
    """Why nothing is known of a trial; empty where it is.

    Args:
        spec: The trial.
        towers: Of the backbones whose operations are known.
        works: What methods take.
        tables: Of the datasets whose rows are known.
    """
    if missing := [name for name in (spec.dataset, *spec.targets) if name not in tables]:
        return f"{', '.join(missing)}: how many rows there are is not known before ingestion"
    if spec.backbone not in towers:
        return f"{spec.backbone}: the operations of its towers are not known"
    if spec.method not in works:
        return f"{spec.method}: its operations are not known"
    return ""


def size_of(
    spec: TrialSpec, tables: Mapping[str, Table], episodes: dict[tuple[object, ...], Episode]
) -> Size:
    """How large a trial is.

    Args:
        spec: The trial.
        tables: Of the datasets, by name.
        episodes: Those that are known, by what they follow from.
    """
    place = (spec.dataset, tuple(spec.targets), spec.held_out, spec.protocol, spec.shots)
    draw = (*place, spec.tested_on, spec.test_rows_per_class)  # all seeds draw as many rows
    if draw not in episodes:
        episodes[draw] = episode_of(spec, tables[spec.dataset], tables)
    episode = episodes[draw]
    pool = unlabelled_of(spec, tables[spec.dataset], episode)
    learned = (episode.classes, episode.train) if pool is None else (pool.classes, pool.rows)
    answers = tuple((len(each.classes), len(each.rows)) for each in episode.evaluations)
    return Size(len(learned[0]), len(learned[1]), answers)


def _encoded(specs: Iterable[TrialSpec]) -> dict[tuple[str, str], list[TrialSpec]]:
    """Trials that read frozen features, by backbone and by each dataset whose features they read.

    Args:
        specs: The trials.
    """
    found: dict[tuple[str, str], list[TrialSpec]] = {}
    for spec in specs:
        method = known_method(spec)
        if method is not None and method.card.features:
            for name in (spec.dataset, *spec.targets):
                found.setdefault((spec.backbone, name), []).append(spec)
    return found
