"""The trials of one cell: what is planned where, and what makes the identity of all its seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from data_catalog import Dataset
from operators.backbones import BackboneCard, is_a
from operators.episodes.episode import Classes
from operators.episodes.joined import joined_classes
from operators.episodes.protocols import PROTOCOLS, Protocol
from operators.episodes.shots import shots_said
from operators.episodes.views import PUBLISHED, policy_of
from operators.images import TRANSFORM_VERSION
from operators.methods import Method
from operators.methods.hyperparameters import tuning_of
from operators.spec import Target, TrialSpec, digest
from operators.tracks import track_of
from tasks.planning.data import (
    Preview,
    classes_of,
    descriptions_of,
    pairs_of,
    template_set_for,
    text_version_of,
    undescribed,
)
from tasks.planning.own_methods import aids_of
from tasks.planning.search import Search
from tasks.planning.settings import Settings
from tasks.planning.suite import Suite
from tasks.planning.suited import UNLESS_MADE, lacks_validation, material_of
from tasks.planning.transfer import Ground, alike
from tasks.storage.store import Store


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        datasets: By name, those that starts are learned on included.
        specs: Trials that were asked for, by id.
        searches: What is searched, cell by cell.
        skipped: Combinations that make no sense, and why.
        notices: What a user should know.
        known: Classes of a dataset, with descriptions or without.
    """

    datasets: "Mapping[str, Dataset | Preview]"
    specs: dict[str, TrialSpec] = field(default_factory=dict)
    searches: list[Search] = field(default_factory=list)
    skipped: dict[str, None] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)
    known: dict[tuple[str, bool], Classes] = field(default_factory=dict)

    def classes(
        self, condition: "Condition", dataset: "Dataset | Preview", method: type[Method]
    ) -> Classes:
        """All that a method reads of a dataset's classes.

        Args:
            condition: Under which it is planned.
            dataset: The one that is learned, or a target.
            method: Its class.
        """
        reads = method.card.descriptions
        if (dataset.name, reads) not in self.known:
            said = descriptions_of(condition.store, dataset) if reads else None
            self.known[dataset.name, reads] = classes_of(dataset, said)
        return self.known[dataset.name, reads]


@dataclass(frozen=True)
class Condition:
    """A condition of the experiment: what trials of a backbone, dataset and protocol share."""

    store: Store
    suite: Suite
    card: BackboneCard
    dataset: "Dataset | Preview"
    protocol_name: str
    protocol: Protocol
    ground: Ground

    def learns(self, method: type[Method]) -> bool:
        """Whether a method is given labelled examples here."""
        return self.protocol.learns and method.card.learns

    def fits(self, method: type[Method]) -> bool:
        """Whether a method learns here, from labelled examples or from others."""
        return self.learns(method) or bool(self.protocol.unlabelled and method.card.unlabelled)

    def seeds(self, method: type[Method]) -> tuple[int, ...]:
        """Seeds of a method's trials: 0 alone where none can move its numbers."""
        moves = self.fits(method) or (self.protocol.stream and method.card.stream)
        return self.suite.seeds if moves else (0,)

    def nothing_to_choose_on(self, shots: int) -> str:
        """Why nothing may be chosen on validation rows here; empty if it may.

        Args:
            shots: Labelled examples that are drawn of a class, at least 1.
        """
        if self.dataset.val_is_test:
            return (
                f"its validation rows are test rows too, on which nothing is chosen ({UNLESS_MADE})"
            )
        if lacks_validation(self.dataset, self.protocol, self.ground, shots):
            return f"it has no validation rows for {self.protocol_name} of {shots_said(shots)}"
        return ""

    def of_teachers(self) -> "Condition":
        """The condition of the trials that teach here: nothing of the test examples is seen."""
        name = self.protocol.inductive or self.protocol_name
        return replace(self, protocol_name=name, protocol=PROTOCOLS[name])


def obstacle(condition: Condition, settings: Settings) -> str:
    """Why a method has no trials on a backbone and a dataset; empty if it has.

    Args:
        condition: What they would share.
        settings: Of the method there.
    """
    name, method = settings.choice.id, settings.method
    kind = track_of(condition.protocol_name).backbones
    if not is_a(condition.card, kind):
        return (
            f"{name} on {condition.card.name}: {condition.protocol_name} asks for a {kind.title}. "
            "Choose one with --backbones, see `shotboard backbones`."
        )
    missing = settings.needs - condition.card.capabilities
    if missing:
        told = f"{name}{method.said_form(settings.values)}"
        return f"{told} on {condition.card.name}: it has no {', '.join(sorted(missing))}."
    if method.card.domains and (condition.protocol.joins or not condition.dataset.domain_names):
        return (
            f"{name} on {condition.dataset.name}: it learns from the domain of each example, and "
            "there are none. Choose a dataset with domains, such as world-domains or pacs."
        )
    for dataset in (condition.dataset, *condition.ground.targets):
        if template_set_for(condition.store, method, dataset) is None:
            return undescribed(name, dataset.name)
    for target in condition.ground.targets:
        if not (method.card.new_classes or alike(condition.dataset, target)):
            return (
                f"{name} on {target.name}: it learns something of its own for each class, and the "
                f"classes of {target.name} are not those of {condition.dataset.name}."
            )
    return ""


def lacks(draft: Draft, condition: Condition, settings: Settings, shots: int) -> str:
    """Why a method cannot learn from what a dataset has for it; empty if it can, or none knows yet.

    Args:
        draft: Knows the classes.
        condition: Under which it is planned.
        settings: Of the method there.
        shots: Labelled examples a class.
    """
    method, dataset = settings.method, condition.dataset
    if not _may_keep_last(settings) and (why := _no_epoch_to_choose(condition, settings, shots)):
        return (
            f"{settings.choice.id} with selection='val' on {dataset.name}: {why}. Use "
            "selection='last'."
        )
    asks: Any = method.lacking
    if asks.__func__ is vars(Method)["lacking"].__func__ or not condition.fits(method):
        return ""  # as of most methods, so that no rows are drawn for them
    learned = [dataset, *(condition.ground.targets if condition.protocol.joins else ())]
    classes = joined_classes([draft.classes(condition, each, method) for each in learned])
    material = material_of(
        dataset,
        condition.protocol,
        condition.ground,
        shots if condition.learns(method) else 0,
        templates=classes.templates,
        unlabelled=method.card.unlabelled,
        clean=condition.suite.setting == "clean",
    )
    if material is None:
        return ""
    tuning = tuning_of(method, settings.values)
    reason = method.lacking(settings.values, tuning, material)
    return f"{settings.choice.id} on {dataset.name}: {reason}" if reason else ""


def _no_epoch_to_choose(condition: Condition, settings: Settings, shots: int) -> str:
    """Why a method cannot choose its epoch on validation rows; empty if it can, or chooses none."""
    if not condition.fits(settings.method) or settings.values.get("selection") != "val":
        return ""
    return condition.nothing_to_choose_on(shots)


def _may_keep_last(settings: Settings) -> bool:
    """Whether the last step is as published without validation rows, and nobody asked otherwise."""
    asked = "selection" in settings.choice.hyperparameters
    return bool(settings.method.card.without_validation) and not asked


def cell_of(draft: Draft, condition: Condition, settings: Settings, shots: int) -> dict[str, Any]:
    """What the trials of a cell share: thousands may differ by seed alone."""
    suite, dataset, protocol = condition.suite, condition.dataset, condition.protocol
    choice, method, values = settings.choice, settings.method, settings.values
    fits = condition.fits(method)
    # Of any other method `lacks` has asked, which draws an episode.
    if _may_keep_last(settings) and (why := _no_epoch_to_choose(condition, settings, shots)):
        values = {**values, "selection": "last"}
        draft.notices[
            f"{choice.id} on {dataset.name}: {why}, so the last step is kept (selection='last'): "
            f"{method.card.without_validation}."
        ] = None
    if fits and method.chooses_on_validation(values) and dataset.val_is_test:
        draft.notices[
            f"{choice.id} on {dataset.name}: it chooses settings on validation rows, and these are "
            f"test rows too, so its numbers have seen labels of the test ({UNLESS_MADE})."
        ] = None
    looks = fits and method.view_epochs(values)
    views = policy_of(suite.views, method.card.views) if looks else "none"
    if fits and not looks and not suite.views.endswith((PUBLISHED, views)):
        draft.notices[f"{choice.id} learns from each example as it is: its views are none."] = None
    # Only where some of the dataset's own classes are new is there something to keep out, unless
    # that they are seen is what is asked about.
    own = protocol.new_classes and not protocol.targets and not protocol.unlabelled
    differs = method.card.unlabelled and own
    if suite.setting == "clean" and not differs:
        draft.notices[
            f"{choice.id} in {condition.protocol_name}: clean is the same as paper, which its "
            "trials are filed under."
        ] = None
    return {
        "method": choice.id,
        "method_revision": method.revision,
        "hyperparameters": dict(values),
        "backbone": condition.card.name,
        "backbone_fingerprint": condition.card.fingerprint or "",
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "protocol": condition.protocol_name,
        "protocol_revision": protocol.revision,
        "shots": shots,
        "setting": suite.setting if differs else "paper",
        "selection": str(values.get("selection", "last")),
        "template_set": template_set_for(condition.store, method, dataset),
        "transform_version": TRANSFORM_VERSION,
        "views": views,
        "precision": suite.precision,
        "test_rows_per_class": suite.test_rows_per_class,
        "text_version": max(
            text_version_of(condition.card, draft.classes(condition, each, method), values)
            for each in (dataset, *condition.ground.targets)
        ),
        "targets": {
            target.name: Target(
                target.fingerprint, str(template_set_for(condition.store, method, target))
            )
            for target in condition.ground.targets
        },
        "held_out": condition.ground.held_out,
        "composition": digest(pairs_of(dataset)) if protocol.pairs else "",
        "aids": aids_of(method),
    }
