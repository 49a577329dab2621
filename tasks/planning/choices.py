"""What a suite asks for, as objects: what cannot be is refused, what has no place is skipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from math import prod
from typing import Any, NamedTuple

from data_catalog import DatasetCard
from operators.backbones import (
    BACKBONES,
    FAMILIES,
    BackboneCard,
    BackboneReference,
    BackboneUnavailable,
    DualEncoder,
    is_a,
)
from operators.episodes.protocols import Protocol
from operators.episodes.shots import shots_of
from operators.methods import Method
from operators.tracks import TRACKS
from tasks.planning import resolve
from tasks.planning.data import undescribed
from tasks.planning.own_datasets import with_own_cards
from tasks.planning.own_functions import with_own_functions
from tasks.planning.own_methods import with_own
from tasks.planning.placed import unfit
from tasks.planning.resolve import RequestError
from tasks.planning.search import Grid, grid_of, refuse_too_many
from tasks.planning.settings import Names, Settings, settings_of
from tasks.planning.suite import MethodChoice, Suite
from tasks.planning.suited import testing_targets
from tasks.storage.store import Store

NOT_HERE = "not-here"  # in place of the fingerprint of weights: no trial with them is ever done


@dataclass(frozen=True)
class Backbones:
    """The backbones of a request, by the name that stands on the board.

    Attributes:
        references: Of all of them.
        cards: Likewise.
        asked: Names of the suite's own; the others are those of teachers.
    """

    references: Mapping[str, BackboneReference]
    cards: Mapping[str, BackboneCard]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A suite whose names have all become objects.

    Attributes:
        suite: What was asked for.
        cards: Of its datasets by name, targets and those that starts are learned on included.
        protocols: Its protocols, by name.
        settings: By protocol and dataset, for each method that has a place there: its settings
            by number of shots, which is 0 where nothing is learned.
        sought: By protocol and dataset, for each method whose settings are searched: likewise,
            of each candidate.
        backbones: See `Backbones`.
        skipped: Combinations that make no sense for this suite, and why.
    """

    suite: Suite
    cards: Mapping[str, DatasetCard]
    protocols: Mapping[str, Protocol]
    settings: Mapping[tuple[str, str], Sequence[Mapping[int, Settings]]]
    backbones: Backbones
    skipped: tuple[str, ...]
    sought: Mapping[tuple[str, str], Sequence["Sought"]] = field(default_factory=dict)


class Sought(NamedTuple):
    """A method in a place, with settings that are to be searched.

    Attributes:
        grid: What is searched.
        candidates: What each has for the searched settings; and all of its own, by number of shots.
    """

    grid: Grid
    candidates: tuple[tuple[Mapping[str, Any], Mapping[int, Settings]], ...]

    @property
    def by_shots(self) -> Iterator[Mapping[int, Settings]]:
        """All settings of each candidate, by number of shots."""
        return (settings for _, settings in self.candidates)


def check(store: Store, suite: Suite, *, imagined: bool = False) -> Request:
    """Turns every name of a suite into an object and refuses what cannot be.

    Args:
        store: Has what users registered.
        suite: What is asked for.
        imagined: Whether published datasets and known weights that are not here are taken as if
            they were, for a plan that nobody runs.

    Raises:
        RequestError: A name is unknown, a hyperparameter cannot work, a backbone cannot be
            had, a method or its teacher can do nothing on any of the backbones, or no trial
            remains.
    """
    suite = suite.model_copy(update=with_own_functions(suite.methods, suite.search))
    searched = suite.search, suite.search_by, suite.name
    grids = [grid_of(choice, *searched) for choice in suite.methods]
    own = {
        "methods": with_own(suite.methods),
        "datasets": with_own_cards(store, suite.datasets),
        "targets": with_own_cards(store, suite.targets),
    }
    suite = suite.model_copy(update=own)
    names = Names(store)
    find = resolve.imagined_card if imagined else resolve.dataset_card
    cards = {name: find(store, name) for name in suite.all_datasets}
    references = [names.backbone(name) for name in suite.backbones]
    protocols = {name: resolve.protocol(name) for name in suite.protocols}
    if suite.targets and not any(protocol.targets for protocol in protocols.values()):
        raise RequestError(
            f"targets {', '.join(suite.targets)}: none of the protocols "
            f"{', '.join(suite.protocols)} tests other datasets than those that are learned. "
            f"{testing_targets({protocol.track for protocol in protocols.values()})}"
        )
    methods = [(choice, names.method(choice.id)) for choice in suite.methods]
    asked = tuple(map(shots_of, suite.shots))
    grids = [grid and replace(grid, choice=c) for grid, c in zip(grids, suite.methods, strict=True)]
    combined = (suite.backbones, suite.protocols, suite.datasets, suite.shots, suite.seeds)
    each = prod(map(len, combined))
    refuse_too_many([grid for grid in grids if grid], each=each, most=suite.search_trials)
    settings: dict[tuple[str, str], list[Mapping[int, Settings]]] = {}
    sought: dict[tuple[str, str], list[Sought]] = {}
    skipped: dict[str, None] = {}
    for (name, protocol), ((choice, method), grid) in product(
        protocols.items(), zip(methods, grids, strict=True)
    ):
        if reason := unfit(choice.id, method, name, protocol):
            skipped[reason] = None
            continue
        for dataset in suite.datasets:
            counts = asked if protocol.learns and method.card.learns else (0,)
            place = name, protocol, counts, dataset
            if grid is None:
                settings.setdefault((name, dataset), []).append(_by_shots(names, choice, *place))
                continue
            _refuse_unlearned(grid, counts, name)
            candidates = tuple((v, _by_shots(names, c, *place)) for v, c in grid.candidates())
            sought.setdefault((name, dataset), []).append(Sought(grid, candidates))
    if not settings and not sought:
        raise RequestError(f"nothing to run: {' '.join(skipped)}")
    every = [
        each
        for by_shots in chain(*settings.values(), *(s.by_shots for s in chain(*sought.values())))
        for each in by_shots.values()
    ]
    leaning = {  # each pair once
        (each.choice.id, role, other.choice.id, other.backbone, other.datasets, other.needs): other
        for each in every
        for role, other in each.leans_on.items()
    }
    for (name, *_), other in leaning.items():
        cards |= {each: _source_card(find, store, name, each) for each in other.datasets}
    others = {other.backbone for other in leaning.values() if other.backbone}
    more = sorted(others - set(references))
    backbones = _describe(suite.precision, references, more, imagined=imagined)
    for (name, _), each in {(each.choice.id, each.needs): each for each in every}.items():
        _refuse_incapable(name, each, backbones, backbones.asked)
    _refuse_undescribed(names, suite.datasets, methods)
    for (student, role, name, own, learned, _), other in leaning.items():
        where = (own.name,) if own else backbones.asked
        _refuse_incapable(f"{name}, the {role} of {student},", other, backbones, where)
        _refuse_undescribed(names, learned or suite.datasets, [(other.choice, other.method)])
    return Request(suite, cards, protocols, settings, backbones, tuple(skipped), sought)


def _by_shots(
    names: Names,
    choice: MethodChoice,
    protocol_name: str,
    protocol: Protocol,
    counts: Sequence[int],
    dataset: str,
) -> Mapping[int, Settings]:
    """The settings of a method in a place, by number of shots; raises as `settings_of`."""
    return {
        shots: settings_of(names, choice, protocol_name, protocol, shots, dataset)
        for shots in counts
    }


def _refuse_unlearned(grid: Grid, counts: Sequence[int], protocol: str) -> None:
    """Raises where a method draws no rows, so that there are none to choose on.

    Args:
        grid: What is searched of the method.
        counts: Shots, 0 where it learns from no label.
        protocol: Name of it, where that is so.
    """
    if 0 in counts:
        raise RequestError(
            f"{grid.choice.id} learns from no labelled example in {protocol}, so no validation "
            f"rows are drawn to choose {', '.join(grid.values)} on. Leave it out of the search, or "
            f"{protocol} out of the protocols."
        )


def _source_card(
    find: Callable[[Store, str], DatasetCard], store: Store, student: str, name: str
) -> DatasetCard:
    """The card of a dataset that a start is learned on.

    Args:
        find: Looks it up.
        store: Has what users registered.
        student: Id of the method that starts from it.
        name: Of the dataset.

    Raises:
        RequestError: It is not there.
    """
    try:
        return find(store, name)
    except RequestError as error:
        raise RequestError(
            f"{student} starts from a prompt that is learned on other datasets: {error} Name "
            "others with source_datasets='NAME,NAME', or start from nothing that was learned with "
            "source_datasets=''."
        ) from error


def imagined_or_here(reference: BackboneReference, *, imagined: bool) -> BackboneCard:
    """The card of a backbone; of a known one whose weights are not here, what its family says.

    Args:
        reference: Which one is meant.
        imagined: Whether weights may be missing.

    Raises:
        BackboneUnavailable: They are missing and may not be, or nobody knows the backbone.
    """
    try:
        return reference.describe()
    except BackboneUnavailable:
        family = FAMILIES[reference.family] if reference.name in BACKBONES else None
        # What a language model can do is in its files.
        if not imagined or family is None or not issubclass(family, DualEncoder):
            raise
        return BackboneCard(
            name=reference.name,
            family=reference.family,
            source=reference.location,
            license="",
            fingerprint=NOT_HERE,
            capabilities=family.capabilities,
        )


def _describe(
    precision: str,
    asked: list[BackboneReference],
    others: list[BackboneReference],
    *,
    imagined: bool,
) -> Backbones:
    """The backbones of a suite and those of teachers, with their cards.

    Raises:
        RequestError: One cannot be had, or two would have the same name.
    """
    references = [each._replace(precision=precision) for each in (*asked, *others)]
    try:
        cards = {each.name: imagined_or_here(each, imagined=imagined) for each in references}
    except BackboneUnavailable as error:
        raise RequestError(str(error)) from error
    if len(cards) < len(references):
        names = ", ".join(reference.name for reference in references)
        raise RequestError(
            f"backbones {names}: two would have the same name; rename a folder, "
            "or a file or class of yours."
        )
    known = {reference.name: reference for reference in references}
    return Backbones(known, cards, tuple(reference.name for reference in asked))


def _refuse_incapable(
    name: str, settings: Settings, backbones: Backbones, where: tuple[str, ...]
) -> None:
    """Raises where none of some backbones can do what a method asks for.

    Args:
        name: Of the method, with what it is to others.
        settings: Of the method.
        backbones: Of the request.
        where: Names of those that it is to run on.
    """
    method = settings.method
    wanted = TRACKS[method.track].backbones
    where = tuple(b for b in where if is_a(backbones.cards[b], wanted))
    lacks = {b: settings.needs - backbones.cards[b].capabilities for b in where}
    if lacks and all(lacks.values()):
        b, missing = next(iter(lacks.items()))
        raise RequestError(
            f"{name}{method.said_form(settings.values)} needs {', '.join(sorted(missing))}, which "
            f"{b} does not have. Choose another backbone with --backbones, such as "
            f"{method.other_backbone}{f', or another {method.form}' if method.form else ''}."
        )


def _refuse_undescribed(
    names: Names,
    datasets: Sequence[str],
    methods: Sequence[tuple[MethodChoice, type[Method]]],
) -> None:
    """Raises where all methods read descriptions and none of the datasets has them.

    Beside others, a method without them is skipped as the plan is made.
    """
    all_read = all(method.card.descriptions for _, method in methods)
    if all_read and not any(map(names.descriptions, datasets)):
        raise RequestError(undescribed(methods[0][0].id, datasets[0]))
