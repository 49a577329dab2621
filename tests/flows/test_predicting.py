"""`shotboard predict`: what it prints, its exit codes, and what it refuses."""

import sys

import pyarrow.parquet as pq
import pytest

from operators.trials.results import TrialResult


@pytest.fixture
def trial(filled):
    """The id of a trial of Tip-Adapter."""
    results = map(TrialResult.from_json, filled.results())
    return next(r.spec.trial_id for r in results if r.spec.method == "tip-adapter")


@pytest.fixture
def predict(shotboard, filled, clip_folder):
    def call(*arguments, folder=clip_folder):
        backbone = ["--backbone", folder] if folder else []
        return shotboard("predict", *arguments, *backbone, "--home", filled.home)

    return call


@pytest.fixture
def image(pictures):
    return pictures / "tree" / "3.jpg"


@pytest.fixture(autouse=True)
def bare(filled, monkeypatch):
    """Whatever tries to import one of these gets an ImportError; no bar is drawn on stderr.

    The command turns bars off as well, but transformers read that when it was first imported.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    for name in ("prefect", "ray", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)


def test_images_are_shown_with_their_ranked_classes(predict, trial, image, pictures):
    shown = predict(trial[:6], image, pictures / "cat" / "1.jpg", "--top", 2)
    assert (shown.code, shown.err) == (0, "")
    title, blank, head, *rows = (line.strip() for line in shown.out.splitlines())
    assert title.startswith(f"trial {trial}: tip-adapter on tiny-clip and pets (few_shot, 1 shot, ")
    assert title.endswith("4 classes to choose from")
    assert (blank, head.split()) == ("", ["image", "class", "probability"])
    assert [row.startswith(str(pictures)) for row in rows] == [True, False, True, False]
    assert all(row.endswith("%") for row in rows)


def test_json_has_each_image_with_its_probabilities(predict, trial, image):
    (found,) = predict(trial, image, "--json").json
    assert (found["image"], found["error"]) == (str(image), None)
    assert {each["name"] for each in found["classes"]} == {"cat", "dog", "boat", "tree"}
    probabilities = [each["probability"] for each in found["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_the_answer_is_that_of_the_board(predict, trial, filled, pictures):
    from tasks.planning.resolve import ingested

    dataset = ingested(filled, "pets")
    assert dataset is not None
    table = pq.read_table(filled.trial(trial) / "predictions.parquet").to_pylist()
    paths = [pictures / dataset.column("path")[row["row_id"]] for row in table]
    found = predict(trial, *paths, "--top", 1, "--json").json
    said = [dataset.classes[row["predicted"]] for row in table]
    assert [each["classes"][0]["name"] for each in found] == said


def test_a_bad_image_is_named_and_the_others_are_classified(predict, trial, image, pictures):
    torn = pictures / "dog" / "torn.jpg"
    shown = predict(trial, torn, image, "absent.jpg")
    assert shown.code == 1
    assert str(image) in shown.out
    assert str(torn) not in shown.out
    first, second = shown.err.splitlines()
    assert first.startswith(f"error: {torn} is no image that can be used (damaged: OSError: ")
    assert first.endswith("Save it again in a usual format, or give another one.")
    assert second.startswith("error: no file or folder at absent.jpg.")
    shown = predict(trial, torn, image, "--json")
    assert shown.code == 1
    assert [bool(each["error"]) for each in shown.json] == [True, False]
    assert [len(each["classes"]) for each in shown.json] == [0, 4]


def test_where_no_image_can_be_read_there_is_no_table(predict, trial):
    shown = predict(trial, "absent.jpg")
    assert (shown.code, shown.out) == (1, "")
    assert predict(trial, "absent.jpg", "--json").code == 1


def test_names_of_the_users_own_are_chosen_from(predict, filled, image):
    results = map(TrialResult.from_json, filled.results())
    trial = next(r.spec.trial_id for r in results if r.spec.method == "zero-shot")
    (found,) = predict(trial, image, "--classes", "zebra, tea pot", "--json").json
    assert {each["name"] for each in found["classes"]} == {"zebra", "tea pot"}
    assert "2 classes to choose from" in predict(trial, image, "--classes", "zebra,tea pot").out


def test_sentences_come_from_a_file(predict, trial, image, tmp_path):
    file = tmp_path / "said.json"
    asked = [trial, image, "--classes", "zebra,cat", "--descriptions"]
    assert "no file or folder at" in predict(*asked, file).sentence
    file.write_text('{"zebra": ["stripes."], "cat": "fur"}')
    assert (
        f"{file}: the descriptions of 'cat' are 'fur' and no list" in predict(*asked, file).sentence
    )
    file.write_text('{"zebra": ["stripes."], "cat": ["fur."]}')
    assert "tip-adapter reads no sentences about classes" in predict(*asked, file).sentence


def test_what_cannot_be_asked_is_one_sentence(predict, trial, image, filled):
    assert predict("ffff", image).sentence.startswith(f"no trial 'ffff' in {filled.home}.")
    assert "trials begin with ''" in predict("", image).sentence
    assert "--top 0: give at least 1." in predict(trial, image, "--top", 0).sentence
    assert "a folder, and where that is" in predict(trial, image, folder=None).sentence
    assert "cannot classify others" in predict(trial, image, "--classes", "zebra,cat").sentence
    answer = predict(trial)
    assert answer.code == 2
    assert answer.sentence.startswith("missing argument 'EXAMPLE'.")


def test_a_failed_trial_says_how(predict, image, filled):
    (failed,) = (path.stem for path in filled.failures.glob("*.json"))
    said = predict(failed, image).sentence
    assert said.startswith(f"trial {failed} failed: ")
    assert "try a smaller lr" in said
