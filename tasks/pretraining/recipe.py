"""What a user asks a pretraining for: a recipe file, and what the command line changes of it."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from data_catalog import SourceError
from data_catalog.pairs import PairSource, ParquetPairs
from data_catalog.wording import did_you_mean
from operators.pretraining import Recipe
from tasks.planning.faults import read_mapping, sentences
from tasks.planning.resolve import RequestError


def _data_entry(value: Any) -> Any:
    """`world` and `{world: {..}}` are both the world; a path alone is not taken for one."""
    if value == "world":
        return {"world": {}}
    if isinstance(value, Mapping) and set(value) == {"world"} and value["world"] is None:
        return {"world": {}}
    return value


class DataChoice(BaseModel):
    """Where the pairs come from: one of `world` and `parquet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    world: dict[str, Any] | None = Field(default=None, description="Options of the drawn world")
    parquet: str | None = Field(default=None, description="File, folder, pattern or URL")
    image: str | None = Field(default=None, description="Column of encoded images")
    text: str | None = Field(default=None, description="Column of sentences")

    @model_validator(mode="after")
    def _one_source(self) -> "DataChoice":
        if (self.world is None) == (self.parquet is None):
            raise ValueError("data: write `world` or `{parquet: PATH_OR_URL}`, one of them")
        if self.parquet is None and (self.image or self.text):
            raise ValueError("data: image and text name columns of parquet; the world has none")
        return self


class Pretraining(BaseModel):
    """A pretraining as a recipe file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the model; letters, digits, dots and dashes",
    )
    description: str = Field(default="", description="What it gives and what it costs")
    data: Annotated[DataChoice, BeforeValidator(_data_entry)] = Field(
        description="`world`, or {parquet: PATH_OR_URL, image: COLUMN, text: COLUMN}"
    )
    model: dict[str, Any] = Field(default={}, description="Shape of the two towers")
    training: dict[str, Any] = Field(default={}, description="Steps, batch size, optimiser, seed")
    evaluate: tuple[str, ...] = Field(default=(), description="Datasets; see `shotboard datasets`")
    evaluate_every: int = Field(default=500, ge=1, description="Steps between evaluations")
    checkpoint_every: int = Field(default=250, ge=1, description="Steps between checkpoints")
    tokenizer_texts: int = Field(
        default=20_000, ge=1, description="Sentences that the tokenizer learns from"
    )

    @field_validator("evaluate")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"evaluate names {', '.join(repeated)} twice; each once is enough")
        return names

    @model_validator(mode="after")
    def _fields_fit(self) -> "Pretraining":
        both = sorted(set(self.model) & set(self.training))
        if both:
            raise ValueError(f"{', '.join(both)} is under model and under training; once is enough")
        try:
            Recipe.from_mapping({**self.model, **self.training})
        except LookupError as error:  # pydantic takes only ValueErrors for faults of the input
            raise ValueError(error.args[0]) from error
        return self

    @property
    def recipe(self) -> Recipe:
        """All that decides the weights, apart from the pairs."""
        return Recipe.from_mapping({**self.model, **self.training})

    def source(self) -> PairSource:
        """Where the pairs come from; their order has the seed of the training, unless told.

        Raises:
            RequestError: An option is unknown, or there are no such pairs.
        """
        seed = self.recipe.seed
        data = self.data
        try:
            if data.parquet is not None:
                pairs = ParquetPairs(data.parquet, image=data.image, text=data.text, seed=seed)
                _ = pairs.rows
                return pairs
            return _world({"seed": seed, **(data.world or {})})
        except SourceError as error:
            raise RequestError(str(error)) from error


def _world(options: Mapping[str, Any]) -> PairSource:
    from data_catalog.world.source import World

    known = list(inspect.signature(World).parameters)
    for name in options:
        if name not in known:
            raise RequestError(f"the world has no option {name!r}. {did_you_mean(name, known)}")
    try:
        return World(**options)
    except (TypeError, ValueError) as error:
        raise RequestError(f"data: world: {error}") from error


def read_recipe(path: Path) -> Pretraining:
    """Reads a recipe from a YAML file; its name is that of the file unless it says otherwise.

    Raises:
        RequestError: No such file, no YAML, an unknown key, or a value that cannot work.
    """
    values = read_mapping(path, "recipe", "data: world")
    return make_recipe({"name": path.stem, **values}, where=str(path))


def make_recipe(values: Mapping[str, Any], *, where: str) -> Pretraining:
    """A recipe from plain values.

    Raises:
        RequestError: As `read_recipe`; every fault is named.
    """
    try:
        return Pretraining.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError(f"{where}: {sentences(error, _owner_of, _RULES)}") from error


def override(
    asked: Pretraining,
    *,
    seed: int | None = None,
    steps: int | None = None,
    data: str | None = None,
) -> Pretraining:
    """The recipe with another seed, length or Parquet; None leaves it as it is.

    Warm-up and dense steps keep their share of a changed number of steps.

    Raises:
        RequestError: A value cannot work.
    """
    values = asked.model_dump()
    fields = {**values["model"], **values["training"]}
    changed: dict[str, Any] = {}
    if seed is not None:
        changed["seed"] = seed
    if steps is not None:
        before = asked.recipe
        changed["steps"] = steps
        for name in ("warmup_steps", "dense_steps"):
            changed[name] = int(getattr(before, name) * max(0, steps) / before.steps)
    if data is not None:
        values["data"] = {**values["data"], "world": None, "parquet": data}
    values["model"], values["training"] = {}, {**fields, **changed}
    return make_recipe(values, where=asked.name)


def _owner_of(place: tuple[int | str, ...]) -> tuple[str, Iterable[str]]:
    if len(place) == 1:
        return "recipe", Pretraining.model_fields
    return "recipe's data", DataChoice.model_fields


_RULES = {"model_type": "write `world` or {parquet: PATH_OR_URL}"}
