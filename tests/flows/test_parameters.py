"""The forms of the flows in the UI of Prefect: every field is described and refuses nonsense."""

from typing import Annotated, Any, Literal

import pytest
import typer
from prefect import flow
from pydantic import Field
from typer.testing import CliRunner

from data_catalog import CATALOG
from flows.benchmark import benchmark
from flows.cli.knobs import overrides, with_options
from flows.ingestion import ingest
from flows.knobs import with_fields
from flows.leaderboard import rebuild_leaderboard
from flows.pretraining import pretrain
from flows.recipes import FOLDER as RECIPES
from flows.shipped import shipped
from flows.suites import FOLDER, load_suite
from operators.backbones import BACKBONES
from operators.episodes.protocols import PROTOCOLS
from operators.methods import METHODS
from tasks.planning.knobs import Asked, knobs
from tasks.planning.suite import Suite, moves_trials, override


def fields(flow):
    return flow.parameters.model_dump()["properties"]


@pytest.mark.parametrize("flow", [benchmark, ingest, rebuild_leaderboard, pretrain])
def test_every_parameter_of_a_flow_is_described_in_one_line(flow):
    described = {name: field.get("description") or "" for name, field in fields(flow).items()}
    assert described
    assert [name for name, text in described.items() if not text or "\n" in text] == []


def ways(field):
    """The ways in which a form asks for a field, by title."""
    return {way["title"]: way for way in field["anyOf"]}


def test_the_form_of_a_benchmark_offers_what_there_is_and_refuses_the_rest():
    form = fields(benchmark)
    assert ways(form["suite"])["shipped"]["enum"] == list(shipped(FOLDER))
    for name, offered in [
        ("methods", METHODS),
        ("backbones", BACKBONES),
        ("datasets", CATALOG),
        ("targets", CATALOG),
    ]:
        choose, write, _ = ways(form[name]).values()
        assert set(choose["items"]["enum"]) >= set(offered)
        assert [way["title"] for way in write["items"]["anyOf"]] == ["known", "own"]
    assert ways(form["protocols"])["choose"]["items"]["enum"] == list(PROTOCOLS)
    number, everything = ways(form["shots"])["write"]["items"]["anyOf"]
    assert everything["enum"] == ["all"]
    least = {"shots": number["minimum"], "seeds": ways(form["seeds"])["write"]["items"]["minimum"]}
    assert least == {"shots": 1, "seeds": 0}
    assert ways(form["shots"])["choose"]["items"]["enum"] == [1, 2, 4, 8, 16]
    assert form["workers"]["anyOf"][0]["minimum"] == 1
    part, by_need = form["gpus_per_worker"]["anyOf"]
    assert (part["minimum"], part["maximum"], by_need["const"]) == (0, 1, "auto")
    assert "bank" in ways(form["views"])["write"]["pattern"]
    assert ways(form["setting"])["choose"]["enum"] == ["paper", "clean"]
    assert ways(form["test_rows_per_class"])["all"]["enum"] == ["all"]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"suite": "quickstart", "datasets": ["digits"], "methods": ["coop", "./a.py:Mine"]}, ""),
        ({"suite": "./mine.yaml", "backbones": ["./clip", "openai/clip", "b.py"]}, ""),
        ({"datasets": None, "seeds": [7, 8], "views": "bank:3", "time_limit": "auto"}, ""),
        ({"shots": [1, "all"]}, ""),
        ({"shots": ["most"]}, "shots"),
        ({"hyperparameters": {"coop": {"epochs": 2}}}, ""),
        ({"hyperparameters": "coop.epochs=2"}, "hyperparameters"),
        ({"suite": "quickstrat"}, "suite"),
        ({"datasets": ["digitz"]}, "datasets"),
        ({"targets": ["digits", "digitz"]}, "targets"),
        ({"backbones": ["minclip"]}, "backbones"),
        ({"methods": ["co_op"]}, "methods"),
        ({"protocols": ["fewshot"]}, "protocols"),
        ({"views": "bank"}, "views"),
        ({"shots": [0]}, "shots"),
        ({"setting": "papers"}, "setting"),
        ({"test_rows_per_class": "none"}, "test_rows_per_class"),
    ],
)
def test_a_form_refuses_wrong_values_and_takes_files_of_a_users_own(values, place):
    from prefect.utilities.schema_tools import validate

    errors = validate(values, benchmark.parameters.model_dump(), ignore_required=True)
    assert [str(error.absolute_path[0]) for error in errors] == ([place] if place else [])


def test_the_forms_of_ingestion_and_pretraining_refuse_what_cannot_be():
    choose, write = ways(fields(ingest)["datasets"]).values()
    assert choose["minItems"] == write["minItems"] == 1
    assert set(choose["items"]["enum"]) >= set(CATALOG)
    form = fields(pretrain)
    assert ways(form["recipe"])["shipped"]["enum"] == list(shipped(RECIPES))
    assert form["device"]["enum"] == ["auto", "cpu", "cuda"]
    least = {name: form[name]["anyOf"][0]["minimum"] for name in ("seed", "steps", "threads")}
    assert least == {"seed": 0, "steps": 1, "threads": 1}
    assert form["workers"]["anyOf"][0]["minimum"] == 0


def test_a_pretraining_reads_the_url_that_prefect_does_not_see(monkeypatch, tmp_path):
    from data_catalog.secrets import hidden
    from flows import pretraining

    url = "https://reader:an0ther-word@example.org/pairs.parquet"
    asked = []

    def check(store, recipe, *, data, **_):
        asked.append(data)
        raise LookupError("far enough")

    monkeypatch.setattr(pretraining, "check", check)
    with pytest.raises(LookupError, match="far enough"):
        pretraining.pretrain.fn(data=hidden(url), home=str(tmp_path))
    assert asked == [url]


class Copy(Suite):
    """A suite with knobs that ours has not: a list, numbers that may be null, a choice."""

    aliases: tuple[str, ...] = Field(default=(), description="Other names of it")
    patience: Annotated[int | None, Asked(null="endless")] = Field(
        default=None, description="Epochs without gain"
    )
    order: Literal["drawn", "sorted"] = Field(default="drawn", description="Of rows")


ASKED = {
    "aliases": ("pets,toys", ["pets", "toys"], ("pets", "toys")),
    "patience": ("3", 3, 3),
    "order": ("sorted", "sorted", "sorted"),
}


def test_a_new_field_of_a_suite_is_an_option_a_field_of_the_form_and_an_override():
    base = Copy.model_validate({"name": "a", "datasets": ["pets"], "methods": ["coop"]})
    app, written = typer.Typer(), []

    @app.command()
    @with_options(Copy)
    def command(**asked: Any) -> None:
        written.append(overrides(asked, Copy))

    @flow
    @with_fields(Copy)
    def form(suite: str = "a", **changes: Any) -> Copy:
        """A form.

        Args:
            suite: Its name.
            changes: Its knobs.
        """
        return override(base, changes)

    options = [part for knob, (text, _, _) in ASKED.items() for part in (f"--{knob}", text)]
    assert CliRunner().invoke(app, options).exit_code == 0
    helped = CliRunner().invoke(app, ["--help"]).output
    for knob, (_, given, value) in ASKED.items():
        assert f"--{knob}" in helped
        assert fields(form)[knob]["description"].endswith("; default: the suite's.")
        assert getattr(override(base, {knob: given}), knob) == value
    assert ways(fields(form)["order"])["choose"]["enum"] == ["drawn", "sorted"]
    changed = form.fn(**form.validate_parameters({"suite": "a", **written[0]}))
    assert {name: getattr(changed, name) for name in ASKED} == {k: v[2] for k, v in ASKED.items()}
    assert override(changed, {"patience": "endless"}).patience is None


# One value of each knob that no shipped suite has, as a command line spells it.
CHANGES = {
    "datasets": "textiles",
    "targets": "world-icons",
    "backbones": "effnet-minilm",
    "methods": "kgcoop",
    "protocols": "zero_shot",
    "shots": "3",
    "seeds": "7",
    "test_rows_per_class": "9",
    "views": "bank:3",
    "setting": "clean",
    "precision": "bf16",
    "search_by": "suite",
    "search_trials": "99",
    "time_limit": "77",
}


def test_every_knob_of_a_suite_is_overridden_from_the_command_line_and_by_the_form():
    assert list(knobs(Suite)) == list(CHANGES)
    nothing = dict.fromkeys([*CHANGES, "hyperparameters"])
    base = load_suite("quickstart")
    for name, text in CHANGES.items():
        asked = overrides({**nothing, name: text})
        assert [key for key, value in asked.items() if value is not None] == [name]
        form = benchmark.validate_parameters({"suite": "quickstart", name: asked[name]})
        changed = override(base, {name: form[name]})
        assert [f for f in Suite.model_fields if getattr(changed, f) != getattr(base, f)] == [name]
        assert moves_trials(asked) == (name not in {"search_trials", "time_limit"})


def test_what_is_null_in_a_suite_has_a_word_on_the_command_line_and_in_the_form():
    base = load_suite("quickstart")
    assert base.test_rows_per_class == 50
    nothing = dict.fromkeys([*CHANGES, "hyperparameters"])
    asked = overrides({**nothing, "test_rows_per_class": "all", "time_limit": "auto"})
    form = benchmark.validate_parameters({"suite": "quickstart", **asked})
    for changes in (asked, {name: form[name] for name in asked}):
        changed = override(base, changes)
        assert (changed.test_rows_per_class, changed.time_limit) == (None, None)
