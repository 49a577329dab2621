import pytest


def test_methods_stand_best_first_with_the_intervals_of_the_board(board, figure_of, drawn):
    board.cell("coop", 0.5, 0.6, 0.7)
    board.cell("maple", 0.7, 0.8, 0.9)
    board.cell("zero-shot", 0.65, shots=0)
    figure = figure_of("intervals", shots=4)
    assert figure.values["labels"] == ["maple", "zero-shot", "coop"]
    known = {row["method"]: row for row in board.ask("SELECT * FROM leaderboard WHERE is_primary")}
    for row in figure.rows:
        cell = known[row["label"]]
        ends = [cell["ci95_low"], cell["ci95_high"]]
        ends = [None if end is None else pytest.approx(100 * end) for end in ends]
        assert [row["shown_low"], row["shown_high"]] == ends
    svg = drawn("intervals", figure)
    places = [svg.mark(f"{row['row']}. {row['label']}: ") for row in figure.rows]
    assert [x for x, _ in places] == sorted((x for x, _ in places), reverse=True)
    assert [y for _, y in places] == sorted(y for _, y in places)
    assert "80.0 [55.2, 100.0]" in svg.texts()
    assert "Last is coop with 60.0 %" in figure.alt


def test_where_less_is_better_the_least_stands_first(board, figure_of):
    board.cell("coop", 0.9, protocol="reading", metric="nll")
    board.cell("maple", 0.5, protocol="reading", metric="nll")
    figure = figure_of("intervals", protocol="reading")
    assert figure.values["labels"] == ["maple", "coop"]
    assert figure.rows[0]["shown"] == 0.5


def test_of_two_revisions_of_a_method_the_latest_stands(board, figure_of):
    board.cell("coop", 0.9, started_at="2026-01-01")
    board.cell("coop", 0.7, started_at="2026-02-01", method_revision=2)
    (row,) = figure_of("intervals").rows
    assert row["shown"] == 70
