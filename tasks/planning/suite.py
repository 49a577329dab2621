"""What a user asks for: a suite, and what the command line changes of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from operators.bounds import SEEDS, Bounds, read
from operators.episodes.shots import ALL_SHOTS, ALL_WORD
from operators.episodes.views import ASKED, PUBLISHED, refuse_unknown
from tasks.planning import resolve
from tasks.planning.faults import read_mapping, sentences
from tasks.planning.function_names import with_functions, with_searched_functions
from tasks.planning.knobs import Asked, knobs, null_words
from tasks.planning.own_files import PLACE, anchored
from tasks.planning.resolve import RequestError


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


def _whole(name: str, bounds: Bounds, usual: int, hint: str = "") -> BeforeValidator:
    """Takes a whole number between bounds, as hyperparameters are taken; pydantic takes `true`."""

    def taken(value: Any) -> int:
        try:
            number = read(name, value, int, usual)
            if not bounds.hold(number):  # `read` would call the usual number the default
                raise ValueError(f"{name}={number}: give {bounds}.")
        except ValueError as error:
            raise ValueError(f"{error} {hint}".strip()) from error
        return number

    return BeforeValidator(taken)


def _shown(bounds: Bounds) -> WithJsonSchema:
    """What a form refuses of whole numbers."""
    return WithJsonSchema({"type": "integer", "minimum": bounds.low, "maximum": bounds.high})


def _or_all(value: Any, taken: Callable[[Any], Any]) -> Any:
    """`all`, also as the number that is kept of it, or what `taken` makes of a number."""
    return ALL_WORD if value in (ALL_WORD, ALL_SHOTS) else taken(value)


def _seconds(value: Any) -> float:
    seconds = read("time_limit", value, float, 60)
    if seconds <= 0:
        raise ValueError(f"time_limit={value}: give seconds above 0, or auto for the default")
    return seconds


def _can_be_asked(views: str) -> str:
    refuse_unknown(views)
    return views


SEARCHED = Bounds(1, 10_000_000)
SHOTS, ROWS = Bounds(1, 100_000), Bounds(1, 10_000_000)
_NO_SHOTS = "For no labelled example at all use the protocol zero_shot or text_zero_shot."
Shots = Annotated[
    int | Literal["all"],
    _whole("shots", SHOTS, 16, _NO_SHOTS),
    WrapValidator(_or_all),  # the last one is asked first
    _shown(SHOTS),
]
Seed = Annotated[int, _whole("seed", SEEDS, 1), _shown(SEEDS)]
TestRows = Annotated[
    int, _whole("test_rows_per_class", ROWS, 50, "`all` keeps all rows."), _shown(ROWS)
]
SearchTrials = Annotated[int, _whole("search_trials", SEARCHED, 1000), _shown(SEARCHED)]
Seconds = Annotated[
    float, BeforeValidator(_seconds), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]
Views = Annotated[
    str,
    AfterValidator(_can_be_asked),
    WithJsonSchema({"type": "string", "pattern": f"^({ASKED})$"}),
]
VIEWS_OFFERED = (PUBLISHED, "none", f"bank:4:{PUBLISHED}", "bank:4", "bank:16", "fresh")
_TITLE = Asked(shown=False)
_DATASETS = Asked(choices="dataset", own=PLACE, said="on {}".format)


def _of_shots(values: str) -> str:
    return f"{values} shot" if values == "1" else f"{values} shots"


def _of_seeds(values: str) -> str:
    return f"seeds {values}" if "," in values else f"seed {values}"


class Suite(BaseModel):
    """The grid of trials: every combination that makes sense is planned.

    Every field but the first two is a knob: the form of the flow, the options of `shotboard run`
    and `plan`, and what overrides a suite are made of what is said here (tasks/planning/knobs.py).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, _TITLE] = Field(
        description="Name of the suite and of its MLflow experiment"
    )
    description: Annotated[str, _TITLE] = Field(
        default="", description="What it shows and what it costs"
    )
    datasets: Annotated[tuple[str, ...], _DATASETS] = Field(
        min_length=1, description="Names, see `shotboard datasets`"
    )
    targets: Annotated[tuple[str, ...], replace(_DATASETS, said="tested on {}".format)] = Field(
        default=(),
        description="Datasets that cross_dataset and domain_generalization test on; unless given, "
        "the former tests on the other datasets, the latter on each domain of a dataset in turn",
    )
    backbones: Annotated[
        tuple[str, ...],
        Asked(choices="backbone", own=f"{PLACE}|.*/.*", said="with {}".format),
    ] = Field(default=("effnet-minilm",), min_length=1, description="Names, folders or hub ids")
    methods: Annotated[
        tuple[MethodEntry, ...],
        Asked(kind=str, choices="method", own=PLACE, said="{}".format),
    ] = Field(min_length=1, description="What is compared, see `shotboard methods`")
    protocols: Annotated[tuple[str, ...], Asked(choices="protocol", said="{}".format)] = Field(
        default=("few_shot",), min_length=1, description="What is learned from and asked about"
    )
    shots: Annotated[
        tuple[Shots, ...], Asked(usual=(1, 2, 4, 8, 16), word=ALL_WORD, said=_of_shots)
    ] = Field(
        default=(1, 2, 4, 8, 16),
        min_length=1,
        description="Labelled examples a class, or all of the train split",
    )
    seeds: Annotated[tuple[Seed, ...], Asked(usual=(1, 2, 3), said=_of_seeds)] = Field(
        default=(1, 2, 3), min_length=1, description="Of what is drawn and of where tuning starts"
    )
    test_rows_per_class: Annotated[
        TestRows | None, Asked(null="all", said="{} test rows a class".format)
    ] = Field(
        default=None,
        description="Cap on the test rows of each class, which the board shows, or all",
    )
    views: Annotated[Views, Asked(usual=VIEWS_OFFERED)] = Field(
        default=PUBLISHED,
        description="How training images are seen: published (as on each method's card), none "
        "(centre crop), bank:K (K random views in turn, encoded once), bank:K:published (of the "
        "method's own augmentation) or fresh (a new random crop every epoch)",
    )
    setting: Literal["paper", "clean"] = Field(
        default="paper",
        description="paper: as published, quirks included; clean: examples without labels are "
        "those of the learned classes alone",
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Of the frozen encoders; what is learned, logits and losses are in fp32. tf32 "
        "is fp32 whose products a GPU cuts to 19 bits",
    )
    search: Annotated[dict[str, tuple[Any, ...]], Asked(shown=False)] = Field(
        default={},
        description="Hyperparameters that are chosen on validation rows, as METHOD.NAME, and the "
        "values to choose from",
    )
    search_by: Literal["cell", "suite"] = Field(
        default="cell",
        description="What has a choice of its own in a search: each cell (dataset, backbone, "
        "protocol and shots), or the whole suite",
    )
    search_trials: Annotated[SearchTrials, Asked(usual=(1000,), moves=False)] = Field(
        default=1000, description="Most trials of candidates in a search; more are refused"
    )
    time_limit: Annotated[
        Seconds | None, Asked(null="auto", moves=False, said="{} s a trial".format)
    ] = Field(
        default=None,
        description="Most seconds that a trial may take, or auto: by method, epochs and rows",
    )

    @field_validator("search")
    @classmethod
    def _of_its_methods(cls, search: Any, others: ValidationInfo) -> Any:
        known = dict.fromkeys(method.id for method in others.data.get("methods", ()))
        for key, values in search.items():
            method, _, name = key.rpartition(".")
            if not (method and name):
                raise ValueError(f"search {key}: write METHOD.NAME: [value, value]")
            if known and method not in known:  # none are where they are wrong themselves
                raise ValueError(
                    f"search {key}: {method} is none of the methods {', '.join(known)}; add it, or "
                    "leave it out of the search"
                )
            if not values:
                raise ValueError(f"search {key}: give the values to choose from")
            _refuse_repeats(f"search {key}", values)
        return search

    @property
    def all_datasets(self) -> tuple[str, ...]:
        """Names of all datasets that are learned or tested, each once."""
        return tuple(dict.fromkeys((*self.datasets, *self.targets)))

    @field_validator("*", mode="before")
    @classmethod
    def _null_has_a_word(cls, value: Any, field: ValidationInfo) -> Any:
        word = null_words(cls).get(str(field.field_name))
        return None if word and value == word else value

    @field_validator("*")
    @classmethod
    def _each_once(cls, values: Any, field: ValidationInfo) -> Any:
        if isinstance(values, tuple):
            _refuse_repeats(str(field.field_name), values)
        return values


def _refuse_repeats(what: str, values: tuple[Any, ...]) -> None:
    """Raises where a value of a knob comes twice; a method may, with other hyperparameters."""
    told = [
        (v.id, repr(sorted(v.hyperparameters.items()))) if isinstance(v, MethodChoice) else v
        for v in values
    ]
    repeated = sorted({str(value) for value in told if told.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} names {', '.join(repeated)} twice; each once is enough")


S = TypeVar("S", bound=Suite)


def read_suite(path: Path) -> Suite:
    """Reads a suite from a YAML file; its name is that of the file unless it says otherwise.

    Files that it names are relative to its own.

    Raises:
        RequestError: No such file, no YAML, an unknown key, or a value that cannot work.
    """
    values = read_mapping(path, "suite", "datasets: [..]")
    suite = make_suite({"name": path.stem, **values}, where=str(path))
    own: dict[str, Any] = {"methods": tuple(_anchored(m, path.parent) for m in suite.methods)}
    for knob in ("datasets", "targets", "backbones"):
        own[knob] = tuple(anchored(name, path.parent) for name in getattr(suite, knob))
    own["search"] = _anchored_keys(suite.search, path.parent)
    return suite.model_copy(update=own)


@overload
def make_suite(values: Mapping[str, Any], *, where: str) -> Suite: ...
@overload
def make_suite(values: Mapping[str, Any], *, where: str, kind: type[S]) -> S: ...
def make_suite(values: Mapping[str, Any], *, where: str, kind: type[Suite] = Suite) -> Suite:
    """A suite from plain values.

    Args:
        values: By name of a field.
        where: They were found, for messages.
        kind: The suite, or one with more knobs.

    Raises:
        RequestError: As `read_suite`; every fault is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        owners = {True: ("suite", kind.model_fields), False: _ENTRY}
        raise RequestError(
            f"{where}: {sentences(error, lambda place: owners[len(place) == 1], _RULES)}"
        ) from error


def override(suite: S, changes: Mapping[str, Any]) -> S:
    """The suite with what `changes` says.

    A method that the suite has keeps the suite's hyperparameters; another has the published
    ones.

    Args:
        suite: As its file has it.
        changes: Values by name of a knob, None where it stays; and `hyperparameters`, which
            change single values of a method, by its id. Unless a search is among them, that of
            the suite goes on for what is neither left out nor set.

    Raises:
        RequestError: A value cannot work.
    """
    values = suite.model_dump()
    asked = {name: value for name, value in changes.items() if value is not None}
    settings = asked.pop("hyperparameters", {})
    if "methods" in asked:
        asked["methods"] = [
            entry
            for name in (anchored(name, Path.cwd()) for name in asked["methods"])
            for entry in ([m for m in values["methods"] if m["id"] == name] or [{"id": name}])
        ]
    settings = {
        name: with_functions(name, changed, lambda text: anchored(text, Path.cwd()))
        for name, changed in (
            (anchored(name, Path.cwd()), changed) for name, changed in settings.items()
        )
    }
    if "search" in asked:
        asked["search"] = _anchored_keys(asked["search"], Path.cwd())
    else:
        entries = asked.get("methods", values["methods"])
        fixed = {f"{name}.{key}" for name, changed in settings.items() for key in changed}
        left = {entry["id"] for entry in entries}
        asked["search"] = {
            key: tried
            for key, tried in suite.search.items()
            if key.rpartition(".")[0] in left and key not in fixed
        }
    values |= asked
    for name, changed in settings.items():
        chosen = [m for m in values["methods"] if m["id"] == name]
        if not chosen:
            resolve.method(name)  # an unknown name is refused with the nearest
            raise RequestError(
                f"a hyperparameter of {name} was set, but the methods of this run are "
                f"{', '.join(sorted({m['id'] for m in values['methods']}))}. Add {name} to them."
            )
        for entry in chosen:
            entry["hyperparameters"] = {**entry.get("hyperparameters", {}), **changed}
    return make_suite(values, where=suite.name, kind=type(suite))


def _anchored_keys(search: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A search by METHOD.NAME, where a method may be a file, relative to a folder."""
    parts = ((key.rpartition("."), values) for key, values in search.items())
    named = {f"{anchored(method, folder)}.{name}": tried for (method, _, name), tried in parts}
    return with_searched_functions(named, lambda text: anchored(text, folder))


def _anchored(choice: MethodChoice, folder: Path) -> MethodChoice:
    """A method whose files have absolute paths, its own and those of its functions.

    Args:
        choice: As somebody wrote it.
        folder: What relative paths are relative to.
    """
    name = anchored(choice.id, folder)
    values = with_functions(name, choice.hyperparameters, lambda text: anchored(text, folder))
    return choice.model_copy(update={"id": name, "hyperparameters": values})


def moves_trials(changes: Mapping[str, Any]) -> bool:
    """Whether other trials than those of the suite may be meant; for `changes` see `override`."""
    still = {name for name, knob in knobs(Suite).items() if not knob.asked.moves}
    return any(value not in (None, {}) for name, value in changes.items() if name not in still)


_ENTRY = ("method entry", MethodChoice.model_fields)
_RULES = {
    "model_type": "write NAME or {NAME: {hyperparameter: value}}",
    "dict_type": "write {hyperparameter: value}",
}
