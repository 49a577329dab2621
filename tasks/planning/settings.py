"""All settings of a method in a place, and of the trials that it leans on there."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

from operators.backbones import BackboneReference
from operators.episodes.protocols import PROTOCOLS, Protocol
from operators.methods import Method
from operators.methods.hyperparameters import leanings_of
from operators.methods.hyperparameters import resolve as resolve_hyperparameters
from operators.methods.leaning import Leaning, Starting, Teaching
from tasks.planning import resolve
from tasks.planning.own_backbones import find_backbone
from tasks.planning.placed import unfit
from tasks.planning.resolve import RequestError
from tasks.planning.suite import MethodChoice
from tasks.storage.store import Store


class Settings(NamedTuple):
    """A method in a place: a protocol, a number of shots and a dataset.

    Attributes:
        choice: What was asked for.
        method: Its class.
        values: All of its hyperparameters.
        leans_on: The trials that it leans on there, by role: a teacher, a source.
        backbone: That of a trial leant on which has one of its own; None for that of who leans.
        datasets: Those that a trial leant on is learned from; empty for that of who leans.
        shots: Likewise; None for those of who leans.
    """

    choice: MethodChoice
    method: type[Method]
    values: Mapping[str, Any]
    leans_on: Mapping[str, "Settings"] = MappingProxyType({})
    backbone: BackboneReference | None = None
    datasets: tuple[str, ...] = ()
    shots: int | None = None

    @property
    def needs(self) -> frozenset[str]:
        """What it asks of the backbone."""
        return self.method.needs_of(self.values)


class Names:
    """What the names of a request stand for; each is looked up once."""

    def __init__(self, store: Store) -> None:
        self.method = cache(resolve.method)
        self.backbone = cache(find_backbone)
        self.descriptions = cache(partial(resolve.descriptions, store))


def settings_of(
    names: Names,
    choice: MethodChoice,
    protocol_name: str,
    protocol: Protocol,
    shots: int,
    dataset: str,
) -> Settings:
    """A method with all hyperparameters of a place, and the trials that it leans on with theirs.

    A teacher sees nothing of the test examples, whatever its student may see.

    Raises:
        RequestError: A hyperparameter cannot work, or there is no such teacher.
    """
    method = names.method(choice.id)
    values = hyperparameters(choice, method, protocol=protocol_name, shots=shots, dataset=dataset)
    leans_on: dict[str, Settings] = {}
    for leaning in leanings_of(method, values):
        if (other := _leant_on(names, choice, method, values, leaning, dataset)) is None:
            continue
        role = leaning.role
        if other.datasets:
            where = source_protocol(other.datasets)
            count, learned = other.shots or 0, ",".join(other.datasets)
        else:
            where = protocol.inductive or protocol_name
            learns = protocol.learns and other.method.card.learns
            count, learned = shots if learns else 0, dataset
        try:
            own = hyperparameters(
                other.choice, other.method, protocol=where, shots=count, dataset=learned
            )
        except RequestError as error:
            raise RequestError(
                f"{choice.id} in {protocol_name}: its {role}, {other.choice.id}: {error} Choose "
                f"another with {leaning.chosen_by}, or other {role}_hyperparameters; or leave one "
                "of the two out with --methods and --protocols."
            ) from error
        if reason := unfit(other.choice.id, other.method, where, PROTOCOLS[where]):
            raise RequestError(f"{choice.id}: its {role} has no place: {reason}")
        leans_on[role] = other._replace(values=own, shots=count if other.datasets else None)
    return Settings(choice, method, values, leans_on)


def source_protocol(datasets: Sequence[str]) -> str:
    """The protocol of a trial that a start is learned in: all of its classes are learned.

    Args:
        datasets: That it is learned on.
    """
    return "few_shot" if len(datasets) == 1 else "multi_task"


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


def _leant_on(
    names: Names,
    choice: MethodChoice,
    method: type[Method],
    values: Mapping[str, Any],
    leaning: Leaning,
    dataset: str,
) -> Settings | None:
    """What a chosen method leans on, with what differs of its settings; None where on nothing.

    Raises:
        RequestError: There is no such method or backbone, or it cannot be leant on.
    """
    if isinstance(leaning, Starting):
        return _started_from(choice, method, values, leaning, dataset)
    assert isinstance(leaning, Teaching)
    return _taught_by(names, choice, method, leaning)


def _started_from(
    choice: MethodChoice,
    method: type[Method],
    values: Mapping[str, Any],
    starting: Starting,
    dataset: str,
) -> Settings | None:
    """What a method starts from: itself on other datasets, without a start of its own."""
    datasets = tuple(name for name in starting.names if name != dataset)
    if not datasets:
        return None
    same, given = method.source_settings(values), starting.source_hyperparameters or {}
    if "source_datasets" in given:
        raise RequestError(
            f"{choice.id}: source_hyperparameters names source_datasets, and what a start is "
            "learned in has no start itself. Leave it out."
        )
    for name in same.keys() & given.keys():
        raise RequestError(
            f"{choice.id}: source_hyperparameters names {name}={given[name]!r}, and a start is "
            f"the same prompt, with {name}={same[name]!r}. Leave it out."
        )
    own = {**same, "source_datasets": "", **given}
    source = choice.model_copy(update={"hyperparameters": own})
    return Settings(source, method, {}, datasets=datasets, shots=starting.source_shots)


def _taught_by(
    names: Names, choice: MethodChoice, method: type[Method], teaching: Teaching
) -> Settings:
    """The teacher of a chosen method.

    Raises:
        RequestError: There is no such method or backbone, or it cannot learn from it.
    """
    own = MethodChoice(id=teaching.teacher, hyperparameters=teaching.teacher_hyperparameters or {})
    try:
        teacher = names.method(teaching.teacher)
        if teacher.card.teacher:
            raise ValueError("it learns from a teacher itself: choose a method that needs none.")
        if teacher.starting and own.hyperparameters.get("source_datasets") != "":
            raise ValueError(
                "it starts from another trial itself: set source_datasets='' in "
                "teacher_hyperparameters, or choose a method that starts from nothing learned."
            )
        method.check_teacher(teacher)
        place = names.backbone(teaching.teacher_backbone) if teaching.teacher_backbone else None
    except ValueError as error:
        raise RequestError(f"{choice.id}: teacher {teaching.teacher}: {error}") from error
    return Settings(own, teacher, {}, backbone=place)
