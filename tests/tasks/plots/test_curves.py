import math

import pytest

from tasks.plots.plot import NothingToDraw


def test_a_curve_has_means_and_intervals_of_the_board_at_their_places(board, figure_of, drawn):
    for shots, scores in {1: (0.4, 0.5, 0.6), 4: (0.6, 0.7, 0.8), 16: (0.8, 0.81, 0.82)}.items():
        board.cell("coop", *scores, shots=shots)
    figure = figure_of("curves")
    wanted = board.ask(
        "SELECT shots, mean, ci95_low, ci95_high FROM leaderboard WHERE is_primary ORDER BY shots"
    )
    rows = sorted(figure.rows, key=lambda row: row["shots"])
    for row, known in zip(rows, wanted, strict=True):
        ends = [100 * known[name] for name in ("mean", "ci95_low", "ci95_high")]
        assert [row[name] for name in ("shown", "shown_low", "shown_high")] == pytest.approx(ends)
    svg = drawn("curves", figure)
    places = [svg.mark(f"coop, {row['shots']} shot") for row in rows]
    assert "coop, 4 shots: 70.0 % (95 % interval 45.2 to 94.8) (3 seeds)" in svg.marks()
    height, (low, high) = figure.values["height"], figure.values["y_domain"]
    for (_, y), row in zip(places, rows, strict=True):
        assert y == pytest.approx(height * (high - row["shown"]) / (high - low), abs=0.01)
    across = [x for x, _ in places]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.01)  # a log axis


def test_all_of_the_train_split_stands_behind_the_numbers_and_no_line_leads_there(
    board, figure_of, drawn
):
    for shots, scores in {1: (0.4, 0.5), 4: (0.6, 0.7), 16: (0.8, 0.82), -1: (0.9, 0.92)}.items():
        board.cell("coop", *scores, shots=shots)
    figure = figure_of("curves")
    assert figure.alt.startswith("Few-shot curves of 1 method on")
    assert "at 1, 4, 16 and all shots." in figure.alt
    assert "At all shots, coop has" in figure.alt
    svg = drawn("curves", figure)
    across = [svg.mark(f"coop, {said}:")[0] for said in ("1 shot", "4 shots", "16 shots")]
    last = svg.mark("coop, all shots:")[0]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.01)
    assert last - across[2] == pytest.approx((across[1] - across[0]) * 0.75, abs=0.01)
    assert [row["last"] for row in sorted(figure.rows, key=lambda row: row["at"])] == [
        *(False, False, False, True)
    ]
    assert "all" in svg.texts()


def test_all_of_the_train_split_alone_is_a_picture_too(board, figure_of, drawn):
    board.cell("coop", 0.9, 0.92, shots=-1)
    assert drawn("curves", figure_of("curves")).mark("coop, all shots:")


def test_the_best_is_told_with_its_lead_and_its_interval(board, figure_of):
    board.cell("coop", 0.5, 0.6, 0.7, shots=16)
    board.cell("maple", 0.7, 0.8, 0.9, shots=16)
    board.cell("zero-shot", 0.55, shots=0)
    alt = figure_of("curves").alt
    assert "At 16 shots, maple has accuracy 80.0 % (95 % interval 55.2 to 100.0)" in alt
    assert "best of 2 and 20.0 points ahead of coop" in alt
    assert "Without labelled examples, zero-shot has accuracy 55.0 %." in alt


def test_where_less_is_better_the_least_is_first_and_the_unit_is_that_of_the_metric(
    board, figure_of, drawn
):
    board.cell("coop", 1.5, 1.6, protocol="reading", metric="nll")
    board.cell("maple", 0.5, 0.6, protocol="reading", metric="nll")
    figure = figure_of("curves", protocol="reading")
    assert figure.values["labels"] == ["maple", "coop"]
    assert "maple has nll 0.55 nats" in figure.alt
    assert "1 nats ahead of coop" in figure.alt
    assert "nll (nats, less is better)" in drawn("curves", figure).texts()


@pytest.mark.parametrize(
    "name", ["<b>&'\"</b>", "方法-ü", "a-very-long-name-" * 12, "it's </script>"], ids=range(4)
)
def test_awkward_names_are_drawn_as_they_are(board, figure_of, drawn, name):
    board.cell(name, 0.5, 0.6, dataset=name, backbone=name)
    figure = figure_of("curves", dataset=name)
    svg = drawn("curves", figure)
    assert any(text.startswith(name[:20]) for text in svg.texts())
    assert name in "".join(svg.root.find("{*}desc").itertext())


def test_one_seed_has_no_interval_and_what_has_no_number_is_named(board, figure_of, drawn):
    board.cell("coop", 0.5, shots=1)
    board.cell("maple", math.nan, shots=1)
    board.cell("tip-adapter", None, shots=1)
    figure = figure_of("curves")
    (row,) = figure.rows
    assert row["shown_low"] is None
    assert "interval" not in figure.alt
    assert "Without a number: maple and tip-adapter." in figure.alt
    assert "Without a number: maple and tip-adapter." in "".join(drawn("curves", figure).texts())


def test_where_no_cell_has_a_number_the_refusal_says_what_is_missing(board, figure_of):
    with pytest.raises(NothingToDraw, match="the board has nothing for the plot curves yet"):
        figure_of("curves")
    board.cell("coop", None)
    with pytest.raises(NothingToDraw, match="no number on dtd, clip, few_shot yet"):
        figure_of("curves")


def test_methods_without_draws_alone_are_lines_across(board, figure_of, drawn):
    board.cell("zero-shot", 0.5, shots=0)
    figure = figure_of("curves")
    assert figure.values["shots"] == []
    assert "zero-shot  50.0" in drawn("curves", figure).texts()


def test_a_mean_over_data_sets_names_who_is_not_on_all_of_them(board, figure_of):
    for dataset in ("dtd", "pets"):
        board.cell("coop", 0.5, 0.6, dataset=dataset)
        board.cell("maple", 0.7, 0.8, dataset=dataset)
    board.cell("tip-adapter", 0.99, 0.98, dataset="dtd")
    board.cell("tip-adapter", 0.99, 0.98, dataset="eurosat")
    figure = figure_of("curves", dataset="AVERAGE")
    assert set(figure.values["labels"]) == {"coop", "maple"}
    assert figure.notes == ("Not on all of dtd, pets, so left out of the mean: tip-adapter.",)


def test_a_mean_that_is_refused_says_what_is_lacking(board, figure_of):
    board.cell("coop", 0.5, 0.6)
    board.cell("coop", 0.5, 0.6, dataset="pets")
    failed = board.cell("coop", 0.5, dataset="food", status="failed")
    assert board.ask(f"SELECT status FROM trials WHERE cell_id = '{failed}'")
    with pytest.raises(NothingToDraw, match="No mean: coop lacks food"):
        figure_of("curves", dataset="AVERAGE")


def test_a_method_is_one_line_where_its_variants_do_not_meet(board, figure_of):
    board.cell("coop", 0.5, shots=1, variant="epochs=50")
    board.cell("coop", 0.6, shots=16)
    assert figure_of("curves").values["labels"] == ["coop"]
    board.cell("coop", 0.7, shots=16, variant="lr=1")
    assert set(figure_of("curves").values["labels"]) == {"coop", "coop, epochs=50", "coop, lr=1"}


def test_published_numbers_stand_beside_ours(board, figure_of, drawn):
    board.cell(
        "coop",
        *(0.6, 0.62, 0.64),
        **{"shots": 16, "dataset": "dtd", "backbone": "clip-rn50"},
    )
    (known,) = board.ask(
        "SELECT DISTINCT published_min, published_median, published_max, sources FROM reproduction"
    )
    figure = figure_of("curves")
    (row,) = figure.rows
    assert row["shown_published"] == pytest.approx(100 * known["published_median"])
    assert row["shown_published_low"] == pytest.approx(100 * known["published_min"])
    assert row["said_published"] in drawn("curves", figure).marks()
