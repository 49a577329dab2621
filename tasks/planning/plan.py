"""From a suite to the trials it means: which are there, which are missing, which make no sense."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from data_catalog import Dataset
from operators.episodes.protocols import Protocol
from operators.episodes.shots import shots_of
from operators.spec import TrialSpec
from tasks.planning.cells import Condition, Draft, cell_of, obstacle
from tasks.planning.choices import Backbones, Request, Settings
from tasks.planning.data import Preview
from tasks.planning.planned import Plan, with_done
from tasks.planning.resolve import RequestError
from tasks.planning.suite import Suite
from tasks.planning.suited import small_classes, unsuited, without_rows
from tasks.planning.transfer import Ground, grounds_of
from tasks.storage.store import Store


def make_plan(store: Store, request: Request, datasets: "Mapping[str, Dataset | Preview]") -> Plan:
    """The trials of a request over ingested datasets, those of teachers included.

    Args:
        store: What is done is looked up here.
        request: See `check`.
        datasets: By name; all of the suite's, targets included. A preview stands in for one that
            is not ingested.

    Raises:
        RequestError: No trial remains.
    """
    suite, draft = request.suite, Draft(skipped=dict.fromkeys(request.skipped))
    for name, dataset_name in product(request.backbones.asked, suite.datasets):
        card, dataset = request.backbones.cards[name], datasets[dataset_name]
        for protocol_name, protocol in request.protocols.items():
            for ground in _grounds(draft, suite, dataset, protocol_name, protocol, datasets):
                condition = Condition(store, suite, card, dataset, protocol_name, protocol, ground)
                for by_shots in request.settings.get((protocol_name, dataset_name), ()):
                    _add(draft, condition, by_shots, request.backbones)
    if not draft.specs:
        raise RequestError(f"nothing to run: {' '.join(draft.skipped)}")
    _add_teachers(draft)
    skipped, notices = tuple(draft.skipped), tuple(draft.notices)
    return with_done(store, Plan(suite, tuple(draft.specs.values()), frozenset(), skipped, notices))


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


def _add(
    draft: Draft, condition: Condition, by_shots: Mapping[int, Settings], backbones: Backbones
) -> None:
    """Adds the trials of one method, or says why there are none."""
    first = next(iter(by_shots.values()))
    if reason := obstacle(condition, first.choice.id, first.method):
        draft.skipped[reason] = None
        return
    for shots, settings in by_shots.items():
        cell = cell_of(draft, condition, settings, shots)
        teachers = _teachers(draft, condition, settings, shots, backbones)
        if settings.teacher is not None and not teachers:
            return
        for seed in condition.seeds(settings.method):
            aids = cell["aids"] | ({"teacher": teachers[seed]} if teachers else {})
            spec = TrialSpec(**cell | {"seed": seed, "aids": aids})
            draft.specs[spec.trial_id] = spec


def _teachers(
    draft: Draft, condition: Condition, settings: Settings, shots: int, backbones: Backbones
) -> dict[int, TrialSpec]:
    """The trial of the teacher by seed of the student; none where it has no place here."""
    student, teacher = settings.choice.id, settings.teacher
    if teacher is None:
        return {}
    condition = condition.of_teachers()
    if teacher.backbone:
        condition = replace(condition, card=backbones.cards[teacher.backbone.name])
    if reason := obstacle(condition, teacher.choice.id, teacher.method):
        draft.skipped[f"{student}: its teacher has no place: {reason}"] = None
        return {}
    learns = condition.learns(teacher.method)
    cell = cell_of(draft, condition, teacher, shots if learns else 0)
    found = {seed: TrialSpec(seed=seed if learns else 0, **cell) for seed in condition.suite.seeds}
    for spec in found.values():
        draft.teachers[spec.trial_id] = spec
        draft.students[spec.trial_id] = student
    return found


def _add_teachers(draft: Draft) -> None:
    """Puts the trials of teachers before all others, and says which of them nobody asked for."""
    added: dict[tuple[str, str, str], int] = {}
    for trial_id, spec in draft.teachers.items():
        if trial_id not in draft.specs:
            key = spec.method, spec.backbone, draft.students[trial_id]
            added[key] = added.get(key, 0) + 1
    for (method, backbone, student), count in added.items():
        trials = f"{count} trial{'s' * (count > 1)} of {method} on {backbone}"
        draft.notices[f"{student} learns from a teacher: {trials} added."] = None
    draft.specs = {**draft.teachers, **draft.specs}
