import pytest

from tasks.plots.plot import NothingToDraw


def test_a_curve_has_every_epoch_and_the_other_seeds_behind_it(board, figure_of, drawn):
    board.cell("coop", 0.5, 0.6, losses=[0.5, 0.25, 0.3])
    figure = figure_of("loss", trial_id="trial2")
    own = [row for row in figure.rows if row["own"]]
    assert [(row["epoch"], row["loss"]) for row in own] == [(1, 0.5), (2, 0.25), (3, 0.3)]
    assert {row["seed"] for row in figure.rows} == {1, 2}
    assert "from 0.5 to 0.3, the least 0.25 in epoch 2" in figure.alt
    marks = drawn("loss", figure).marks()
    high, low, middle = (marks[row["said"]] for row in own)
    assert high[1] < middle[1] < low[1]
    assert middle[0] - low[0] == pytest.approx(low[0] - high[0], abs=0.01)


def test_one_epoch_is_a_point(board, figure_of, drawn):
    board.cell("coop", 0.5, losses=[0.5])
    assert "epoch 1: loss 0.5" in drawn("loss", figure_of("loss")).marks()


def test_what_tunes_nothing_by_steps_is_refused(board, figure_of):
    board.cell("zero-shot", 0.5)
    with pytest.raises(NothingToDraw, match="trial2 of zero-shot has no loss"):
        figure_of("loss")
