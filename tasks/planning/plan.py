"""From a suite to the trials it means: which are there, which are missing, which make no sense."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import product

from data_catalog import Dataset
from data_catalog.wording import plural
from operators.episodes.protocols import PROTOCOLS, Protocol
from operators.episodes.shots import shots_of
from operators.methods.leaning import LEANINGS
from operators.spec import TrialSpec
from operators.tracks import TRACKS
from tasks.planning.cells import Condition, Draft, cell_of, lacks, obstacle
from tasks.planning.choices import Backbones, Request, Sought
from tasks.planning.data import Preview
from tasks.planning.planned import Plan, whole_of, with_done
from tasks.planning.resolve import RequestError
from tasks.planning.search import Candidate, Search, decided, said
from tasks.planning.settings import Settings, source_protocol
from tasks.planning.suite import Suite
from tasks.planning.suited import (
    small_classes,
    unsuited,
    without_rows,
)
from tasks.planning.transfer import Ground, grounds_of
from tasks.storage.store import Store


def make_plan(
    store: Store,
    request: Request,
    datasets: "Mapping[str, Dataset | Preview]",
    *,
    failed: Collection[str] = (),
) -> Plan:
    """The trials of a request over ingested datasets, those that others lean on included.

    Where settings are searched, those of all candidates; the trials of the chosen one follow as
    soon as all of these are over.

    Args:
        store: What is done is looked up here.
        request: See `check`.
        datasets: By name; all of the request's cards. A preview stands in for one that is not
            ingested.
        failed: Ids of trials that will not be there: what is chosen does not wait for them.

    Raises:
        RequestError: No trial remains, or a search has no rows to choose on.
    """
    suite = request.suite
    draft = Draft(datasets=datasets, skipped=dict.fromkeys(request.skipped))
    for name, dataset_name in product(request.backbones.asked, suite.datasets):
        card, dataset = request.backbones.cards[name], datasets[dataset_name]
        for protocol_name, protocol in request.protocols.items():
            for ground in _grounds(draft, suite, dataset, protocol_name, protocol, datasets):
                condition = Condition(store, suite, card, dataset, protocol_name, protocol, ground)
                place = protocol_name, dataset_name
                for by_shots in request.settings.get(place, ()):
                    for shots, settings in by_shots.items():
                        specs = _specs(draft, condition, settings, shots, request.backbones)
                        draft.specs |= {spec.trial_id: spec for spec in specs}
                for sought in request.sought.get(place, ()):
                    draft.searches += _searches(draft, condition, sought, request.backbones)
    if not draft.specs and not draft.searches:
        raise RequestError(f"nothing to run: {' '.join(draft.skipped)}")
    searches = _decide(store, draft, failed)
    _add_leant_on(draft)
    skipped, notices = tuple(draft.skipped), (*draft.notices, *said(searches))
    specs = tuple(draft.specs.values())
    return with_done(store, Plan(suite, specs, frozenset(), skipped, notices, searches=searches))


def _grounds(
    draft: Draft,
    suite: Suite,
    dataset: "Dataset | Preview",
    protocol_name: str,
    protocol: Protocol,
    datasets: "Mapping[str, Dataset | Preview]",
) -> list[Ground]:
    """What the trials of a dataset are tested on; what has no place is noted."""
    where = f"{protocol_name} on {dataset.name}"
    if reason := unsuited(dataset, protocol):
        draft.skipped[f"{where}: {reason}"] = None
        return []
    if isinstance(dataset, Dataset):
        wanted = max(map(shots_of, suite.shots)) if protocol.learns else 0  # all lack nothing
        draft.notices |= dict.fromkeys(small_classes(dataset, wanted))
    grounds = grounds_of(suite, dataset, protocol_name, protocol, datasets)
    draft.skipped |= dict.fromkeys(grounds.left_out)
    found = []
    for ground in grounds.tested:
        if reason := without_rows(dataset, protocol, ground):
            draft.skipped[f"{where}: {reason}"] = None
        else:
            found.append(ground)
    return found


def _specs(
    draft: Draft, condition: Condition, settings: Settings, shots: int, backbones: Backbones
) -> tuple[TrialSpec, ...]:
    """The trials of one method and number of shots, by seed; or says why there are none."""
    if reason := obstacle(condition, settings) or lacks(draft, condition, settings, shots):
        draft.skipped[reason] = None
        return ()
    cell = cell_of(draft, condition, settings, shots)
    leant_on: dict[str, dict[int, TrialSpec]] = {}
    for role, other in settings.leans_on.items():
        where = _condition_of(draft, condition, other, backbones)
        leant_on[role] = _leant_on(draft, where, other, shots, role, settings.choice.id)
        if not leant_on[role]:
            return ()
    seeds = condition.seeds(settings.method)
    aids = {
        seed: cell["aids"] | {role: trials[seed] for role, trials in leant_on.items()}
        for seed in seeds
    }
    return tuple(TrialSpec(**cell | {"seed": seed, "aids": aids[seed]}) for seed in seeds)


def _searches(
    draft: Draft, condition: Condition, sought: Sought, backbones: Backbones
) -> list[Search]:
    """The searches of a method on a ground, one for each number of shots.

    Raises:
        RequestError: There are no rows to choose on.
    """
    name = f"the search of {', '.join(sought.grid.values)} of {sought.grid.choice.id}"
    found: list[Search] = []
    for shots in sought.candidates[0][1]:
        if why := condition.nothing_to_choose_on(shots):
            raise RequestError(
                f"{name} on {condition.dataset.name}: {why}. Leave the dataset out, or search "
                "nothing."
            )
        candidates = tuple(
            Candidate(settings, specs)
            for settings, by_shots in sought.candidates
            if (specs := _specs(draft, condition, by_shots[shots], shots, backbones))
        )
        if any(spec.teacher and not spec.teacher.shots for c in candidates for spec in c.specs):
            raise RequestError(
                f"{name}: its teacher learns from no labelled example, so it has nothing but test "
                "rows to be scored on. Choose another with teacher=NAME, or search nothing."
            )
        if candidates:
            found.append(Search(sought.grid, candidates))
    return found


def _decide(store: Store, draft: Draft, failed: Collection[str]) -> tuple[Search, ...]:
    """Adds the trials of candidates and those of what is chosen; returns the searches."""
    trials = {t.trial_id: t for search in draft.searches for t in search.trials}
    if not trials:
        return ()
    searches = decided(store, draft.searches, whole_of(store, trials)[0], failed)
    chosen = {spec.trial_id: spec for search in searches for spec in search.specs}
    draft.specs |= trials | chosen
    return tuple(searches)


def _condition_of(
    draft: Draft, condition: Condition, other: Settings, backbones: Backbones
) -> Condition:
    """The condition of the trials that others lean on.

    Args:
        draft: Has the datasets.
        condition: Of those who lean.
        other: Whom they lean on.
        backbones: Of the request.
    """
    if other.datasets:
        first, *more = (draft.datasets[name] for name in other.datasets)
        name = source_protocol(other.datasets)
        return replace(
            condition,
            dataset=first,
            protocol_name=name,
            protocol=PROTOCOLS[name],
            ground=Ground(tuple(more)),
        )
    condition = condition.of_teachers()
    if other.backbone:
        condition = replace(condition, card=backbones.cards[other.backbone.name])
    return condition


def _leant_on(
    draft: Draft,
    condition: Condition,
    other: Settings,
    shots: int,
    role: str,
    student: str,
) -> dict[int, TrialSpec]:
    """The trial that others lean on, by their seed; none where it has no place.

    Args:
        draft: The plan in the making.
        condition: Its own.
        other: Its settings.
        shots: Of those who lean.
        role: What it is to them.
        student: Id of their method.
    """
    learns = condition.learns(other.method)
    own = shots if other.shots is None else other.shots
    if reason := _no_place(condition, other) or lacks(draft, condition, other, own):
        draft.skipped[f"{student}: its {role} has no place: {reason}"] = None
        return {}
    cell = cell_of(draft, condition, other, own if learns else 0)
    return {seed: TrialSpec(seed=seed if learns else 0, **cell) for seed in condition.suite.seeds}


def _no_place(condition: Condition, other: Settings) -> str:
    """Why there are no trials to lean on; empty if there are.

    Args:
        condition: Their own.
        other: Their settings.
    """
    if reason := obstacle(condition, other):
        return reason
    if not other.datasets:
        return ""
    each = condition.dataset, *condition.ground.targets
    kind = TRACKS[other.method.track].kind
    for dataset in each:
        if dataset.kind != kind:
            return (
                f"{dataset.name} holds {dataset.kind}s, and {other.choice.id} learns from {kind}s."
            )
        if reason := unsuited(dataset, condition.protocol):
            return f"{dataset.name}: {reason}"
    return without_rows(condition.dataset, condition.protocol, condition.ground)


def _add_leant_on(draft: Draft) -> None:
    """Puts the trials that others lean on first, and says which of them nobody asked for."""
    leant_on: dict[str, TrialSpec] = {}
    added: dict[tuple[str, str, str, str], set[str]] = {}
    for spec in draft.specs.values():
        for role, other in spec.aids.items():
            if not isinstance(other, TrialSpec):
                continue
            leant_on[other.trial_id] = other
            if other.trial_id not in draft.specs:
                key = other.method, other.backbone, spec.method, role
                added.setdefault(key, set()).add(other.trial_id)
    for (method, backbone, student, role), trial_ids in added.items():
        trials = f"{plural(len(trial_ids), 'trial')} of {method} on {backbone}"
        draft.notices[f"{student} {LEANINGS[role].does}: {trials} added."] = None
    draft.specs = {**leant_on, **draft.specs}
