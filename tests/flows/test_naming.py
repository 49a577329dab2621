"""What flow runs and task runs are called in Prefect."""

import pytest

from flows.benchmark import benchmark
from flows.ingestion import ingest
from flows.leaderboard import rebuild_leaderboard
from flows.naming import MOST_LETTERS, named, run_name
from flows.pretraining import pretrain
from operators.spec import TrialSpec
from tasks.planning.knobs import knobs
from tasks.planning.planned import Bundle
from tasks.planning.suite import Suite

NOTHING = dict.fromkeys([*knobs(Suite), "hyperparameters"])


@pytest.mark.parametrize(
    ("suite", "asked", "name"),
    [
        ("quickstart", {"fresh": False}, "quickstart"),
        (
            "zoo",
            {"methods": ["coop", "maple"], "datasets": ["digits"], "shots": [16], "seeds": [1]},
            "zoo: coop, maple on digits, 16 shots, seed 1",
        ),
        ("./mine/pets.yaml", {"shots": [1], "seeds": [1, 2]}, "pets: 1 shot, seeds 1, 2"),
        (
            "zoo",
            {"methods": ["/a/b/mine.py:Mine"], "backbones": ["openai/clip-vit-base-patch16"]},
            "zoo: mine.py:Mine with clip-vit-base-patch16",
        ),
        ("zoo", {"seeds": [1, 2, 3, 4, 5, 6]}, "zoo: seeds 1, 2, 3, 4 and 2 more"),
        (
            "zoo",
            {"views": "bank:4", "hyperparameters": {"coop": {"epochs": 20}}, "fresh": True},
            "zoo: views bank:4, coop.epochs=20, all computed again",
        ),
    ],
)
def test_a_run_is_called_by_its_suite_and_what_differs_from_it(suite, asked, name):
    assert run_name(suite, {**NOTHING, **asked}) == name


def test_every_knob_is_in_the_name():
    plain = {name: "x7" for name in knobs(Suite)}
    for name, value in plain.items():
        assert value in run_name("zoo", {**NOTHING, name: value})


def test_a_long_name_is_cut_and_a_password_is_in_none():
    asked = {"datasets": [f"dataset-with-a-name-of-many-letters-{n}" for n in range(4)]}
    assert len(run_name("zoo", asked)) == MOST_LETTERS
    url = "https://anna:s3cret@example.org/clip"
    assert "s3cret" not in run_name("zoo", {"backbones": [url]})


def test_no_flow_has_a_name_of_random_words():
    assert all(f.flow_run_name for f in (benchmark, ingest, pretrain, rebuild_leaderboard))
    assert benchmark.flow_run_name is named


def test_the_name_is_made_of_the_parameters_of_the_run(monkeypatch):
    from prefect.runtime import flow_run

    parameters = benchmark.validate_parameters({"suite": "zoo", "methods": ["coop"]})
    monkeypatch.setattr(flow_run, "parameters", parameters, raising=False)
    assert named() == "zoo: coop"


def test_a_task_run_says_which_methods_it_computes_and_where():
    bundles = []
    for methods in (["coop"], ["coop", "maple", "zero-shot", "kgcoop", "coop"]):
        specs = []
        for method in methods:
            spec = TrialSpec.__new__(TrialSpec)
            object.__setattr__(spec, "method", method)
            specs.append(spec)
        bundles.append(Bundle("mini-clip", "digits", "few_shot", tuple(specs)))
    assert [bundle.title for bundle in bundles] == [
        "coop on digits, few_shot, with mini-clip",
        "coop, maple, zero-shot and 1 more on digits, few_shot, with mini-clip",
    ]
