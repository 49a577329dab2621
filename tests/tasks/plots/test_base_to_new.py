import pytest

from tasks.plots.plot import NothingToDraw


def both(base, new):
    return {"base": base, "new": new}


def test_points_stand_where_base_and_new_are_and_are_ranked_by_h(board, figure_of, drawn):
    board.cell("coop", both(0.9, 0.5), both(0.9, 0.52), protocol="base_to_new")
    board.cell("maple", both(0.8, 0.7), both(0.82, 0.7), protocol="base_to_new")
    figure = figure_of("base-to-new")
    known = {row["method"]: row for row in board.ask("SELECT * FROM base_to_new")}
    assert figure.values["labels"] == ["maple", "coop"]
    svg = drawn("base-to-new", figure)
    places = {}
    for row in figure.rows:
        cell = known[row["label"]]
        assert [row["base"], row["new"]] == [100 * cell["base"], 100 * cell["new"]]
        said = f"{row['label']}: base {row['base']:.1f} %, new {row['new']:.1f} %, "
        places[row["label"]] = svg.mark(f"{said}H {100 * cell['h']:.1f} %")
    assert places["coop"][0] > places["maple"][0]
    assert places["coop"][1] > places["maple"][1]  # down the page
    assert "Best on base classes: coop with 90.0 %." in figure.alt
    assert "There, maple has H 7" in figure.alt


def test_contours_are_of_the_harmonic_mean(board, figure_of):
    board.cell("coop", both(0.9, 0.5), protocol="base_to_new")
    board.cell("maple", both(0.7, 0.8), protocol="base_to_new")
    contours = figure_of("base-to-new").values["contours"]
    assert len({point["h"] for point in contours}) >= 3
    for point in contours:
        base, new = point["base"], point["new"]
        assert 2 * base * new / (base + new) == pytest.approx(point["h"])


def test_where_h_is_not_defined_there_are_no_contours(board, figure_of, drawn):
    board.insert(
        "protocols",
        **{"protocol": "reading_new", "track": "drawn", "title": "", "tests": "base and new"},
        **{"primary_metric": "nll", "learns": True, "new_classes": True, "revision": 1},
    )
    board.cell("coop", both(1.5, 2.0), protocol="reading_new", metric="nll")
    board.cell("maple", both(0.5, 1.0), protocol="reading_new", metric="nll")
    figure = figure_of("base-to-new", protocol="reading_new")
    assert figure.values["contours"] == []
    assert figure.values["labels"] == ["maple", "coop"]
    assert "There, maple has mean of base and new 0.75 nats" in figure.alt
    assert "coop  1.75" in drawn("base-to-new", figure).texts()


def test_without_base_and_new_the_refusal_says_what_to_run(board, figure_of):
    board.cell("coop", 0.5)
    with pytest.raises(NothingToDraw, match="--protocols base_to_new"):
        figure_of("base-to-new")


def test_one_method_and_one_seed_are_drawn(board, figure_of, drawn):
    board.cell("coop", both(0.5, 0.0), protocol="base_to_new")
    figure = figure_of("base-to-new")
    assert drawn("base-to-new", figure).mark("coop: base 50.0 %, new 0.0 %, H 0.0 %")
