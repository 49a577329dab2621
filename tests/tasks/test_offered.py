"""What forms offer, and which names are refused before anything is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog import CATALOG, DatasetCard, register
from data_catalog.sources import ImageFolder
from tasks.pages.offered import offered, refuse_unknown
from tasks.planning.knobs import knobs
from tasks.planning.resolve import RequestError
from tasks.planning.suite import Suite, make_suite
from tasks.services.forms import Forms, with_names
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    "source": ImageFolder("/pets"),
    "classes": ("cat", "dog"),
    "template": "a photo of a {}.",
}
SUITE = {"name": "mini", "datasets": ["digits"], "methods": ["coop"]}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.cards.mkdir()
    return store


def add(store):
    card = DatasetCard(name="pets", **KNOWN)
    register(card, store.cards)


def test_what_the_store_has_is_offered(store):
    (store.pretraining / "a1" / "model").mkdir(parents=True)
    names = offered(store)
    assert set(names["dataset"]) >= set(CATALOG)
    assert str(store.pretraining / "a1" / "model") in names["backbone"]
    assert {"mini-clip", "effnet-minilm"} <= set(names["backbone"])
    assert {"coop", "zero-shot"} <= set(names["method"])
    assert {"few_shot", "base_to_new"} <= set(names["protocol"])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"datasets": ["digitz"]}, "no dataset is called 'digitz'. Did you mean digits"),
        ({"backbones": ["minclip"]}, "no backbone is called 'minclip'. Did you mean mini-clip"),
        ({"methods": ["co_op"]}, "no method is called 'co_op'. Did you mean coop"),
        ({"protocols": ["fewshot"]}, "no protocol is called 'fewshot'. Did you mean few_shot"),
    ],
)
def test_a_name_that_nothing_has_is_refused_with_the_nearest(store, wrong, sentence):
    with pytest.raises(RequestError, match=sentence):
        refuse_unknown(store, make_suite({**SUITE, **wrong}, where="mini"))


def test_what_may_be_a_file_a_folder_or_a_hub_id_is_left_to_others(store, monkeypatch):
    monkeypatch.chdir(store.home)
    (store.home / "clip").mkdir()
    own = {"methods": ["./a.py:Mine"], "backbones": ["clip", "openai/clip"], "datasets": ["b.py"]}
    refuse_unknown(store, make_suite({**SUITE, **own}, where="mini"))


def test_a_wrong_name_is_refused_before_torch_and_ray_are_imported(store):
    script = f"""
import sys
from flows.benchmark import benchmark
from tasks.progress import reporter, reporting_to
with reporting_to(reporter()):
    state = benchmark.fn("quickstart", datasets=["digitz"], home={str(store.home)!r})
assert state.is_failed() and state.message.startswith("no dataset is called 'digitz'."), state
assert not {{"torch", "ray", "mlflow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


DATASETS = {"title": "datasets", "position": 1, "default": None}


class Pool:
    """Stands for the server: keeps what the forms were changed to."""

    def __init__(self):
        self.fields = {
            "datasets": {**DATASETS, "anyOf": [{"type": "null"}]},
            "suite": {"type": "string", "default": "quickstart"},
            "home": {"type": "string", "default": None},
        }

    def change(self, changed):
        self.fields = changed(self.fields)


def test_a_dataset_that_is_added_is_in_the_forms_a_moment_later(store, monkeypatch):
    from tasks.services import forms

    pool = Pool()
    monkeypatch.setattr(forms, "change_forms", pool.change)
    monkeypatch.setattr(forms, "LOOK_SECONDS", 0.0)
    followed = Forms(store)
    assert followed.follow()  # the first look
    assert not followed.follow()
    add(store)
    assert followed.follow()
    assert not followed.follow()
    choose, write, unchanged = pool.fields["datasets"].pop("anyOf")
    assert "pets" in choose["items"]["enum"]
    assert "pets" in write["items"]["anyOf"][0]["enum"]
    assert unchanged["type"] == "null"
    # A form begins with a default of null, and hides what there is to choose from.
    assert pool.fields == {
        "datasets": {"title": "datasets", "position": 1},
        "suite": {"type": "string", "default": "quickstart"},
        "home": {"type": "string"},
    }


def test_a_field_that_is_needed_stays_so(store):
    needed = knobs(Suite)["datasets"].form(offered(store), needed=True)
    assert with_names({"datasets": needed}, offered(store))["datasets"] == needed
