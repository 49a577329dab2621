"""What a suite asks for, as objects: what cannot be is refused, what has no place is skipped."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from operators.backbones import (
    BackboneCard,
    BackboneReference,
    BackboneUnavailable,
    is_a,
)
from operators.episodes.protocols import Protocol
from operators.methods import Method
from operators.methods.hyperparameters import resolve as resolve_hyperparameters
from operators.methods.hyperparameters import teaching_of
from operators.tracks import TRACKS
from tasks.planning import resolve
from tasks.planning.data import undescribed
from tasks.planning.resolve import RequestError
from tasks.planning.suite import MethodChoice, Suite
from tasks.storage.store import Store


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
        backbones: See `Backbones`.
        skipped: Combinations that make no sense for this suite, and why.
    """

    suite: Suite
    backbones: Backbones
    skipped: tuple[str, ...]


class Taught(NamedTuple):
    """Who teaches a method, as objects.

    Attributes:
        choice: The teacher, and what differs from its published settings.
        method: Its class.
        backbone: Name, folder or hub id; empty for the student's own.
    """

    choice: MethodChoice
    method: type[Method]
    backbone: str


def check(store: Store, suite: Suite) -> Request:
    """Turns every name of a suite into an object and refuses what cannot be.

    Raises:
        RequestError: A name is unknown, a hyperparameter cannot work, a backbone cannot be
            had, a method or its teacher can do nothing on any of the backbones, or no trial
            remains.
    """
    for name in suite.all_datasets:
        resolve.dataset_card(store, name)
    if suite.targets and not any(resolve.protocol(p).targets for p in suite.protocols):
        raise RequestError(
            f"targets {', '.join(suite.targets)}: none of the protocols "
            f"{', '.join(suite.protocols)} tests other datasets than those that are learned. Add "
            "cross_dataset or domain_generalization to them."
        )
    references = [resolve.backbone(name) for name in suite.backbones]
    skipped, taught = _check_methods(suite)
    others = {resolve.backbone(teacher.backbone) for _, teacher in taught if teacher.backbone}
    backbones = _describe(suite, references, sorted(others - set(references)))
    for choice in suite.methods:
        _refuse_incapable(choice.id, resolve.method(choice.id), backbones, backbones.asked)
        _refuse_undescribed(store, suite, choice.id)
    for student, teacher in taught:
        where = backbones.asked
        if teacher.backbone:
            where = (resolve.backbone(teacher.backbone).name,)
        name = f"{teacher.choice.id}, the teacher of {student},"
        _refuse_incapable(name, teacher.method, backbones, where)
        _refuse_undescribed(store, suite, teacher.choice.id)
    return Request(suite, backbones, tuple(skipped))


def _check_methods(suite: Suite) -> tuple[dict[str, None], list[tuple[str, Taught]]]:
    """Why methods have no place in protocols, and who teaches whom.

    Raises:
        RequestError: A name is unknown, a hyperparameter cannot work, or no trial remains.
    """
    protocols = {name: resolve.protocol(name) for name in suite.protocols}
    methods = {choice.id: resolve.method(choice.id) for choice in suite.methods}
    skipped: dict[str, None] = {}
    taught: list[tuple[str, Taught]] = []
    possible = 0
    for (name, protocol), choice in product(protocols.items(), suite.methods):
        method = methods[choice.id]
        reason = unfit(choice.id, method, name, protocol)
        if reason:
            skipped[reason] = None
            continue
        possible += 1
        for shots, dataset in product(suite.shots, suite.datasets):
            place = {"protocol": name, "shots": shots, "dataset": dataset}
            values = hyperparameters(choice, method, **place)
            teacher = taught_by(choice, method, values)
            if teacher is not None:
                try:
                    hyperparameters(teacher.choice, teacher.method, **place)
                except RequestError as error:
                    raise RequestError(f"{choice.id}: its teacher: {error}") from error
                reason = unfit(teacher.choice.id, teacher.method, name, protocol)
                if reason:
                    raise RequestError(f"{choice.id}: its teacher has no place: {reason}")
                if (choice.id, teacher) not in taught:
                    taught.append((choice.id, teacher))
    if not possible:
        raise RequestError(f"nothing to run: {' '.join(skipped)}")
    return skipped, taught


def _describe(
    suite: Suite, asked: list[BackboneReference], others: list[BackboneReference]
) -> Backbones:
    """The backbones of a suite and those of teachers, with their cards.

    Raises:
        RequestError: One cannot be had, or two would have the same name.
    """
    references = [each._replace(precision=suite.precision) for each in (*asked, *others)]
    try:
        cards = {reference.name: reference.describe() for reference in references}
    except BackboneUnavailable as error:
        raise RequestError(str(error)) from error
    if len(cards) < len(references):
        names = ", ".join(reference.name for reference in references)
        raise RequestError(f"backbones {names}: two would have the same name; rename a folder.")
    known = {reference.name: reference for reference in references}
    return Backbones(known, cards, tuple(reference.name for reference in asked))


def _refuse_incapable(
    name: str, method: type[Method], backbones: Backbones, where: tuple[str, ...]
) -> None:
    """Raises where none of some backbones can do what a method asks for."""
    wanted = TRACKS[method.track].backbones
    where = tuple(b for b in where if is_a(backbones.cards[b], wanted))
    lacks = {b: method.card.needs - backbones.cards[b].capabilities for b in where}
    if lacks and all(lacks.values()):
        b, missing = next(iter(lacks.items()))
        raise RequestError(
            f"{name} needs {', '.join(sorted(missing))}, which {b} does not have. Choose "
            f"another backbone with --backbones, such as {method.other_backbone}."
        )


def _refuse_undescribed(store: Store, suite: Suite, name: str) -> None:
    """Raises where a method reads descriptions and none of the datasets has them."""
    described = (resolve.descriptions(store, dataset) for dataset in suite.datasets)
    if resolve.method(name).card.descriptions and not any(described):
        raise RequestError(undescribed(name, suite.datasets[0]))


def unfit(name: str, method: type[Method], protocol_name: str, protocol: Protocol) -> str:
    """Why a method has no place in a protocol; empty if it has.

    Args:
        name: Of the method, as the user wrote it.
        method: Its class.
        protocol_name: Key of `PROTOCOLS`.
        protocol: What stands there.
    """
    if method.track != protocol.track:
        return (
            f"{name} in {protocol_name}: it is a method of {method.track}, and the protocol is of "
            f"{protocol.track}."
        )
    if method.card.learns and not protocol.learns:
        return f"{name} in {protocol_name}: it learns from labelled images, and there are none."
    if protocol.new_classes and not method.card.new_classes:
        return (
            f"{name} in {protocol_name}: it learns something of its own for each class and cannot "
            "classify new ones."
        )
    return ""


def hyperparameters(
    choice: MethodChoice, method: type[Method], *, protocol: str, shots: int, dataset: str
) -> dict[str, Any]:
    """All hyperparameters of a chosen method.

    Raises:
        RequestError: A name or a value cannot be.
    """
    try:
        return resolve_hyperparameters(
            choice.id,
            method,
            choice.hyperparameters,
            protocol=protocol,
            shots=shots,
            dataset=dataset,
        )
    except (LookupError, ValueError) as error:
        text = error.args[0] if error.args else str(error)
        raise RequestError(f"{choice.id}: {text}" if choice.id not in text else text) from error


def taught_by(
    choice: MethodChoice, method: type[Method], values: Mapping[str, Any]
) -> Taught | None:
    """The teacher of a chosen method; None where it has none.

    Args:
        choice: For messages.
        method: Its class.
        values: Its resolved hyperparameters.

    Raises:
        RequestError: There is no such method or backbone, or it cannot learn from it.
    """
    teaching = teaching_of(method, values)
    if teaching is None:
        return None
    try:
        teacher = resolve.method(teaching.teacher)
        if teacher.card.teacher:
            raise ValueError("it learns from a teacher itself: choose a method that needs none.")
        method.check_teacher(teacher)
        if teaching.teacher_backbone:
            resolve.backbone(teaching.teacher_backbone)
    except ValueError as error:
        raise RequestError(f"{choice.id}: teacher {teaching.teacher}: {error}") from error
    own = MethodChoice(id=teaching.teacher, hyperparameters=teaching.teacher_hyperparameters or {})
    return Taught(own, teacher, teaching.teacher_backbone)
