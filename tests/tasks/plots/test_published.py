import pytest

from tasks.plots.plot import NothingToDraw


def test_every_published_number_stands_below_ours(board, figure_of, drawn):
    board.cell("coop", 0.60, 0.62, 0.64, shots=16, backbone="clip-rn50")
    known = board.ask("SELECT * FROM reproduction")
    figure = figure_of("published")
    (ours,) = (row for row in figure.rows if row["kind"] == "ours")
    published = [row for row in figure.rows if row["kind"] == "published"]
    assert sorted(row["shown"] for row in published) == pytest.approx(
        sorted(100 * row["published"] for row in known)
    )
    assert [ours["least"], ours["greatest"]] == pytest.approx(
        [100 * known[0]["published_min"], 100 * known[0]["published_max"]]
    )
    marks = drawn("published", figure).marks()
    assert marks[ours["said"]][1] < min(marks[row["said"]][1] for row in published)
    assert f"median of {len(known)}" in figure.alt
    assert known[0]["source"] in "".join(row["said"] for row in published)


def test_the_harmonic_mean_of_papers_is_a_share(board, figure_of):
    board.cell(
        "coop",
        *({"base": 0.8, "new": 0.5}, {"base": 0.81, "new": 0.51}),
        **{"shots": 16, "backbone": "clip-vit-b16", "protocol": "base_to_new"},
    )
    figure = figure_of("published", split="HM")
    assert "harmonic mean (%)" in figure.values["x_title"]


def test_where_no_paper_has_a_number_the_refusal_says_so(board, figure_of):
    board.cell("coop", 0.5)
    with pytest.raises(NothingToDraw, match="that the shipped papers report"):
        figure_of("published")
