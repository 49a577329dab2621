"""From a suite to the trials it means: which are there, which are missing, which make no sense."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, product
from typing import Any

from data_catalog import Dataset
from data_catalog.wording import some
from operators.backbones import BackboneCard, BackboneReference, BackboneUnavailable
from operators.images import TRANSFORM_VERSION
from operators.methods import Method
from operators.methods.hyperparameters import resolve as resolve_hyperparameters
from operators.methods.hyperparameters import variant
from operators.protocols import Protocol
from operators.spec import TrialSpec
from tasks import resolve
from tasks.data import Preview, template_set
from tasks.resolve import RequestError
from tasks.store import Store
from tasks.suite import MethodChoice, Suite

BUNDLE = 200  # most trials of one Prefect task


@dataclass(frozen=True)
class Backbones:
    """The backbones of a request, by the name that stands on the board."""

    references: Mapping[str, BackboneReference]
    cards: Mapping[str, BackboneCard]


@dataclass(frozen=True)
class Request:
    """A suite whose names have all become objects.

    Attributes:
        suite: What was asked for.
        backbones: See `Backbones`.
        skipped: Combinations that make no sense for this suite, and why.
    """

    suite: Suite
    backbones: Backbones
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """Trials that share backbone, dataset and protocol: one Prefect task.

    Attributes:
        backbone: Name on the board.
        dataset: Its name.
        protocol: Key of `PROTOCOLS`.
        specs: The trials.
    """

    backbone: str
    dataset: str
    protocol: str
    specs: tuple[TrialSpec, ...]

    @property
    def title(self) -> str:
        """One line for people."""
        return f"{self.dataset} {self.protocol} {self.backbone}"


@dataclass(frozen=True)
class Plan:
    """The trials of a run.

    Attributes:
        suite: What was asked for.
        specs: Every trial, each once.
        done: Ids of those that are in the store.
        skipped: Combinations that make no sense, and why.
        notices: What a user should know before reading the numbers.
    """

    suite: Suite
    specs: tuple[TrialSpec, ...]
    done: frozenset[str]
    skipped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @cached_property
    def missing(self) -> tuple[TrialSpec, ...]:
        """The trials that have to be computed."""
        return tuple(spec for spec in self.specs if spec.trial_id not in self.done)

    def bundles(self) -> Iterator[Bundle]:
        """The missing trials, by what they share; the longest first within each."""

        def shared(spec: TrialSpec) -> tuple[str, str, str]:
            return spec.backbone, spec.dataset, spec.protocol

        for key, group in groupby(sorted(self.missing, key=shared), key=shared):
            specs = sorted(group, key=expected_cost, reverse=True)
            for start in range(0, len(specs), BUNDLE):
                yield Bundle(*key, tuple(specs[start : start + BUNDLE]))


@dataclass
class _Draft:
    specs: dict[str, TrialSpec] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)


def expected_cost(spec: TrialSpec) -> float:
    """A rough order of trials by time: gradient steps, then shots."""
    return spec.hyperparameters.get("epochs", 0) * max(1, spec.shots) + spec.shots


def check(store: Store, suite: Suite) -> Request:
    """Turns every name of a suite into an object and refuses what cannot be.

    Raises:
        RequestError: A name is unknown, a hyperparameter cannot work, a backbone cannot be
            had, a method can do nothing on any of the backbones, or no trial remains.
    """
    for name in suite.datasets:
        resolve.dataset_card(store, name)
    protocols = {name: resolve.protocol(name) for name in suite.protocols}
    methods = {choice.id: resolve.method(choice.id) for choice in suite.methods}
    references = [
        resolve.backbone(name)._replace(precision=suite.precision) for name in suite.backbones
    ]
    skipped: dict[str, None] = {}
    possible = 0
    for (name, protocol), choice in product(protocols.items(), suite.methods):
        method = methods[choice.id]
        reason = unfit(choice.id, method, name, protocol)
        if reason:
            skipped[reason] = None
            continue
        possible += 1
        for shots in suite.shots:
            hyperparameters(choice, method, protocol=name, shots=shots)
    if not possible:
        raise RequestError(f"nothing to run: {' '.join(skipped)}")
    try:
        cards = {reference.name: reference.describe() for reference in references}
    except BackboneUnavailable as error:
        raise RequestError(str(error)) from error
    if len(cards) < len(references):
        names = ", ".join(reference.name for reference in references)
        raise RequestError(f"backbones {names}: two would have the same name; rename a folder.")
    for name, method in methods.items():
        lacks = {b: method.card.needs - card.capabilities for b, card in cards.items()}
        if all(lacks.values()):
            b, missing = next(iter(lacks.items()))
            raise RequestError(
                f"{name} needs {', '.join(sorted(missing))}, which {b} does not have. Choose "
                "another backbone with --backbones, such as a CLIP with a ViT."
            )
    backbones = Backbones({reference.name: reference for reference in references}, cards)
    return Request(suite, backbones, tuple(skipped))


def make_plan(store: Store, request: Request, datasets: "Mapping[str, Dataset | Preview]") -> Plan:
    """The trials of a request over ingested datasets.

    Args:
        store: What is done is looked up here.
        request: See `check`.
        datasets: By name; all of the suite's. A preview stands in before ingestion.

    Raises:
        RequestError: No trial remains.
    """
    suite, draft = request.suite, _Draft(skipped=dict.fromkeys(request.skipped))
    for name, dataset_name in product(request.backbones.cards, suite.datasets):
        card, dataset = request.backbones.cards[name], datasets[dataset_name]
        for protocol_name in suite.protocols:
            protocol = resolve.protocol(protocol_name)
            reason = unsuited(dataset, protocol)
            if reason:
                draft.skipped[f"{protocol_name} on {dataset_name}: {reason}"] = None
                continue
            if protocol.learns and isinstance(dataset, Dataset):
                _notice_small_classes(draft, dataset, suite)
            for choice in suite.methods:
                _add(draft, suite, choice, card, dataset, protocol_name, protocol)
    if not draft.specs:
        raise RequestError(f"nothing to run: {' '.join(draft.skipped)}")
    done = frozenset(draft.specs) & store.done()
    return Plan(
        suite, tuple(draft.specs.values()), done, tuple(draft.skipped), tuple(draft.notices)
    )


def _add(
    draft: _Draft,
    suite: Suite,
    choice: MethodChoice,
    card: BackboneCard,
    dataset: "Dataset | Preview",
    protocol_name: str,
    protocol: Protocol,
) -> None:
    """Adds the trials of one method, or says why there are none."""
    method = resolve.method(choice.id)
    if unfit(choice.id, method, protocol_name, protocol):
        return
    missing = method.card.needs - card.capabilities
    if missing:
        draft.skipped[f"{choice.id} on {card.name}: it has no {', '.join(sorted(missing))}."] = None
        return
    learns = protocol.learns and method.card.learns
    for shots in suite.shots if learns else (0,):
        values = hyperparameters(choice, method, protocol=protocol_name, shots=shots)
        if values.get("selection") == "val" and isinstance(dataset, Dataset):
            _refuse_without_validation(choice.id, dataset)
        views = suite.views if learns and method.view_epochs(values) else "none"
        if learns and views != suite.views:
            draft.notices[f"{choice.id} learns from centre crops alone: its views are none."] = None
        cell: dict[str, Any] = {  # what its trials share: thousands may differ by seed alone
            "method": choice.id,
            "method_revision": method.revision,
            "hyperparameters": values,
            "backbone": card.name,
            "backbone_fingerprint": card.fingerprint or "",
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "protocol": protocol_name,
            "protocol_revision": protocol.revision,
            "shots": shots,
            "setting": suite.setting,
            "selection": str(values.get("selection", "last")),
            "template_set": template_set(dataset),
            "transform_version": TRANSFORM_VERSION,
            "views": views,
            "precision": suite.precision,
            "test_rows_per_class": suite.test_rows_per_class,
        }
        for seed in suite.seeds if learns else (0,):
            spec = TrialSpec(seed=seed, **cell)
            draft.specs[spec.trial_id] = spec


def _refuse_without_validation(name: str, dataset: Dataset) -> None:
    if not len(dataset.rows_of("val")):
        raise RequestError(
            f"{name} with selection='val' on {dataset.name}: it has no validation rows. "
            "Use selection='last'."
        )


def unsuited(dataset: "Dataset | Preview", protocol: Protocol) -> str:
    """Why a dataset has no place in a protocol; empty if it has."""
    if len(dataset.classes) < protocol.minimum_classes:
        return f"it has {len(dataset.classes)} classes, and {protocol.minimum_classes} are needed."
    if isinstance(dataset, Dataset):
        if not len(dataset.rows_of("test")):
            return "it has no test rows."
        if protocol.learns and not len(dataset.rows_of("train")):
            return "it has no train rows to draw from; use the protocol zero_shot."
    return ""


def unfit(name: str, method: type[Method], protocol_name: str, protocol: Protocol) -> str:
    """Why a method has no place in a protocol; empty if it has."""
    if method.card.learns and not protocol.learns:
        return f"{name} in {protocol_name}: it learns from labelled images, and there are none."
    if protocol.new_classes and not method.card.new_classes:
        return (
            f"{name} in {protocol_name}: it learns something of its own for each class and cannot "
            "classify new ones."
        )
    return ""


def hyperparameters(
    choice: MethodChoice, method: type[Method], *, protocol: str, shots: int
) -> dict[str, Any]:
    """All hyperparameters of a chosen method.

    Raises:
        RequestError: A name or a value cannot be.
    """
    for name, value in choice.hyperparameters.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RequestError(f"{choice.id}: {name}={value}: give a finite number.")
    try:
        return resolve_hyperparameters(
            choice.id, method, choice.hyperparameters, protocol=protocol, shots=shots
        )
    except (LookupError, ValueError) as error:
        text = error.args[0] if error.args else str(error)
        raise RequestError(f"{choice.id}: {text}" if choice.id not in text else text) from error


def variant_of(spec: TrialSpec) -> str:
    """What tells the cells of one method apart, as the board shows it."""
    method = resolve.METHODS.get(spec.method)
    text = ""
    if method is not None:
        text = variant(method, spec.hyperparameters, protocol=spec.protocol, shots=spec.shots)
    if spec.views != "none":
        text += f" views={spec.views}"
    if spec.precision != "fp32":
        text += f" precision={spec.precision}"
    if spec.test_rows_per_class is not None:
        text += f" test_rows_per_class={spec.test_rows_per_class}"
    return text.strip()


def _notice_small_classes(draft: _Draft, dataset: Dataset, suite: Suite) -> None:
    """Says which classes cannot give all the shots; they give what they have, as published."""
    rows = dataset.rows_of("train")
    sizes = {
        name: int((dataset.labels[rows] == label).sum())
        for label, name in enumerate(dataset.classes)
    }
    wanted = max(suite.shots)
    small = [f"{name} ({size})" for name, size in sizes.items() if size < wanted]
    if small:
        draft.notices[
            f"{dataset.name}: {len(small)} classes have fewer than {wanted} train images and give "
            f"all they have: {some(small, 3)}."
        ] = None
