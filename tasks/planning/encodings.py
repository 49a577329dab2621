"""Which images a suite has encoded: those whose features are kept, and those of single trials."""

from collections.abc import Iterable, Mapping

import numpy as np

from data_catalog import Dataset
from operators.episodes.episode import Episode, Pool
from operators.episodes.joined import starts_of
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.table import Table
from operators.episodes.views import View
from operators.methods import method_for
from operators.methods.hyperparameters import in_epochs
from operators.spec import TrialSpec
from operators.tracks.rows import (
    episode_of,
    learned_table,
    unlabelled_of,
    validation_of,
    view_policy,
    views_shown,
)
from tasks.planning.data import Imagined, TrialData
from tasks.planning.planned import Encodings


class Draws:
    """Episodes of trials over some datasets, each drawn once.

    Args:
        datasets: All that the trials learn from or are tested on, by name.
    """

    def __init__(self, datasets: Mapping[str, Dataset | Imagined]) -> None:
        self.tables = {name: TrialData(each).table for name, each in datasets.items()}
        self._episodes: dict[tuple[object, ...], Episode] = {}

    def episode(self, spec: TrialSpec) -> Episode:
        """The rows that a trial learns from and is tested on."""
        draw = draw_of(spec)
        if draw not in self._episodes:
            self._episodes[draw] = episode_of(spec, self.tables[spec.dataset], self.tables)
        return self._episodes[draw]

    def unlabelled(self, spec: TrialSpec) -> Pool | None:
        """The examples that a trial learns from without labels, if its method asks for some."""
        return unlabelled_of(spec, self.learned(spec), self.episode(spec))

    def learned(self, spec: TrialSpec) -> Table:
        """The dataset that a trial learns from, or several as one."""
        return learned_table(spec, self.tables[spec.dataset], self.tables)

    def own_rows(self, spec: TrialSpec, dataset: str, rows: np.ndarray) -> np.ndarray:
        """Those of some learned rows that are of a dataset, as that dataset has them.

        Args:
            spec: Of the trial.
            dataset: Its own, or one of its targets.
            rows: As its episode has them.
        """
        if not PROTOCOLS[spec.protocol].joins:
            return rows if dataset == spec.dataset else rows[:0]
        names = (spec.dataset, *spec.targets)
        start = starts_of([self.tables[name] for name in names])[names.index(dataset)]
        own = (rows >= start) & (rows < start + len(self.tables[dataset].labels))
        return rows[own] - start


def draw_of(spec: TrialSpec) -> tuple[object, ...]:
    """What the rows of a trial follow from."""
    place = spec.dataset, tuple(spec.targets), spec.held_out
    tested = spec.tested_on, spec.test_rows_per_class
    return *place, spec.protocol, spec.shots, spec.seed, *tested


def encodings_of(
    specs: Iterable[TrialSpec], datasets: Mapping[str, Dataset | Imagined]
) -> Encodings:
    """Counts what some trials have encoded, from an empty store on.

    Args:
        specs: The trials, with their teachers.
        datasets: All that they learn from or are tested on, by name.
    """
    specs, draws = [spec for spec in specs if method_for(spec).card.features], Draws(datasets)
    kept = sum(kept_images(specs, draws).values())
    return Encodings(kept, sum(encoded_anew(specs, draws).values()))


def kept_images(specs: Iterable[TrialSpec], draws: Draws) -> dict[tuple[str, str], int]:
    """How many images some trials have encoded whose features are kept, by backbone and dataset.

    Args:
        specs: The trials.
        draws: Over all of their datasets.
    """
    readers: dict[tuple[str, str], list[TrialSpec]] = {}
    for spec in specs:
        if method_for(spec).card.features:
            for name in (spec.dataset, *spec.targets):
                readers.setdefault((spec.backbone, name), []).append(spec)
    return {
        (backbone, name): sum(map(len, _rows_read(own, name, draws).values()))
        for (backbone, name), own in readers.items()
    }


def encoded_anew(specs: Iterable[TrialSpec], draws: Draws) -> dict[str, int]:
    """How many images each trial has encoded for itself alone, by its id.

    Args:
        specs: The trials.
        draws: Over all of their datasets.
    """
    found: dict[str, int] = {}
    for spec in specs:
        method, policy = method_for(spec), view_policy(spec)
        if not any(method.encodings(spec.hyperparameters, policy)):
            continue
        episode, pool = draws.episode(spec), draws.unlabelled(spec)
        learned = len(episode.train if pool is None else pool.rows)
        times = method.encodings(in_epochs(method, spec.hyperparameters, learned), policy)
        tested = sum(len(each.rows) for each in episode.evaluations)
        found[spec.trial_id] = times[0] * learned + times[1] * tested
    return found


def views_read(spec: TrialSpec) -> set[View]:
    """The views beside the centre crop whose kept features a trial reads, however few its rows."""
    shown = {view for view in views_shown(spec, 1) if view is not None and view.kept}
    return shown | {*method_for(spec).views_of_tested(spec.hyperparameters)}


def needed_rows(
    specs: Iterable[TrialSpec],
    dataset: Dataset,
    datasets: Mapping[str, Dataset] | None = None,
) -> Mapping[View | None, np.ndarray]:
    """Row ids, sorted, that any of the trials reads under each view whose features are kept.

    All rows of an episode are read as the centre crop (None), its training rows under the views
    of a bank as well; so are those without labels, where a method learns from them. Some methods
    choose on the whole val split, and some have kept views of tested rows. Of a target the tested
    rows are read.

    Args:
        specs: Trials that learn from the dataset or are tested on it.
        dataset: Whose rows are meant.
        datasets: Those of the trials, by name; may be left out where it is the only one.
    """
    return _rows_read(specs, dataset.name, Draws({**(datasets or {}), dataset.name: dataset}))


def _rows_read(
    specs: Iterable[TrialSpec], dataset: str, draws: Draws
) -> Mapping[View | None, np.ndarray]:
    """See `needed_rows`, of the dataset of a name."""
    parts: dict[View | None, dict[tuple[object, ...], np.ndarray]] = {}
    for spec in specs:
        place = spec.dataset, tuple(spec.targets), spec.held_out
        draw, episode, own = draw_of(spec), draws.episode(spec), spec.dataset == dataset
        centre = parts.setdefault(None, {})
        train, val = (draws.own_rows(spec, dataset, r) for r in (episode.train, episode.chosen_on))
        if draw not in centre:
            tested = episode.tested("" if own else dataset)
            centre[draw] = np.unique(np.concatenate([train, val, tested]))
        for view in method_for(spec).views_of_tested(spec.hyperparameters):
            parts.setdefault(view, {})[*draw, "tested"] = episode.tested("" if own else dataset)
        if not (own or PROTOCOLS[spec.protocol].joins):
            continue
        chosen_on = validation_of(spec, draws.learned(spec), episode)
        if chosen_on is not episode.val:
            key = *place, spec.protocol, "val"
            centre[key] = draws.own_rows(spec, dataset, chosen_on)
        trained: dict[tuple[object, ...], np.ndarray] = {draw: train}
        learned = len(episode.train)
        if (pool := draws.unlabelled(spec)) is not None:
            key = *place, spec.protocol, spec.setting, spec.test_rows_per_class
            trained[key] = centre[key] = draws.own_rows(spec, dataset, pool.rows)
            learned = len(pool.rows)
        for view in views_shown(spec, learned):
            if view is not None and view.kept:
                parts.setdefault(view, {}).update(trained)
    return {view: np.unique(np.concatenate([*rows.values()])) for view, rows in parts.items()}
