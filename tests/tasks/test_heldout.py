import json
from dataclasses import asdict

import pytest

from operators.backbones import reference
from tasks.planning.resolve import RequestError
from tasks.pretraining.heldout import RESULTS, evaluate, read_results, results_of, verify, wilson


def test_wilsons_interval_is_that_of_the_textbook():
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    for correct, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


def test_the_figure_is_that_of_zero_shot_on_the_board(pets, clip, clip_folder, spec):
    from operators.episodes.features import DatasetImages
    from operators.trials.trial import run_trial
    from tasks.planning.data import TrialData

    (ours,) = evaluate(clip_folder, [pets], "test")
    asked = spec(
        method="zero-shot", hyperparameters={}, protocol="zero_shot", shots=0, backbone="tiny"
    )
    images = DatasetImages(pets.images, clip)
    outcome = run_trial(asked, clip, TrialData(pets), images)
    (theirs,) = (m for m in outcome.metrics if m.metric == "accuracy")
    assert (ours.accuracy, ours.n) == (theirs.value, theirs.n) == (ours.correct / ours.n, 16)
    assert ours.ci95_low < ours.accuracy < ours.ci95_high
    assert ours.template == "a photo of a {}."


def test_validation_rows_are_others_than_test_rows(pets, clip_folder):
    (val,) = evaluate(clip_folder, [pets], "val")
    assert (val.split, val.n) == ("val", 4)


def test_a_dataset_without_such_rows_is_refused(dataset_of, clip_folder):
    dataset = dataset_of(train=2, test=2)
    with pytest.raises(RequestError, match="pets has no val rows, so nothing can be evaluated"):
        evaluate(clip_folder, [dataset], "val")


@pytest.fixture
def stated(pets, clip_folder, tmp_path):
    """A copy of the tiny CLIP with figures, which may be changed."""
    import shutil

    def make(**changes):
        folder = tmp_path / "stated"
        shutil.copytree(clip_folder, folder)
        which = reference(str(folder))
        results = results_of(
            evaluate(folder, [pets], "test"), which.describe().fingerprint, {"name": "tiny"}
        )
        results["results"][0] |= changes
        (folder / RESULTS).write_text(json.dumps(results))
        return which, folder

    return make


def test_right_figures_agree(stated, pets):
    (found,) = verify(*stated(), {"pets": pets})
    assert found.agrees
    assert found.found == found.stated
    assert found.remark == ""


def test_a_figure_that_is_one_row_off_is_rounding_and_two_are_not(stated, pets):
    which, folder = stated()
    values = json.loads((folder / RESULTS).read_text())
    for more, agrees in ((1, True), (2, False)):
        changed = json.loads(json.dumps(values))
        changed["results"][0]["correct"] += more
        (folder / RESULTS).write_text(json.dumps(changed))
        (found,) = verify(which, folder, {"pets": pets})
        assert found.agrees == agrees


def test_another_dataset_or_other_weights_are_remarked(stated, pets):
    which, folder = stated(dataset_fingerprint="0" * 16)
    (found,) = verify(which, folder, {"pets": pets})
    assert found.remark == "the dataset here is not the one of the card"
    config = folder / "preprocessor_config.json"
    config.write_text(config.read_text() + " ")
    (found,) = verify(which, folder, {"pets": pets})
    assert found.remark.startswith("the files of the model are not those of the card; ")


def test_a_dataset_that_is_gone_does_not_agree(stated):
    (found,) = verify(*stated(), {})
    assert (found.agrees, found.found, found.remark) == (
        False,
        None,
        "no dataset of this name is here",
    )


def test_a_model_without_figures_is_refused(clip_folder, stated):
    with pytest.raises(RequestError, match=r"has no results\.json, so there are no figures"):
        read_results(clip_folder)
    _, folder = stated(nonsense=1)
    with pytest.raises(RequestError, match="is damaged"):
        read_results(folder)


def test_figures_can_be_read_again(stated, pets):
    _, folder = stated()
    (one,) = read_results(folder)["results"]
    assert asdict(one)["dataset"] == "pets"
