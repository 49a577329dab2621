"""The board as tables of a paper: the best first and bold, in Markdown and LaTeX."""

import pytest

from tasks.pages.tables import in_latex, latex, markdown, method_tables

PLACE = {"protocol": "few_shot", "split": "all", "backbone": "mini-clip", "shots": 16}
METRIC = {"metric": "accuracy", "unit": "share", "better": "higher", "test_rows_per_class": None}


def row(method, dataset, mean, **changes):
    cell = {"dataset": dataset, "method": method, "variant": "", "mean": mean, "std": 0.01, "n": 3}
    return PLACE | METRIC | cell | changes


def average(method, mean, covers="dtd, pets", **changes):
    cell = {"method": method, "variant": "", "mean": mean, "std": None, "covers": covers}
    return PLACE | METRIC | cell | changes


ROWS = [
    row("coop", "dtd", 0.6),
    row("coop", "pets", 0.9),
    row("maple", "dtd", 0.7),
    row("maple", "pets", 0.8),
    row("late", "pets", 0.95),
]
AVERAGES = [average("coop", 0.75), average("maple", 0.76), average("late", None, covers="pets")]


def test_the_best_come_first_and_are_bold_and_a_gap_is_named():
    (table,) = method_tables(ROWS, AVERAGES)
    assert table.columns == ["dtd", "pets", "average"]
    assert [name for name, _ in table.lines] == ["maple", "coop", "late"]
    bold = {name: [cell.text for cell in cells if cell.is_best] for name, cells in table.lines}
    assert bold == {"maple": ["70.0 ± 1.0", "76.0"], "coop": [], "late": ["95.0 ± 1.0"]}
    assert table.lines[2][1][2].text == ""
    assert table.notes == ["late lacks dtd"]


def test_markdown_is_a_table_with_the_best_in_bold():
    lines = markdown(method_tables(ROWS, AVERAGES)).splitlines()
    assert lines[0] == r"### few\_shot · all · 16 shots · mini-clip"
    assert "| method | dtd | pets | average |" in lines
    assert "| maple | **70.0 ± 1.0** | 80.0 ± 1.0 | **76.0** |" in lines
    assert "| late |  | **95.0 ± 1.0** |  |" in lines


def test_latex_is_a_tabular_of_booktabs():
    lines = latex(method_tables(ROWS, AVERAGES)).splitlines()
    assert r"\begin{tabular}{lrrr}" in lines
    assert r"maple & \textbf{70.0 $\pm$ 1.0} & 80.0 $\pm$ 1.0 & \textbf{76.0} \\" in lines
    assert lines.count(r"\toprule") == lines.count(r"\bottomrule") == 1


def test_latex_shows_every_character():
    assert in_latex("a_b & 5% {x} \\ ~ ^ #$") == (
        r"a\_b \& 5\% \{x\} \textbackslash{} \textasciitilde{} \textasciicircum{} \#\$"
    )


def test_less_is_better_where_the_metric_says_so():
    less = {"metric": "nll", "unit": "nats", "better": "lower"}
    (table,) = method_tables([row("a", "dtd", 2.0, **less), row("b", "dtd", 1.0, **less)], [])
    assert [name for name, _ in table.lines] == ["b", "a"]
    assert [cells[0].is_best for _, cells in table.lines] == [True, False]


def test_methods_without_shots_stand_in_the_tables_of_all_shots():
    rows = [
        row("zero", "dtd", 0.5, shots=0),
        row("coop", "dtd", 0.6),
        row("coop", "dtd", 0.4, shots=1),
    ]
    one, sixteen = method_tables(rows, [])
    assert [name for name, _ in one.lines] == ["zero", "coop"]
    assert [name for name, _ in sixteen.lines] == ["coop", "zero"]


def test_scores_on_a_part_of_the_test_rows_have_a_table_of_their_own():
    tables = method_tables([row("a", "dtd", 0.5), row("b", "dtd", 0.9, test_rows_per_class=5)], [])
    assert [[name for name, _ in table.lines] for table in tables] == [["a"], ["b"]]
    assert tables[1].title.endswith("5 test rows a class")


def test_settings_of_one_method_are_told_apart():
    rows = [
        row("a", "dtd", 0.5),
        row("a", "dtd", 0.6, variant="lr=1"),
        row("b", "dtd", 0.4, variant="x=2"),
    ]
    (table,) = method_tables(rows, [])
    assert [name for name, _ in table.lines] == ["a [lr=1]", "a [published]", "b"]
    assert table.notes == ["b: x=2"]


def test_an_average_over_other_data_sets_is_not_in_the_table():
    (table,) = method_tables(ROWS, [average("coop", 0.9, covers="pets")])
    assert all(cells[-1].text == "" for _, cells in table.lines)


@pytest.mark.parametrize("written", [markdown, latex])
def test_an_empty_board_is_no_table(written):
    assert written([]) == ""


def test_what_was_seen_and_which_head_answers_stand_below_the_table():
    known = [
        row("tpt", "dtd", 0.6, inference="test-time"),
        row("dept", "dtd", 0.5, inference="inductive", unseen_head="the cosine head alone"),
        row("coop", "dtd", 0.4, inference="inductive", unseen_head=None),
    ]
    (table,) = method_tables(known, [])
    assert table.notes == [
        "test-time: tpt",
        "dept, classes not learned: by the cosine head alone",
    ]
