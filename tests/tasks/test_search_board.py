"""What the board, MLflow and the page say of a search: its candidates, its choice, its cost."""

from dataclasses import replace

import pytest

from operators.spec import TrialSpec
from tasks.pages.asking import own_rows
from tasks.pages.board import rebuild
from tasks.pages.searches import chosen_by_search
from tasks.planning.planned import chosen_of
from tasks.planning.search import Candidate, Grid, Search
from tasks.planning.suite import MethodChoice
from tasks.publishing.mlflow_cell import is_candidate, name_of
from tasks.site.tables import TABLES
from tasks.storage import runs

LRS = (0.01, 0.05)


@pytest.fixture
def trial(spec):
    """Makes the specification of a trial of coop with everything that the board asks for."""
    from operators.methods import METHODS
    from operators.methods.hyperparameters import resolve

    def make(lr, **fields) -> TrialSpec:
        place = {"protocol": "few_shot", "shots": fields.get("shots", 1)}
        values = resolve("coop", METHODS["coop"], {"lr": lr}, **place)
        return spec(method="coop", hyperparameters=values, **{**place, **fields})

    return make


@pytest.fixture
def searched(store, complete, trial):
    """A store where a search has chosen 0.05 with 1 shot and 0.01 with 2; gives these trials."""
    chosen = {}
    searches = []
    for shots, place in ((1, 1), (2, 0)):
        candidates = tuple(
            Candidate({"lr": lr}, tuple(trial(lr, shots=shots, seed=seed) for seed in (1, 2)))
            for lr in LRS
        )
        grid = Grid(MethodChoice(id="coop"), {"lr": LRS}, "cell", "mini")
        searches.append(Search(grid, candidates, place, over=True))
        chosen[shots] = searches[-1].specs
        for each in searches[-1].trials:
            complete(each, metrics=[_score("val", 0.75)])
        for each in searches[-1].specs:
            complete(each)
    ids = [s.trial_id for each in searches for s in (*each.trials, *each.specs)]
    records = [search.record() for search in searches]
    run = runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None, searches=records)
    runs.finish(store, run)
    return chosen


def _score(split, value):
    return {"split": split, "metric": "accuracy", "value": value, "n": 4}


@pytest.fixture
def ask(store, searched, monkeypatch):
    # The made-up predictions are of the split `all`, whatever was scored.
    monkeypatch.setattr("tasks.pages.board.unbacked", lambda connection, trials: [])
    rebuild(store, chosen=chosen_of)
    return lambda sql: own_rows(store, sql)


def test_every_candidate_is_in_the_view_with_its_score_and_its_cost(ask, searched):
    rows = ask("FROM searches ORDER BY shots, candidate")
    told = [(r["shots"], r["candidate"], r["mean"], r["trials"], r["chosen"]) for r in rows]
    assert told == [
        *((1, 1, 0.75, 2, False), (1, 2, 0.75, 2, True)),
        *((2, 1, 0.75, 2, True), (2, 2, 0.75, 2, False)),
    ]
    assert {(r["suite"], r["metric"], r["candidates"], r["chosen_on"]) for r in rows} == {
        ("mini", "accuracy", 2, 1)
    }
    assert {r["search_trials"] for r in rows} == {4}
    assert {r["search_seconds"] for r in rows} == {4 * 1.5}
    assert [r["cell_id"] for r in rows if r["chosen"]] == [s[0].cell_id for s in searched.values()]


def test_candidates_stand_on_no_leaderboard(ask, searched):
    tested = {spec.cell_id for specs in searched.values() for spec in specs}
    for view in ("leaderboard", "few_shot_curves", "cost"):
        cells = {row["cell_id"] for row in ask(f"FROM {view}")} - {None}
        assert cells == tested
    assert {row["split"] for row in ask("FROM leaderboard")} == {"all"}
    for table in ("trials", "trial_scores", "run_trials", "losses", "mistakes", "confusions"):
        ids = {row["trial_id"] for row in ask(TABLES[table])}
        assert ids <= {spec.trial_id for specs in searched.values() for spec in specs}
    assert len(ask("FROM trials WHERE tested_on = 'val'")) == 8


def test_what_was_chosen_in_each_cell_is_one_line(ask):
    lines = {row["variant"] for row in ask("FROM few_shot_curves")}
    assert lines == {"tuned=lr:2-candidates views=none"}
    assert {row["variant"] for row in ask("FROM leaderboard")} == lines
    assert {row["search_trials"] for row in ask("FROM cost")} == {4}


def test_a_cell_that_is_asked_for_by_itself_keeps_its_name(ask, store, searched):
    own = [spec.trial_id for spec in searched[1]]
    run = runs.begin(store, suite="other", trial_ids=own, flow_run_id=None)
    runs.finish(store, run)
    rebuild(store, chosen=chosen_of)
    own, line = {1: "lr=0.05 views=none"}, "tuned=lr:2-candidates views=none"
    told = {r["shots"]: r["variant"] for r in ask("FROM leaderboard")}
    assert told[1] == own[1]
    assert told[2] == line
    told = {(r["shots"], r["variant"]) for r in ask("FROM few_shot_curves")}
    assert (1, own[1]) in told
    assert {shots for shots, variant in told if variant == line} == {1, 2}


def test_a_trial_says_which_search_chose_its_settings(ask, store, searched):
    (said,) = chosen_by_search(store, searched[1][0].cell_id)
    assert said.startswith("tuned: candidate 2 of 2 of the suite mini")
    assert said.endswith("the search took 4 trials and 6 s")
    (said,) = chosen_by_search(store, searched[1][0].on_validation.cell_id)
    assert said.endswith("on validation rows and was chosen")


def test_a_candidate_is_no_best_model_and_is_named_as_one_in_mlflow(trial, store, complete):
    from tasks.publishing.publish import Publication

    tested = trial(0.01)
    publication = Publication(store, [], suite="mini", run_id="r")
    for spec in (tested.on_validation, tested):
        complete(spec)
        publication._offer(store.result(spec.trial_id))
    assert [one.trial_id for one in publication._best.values()] == [tested.trial_id]
    assert is_candidate(tested.on_validation.to_json())
    assert not is_candidate(tested.to_json())
    assert name_of(tested.on_validation.to_json()) == f"{name_of(tested.to_json())} candidate"


def test_a_run_goes_on_with_what_it_has_chosen(store, trial, complete):
    first, there, later = (replace(trial(0.01), seed=seed) for seed in (1, 2, 3))
    run = runs.begin(store, suite="mini", trial_ids=[first.trial_id], flow_run_id="flow")
    complete(there)
    ids = [each.trial_id for each in (first, there, later)]
    with pytest.raises(ZeroDivisionError), runs.broken_off(store, run):
        runs.extend(store, run, ids, [{"search_id": "s"}], store.done())
        1 / 0  # noqa: B018
    noted = runs.of_flow_run(store, "flow")
    assert noted is not None
    assert noted.trial_ids == tuple(ids)
    assert (noted.reused, noted.status, noted.searches) == (1, "failed", ({"search_id": "s"},))
