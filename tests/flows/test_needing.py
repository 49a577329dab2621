"""What `shotboard plan` says of time, room and downloads before anything is run."""

import pytest

from data_catalog.published import PUBLISHED
from flows.suites import FOLDER, load_suite

GRIDS = ("coop-few-shot", "base-to-new", "cross-dataset", "domain-generalization")


def test_a_plan_of_data_that_is_not_here_says_what_it_takes(shotboard, tmp_path):
    answer = shotboard(
        *("plan", "base-to-new", "--datasets", "oxford_pets", "--home", tmp_path, "--json")
    ).json
    needs = answer["needs"]
    assert [(each["kind"], each["name"]) for each in needs["fetch"]] == [
        ("dataset", "oxford_pets"),
        ("weights", "clip-vit-b16"),
    ]
    assert {trial["shots"] for trial in answer["trials"]} == {0, 16}
    found = needs["estimate"]
    # CoOp alone: 200 epochs of 9 batches, 19 classes, some 0.16 passes each of 6 GFLOP.
    assert found["operations"] > 200 * 9 * 19 * 0.1 * 6e9
    assert found["seconds"] > 3600
    assert found["disk_bytes"] > 0
    assert not any("rows" in reason for reason in found["unknown"])


def test_a_plan_names_what_to_fetch_for_people(shotboard, tmp_path):
    said = shotboard(
        *("plan", "coop-few-shot", "--datasets", "oxford_pets", "--methods", "coop,cupl"),
        *("--home", tmp_path),
    ).out
    assert "`shotboard datasets get oxford_pets`" in said
    assert "weights clip-vit-b16" in said
    assert "estimate of what is missing: " in said
    assert "cupl on oxford_pets: it reads sentences about each class" in said


def test_a_run_of_data_that_is_not_here_is_refused(shotboard, tmp_path):
    refused = shotboard("run", "base-to-new", "--datasets", "oxford_pets", "--home", tmp_path)
    assert refused.code == 2
    assert "oxford_pets is known and not registered here" in refused.sentence


@pytest.mark.parametrize("name", GRIDS)
def test_the_grids_of_the_papers_name_datasets_that_are_known(name):
    suite = load_suite(name)
    assert set(suite.all_datasets) <= set(PUBLISHED)
    assert suite.views == "published"
    assert suite.seeds == (1, 2, 3)
    assert suite.backbones == ("clip-vit-b16",)
    assert (FOLDER / f"{name}.yaml").read_text("utf-8").count("Source: ") == 1
