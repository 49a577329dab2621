"""Averages over data sets, targets and domains: both conventions of H, and no average over gaps."""

import csv
from pathlib import Path

import pytest

import operators.board
from operators.board import failed_row, fill
from operators.spec import Target

PUBLISHED = Path(operators.board.__file__).with_name("reference_results.csv")
SOURCE = "zhengli97/PromptKD images/exp_results.png"


@pytest.fixture
def failure(board_spec):
    """The row of a trial that failed."""

    def make(**changes):
        spec = board_spec(**changes)
        said = {"spec": spec.to_json(), "error": "no memory", "failed_at": "2026-01-01T00:00"}
        return failed_row(said, trial_id=spec.trial_id)

    return make


def average(rows, view, method="coop", **where):
    name = "target" if view in ("transfer", "cross_dataset", "domain_generalization") else "dataset"
    found = [
        row
        for row in rows(view, f"{name} = 'AVERAGE' AND method = '{method}'")
        if all(row[key] == value for key, value in where.items())
    ]
    assert len(found) == 1
    return found[0]


def published(method):
    """Base and new of each of the eleven data sets, and what is printed as their average."""
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        found = [
            row
            for row in csv.DictReader(file)
            if (row["method"], row["protocol"], row["source"]) == (method, "base_to_new", SOURCE)
        ]
    table = {}
    for row in found:
        table.setdefault(row["dataset"], {})[row["split"]] = float(row["value"])
    return table, table.pop("AVERAGE11")


@pytest.mark.parametrize("method", ["CoOp", "CoCoOp"])
def test_h_of_the_published_average_is_that_of_the_averages(connection, rows, trial, method):
    """82.69 and 63.22 make 71.66 in the papers; the mean of the eleven H is another number."""
    table, printed = published(method)
    assert len(table) == 11
    fill(
        connection,
        results=[
            trial({"base": of["base"], "new": of["new"]}, protocol="base_to_new", dataset=name)
            for name, of in table.items()
        ],
    )
    found = average(rows, "base_to_new")
    assert (round(found["base"], 4), round(found["new"], 4)) == (printed["base"], printed["new"])
    assert round(found["h_of_means"], 4) == printed["HM"]
    each = [2 * of["base"] * of["new"] / (of["base"] + of["new"]) for of in table.values()]
    assert found["h"] == pytest.approx(sum(each) / 11)
    assert abs(found["h"] - printed["HM"]) > 0.003
    if method == "CoOp":
        assert (printed["base"], printed["new"], printed["HM"]) == (0.8269, 0.6322, 0.7166)
    assert (found["datasets"], found["missing"]) == (11, None)


SPLITS = {"base_to_new": ("base", "new"), "few_shot": ("all",)}


@pytest.mark.parametrize(
    ("view", "protocol", "values"),
    [
        ("base_to_new", "base_to_new", ("base", "new", "h", "h_of_means", "h_std")),
        ("few_shot_curves", "few_shot", ("mean", "std", "ci95_low")),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_a_data_set_that_is_missing_leaves_no_average_and_is_named(
    connection, rows, trial, failure, view, protocol, values, failed
):
    def scores(method, *datasets):
        return [
            trial(
                {split: value + seed / 20 for split in SPLITS[protocol]},
                **{"protocol": protocol, "method": method, "dataset": name, "seed": seed},
            )
            for name, value in zip(datasets, (0.3, 0.5, 0.7), strict=False)
            for seed in (1, 2)
        ]

    results = scores("coop", "dtd", "pets")
    others = [] if failed else scores("maple", "dtd", "pets", "food")
    gone = [failure(protocol=protocol, dataset="food")] if failed else []
    fill(connection, results=results + others, failures=gone)
    found = average(rows, view)
    assert all(found[name] is None for name in values)
    assert (found["covers"], found["missing"], found["datasets"]) == ("dtd, pets", "food", 2)
    lines = [row for row in rows("averages", "method = 'coop'")]
    assert lines
    for row in lines:
        assert (row["mean"], row["missing"], row["covers"]) == (None, "food", "dtd, pets")
    if not failed:
        whole = average(rows, view, "maple")
        assert all(whole[name] is not None for name in values)
        assert (whole["covers"], whole["missing"]) == ("dtd, food, pets", None)


def test_a_failed_seed_beside_others_is_no_gap(connection, rows, cell, failure):
    fill(connection, results=cell([0.5, 0.6]), failures=[failure(seed=3)])
    found = average(rows, "few_shot_curves")
    assert (found["mean"], found["missing"]) == (pytest.approx(0.55), None)
    (line,) = rows("averages")
    assert (line["mean"], line["missing"]) == (pytest.approx(0.55), None)


def test_a_data_set_that_few_have_is_in_no_average_and_no_gap(connection, rows, cell):
    results = [
        *cell([0.4], dataset="dtd"),
        *cell([0.6], dataset="pets"),
        *(row for name in ("a", "b") for row in cell([0.5], dataset="dtd", method=name)),
    ]
    fill(connection, results=results)
    assert average(rows, "few_shot_curves")["covers"] == "dtd"
    for name in ("coop", "a", "b"):
        found = average(rows, "few_shot_curves", name)
        assert (found["mean"] is not None, found["missing"]) == (True, None)


def targets_of(*names):
    return {name: Target("f" * 16) for name in names}


@pytest.mark.parametrize("protocol", ["cross_dataset", "domain_generalization"])
def test_a_target_that_is_missing_leaves_no_average_and_is_named(connection, rows, trial, protocol):
    fill(
        connection,
        results=[
            trial(
                {"all": 0.9, **scores},
                **{"protocol": protocol, "method": method, "targets": targets_of(*scores)},
            )
            for method, scores in {
                "coop": {"food": 0.2, "pets": 0.4},
                "maple": {"food": 0.2, "pets": 0.4, "cars": 0.9},
                "gap": {"food": 0.2, "pets": None, "cars": 0.9},
            }.items()
        ],
    )
    for view in ("transfer", protocol):
        found = {name: average(rows, view, name) for name in ("coop", "maple", "gap")}
        assert found["maple"]["mean"] == pytest.approx(0.5)
        assert found["maple"]["missing"] is None
        assert (found["coop"]["mean"], found["coop"]["missing"]) == (None, "cars")
        assert (found["gap"]["mean"], found["gap"]["missing"]) == (None, "pets")
        assert found["coop"]["covers"] == "food, pets"
    assert {r["method"]: r["missing"] for r in rows("averages")} == {
        "coop": "cars",
        "maple": None,
        "gap": "pets",
    }


@pytest.mark.parametrize("failed", [False, True])
def test_a_domain_that_nobody_left_out_yet_is_missing_and_one_that_failed_too(
    connection, rows, trial, failure, failed
):
    place = {"protocol": "domain_generalization", "dataset": "pacs"}
    results = [
        trial({name: value}, held_out=name, seed=seed, **place)
        for name, value in {"art": 0.4, "photo": 0.6}.items()
        for seed in (1, 2)
    ]
    sketch = {"held_out": "sketch", **place}
    others = [] if failed else [trial({"sketch": 0.5}, **sketch, method="maple")]
    fill(connection, results=results + others, failures=[failure(**sketch)] if failed else [])
    found = average(rows, "domain_generalization")
    assert (found["mean"], found["std"], found["missing"]) == (None, None, "sketch")
    assert (found["covers"], found["targets"]) == ("art, photo", 2)
    fill(connection, results=[trial({"sketch": 0.8}, **sketch)])
    found = average(rows, "domain_generalization")
    assert (found["mean"], found["missing"]) == (pytest.approx(0.6), None)
    assert found["covers"] == "art, photo, sketch"
