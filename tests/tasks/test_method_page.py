"""What is said of methods: that nothing is missing, and that docs/methods.md says it today."""

import re
from pathlib import Path

import pytest

from operators.backbones import CAPABILITIES
from operators.methods import METHODS, MethodCard
from operators.methods.hyperparameters import defaults
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot
from tasks.pages.method_page import COMMAND, facts, page, settings
from tasks.pages.zoo import method_rows, recipes

FILE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture(scope="module")
def rows():
    return {row["method"]: row for row in method_rows()}


class Adapts(ZeroShot):
    """A method with everything on its card."""

    card = MethodCard(
        title="Adapts",
        family="feature_heads",
        tunes="a bit of all",
        cost="a little",
        source="Nobody, 2026",
        needs=frozenset({"visual-prompts"}),
        new_classes=False,
        transductive=True,
        test_time=True,
        departures=("one", "two"),
    )

    @classmethod
    def recipe(cls, *, protocol, shots, dataset):
        """None of it is of any use."""
        return {}


@pytest.fixture
def adapts(monkeypatch):
    monkeypatch.setitem(METHODS, "adapts", Adapts)
    return next(row for row in method_rows() if row["method"] == "adapts")


def test_the_page_in_docs_is_that_of_the_cards():
    assert FILE.read_text() == page(), f"the cards have changed: run `{COMMAND}`"


def test_every_method_has_a_section_and_a_line_in_the_table():
    found = page()
    assert re.findall(r"^## (.*)$", found, re.M) == list(METHODS)
    assert re.findall(r"^\| \[(.*?)\]\(#", found, re.M) == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_tunes_and_costs(rows, name):
    assert {"tunes", "costs", "reads", "needs", "new classes", "source"} <= set(facts(rows[name]))


@pytest.mark.parametrize("name", METHODS)
def test_every_hyperparameter_stands_with_its_default(rows, name):
    shown = {key: value for key, value, _, _ in settings(rows[name])}
    wanted = {
        key: repr(value) if isinstance(value, str) else str(value)
        for key, value in defaults(METHODS[name]).items()
    }
    assert shown == wanted


def test_what_differs_by_protocol_and_shots_stands_beside_the_default(rows):
    elsewhere = {key: text for key, _, _, text in settings(rows["coop"])}
    assert "50 (few_shot, 1 shot); 100 (few_shot, 2 or 4 shots)" in elsewhere["epochs"]
    assert "'a photo of a' (base_to_new" in elsewhere["context_init"]
    assert elsewhere["lr"] == ""


def test_where_protocols_agree_none_is_named():
    assert recipes(METHODS["clip-adapter"]) == [
        {"when": "1 shot", "on": [], "values": {"epochs": 50}},
        {"when": "2 or 4 shots", "on": [], "values": {"epochs": 100}},
        {"when": "2 or 4 or 8 or 16 shots", "on": ["imagenet"], "values": {"epochs": 50}},
    ]


def test_what_a_hyperparameter_may_be_stands_beside_its_default(rows):
    allowed = {key: words for key, _, words, _ in settings(rows["coop"])}
    assert allowed["momentum"] == "0 or more, below 1"
    assert allowed["n_context"] == "1 to 64"
    assert allowed["class_position"] == "end, middle or front"
    assert all(words for row in rows.values() for _, _, words, _ in settings(row))


def test_a_method_that_learns_nothing_may_have_settings_of_a_dataset():
    assert recipes(METHODS["zero-shot-ensemble"]) == [
        {"when": "", "on": ["imagenet"], "values": {"with_card": False}}
    ]


def test_datasets_with_published_settings_of_their_own_are_named(rows):
    weight = {"when": "8 or 16 shots", "on": ["flowers102", "dtd", "eurosat"]}
    assert {**weight, "values": {"weight": 0.8}} in recipes(METHODS["prograd"])
    elsewhere = {key: text for key, _, _, text in settings(rows["coprompt"])}
    assert "0.1 (on oxford_pets, eurosat)" in elsewhere["consistency_weight"]
    assert elsewhere["epochs"] == "5 (on food101)"


def test_a_head_of_its_own_for_unseen_classes_is_told(rows):
    assert "head for unseen classes" not in facts(rows["coop"])
    card = {**rows["coop"]["card"], "unseen_head": "the cosine head alone"}
    assert facts({**rows["coop"], "card": card})["head for unseen classes"] == card["unseen_head"]


def test_flags_and_needs_are_told_in_words(adapts):
    known = facts(adapts)
    assert [flag.partition(":")[0] for flag in known["flags"]] == ["transductive", "test-time"]
    assert known["needs"] == [f"visual-prompts: {CAPABILITIES['visual-prompts']}"]
    assert known["departures"] == ["one", "two"]
    assert "classifies no others" in known["new classes"]
    assert "| no | transductive, test time |" in page()
