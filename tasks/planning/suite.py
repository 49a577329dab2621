"""What a user asks for: a suite, and what the command line changes of it."""

from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from operators.bounds import SEEDS, Bounds, read
from operators.episodes.views import ViewPolicy
from tasks.planning.faults import read_mapping, sentences
from tasks.planning.resolve import RequestError, method


def _method_entry(value: Any) -> Any:
    """`coop` and `{coop: {epochs: 20}}` are both a method and its hyperparameters."""
    if isinstance(value, str):
        return {"id": value}
    if isinstance(value, Mapping) and len(value) == 1 and "id" not in value:
        ((name, hyperparameters),) = value.items()
        return {"id": name, "hyperparameters": hyperparameters or {}}
    return value


class MethodChoice(BaseModel):
    """A method and what differs from its published settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="Key of the method, see `shotboard methods`")
    hyperparameters: dict[str, Any] = Field(default={}, description="What differs, by name")


MethodEntry = Annotated[MethodChoice, BeforeValidator(_method_entry)]


def _whole(name: str, bounds: Bounds, default: int, hint: str = "") -> BeforeValidator:
    """Takes a whole number between bounds, as hyperparameters are taken; pydantic takes `true`."""

    def taken(value: Any) -> int:
        try:
            return read(name, value, Annotated[int, bounds], default)
        except ValueError as error:
            raise ValueError(f"{error} {hint}".strip()) from error

    return BeforeValidator(taken)


SHOTS = Bounds(1, 100_000)
_NO_SHOTS = "For no labelled image at all use the protocol zero_shot."
Shots = Annotated[int, _whole("shots", SHOTS, 16, _NO_SHOTS)]
Seed = Annotated[int, _whole("seed", SEEDS, 1)]
TestRows = Annotated[
    int, _whole("test_rows_per_class", Bounds(1, 10_000_000), 50, "null keeps all rows.")
]


class Suite(BaseModel):
    """The grid of trials: every combination that makes sense is planned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the suite and of its MLflow experiment")
    description: str = Field(default="", description="What it shows and what it costs")
    datasets: tuple[str, ...] = Field(min_length=1, description="Names, see `shotboard datasets`")
    backbones: tuple[str, ...] = Field(
        default=("effnet-minilm",), min_length=1, description="Names, folders or hub ids"
    )
    methods: tuple[MethodEntry, ...] = Field(min_length=1, description="What is compared")
    protocols: tuple[str, ...] = Field(default=("few_shot",), min_length=1)
    shots: tuple[Shots, ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    test_rows_per_class: TestRows | None = Field(
        default=None, description="Cap on the test rows of each class; the board shows it"
    )
    views: str = Field(
        default="none",
        description="How training images are seen: none (centre crop), bank:K (K random views in "
        "turn, encoded once) or fresh (a new random view every epoch)",
    )
    setting: Literal["paper", "clean"] = Field(
        default="paper",
        description="paper: as published, quirks included; clean: images without labels are those "
        "of the learned classes alone",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Of the frozen encoders; what is learned, logits and losses are in fp32",
    )
    time_limit: float | None = Field(
        default=None,
        description="Most seconds that a trial may take; unless given, it follows from the method, "
        "its epochs and the images",
    )

    @field_validator("shots", "seeds", "datasets", "backbones", "protocols")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...], field: ValidationInfo) -> tuple[Any, ...]:
        return _without_repeats(str(field.field_name), values)

    @field_validator("methods")
    @classmethod
    def _methods_differ(cls, methods: tuple[MethodChoice, ...]) -> tuple[MethodChoice, ...]:
        keys = [(m.id, repr(sorted(m.hyperparameters.items()))) for m in methods]
        _without_repeats("methods", tuple(keys))
        return methods

    @field_validator("time_limit")
    @classmethod
    def _time_passes(cls, limit: float | None) -> float | None:
        if limit is not None and not 0 < limit < inf:
            raise ValueError(f"time_limit={limit:g}: give seconds above 0, or null for the default")
        return limit

    @field_validator("views")
    @classmethod
    def _views_are_a_policy(cls, views: str) -> str:
        ViewPolicy.parse(views)
        return views


def _without_repeats(what: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} names {', '.join(repeated)} twice; each once is enough")
    return values


class Overrides(BaseModel):
    """What the command line or a deployment changes of a suite; None leaves it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    backbones: tuple[str, ...] | None = None
    protocols: tuple[str, ...] | None = None
    shots: tuple[Any, ...] | None = None  # the suite reads them
    seeds: tuple[Any, ...] | None = None
    views: str | None = None
    time_limit: float | None = None
    hyperparameters: dict[str, dict[str, Any]] = {}


def read_suite(path: Path) -> Suite:
    """Reads a suite from a YAML file; its name is that of the file unless it says otherwise.

    Raises:
        RequestError: No such file, no YAML, an unknown key, or a value that cannot work.
    """
    values = read_mapping(path, "suite", "datasets: [..]")
    return make_suite({"name": path.stem, **values}, where=str(path))


def make_suite(values: Mapping[str, Any], *, where: str) -> Suite:
    """A suite from plain values.

    Raises:
        RequestError: As `read_suite`; every fault is named.
    """
    try:
        return Suite.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError(f"{where}: {sentences(error, _owner_of, _RULES)}") from error


def override(suite: Suite, changes: Overrides) -> Suite:
    """The suite with what `changes` says.

    A method that the suite has keeps the suite's hyperparameters; another has the published
    ones. `hyperparameters` change single values of a method.

    Raises:
        RequestError: A value cannot work.
    """
    values = suite.model_dump()
    for field in ("datasets", "backbones", "protocols", "shots", "seeds", "views", "time_limit"):
        if getattr(changes, field) is not None:
            values[field] = getattr(changes, field)
    if changes.methods is not None:
        values["methods"] = [
            entry
            for name in changes.methods
            for entry in ([m for m in values["methods"] if m["id"] == name] or [{"id": name}])
        ]
    for name, settings in changes.hyperparameters.items():
        chosen = [m for m in values["methods"] if m["id"] == name]
        if not chosen:
            method(name)  # an unknown name is refused with the nearest
            raise RequestError(
                f"a hyperparameter of {name} was set, but the methods of this run are "
                f"{', '.join(sorted({m['id'] for m in values['methods']}))}. Add {name} to them."
            )
        for entry in chosen:
            entry["hyperparameters"] = {**entry.get("hyperparameters", {}), **settings}
    return make_suite(values, where=suite.name)


def _owner_of(place: tuple[int | str, ...]) -> tuple[str, Iterable[str]]:
    if len(place) == 1:
        return "suite", Suite.model_fields
    return "method entry", MethodChoice.model_fields


_RULES = {
    "model_type": "write NAME or {NAME: {hyperparameter: value}}",
    "dict_type": "write {hyperparameter: value}",
}
