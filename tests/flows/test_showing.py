"""`shotboard show`: how a trial learned, and where it went wrong."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from flows.cli.showing import sparkline

CLASSES = ("boat", "cat", "dog", "tree")  # in label order, as folders are read


@pytest.fixture(scope="module")
def learned(filled):
    """A trial of the store that has labelled images."""
    return next(trial for trial in filled.results() if trial["spec"]["method"] == "tip-adapter")


@pytest.fixture(scope="module")
def wrong(filled, learned):
    """Its wrong answers, straight from its own file."""
    rows = pq.read_table(filled.trial(learned["trial_id"]) / "predictions.parquet").to_pylist()
    return [row for row in rows if row["label"] != row["predicted"]]


def test_classes_that_were_taken_for_each_other_have_names_and_shares(
    filled, learned, wrong, shotboard
):
    shown = shotboard("show", learned["trial_id"], "--json", "--home", filled.home).json["wrong"]
    counts = Counter((row["label"], row["predicted"]) for row in wrong)
    assert counts
    of_label = Counter(
        row["label"]
        for row in pq.read_table(
            filled.trial(learned["trial_id"]) / "predictions.parquet"
        ).to_pylist()
    )
    expected = {
        (CLASSES[label], CLASSES[predicted]): (n, n / of_label[label])
        for (label, predicted), n in counts.items()
    }
    found = {(r["class"], r["taken_for"]): (r["n"], r["share"]) for r in shown["confusions"]}
    assert found.items() <= expected.items()
    assert len(found) == min(6, len(expected))
    sizes = [row["n"] for row in shown["confusions"]]
    assert sizes == sorted(counts.values(), reverse=True)[: len(sizes)]


def test_the_surest_wrong_answers_come_first_and_say_where_their_image_is(
    filled, learned, wrong, shotboard
):
    shown = shotboard("show", learned["trial_id"], "--json", "--home", filled.home).json["wrong"]
    surest = sorted(wrong, key=lambda row: (-row["confidence"], row["row_id"]))[:6]
    assert [row["row_id"] for row in shown["mistakes"]] == [row["row_id"] for row in surest]
    for said, row in zip(shown["mistakes"], surest, strict=True):
        assert said["confidence"] == pytest.approx(row["confidence"])
        assert (said["class"], said["taken_for"]) == (
            CLASSES[row["label"]],
            CLASSES[row["predicted"]],
        )
        assert said["example"].startswith(f"{said['class']}/")


def test_confusions_and_wrong_answers_stand_below_the_metrics(filled, learned, shotboard):
    answer = shotboard("show", learned["trial_id"], "--home", filled.home)
    assert answer.code == 0, answer.err
    assert "confusions, most frequent first" in answer.out
    assert "wrong answers, surest first" in answer.out
    assert "training loss" not in answer.out  # it has a cache, and no epochs


def test_a_trial_shows_its_losses_and_without_a_board_no_confusions(
    filled, learned, shotboard, tmp_path
):
    folder = tmp_path / "store" / "trials" / learned["trial_id"]
    folder.mkdir(parents=True)
    for file in filled.trial(learned["trial_id"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    said = json.loads((folder / "trial.json").read_text())
    (folder / "trial.json").write_text(json.dumps(said | {"losses": [2.0, 1.5, 0.25]}))
    home = ("--home", tmp_path / "store")
    assert shotboard("show", learned["trial_id"], "--json", *home).json["wrong"] is None
    text = shotboard("show", learned["trial_id"], *home).out
    assert "training loss, 3 epochs: 2 to 0.25\n  █▆▁\n" in text
    assert "`shotboard board --rebuild`" in text


def test_a_trial_names_the_picture_of_what_it_looks_at(filled, learned, shotboard, tmp_path):
    folder = tmp_path / "store" / "trials" / learned["trial_id"]
    folder.mkdir(parents=True)
    for file in filled.trial(learned["trial_id"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    said = "what it looks at in test images"
    assert said not in shotboard("show", learned["trial_id"], "--home", tmp_path / "store").out
    (folder / "attention.webp").write_bytes(b"RIFF")
    text = shotboard("show", learned["trial_id"], "--home", tmp_path / "store").out
    assert f"{said}, as a picture: {folder / 'attention.webp'}" in text


def test_a_trial_says_what_was_found_and_how_much_was_tried(filled, learned, shotboard, tmp_path):
    folder = tmp_path / "store" / "trials" / learned["trial_id"]
    folder.mkdir(parents=True)
    for file in filled.trial(learned["trial_id"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    show = ("show", learned["trial_id"], "--home", tmp_path / "store")
    assert "\nfound\n" not in shotboard(*show).out
    said = json.loads((folder / "trial.json").read_text())
    found = {"template": "an ink {}.", "error_bound": 0.75, "tried": [{"template": "a {}."}] * 3}
    (folder / "trial.json").write_text(json.dumps(said | {"found": found}))
    lines = shotboard(*show).out.partition("\nfound\n")[2].splitlines()
    said = [line.split(maxsplit=1) for line in lines if line.strip()][:3]
    assert said == [
        ["template", "an ink {}."],
        ["error_bound", "0.75"],
        ["tried", "3, which --json prints"],
    ]


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([3.0], "▁"),
        ([1.0, 1.0], "▁▁"),
        ([0.0, 7.0], "▁█"),
        ([7, 6, 5, 4, 3, 2, 1, 0], "█▇▆▅▄▃▂▁"),
    ],
)
def test_a_sparkline_goes_from_the_least_to_the_greatest(values, drawn):
    assert sparkline(values) == drawn


def test_a_long_sparkline_shows_means():
    assert sparkline([0.0, 2.0, 4.0, 10.0], width=2) == "▁█"
    assert len(sparkline([float(i) for i in range(1000)])) == 60
