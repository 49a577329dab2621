import pytest

from tasks.plots.plot import NothingToDraw


def test_the_front_is_what_nothing_as_cheap_beats(board, figure_of, drawn):
    board.cell("zero-shot", 0.5, shots=0, tune_seconds=7.0)  # of a clock, not of tuning
    board.cell("tip-adapter", 0.7, 0.72, tune_seconds=0.1)
    board.cell("coop", 0.69, 0.7, tune_seconds=10.0)
    board.cell("maple", 0.8, 0.82, tune_seconds=100.0)
    figure = figure_of("cost", shots=4, cost="tune_seconds")
    rows = {row["label"]: row for row in figure.rows}
    assert [name for name, row in rows.items() if row["front"]] == [
        *("maple", "tip-adapter", "zero-shot")
    ]
    assert rows["zero-shot"]["spent"] == 0
    assert "The cheapest is zero-shot at 0 with 50.0 %." in figure.alt
    assert "The Pareto front is zero-shot, tip-adapter and maple." in figure.alt
    svg = drawn("cost", figure)
    across = {name: svg.mark(f"{name}: ")[0] for name in rows}
    assert "tip-adapter: 71.0 % (95 % interval 58.3 to 83.7) at 0.1 (2 seeds)" in svg.marks()
    assert across["zero-shot"] < across["tip-adapter"] < across["coop"] < across["maple"]
    decade = (across["coop"] - across["tip-adapter"]) / 2
    assert across["maple"] - across["coop"] == pytest.approx(decade, abs=0.02)


def test_where_less_is_better_the_front_goes_down(board, figure_of):
    board.cell("tip-adapter", 0.7, protocol="reading", metric="nll", tune_flops=1)
    board.cell("coop", 0.9, protocol="reading", metric="nll", tune_flops=2)
    board.cell("maple", 0.5, protocol="reading", metric="nll", tune_flops=3)
    figure = figure_of("cost", cost="tune_flops")
    assert {row["label"] for row in figure.rows if row["front"]} == {"tip-adapter", "maple"}
    assert all(row["rise"] > 0 for row in figure.rows if row["front"])


def test_names_of_a_flat_front_do_not_lie_on_each_other(board, figure_of):
    board.cell("a-method-with-a-name", 0.700, tune_flops=100)
    board.cell("b-method-with-a-name", 0.701, tune_flops=101)
    board.cell("c-method-with-a-name", 0.702, tune_flops=102)
    board.cell("far", 0.2, tune_flops=100000)
    rises = [row["rise"] for row in figure_of("cost", cost="tune_flops").rows if row["front"]]
    assert len(set(rises)) == 3


def test_costs_that_are_not_known_are_named_and_none_at_all_is_refused(board, figure_of):
    board.cell("coop", 0.5, tune_flops=None)
    with pytest.raises(NothingToDraw, match=r"says its operations to tune \(FLOP\)"):
        figure_of("cost", cost="tune_flops")
    board.cell("maple", 0.6)
    assert "Without a score or without this cost: coop." in figure_of("cost", cost="tune_flops").alt


def test_nothing_that_costs_is_drawn_at_nought(board, figure_of, drawn):
    board.cell("tip-adapter", 0.5, trainable_parameters=0)
    texts = drawn("cost", figure_of("cost", cost="trainable_parameters")).texts()
    assert "0" in texts


def test_times_of_several_devices_are_told(board, figure_of):
    board.cell("coop", 0.5, device="cpu")
    board.cell("maple", 0.6, device="cuda:0")
    assert "several devices (cpu and cuda:0)" in figure_of("cost", cost="tune_seconds").alt
    assert "devices" not in figure_of("cost", cost="tune_flops").alt


def test_base_and_new_have_their_harmonic_mean_as_a_split(board, figure_of):
    board.cell("coop", {"base": 0.8, "new": 0.4}, {"base": 0.8, "new": 0.4}, protocol="base_to_new")
    figure = figure_of("cost", split="H", cost="tune_flops")
    (row,) = figure.rows
    assert figure.values["y_title"] == "H (%)"
    assert row["shown"] == pytest.approx(100 * 2 * 0.8 * 0.4 / 1.2)
