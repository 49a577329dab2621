"""Which images a suite has encoded: those whose features are kept, and those of single trials."""

from collections.abc import Iterable, Mapping

import numpy as np

from data_catalog import Dataset
from operators.episodes.episode import Episode
from operators.episodes.views import View
from operators.methods import method_for
from operators.spec import TrialSpec
from operators.tracks.rows import (
    episode_of,
    unlabelled_of,
    validation_of,
    view_policy,
    views_shown,
)
from tasks.planning.data import Imagined, TrialData
from tasks.planning.planned import Encodings


def encodings_of(
    specs: Iterable[TrialSpec], datasets: Mapping[str, Dataset | Imagined]
) -> Encodings:
    """Counts what some trials have encoded, from an empty store on.

    Args:
        specs: The trials, with their teachers.
        datasets: All that they learn from or are tested on, by name.
    """
    specs = [spec for spec in specs if method_for(spec).card.features]
    kept = 0
    for backbone in {spec.backbone for spec in specs}:
        own = [spec for spec in specs if spec.backbone == backbone]
        for name, dataset in datasets.items():
            here = [spec for spec in own if name in (spec.dataset, *spec.targets)]
            kept += sum(len(rows) for rows in needed_rows(here, dataset, datasets).values())
    return Encodings(kept, sum(encoded_anew(specs, datasets).values()))


def encoded_anew(
    specs: Iterable[TrialSpec], datasets: Mapping[str, Dataset | Imagined]
) -> dict[str, int]:
    """How many images each trial has encoded for itself alone, by its id.

    Args:
        specs: The trials.
        datasets: All that they learn from or are tested on, by name.
    """
    tables = {name: TrialData(each).table for name, each in datasets.items()}
    episodes: dict[tuple[object, ...], Episode] = {}
    found: dict[str, int] = {}
    for spec in specs:
        times = method_for(spec).encodings(spec.hyperparameters, view_policy(spec))
        if not any(times):
            continue
        draw = _draw(spec)
        if draw not in episodes:
            episodes[draw] = episode_of(spec, tables[spec.dataset], tables)
        episode = episodes[draw]
        pool = unlabelled_of(spec, tables[spec.dataset], episode)
        learned = len(episode.train if pool is None else pool.rows)
        tested = sum(len(each.rows) for each in episode.evaluations)
        found[spec.trial_id] = times[0] * learned + times[1] * tested
    return found


def _draw(spec: TrialSpec) -> tuple[object, ...]:
    """What the rows of a trial follow from."""
    place = spec.dataset, tuple(spec.targets), spec.held_out
    tested = spec.tested_on, spec.test_rows_per_class
    return *place, spec.protocol, spec.shots, spec.seed, *tested


def needed_rows(
    specs: Iterable[TrialSpec],
    dataset: Dataset | Imagined,
    datasets: Mapping[str, Dataset | Imagined] | None = None,
) -> Mapping[View | None, np.ndarray]:
    """Row ids, sorted, that any of the trials reads under each view whose features are kept.

    All rows of an episode are read as the centre crop (None), its training rows under the views
    of a bank as well; so are those without labels, where a method learns from them. Some methods
    choose on the whole val split. Of a target the tested rows are read.

    Args:
        specs: Trials that learn from the dataset or are tested on it.
        dataset: Whose rows are meant.
        datasets: Those of the trials, by name; may be left out where it is the only one.
    """
    tables = {name: TrialData(each).table for name, each in (datasets or {}).items()}
    tables[dataset.name] = table = TrialData(dataset).table
    episodes: dict[tuple[object, ...], Episode] = {}
    parts: dict[View | None, dict[tuple[object, ...], np.ndarray]] = {}
    for spec in specs:
        place = spec.dataset, tuple(spec.targets), spec.held_out
        draw = _draw(spec)
        if draw not in episodes:
            episodes[draw] = episode_of(spec, tables[spec.dataset], tables)
            own = spec.dataset == dataset.name
            parts.setdefault(None, {})[draw] = (
                episodes[draw].rows if own else episodes[draw].tested(dataset.name)
            )
        if spec.dataset != dataset.name:
            continue
        chosen_on = validation_of(spec, table, episodes[draw])
        if chosen_on is not episodes[draw].val:
            parts[None][*place, spec.protocol, "val"] = chosen_on
        trained: dict[tuple[object, ...], np.ndarray] = {draw: episodes[draw].train}
        if (pool := unlabelled_of(spec, table, episodes[draw])) is not None:
            key = *place, spec.protocol, spec.setting, spec.test_rows_per_class
            trained[key] = parts[None][key] = pool.rows
        for view in views_shown(spec):
            if view is not None and view.kept:
                parts.setdefault(view, {}).update(trained)
    return {view: np.unique(np.concatenate([*rows.values()])) for view, rows in parts.items()}
