"""`shotboard board --plot`: a plot as a file, or in words."""

import json

import pytest


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<svg"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF"), ("json", b"{")]
)
def test_the_name_of_the_file_says_the_format(shotboard, filled, tmp_path, suffix, start):
    file = tmp_path / f"curves.{suffix}"
    answer = shotboard("board", "--plot", "curves", "-o", file, "--home", filled.home)
    assert answer.code == 0, answer.err
    assert file.read_bytes().startswith(start)
    assert f"wrote {file}" in answer.err
    assert "Few-shot curves of 2 methods on pets" in answer.out


def test_filters_choose_what_is_drawn(shotboard, filled, tmp_path):
    file = tmp_path / "cost.json"
    answer = shotboard(
        *("board", "--plot", "cost", "-o", file, "--home", filled.home, "--dataset", "pets"),
        *("--shots", 1, "--where", "cost=trainable_parameters", "--theme", "dark"),
    )
    assert answer.code == 0, answer.err
    spec = json.loads(file.read_text())
    assert spec["title"]["text"] == "Accuracy against trainable parameters: pets"
    assert spec["config"]["background"] != "#ffffff"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plot", "curvs"], "no plot is called 'curvs'. Did you mean curves?"),
        (["--plot", "curves", "--dataset", "pet"], "has nothing for dataset 'pet': there is pets"),
        (["--plot", "cost", "--shots", "2"], "the plot cost has nothing for shots 2: there is"),
        (["--plot", "cost", "--where", "cost"], "'cost' is no pair"),
        (["--plot", "cost", "-o", "x.gif"], "x.gif: plots are written as svg, png, pdf, json."),
        (["--plot", "base-to-new"], "Run a protocol that tests base and new classes"),
        (["--dataset", "pet"], "the board has no dataset 'pet' here: it has pets."),
        (["--shots", "3"], "the board has no shots 3 here"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(shotboard, filled, words, said):
    answer = shotboard("board", *words, "--home", filled.home)
    assert answer.code == 2
    assert said in " ".join(answer.err.split())


def test_filters_narrow_the_table_as_well(shotboard, filled):
    found = json.loads(shotboard("board", "--shots", 1, "--json", "--home", filled.home).out)
    assert {row["shots"] for row in found} == {1}


def test_a_file_of_the_store_is_not_written_over(shotboard, filled):
    trial = filled.trial(min(filled.done())) / "trial.json"
    before = trial.read_bytes()
    answer = shotboard("board", "--plot", "curves", "-o", trial, "--home", filled.home)
    assert answer.code == 2
    assert trial.read_bytes() == before


def test_help_names_every_plot(shotboard):
    from tasks.plots.drawing import PLOTS

    said = " ".join(shotboard("board", "--help").out.replace("│", " ").split())
    assert all(name in said for name in PLOTS)
