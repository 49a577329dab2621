"""Datasets of a user's own file, and of packages that are installed."""

import importlib.metadata

import pytest

from tasks.planning import installed, resolve
from tasks.planning.choices import check
from tasks.planning.own_datasets import load_card
from tasks.planning.own_files import place_of
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite, read_suite

MINE = """
from data_catalog import DatasetCard, ImageFolder

CARD = DatasetCard(
    name="mine",
    source=ImageFolder("nowhere"),
    classes=("cat", "dog"),
    template="a photo of a {}.",
)
NUMBER = 3
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(resolve, "_OWN_CARDS", {})
    installed.installed.cache_clear()
    yield
    installed.installed.cache_clear()


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_card_of_a_file_is_planned_under_its_own_name(mine, store, tiny):
    from tasks.planning.data import preview

    suite = mine.with_name("mini.yaml")
    suite.write_text(
        f"datasets: [./mine.py:CARD]\nmethods: [zero-shot]\nbackbones: [{tiny}]\n"
        "protocols: [zero_shot]\n"
    )
    request = check(store, read_suite(suite))
    assert request.suite.datasets == ("mine",)
    previews = {name: preview(card) for name, card in request.cards.items()}
    (spec,) = make_plan(store, request, previews).specs
    assert spec.dataset == "mine"
    assert "mine" in resolve.dataset_cards(store)


def test_the_only_card_of_a_file_need_not_be_named(mine, store):
    assert load_card(store, place_of(str(mine))).name == "mine"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("NUMBER", MINE, "mine.py:NUMBER is a int, not a dataset card"),
        ("CRAD", MINE, "has no CRAD. Did you mean CARD?"),
        ("CARD", MINE.replace('"mine"', '"digits"'), "a dataset is called digits already"),
        ("CARD", MINE.replace('"mine"', '"My set"'), "mine.py, line 4: ValueError: dataset name"),
    ],
)
def test_what_is_no_card_is_one_sentence(mine, store, name, text, said):
    mine.write_text(text)
    with pytest.raises(RequestError, match=said):
        load_card(store, place_of(f"{mine}:{name}"))


def test_datasets_of_packages_are_found_by_their_entry_points(mine, store, monkeypatch, caplog):
    (mine.parent / "mine_data.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(mine.parent))
    points = [
        importlib.metadata.EntryPoint(name, value, installed.DATASETS)
        for name, value in (
            ("mine", "mine_data:CARD"),
            ("two", "mine_data:CARD"),
            ("n", "mine_data:NUMBER"),
        )
    ]
    found = importlib.metadata.EntryPoints(points)
    monkeypatch.setattr(installed, "entry_points", lambda group: found)
    assert resolve.dataset_card(store, "mine").classes == ("cat", "dog")
    assert "left out: two of the package mine_data:CARD" in caplog.text
    assert "it is a int, not a DatasetCard" in caplog.text
    assert "mine" in resolve.dataset_cards(store)


def test_a_suite_that_names_no_file_looks_for_no_package(store, tiny, monkeypatch):
    monkeypatch.setattr(installed, "entry_points", lambda group: 1 / 0)
    values = {"name": "mini", "datasets": ["digits"], "backbones": [tiny]}
    check(store, make_suite({**values, "methods": ["zero-shot", "coop"]}, where="mini"))
