"""Settings that a suite leaves to a search: its candidates, and which of them is chosen.

A candidate is a trial for each seed that is scored on the validation rows of its draw alone. What
is chosen is the candidate with the best mean over the seeds, so that the seeds of a cell share one
setting; of equals the first in the order given. Only the trials of the chosen one see test rows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, product
from math import prod
from statistics import fmean
from typing import Any

from data_catalog.wording import plural
from operators.episodes.shots import shots_said
from operators.metrics import METRICS
from operators.spec import VALIDATION, TrialSpec, digest
from tasks.planning.resolve import RequestError
from tasks.planning.suite import MethodChoice
from tasks.storage.store import Store

DIGITS = 12  # of a mean score: what differs by rounding alone is equal
Settings = Mapping[str, Any]  # the values of a candidate, by hyperparameter


@dataclass(frozen=True)
class Grid:
    """What a suite searches of one of its methods.

    Attributes:
        choice: The method, and what of its settings is not searched.
        values: By hyperparameter, in the order given.
        by: Whether each `cell` has a choice of its own, or the whole `suite` one.
        suite: Its name.
    """

    choice: MethodChoice
    values: Mapping[str, tuple[Any, ...]]
    by: str
    suite: str

    @property
    def size(self) -> int:
        """How many candidates there are."""
        return prod(map(len, self.values.values()))

    @property
    def search_id(self) -> str:
        """Sixteen hex digits: the same wherever the same is searched for the same suite."""
        values = [[name, list(values)] for name, values in self.values.items()]
        return digest([self.suite, self.choice.id, self.choice.hyperparameters, values, self.by])

    def candidates(self) -> Iterator[tuple[Settings, MethodChoice]]:
        """Each combination of the values, the last hyperparameter first moved, as a choice."""
        for combined in product(*self.values.values()):
            settings = dict(zip(self.values, combined, strict=True))
            own = {**self.choice.hyperparameters, **settings}
            yield settings, self.choice.model_copy(update={"hyperparameters": own})


@dataclass(frozen=True)
class Candidate:
    """One of the settings that a search chooses from, in one cell.

    Attributes:
        settings: What of the hyperparameters is searched.
        specs: Its trials with test rows, one a seed: they are computed of the chosen one alone.
    """

    settings: Settings
    specs: tuple[TrialSpec, ...]

    @cached_property
    def trials(self) -> tuple[TrialSpec, ...]:
        """The trials by which it is judged, one a seed."""
        return tuple(spec.on_validation for spec in self.specs)


@dataclass(frozen=True)
class Search:
    """The search of one method in one cell: what its seeds share but the searched settings.

    Attributes:
        grid: What is searched.
        candidates: In the order given.
        chosen: Place of the one that was chosen; None where none is yet.
        over: Whether no trial of a candidate is left to wait for.
    """

    grid: Grid
    candidates: tuple[Candidate, ...]
    chosen: int | None = None
    over: bool = False

    @property
    def specs(self) -> tuple[TrialSpec, ...]:
        """The trials of the chosen candidate with their test rows."""
        return () if self.chosen is None else self.candidates[self.chosen].specs

    @property
    def trials(self) -> Iterator[TrialSpec]:
        """All trials of all candidates."""
        return (trial for candidate in self.candidates for trial in candidate.trials)

    @cached_property
    def together(self) -> str:
        """The same for searches that have one choice."""
        own = self.candidates[0].trials[0].cell_id
        return self.grid.search_id if self.grid.by == "suite" else f"{self.grid.search_id} {own}"

    def record(self) -> dict[str, Any]:
        """What the manifest of a run keeps of it, as plain values."""
        return {
            "search_id": self.grid.search_id,
            "by": self.grid.by,
            "names": list(self.grid.values),
            "chosen": self.chosen,
            "candidates": [
                {
                    "settings": dict(candidate.settings),
                    "cell_id": candidate.trials[0].cell_id,
                    "tested_cell_id": candidate.specs[0].cell_id,
                }
                for candidate in self.candidates
            ],
        }


def grid_of(
    choice: MethodChoice, search: Mapping[str, tuple[Any, ...]], by: str, suite: str
) -> Grid | None:
    """What a suite searches of one of its methods; None where that is nothing.

    Args:
        choice: The method.
        search: Values by METHOD.NAME.
        by: As in `Grid`.
        suite: Its name.
    """
    own = {}
    for key, values in search.items():
        method, _, name = key.rpartition(".")
        if method == choice.id:
            own[name] = values
    return Grid(choice, own, by, suite) if own else None


def refuse_too_many(grids: Sequence[Grid], *, each: int, most: int) -> None:
    """Refuses a search of more trials than the suite allows.

    Args:
        grids: All that it searches.
        each: The most trials that a candidate may have.
        most: All candidates together.

    Raises:
        RequestError: There may be more.
    """
    count = each * sum(grid.size for grid in grids)
    if count > most:
        widest = max(grids, key=lambda grid: grid.size)
        raise RequestError(
            f"the search asks for {count} trials of candidates, {widest.size} of "
            f"{widest.choice.id} for each seed, and search_trials={most} is the "
            "most. Search fewer values, seeds or shots, or raise --search-trials."
        )


def decided(
    store: Store,
    searches: Sequence[Search],
    done: Collection[str],
    failed: Collection[str] = (),
) -> list[Search]:
    """The searches, with what is chosen where that can be said.

    Args:
        store: Has the scores.
        searches: Of a plan.
        done: Ids of trials that are in the store, whole.
        failed: Of trials that will not be there: a candidate without one of its scores is not
            chosen.
    """
    ordered = sorted(searches, key=lambda search: search.together)
    found: dict[int, Search] = {}
    for _, group in groupby(ordered, key=lambda search: search.together):
        cells = list(group)
        waiting = {trial.trial_id for cell in cells for trial in cell.trials} - set(done)
        over = waiting <= set(failed)
        chosen = _best(store, cells, waiting) if over else None
        found |= {id(cell): replace(cell, chosen=chosen, over=over) for cell in cells}
    return [found[id(search)] for search in searches]


def _best(store: Store, cells: Sequence[Search], lacking: Collection[str]) -> int | None:
    """Place of the candidate with the best mean over cells of its mean over seeds; None: none."""
    scores: list[tuple[float, int]] = []
    for place in range(len(cells[0].candidates)):
        trials = [cell.candidates[place].trials for cell in cells]
        if any(trial.trial_id in lacking for own in trials for trial in own):
            continue
        each = [[_goodness(store, trial) for trial in own] for own in trials]
        if not any(score is None for own in each for score in own):
            mean = fmean(fmean(score for score in own if score is not None) for own in each)
            scores.append((round(mean, DIGITS), -place))
    return -max(scores)[1] if scores else None


def _goodness(store: Store, trial: TrialSpec) -> float | None:
    """The primary metric on validation rows, the greater the better; None where it is no number."""
    from operators.tracks import track_of  # takes torch

    primary = track_of(trial.protocol).primary
    for score in store.result(trial.trial_id)["metrics"]:
        value = score["value"]
        if (score["split"], score["metric"]) == (VALIDATION, primary) and value is not None:
            return -value if METRICS[primary].better == "lower" else value
    return None


def said(searches: Sequence[Search]) -> Iterator[str]:
    """What a user should know of the searches of a plan."""
    chosen = sum(search.chosen is not None for search in searches)
    if chosen:
        yield (
            f"chosen on validation rows in {plural(chosen, 'cell')}: "
            '`shotboard sql "FROM searches WHERE chosen"`.'
        )
    for search in searches:
        if search.over and search.chosen is None:
            trial = search.candidates[0].trials[0]
            yield (
                f"{trial.method} on {trial.dataset}, {trial.protocol}, {shots_said(trial.shots)}: "
                "no candidate has a score on every seed, so none is chosen."
            )
