"""Settings that a suite leaves to a search: candidates, the choice, and what is refused."""

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.backbones import BACKBONES, CAPABILITIES, FAMILIES, BackboneCard, DualEncoder, Known
from operators.metrics import METRICS
from operators.metrics.predictions import PREDICTIONS
from operators.tracks import track_of
from tasks.planning.choices import check
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite, override, read_suite

LRS = (0.01, 0.002, 0.05)


class Described(DualEncoder):
    """A family of which only cards are made."""

    @staticmethod
    def describe(name, location):
        return BackboneCard(
            name=name,
            family="described",
            source="a test",
            license="none",
            fingerprint=f"{name}-1",
            capabilities=frozenset(CAPABILITIES),
        )


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "described", Described)
    monkeypatch.setitem(BACKBONES, "one", Known("described", "", ""))


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


def suite(**changes):
    values = {
        "name": "mini",
        "datasets": ["pets"],
        "backbones": ["one"],
        "methods": ["zero-shot", "coop"],
        "shots": [1, 2],
        "seeds": [1, 2],
        "search": {"coop.lr": LRS},
        **changes,
    }
    return make_suite(values, where="mini")


@pytest.fixture
def plan(store):
    def make(*datasets, failed=(), **changes):
        request = check(store, suite(**{"datasets": [d.name for d in datasets], **changes}))
        return make_plan(store, request, {d.name: d for d in datasets}, failed=failed)

    return make


@pytest.fixture
def scored(complete, store):
    """Completes the trials of candidates, each with the score that a function gives it."""

    def score(plan, of, shots=None):
        for search in plan.searches:
            for trial in search.trials:
                if shots in (None, trial.shots):
                    complete(trial)
                    _set(store, trial, of(trial))

    return score


def _set(store, trial, value):
    """Makes a share of a thousand validation rows right."""
    folder, rows = store.trial(trial.trial_id), 1000
    wrong = [int(row >= round(value * rows)) for row in range(rows)]
    columns = [["val"] * rows, range(rows), [0] * rows, wrong, [0.5] * rows]
    table = pa.table(dict(zip(PREDICTIONS.names, columns, strict=True)), schema=PREDICTIONS)
    pq.write_table(table, folder / "predictions.parquet")
    values = json.loads((folder / "trial.json").read_text())
    content = (folder / "predictions.parquet").read_bytes()
    values["sha256"]["predictions.parquet"] = hashlib.sha256(content).hexdigest()
    score = {"split": "val", "metric": track_of(trial.protocol).primary, "value": value, "n": rows}
    values["metrics"] = [score]
    (folder / "trial.json").write_text(json.dumps(values))


def chosen(plan):
    return [
        None if s.chosen is None else s.candidates[s.chosen].settings["lr"] for s in plan.searches
    ]


def test_candidates_are_planned_first_and_what_is_chosen_follows(plan, pets):
    made = plan(pets)
    candidates = [spec for spec in made.specs if spec.tested_on == "val"]
    assert [spec.hyperparameters["lr"] for spec in candidates[::2]] == [*LRS, *LRS]
    assert {spec.method for spec in made.specs if spec not in candidates} == {"zero-shot"}
    assert len(candidates) == 3 * 2 * 2
    assert made.undecided == 2 * 2
    assert chosen(made) == [None, None]


def test_a_grid_is_every_combination_in_the_order_given(plan, pets):
    made = plan(pets, shots=[1], search={"coop.lr": [0.1, 0.01], "coop.epochs": [3, 2]})
    (search,) = made.searches
    told = [(c.settings["lr"], c.settings["epochs"]) for c in search.candidates]
    assert told == [(0.1, 3), (0.1, 2), (0.01, 3), (0.01, 2)]
    assert all(
        trial.hyperparameters[name] == value
        for candidate in search.candidates
        for trial in candidate.trials
        for name, value in candidate.settings.items()
    )


def test_each_cell_has_the_setting_with_the_best_mean_over_its_seeds(plan, pets, scored):
    table = {  # (shots, lr): of seeds 1 and 2; the best of one seed is not the best of both
        **{(1, 0.01): (0.9, 0.1), (1, 0.002): (0.6, 0.6), (1, 0.05): (0.5, 0.5)},
        **{(2, 0.01): (0.4, 0.4), (2, 0.002): (0.3, 0.4), (2, 0.05): (0.7, 0.8)},
    }
    scored(plan(pets), lambda t: table[t.shots, t.hyperparameters["lr"]][t.seed - 1])
    made = plan(pets)
    assert chosen(made) == [0.002, 0.05]
    told = {
        (s.shots, s.seed, s.hyperparameters["lr"])
        for s in made.specs
        if s.method == "coop" and s.tested_on == "test"
    }
    assert told == {(1, 1, 0.002), (1, 2, 0.002), (2, 1, 0.05), (2, 2, 0.05)}
    assert made.undecided == 0
    assert [spec.tested_on for spec in made.missing] == ["test"] * 5  # zero-shot and these


def test_a_suite_may_have_one_setting_for_all_its_cells(plan, pets, scored):
    table = {0.01: (0.9, 0.2), 0.002: (0.6, 0.6), 0.05: (0.1, 0.7)}  # by shots
    asked = {"search_by": "suite"}
    scored(plan(pets, **asked), lambda t: table[t.hyperparameters["lr"]][t.shots - 1], shots=1)
    assert chosen(plan(pets, **asked)) == [None, None]  # the other cell may turn it
    scored(plan(pets, **asked), lambda t: table[t.hyperparameters["lr"]][t.shots - 1], shots=2)
    assert chosen(plan(pets, **asked)) == [0.002, 0.002]


def test_of_equals_the_first_in_the_order_given_is_chosen(plan, pets, scored):
    sums = {0.01: (0.1, 0.2, 0.3), 0.002: (0.3, 0.2, 0.1), 0.05: (0.2, 0.2, 0.2)}
    asked = {"shots": [1], "seeds": [1, 2, 3]}
    scored(plan(pets, **asked), lambda t: sums[t.hyperparameters["lr"]][t.seed - 1])
    assert chosen(plan(pets, **asked)) == [LRS[0]]


def test_where_less_is_better_the_least_is_chosen(plan, pets, scored, monkeypatch):
    primary = track_of("few_shot").primary
    monkeypatch.setitem(METRICS, primary, replace(METRICS[primary], better="lower"))
    scored(plan(pets, shots=[1]), lambda t: t.hyperparameters["lr"])
    assert chosen(plan(pets, shots=[1])) == [0.002]


def test_a_candidate_that_failed_leaves_the_others(plan, pets, scored, store):
    asked = {"shots": [1]}
    scored(plan(pets, **asked), lambda t: t.hyperparameters["lr"])
    best = plan(pets, **asked).searches[0].candidates[2].trials[1]
    store.set_aside([best.trial_id])
    assert chosen(plan(pets, **asked)) == [None]  # a later run tries it again
    made = plan(pets, **asked, failed=[best.trial_id])
    assert chosen(made) == [0.01]
    lost = [trial.trial_id for trial in made.searches[0].trials]
    store.set_aside(lost)
    made = plan(pets, **asked, failed=lost)
    assert chosen(made) == [None]
    assert made.undecided == 0
    assert any("no candidate has a score on every seed" in text for text in made.notices)


def test_what_is_searched_moves_no_trial_of_its_settings(plan, pets, scored):
    scored(plan(pets), lambda t: 1 - abs(t.hyperparameters["lr"] - 0.05))
    tuned = {spec.trial_id for spec in plan(pets).specs if spec.tested_on == "test"}
    plain = plan(pets, methods=["zero-shot", {"coop": {"lr": 0.05}}], search={})
    assert tuned == {spec.trial_id for spec in plain.specs}


def test_a_teacher_is_scored_on_validation_rows_as_well(plan, pets, scored):
    asked = {"methods": ["promptkd"], "shots": [1], "search": {"promptkd.lr": [0.1, 0.01]}}
    made = plan(pets, **asked)
    assert {spec.tested_on for spec in made.specs} == {"val"}
    assert {spec.method for spec in made.specs} == {"promptkd", "promptsrc"}
    assert [spec.method for spec in made.specs[:2]] == ["promptsrc", "promptsrc"]
    scored(made, lambda t: t.hyperparameters["lr"])
    made = plan(pets, **asked)
    tested = [(s.method, s.seed) for s in made.specs if s.tested_on == "test"]
    assert tested == [(m, seed) for m in ("promptsrc", "promptkd") for seed in (1, 2)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {"coop.lrr": [1]}}, "no hyperparameter of coop is called 'lrr'. Did"),
        ({"search": {"coop.lr": [0.1, -1]}}, "coop.lr=-1"),
        (
            {"methods": ["tpt"], "search": {"tpt.lr": [0.1]}},
            "tpt learns from no labelled example in few_shot, so no validation rows are drawn",
        ),
        (
            {"search_trials": 11},
            "the search asks for 12 trials of candidates, 3 of coop for each seed, and "
            "search_trials=11 is the most",
        ),
        (
            {
                "methods": [{"promptkd": {"teacher": "zero-shot"}}],
                "search": {"promptkd.lr": [0.1]},
            },
            "its teacher learns from no labelled example",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(plan, pets, changes, said):
    with pytest.raises(RequestError) as caught:
        plan(pets, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"maple.lr": [0.1]}, "search maple.lr: maple is none of the methods zero-shot, coop; add"),
        ({"lr": [0.1]}, "search lr: write METHOD.NAME: [value, value]"),
        ({"coop.lr": []}, "search coop.lr: give the values to choose from"),
        ({"coop.lr": [0.1, 0.1]}, "search coop.lr names 0.1 twice"),
        ({"coop.lr": 0.1}, "give a list"),
        ([0.1], "write {hyperparameter: value}"),
    ],
)
def test_a_search_of_another_form_is_refused_in_a_sentence(search, said):
    with pytest.raises(RequestError) as caught:
        suite(search=search)
    assert said in str(caught.value)


def test_a_dataset_without_validation_rows_refuses_the_search(plan, dataset_of):
    without = dataset_of(train=1, val=0, test=2)
    with pytest.raises(RequestError, match="on pets: it has no validation rows for few_shot of"):
        plan(without)


def test_a_dataset_whose_validation_rows_are_test_rows_refuses_the_search(plan, dataset_of):
    with pytest.raises(
        RequestError, match=r"on pets: its validation rows are test rows too, .* --splits"
    ):
        plan(dataset_of(val_is_test=True))


def test_what_is_set_or_left_out_is_not_searched():
    whole = suite(search={"coop.lr": [0.1], "coop.epochs": [2]})
    assert list(override(whole, {"hyperparameters": {"coop": {"lr": 0.3}}}).search) == [
        "coop.epochs"
    ]
    assert override(whole, {"methods": ["zero-shot"]}).search == {}
    assert override(whole, {"search": {"coop.lr": [5]}}).search == {"coop.lr": (5,)}
    assert override(whole, {"shots": [1]}).search == whole.search


def test_a_method_of_a_file_is_searched_relative_to_the_suite(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "datasets: [pets]\nmethods: ['./mine.py:Mine']\nsearch: {'./mine.py:Mine.lr': [1, 2]}\n"
    )
    read = read_suite(file)
    assert list(read.search) == [f"{tmp_path / 'mine.py'}:Mine.lr"]
    assert read.methods[0].id == f"{tmp_path / 'mine.py'}:Mine"
