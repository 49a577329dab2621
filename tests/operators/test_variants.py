"""What tells the cells of a method apart: one name for what was asked for once."""

import pytest

from operators.board import fill
from operators.board.variants import Chosen, variants_of

PUBLISHED = {1: 50, 4: 100, 16: 200}  # epochs by shots, as CoOp has them


def chosen(epochs, shots, marks="", views="", **others):
    values = {"epochs": epochs, "lr": 0.002} | others
    return Chosen(values, {"epochs": PUBLISHED[shots], "lr": 0.002}, marks, views=views)


def names(**cells):
    return variants_of({name: ("coop", one) for name, one in cells.items()})


def test_a_chosen_value_that_is_the_published_one_in_one_place_has_the_name_of_the_others():
    found = names(one=chosen(100, 1), four=chosen(100, 4), sixteen=chosen(100, 16))
    assert set(found.values()) == {("epochs=100",)}


def test_published_settings_have_no_name_however_they_depend_on_the_place():
    assert set(names(**{str(k): chosen(PUBLISHED[k], k) for k in PUBLISHED}).values()) == {("",)}


def test_a_cell_may_be_on_the_published_line_and_on_that_of_a_chosen_value():
    found = names(
        p1=chosen(50, 1),
        p4=chosen(100, 4),
        p16=chosen(200, 16),
        c1=chosen(100, 1),
        c16=chosen(100, 16),
    )
    assert found["p4"] == ("", "epochs=100")
    assert found["p1"] == found["p16"] == ("",)
    assert found["c1"] == found["c16"] == ("epochs=100",)


def test_several_chosen_values_make_one_line():
    found = names(
        one=chosen(100, 1, lr=0.1), four=chosen(100, 4, lr=0.1), other=chosen(100, 4, lr=0.2)
    )
    assert found["one"] == found["four"] == ("epochs=100 lr=0.1",)
    assert found["other"] == ("lr=0.2",)


def test_what_else_tells_cells_apart_does():
    found = names(
        one=chosen(100, 1, "precision=bf16"),
        four=chosen(100, 4),
        sixteen=chosen(200, 16, "precision=bf16", views="none"),
    )
    assert found == {
        "one": ("epochs=100 precision=bf16",),
        "four": ("",),
        "sixteen": ("views=none precision=bf16",),
    }


def test_methods_and_protocols_do_not_share_lines():
    cells = {"a": (("coop", "few_shot"), chosen(100, 1)), "b": (("coop", "b2n"), chosen(100, 4))}
    assert variants_of(cells) == {"a": ("epochs=100",), "b": ("",)}


@pytest.mark.parametrize(
    ("one", "asked", "setting"),
    [
        (chosen(50, 1), "paper", "paper"),
        (chosen(50, 1), "clean", "clean"),
        (chosen(100, 1), "paper", "custom"),
        (chosen(100, 1), "clean", "clean, custom"),
        (Chosen(known=False), "paper", "unknown"),
        (chosen(50, 1, views="none"), "paper", "paper, views none"),
        (chosen(100, 1, views="bank:8"), "paper", "custom, views bank:8"),
        (chosen(50, 1, views="fresh"), "clean", "clean, views fresh"),
    ],
)
def test_the_setting_says_whether_hyperparameters_and_views_are_the_published_ones(
    one, asked, setting
):
    assert one.setting(asked) == setting


@pytest.fixture
def told(connection, cell):
    """Fills the board with a cell for each pair of shots and epochs, on two data sets."""

    def put(*pairs):
        results = [
            result
            for shots, epochs in pairs
            for dataset in ("dtd", "pets")
            for result in cell(
                [0.5], shots=shots, dataset=dataset, hyperparameters={"epochs": epochs}
            )
        ]
        fill(
            connection,
            results=results,
            chosen=lambda s: Chosen(s.hyperparameters, {"epochs": PUBLISHED[s.shots]}),
        )

    return put


def test_a_curve_is_whole_where_a_chosen_value_meets_the_published_one(told, rows):
    told((1, 100), (4, 100), (16, 100))
    curve = [row for row in rows("few_shot_curves") if row["dataset"] == "dtd"]
    assert [(r["shots"], r["variant"]) for r in curve] == [(k, "epochs=100") for k in PUBLISHED]
    assert {row["setting"] for row in curve if row["shots"] == 4} == {"paper"}
    assert {row["setting"] for row in curve if row["shots"] != 4} == {"custom"}


def test_both_curves_are_whole_where_two_were_run(told, rows):
    told((1, 50), (4, 100), (16, 200), (1, 100), (16, 100))
    for dataset in ("dtd", "AVERAGE"):
        for variant in ("", "epochs=100"):
            curve = rows("few_shot_curves", f"dataset = '{dataset}' AND variant = '{variant}'")
            assert [row["shots"] for row in curve] == [1, 4, 16]
    assert len(rows("leaderboard", "dataset = 'dtd'")) == 5
    for view in ("averages", "ranks"):
        found = {(row["shots"], row["variant"]) for row in rows(view)}
        assert found == {(k, v) for k in PUBLISHED for v in ("", "epochs=100")}


def test_what_a_trial_was_specified_with_stays_beside_its_setting(told, rows):
    told((1, 100))
    assert {(r["setting"], r["spec_setting"]) for r in rows("trials")} == {("custom", "paper")}


def test_names_move_with_what_else_is_on_the_board(connection, told, rows):
    told((4, 100))
    assert {row["variant"] for row in rows("trials")} == {""}
    told((1, 100))
    assert {row["variant"] for row in rows("trials")} == {"epochs=100"}
