"""From a suite to the trials it means: which are there, which are missing, which make no sense."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, islice, product

from data_catalog import Dataset
from operators.board.variants import Chosen
from operators.episodes.protocols import Protocol
from operators.methods import known_method
from operators.methods.hyperparameters import later_defaults, published
from operators.spec import TrialSpec
from tasks.planning.cells import Condition, Draft, cell_of, obstacle
from tasks.planning.choices import Backbones, Request, Settings
from tasks.planning.data import Preview
from tasks.planning.resolve import RequestError
from tasks.planning.suite import Suite
from tasks.planning.suited import small_classes, unsuited, without_rows
from tasks.planning.transfer import Ground, grounds_of
from tasks.storage.store import Store
from tasks.storage.wholeness import torn

METHODS_SHOWN = 3  # in the name of a bundle
BUNDLE = 200  # most trials of one Prefect task
TRAIN_SPLIT = 64  # images a class, roughly, of which methods without labels read all


@dataclass(frozen=True)
class Bundle:
    """Trials that share backbone, dataset and protocol: one Prefect task.

    Attributes:
        backbone: Name on the board.
        dataset: Its name.
        protocol: Key of `PROTOCOLS`.
        specs: The trials.
        waits_for: Ids of trials that have to be over before these begin: their teachers.
    """

    backbone: str
    dataset: str
    protocol: str
    specs: tuple[TrialSpec, ...]
    waits_for: frozenset[str] = frozenset()

    @property
    def trial_ids(self) -> frozenset[str]:
        """Ids of its trials."""
        return frozenset(spec.trial_id for spec in self.specs)

    @property
    def place(self) -> str:
        """What its trials share: the same from run to run."""
        return f"{self.dataset} {self.protocol} {self.backbone}"

    @property
    def title(self) -> str:
        """One line for people: `coop, maple on digits, few_shot, with mini-clip`."""
        methods = list(dict.fromkeys(spec.method for spec in self.specs))
        shown = ", ".join(methods[:METHODS_SHOWN])
        more = f" and {len(methods) - METHODS_SHOWN} more" if len(methods) > METHODS_SHOWN else ""
        return f"{shown}{more} on {self.dataset}, {self.protocol}, with {self.backbone}"


@dataclass(frozen=True)
class Plan:
    """The trials of a run.

    Attributes:
        suite: What was asked for.
        specs: Every trial, each once.
        done: Ids of those that are in the store, whole.
        torn: Of those that are there, but damaged: what is wrong, by id. They are computed again.
        skipped: Combinations that make no sense, and why.
        notices: What a user should know before reading the numbers.
    """

    suite: Suite
    specs: tuple[TrialSpec, ...]
    done: frozenset[str]
    skipped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    torn: Mapping[str, str] = field(default_factory=dict)

    @property
    def torn_text(self) -> str:
        """Says which trials are damaged; empty where none is."""
        if not self.torn:
            return ""
        first = "; ".join(f"{trial_id}: {why}" for trial_id, why in islice(self.torn.items(), 3))
        return f"computed again, since damaged on disk ({len(self.torn)} in all): {first}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of it: what is damaged, skipped and worth a notice."""
        return tuple(filter(None, (self.torn_text, *self.skipped, *self.notices)))

    @cached_property
    def missing(self) -> tuple[TrialSpec, ...]:
        """The trials that have to be computed."""
        return tuple(spec for spec in self.specs if spec.trial_id not in self.done)

    def bundles(self) -> Iterator[Bundle]:
        """The missing trials, by what they share; the longest first within each.

        Teachers come first, in bundles of their own, so that nobody waits for others in them;
        then what waits for nothing; then the students of those teachers.
        """
        missing = {spec.trial_id for spec in self.missing}
        teachers = {s.teacher.trial_id for s in self.missing if s.teacher} & missing

        def shared(spec: TrialSpec) -> tuple[int, str, str, str]:
            waits = spec.teacher is not None and spec.teacher.trial_id in teachers
            turn = 0 if spec.trial_id in teachers else 1 + waits
            return turn, spec.backbone, spec.dataset, spec.protocol

        for key, group in groupby(sorted(self.missing, key=shared), key=shared):
            _, backbone, dataset, protocol = key
            specs = sorted(group, key=expected_cost, reverse=True)
            for start in range(0, len(specs), BUNDLE):
                part = tuple(specs[start : start + BUNDLE])
                waits_for = {s.teacher.trial_id for s in part if s.teacher} & teachers
                yield Bundle(backbone, dataset, protocol, part, frozenset(waits_for))


def expected_cost(spec: TrialSpec) -> float:
    """A rough order of trials by time: gradient steps, then shots."""
    method = known_method(spec)
    reads_all = method is not None and method.card.unlabelled
    images = TRAIN_SPLIT if reads_all else max(1, spec.shots)
    return spec.hyperparameters.get("epochs", 0) * images + spec.shots


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
    there = frozenset(draft.specs) & store.done()
    damaged = torn(store, there)
    return Plan(
        suite,
        tuple(draft.specs.values()),
        there - damaged.keys(),
        tuple(draft.skipped),
        tuple(draft.notices),
        damaged,
    )


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
        wanted = max(suite.shots) if protocol.learns else 0
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
        for seed in condition.suite.seeds if condition.learns(settings.method) else (0,):
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


def chosen_of(spec: TrialSpec) -> Chosen:
    """The settings of a trial beside those that are published for its place."""
    marks = []
    if spec.views != "none":
        marks.append(f"views={spec.views}")
    if spec.precision != "fp32":
        marks.append(f"precision={spec.precision}")
    if spec.setting != "paper":
        marks.append(f"setting={spec.setting}")
    if "method_source" in spec.aids:
        marks.append(f"source={str(spec.aids['method_source'])[:8]}")
    if spec.test_rows_per_class is not None:
        marks.append(f"test_rows_per_class={spec.test_rows_per_class}")
    method = known_method(spec)
    if method is None:
        return Chosen(marks=" ".join(marks), known=False)
    place = {"protocol": spec.protocol, "shots": spec.shots, "dataset": spec.dataset}
    return Chosen(
        {**later_defaults(method), **spec.hyperparameters},
        published(method, **place),
        " ".join(marks),
    )


def variant_of(spec: TrialSpec) -> str:
    """What differs from the published settings of a trial's own place; empty if nothing does."""
    return chosen_of(spec).text
