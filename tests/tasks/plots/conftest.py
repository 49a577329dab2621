"""A board whose trials are written as rows, and what plots make of it.

Packages of the project are imported inside the fixtures: see `tests/conftest.py`.
"""

import itertools
import re
import shutil
import xml.etree.ElementTree as ET

import duckdb
import pytest

DEFAULTS = {
    **dict.fromkeys(("suite", "error", "test_rows_per_class"), None),
    **{"method_revision": 1, "backbone": "clip", "backbone_fingerprint": "b0", "dataset": "dtd"},
    **{"dataset_fingerprint": "d0", "protocol": "few_shot", "shots": 4, "setting": "paper"},
    **{"selection": "last", "template_set": "card", "transform_version": 1, "views": "none"},
    **{"precision": "fp32", "hyperparameters": "{}", "status": "completed", "variant": ""},
    **{"started_at": "2026-01-01", "tune_seconds": 1.0, "evaluate_seconds": 0.5, "steps": 5},
    **{"trainable_parameters": 8, "device": "cpu", "tune_flops": 10, "protocol_revision": 1},
    **{"text_version": 1, "aids": "{}", "targets": "{}", "held_out": "", "spec_setting": "paper"},
    "composition": "",
    "tested_on": "test",
}


class Board:
    """An open board; `ask` is what plots ask it with."""

    def __init__(self, connection):
        self.connection = connection
        self.numbers = itertools.count(1)

    def ask(self, sql):
        cursor = self.connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def insert(self, table, **values):
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self.connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values())
        )

    def cell(self, method, *scores, split="all", metric="accuracy", n=100, **changes):
        """Trials of one cell, a score for each seed; a score may be a mapping by split."""
        cell_id = f"cell{next(self.numbers)}"
        variant = {**DEFAULTS, **changes}["variant"]
        self.insert("cell_variants", cell_id=cell_id, variant=variant)
        for seed, score in enumerate(scores, 1):
            trial = f"trial{next(self.numbers)}"
            self.insert(
                "trials",
                **{**DEFAULTS, "method": method, "trial_id": trial, "seed": seed, **changes},
                cell_id=cell_id,
                episode_fingerprint=f"e{seed}",
            )
            for name, value in (score if isinstance(score, dict) else {split: score}).items():
                self.insert("metrics", trial_id=trial, split=name, metric=metric, value=value, n=n)
        return cell_id


def protocol(name, tests, metric):
    return {
        **{"protocol": name, "track": "drawn", "title": name, "primary_metric": metric},
        **{"tests": tests, "learns": True, "new_classes": tests != "all", "revision": 1},
        "lead": "all" if tests == "targets" else tests.split()[0],
    }


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A board without trials; of the metric of its protocol `reading` less is better."""
    from operators.board import create

    path = tmp_path_factory.mktemp("plots") / "empty.duckdb"
    with duckdb.connect(path) as opened:
        create(
            opened,
            protocols=[
                protocol("few_shot", "all", "accuracy"),
                protocol("base_to_new", "base and new", "accuracy"),
                protocol("reading", "all", "nll"),
            ],
        )
    return path


@pytest.fixture
def board(empty, tmp_path):
    with duckdb.connect(shutil.copyfile(empty, tmp_path / "board.duckdb")) as opened:
        yield Board(opened)


@pytest.fixture(scope="session")
def looks():
    from tasks.plots.looks import Looks

    return Looks({"zero-shot": False, "coop": True, "tip-adapter": True, "maple": True})


@pytest.fixture
def figure_of(board, looks):
    """The figure of a plot of the board, by name and filters."""
    from tasks.plots.drawing import figure

    return lambda name, **filters: figure(board.ask, name, looks, filters)


@pytest.fixture
def drawn(looks):
    """The SVG of a figure: `symbols` are what screen readers are told of its marks."""
    from tasks.plots.drawing import PLOTS, render

    return lambda name, figure, **how: Svg(render(PLOTS[name], figure, **how).decode())


class Svg:
    """A picture that was drawn."""

    def __init__(self, text):
        self.text = text
        self.root = ET.fromstring(text)

    def texts(self):
        return ["".join(node.itertext()) for node in self.root.iter() if node.tag.endswith("text")]

    def mark(self, start):
        """The place of the one mark whose description begins so."""
        (place,) = (at for said, at in self.marks().items() if said.startswith(start))
        return place

    def marks(self, role="symbol"):
        """Places and descriptions of the marks of a kind that have a description."""
        found = {}
        for node in self.root.iter():
            if node.get("aria-roledescription") == f"{role} mark" or node.get("aria-label"):
                moved = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", node.get("transform") or "")
                if moved and node.get("aria-label"):
                    found[node.get("aria-label")] = tuple(map(float, moved.groups()))
        return found
