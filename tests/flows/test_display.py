"""Boards as people read them, by the metric that their track is ranked by."""

import pytest

from flows.cli.display import board_tables, print_board

SHARES = {"metric": "accuracy", "unit": "share", "better": "higher"}
NATS = {"metric": "nll", "unit": "nats", "better": "lower"}


def row(method, mean, std=None, **changes):
    place = {"protocol": "few_shot", "dataset": "pets", "backbone": "b", "shots": 1}
    values = {"method": method, "variant": "", "split": "all", "mean": mean, "std": std, "n": 3}
    return {**place, **values, **SHARES, **changes}


@pytest.mark.parametrize(
    ("metric", "means", "cells"),
    [
        (SHARES, {"a": 0.5, "b": 0.75, "c": None}, ["75.0", "50.0", ""]),
        (NATS, {"a": 0.5, "b": 0.75, "c": None}, ["0.500", "0.750", ""]),
    ],
)
def test_the_best_comes_first_whichever_its_direction(metric, means, cells):
    (table,) = board_tables([row(method, mean, **metric) for method, mean in means.items()])
    assert [line[1] for line in table.rows] == cells


def test_spread_is_in_the_unit_of_the_mean():
    rows = [row("a", 0.5, 0.025), row("a", 2.0, 0.25, protocol="next_word", **NATS)]
    assert [table.rows for table in board_tables(rows)] == [
        [["a", "50.0 ± 2.5"]],
        [["a", "2.000 ± 0.250"]],
    ]


def test_what_figures_are_is_said_where_it_changes(capsys):
    rows = [
        row("a", 0.5),
        row("a", 0.5, dataset="dtd"),
        row("a", 2.0, protocol="next_word", **NATS),
    ]
    print_board(rows)
    said = [line for line in capsys.readouterr().out.splitlines() if "over seeds" in line]
    assert said == [
        "accuracy in %, mean ± standard deviation over seeds",
        "nll in nats, mean ± standard deviation over seeds",
    ]
