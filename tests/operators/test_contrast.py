"""Two groups of trials beside each other: of one board, of two, with numbers of a run."""

import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from operators.board import fill
from operators.board.changes import NUMBERS
from operators.board.contrast import Group, contrast, summary
from operators.metrics.predictions import PREDICTIONS


@pytest.fixture
def board(empty_board, tmp_path, trial):
    """Makes a board of trials, each with its answers: `(right, specification)`."""

    def make(name, *trials):
        results, files = [], []
        for right, changes in trials:
            right = np.asarray(right, dtype=bool)
            one = trial({"all": float(right.mean())}, n=len(right), **changes)
            path = tmp_path / name / one.trial_id / "predictions.parquet"
            path.parent.mkdir(parents=True)
            columns = {
                "split": ["all"] * len(right),
                "row_id": range(len(right)),
                "label": [1] * len(right),
                "predicted": right.astype(int),
                "confidence": [0.5] * len(right),
            }
            pq.write_table(pa.table(columns, schema=PREDICTIONS), path)
            results.append(one)
            files.append(path)
        file = shutil.copyfile(empty_board, tmp_path / f"{name}.duckdb")
        with duckdb.connect(file) as opened:
            fill(opened, results=results, predictions=files)
        return file, [one.trial_id for one in results]

    return make


@pytest.fixture
def beside():
    """Compares groups of boards that are attached as `one` and `two`."""
    with duckdb.connect() as connection:

        def run(one, two, across_methods=False, numbers=None):
            connection.execute(f"ATTACH '{one[0]}' AS one (READ_ONLY)")
            name = "one" if one[0] == two[0] else "two"
            if name == "two":
                connection.execute(f"ATTACH '{two[0]}' AS two (READ_ONLY)")
            groups = Group("one", one[1], numbers), Group(name, two[1])
            return contrast(connection, *groups, across_methods=across_methods)

        yield run


def share(right, of=10):
    return [True] * right + [False] * (of - right)


def test_two_methods_are_paired_by_episode_and_their_settings_named(board, beside):
    file, ids = board(
        "one",
        (share(5), {"seed": 1}),
        (share(7), {"seed": 2}),
        (share(4), {"seed": 1, "method": "maple", "hyperparameters": {"n_context": 2, "depth": 3}}),
        (share(5), {"seed": 2, "method": "maple", "hyperparameters": {"n_context": 2, "depth": 3}}),
    )
    found = beside((file, ids[:2]), (file, ids[2:]), across_methods=True)
    (row,) = found.rows
    test = stats.ttest_rel([0.5, 0.7], [0.4, 0.5])
    assert (row["method_a"], row["method_b"], row["n"]) == ("coop", "maple", 2)
    assert (row["difference"], row["p"]) == pytest.approx((0.15, test.pvalue))
    interval = test.confidence_interval()
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["outcome"], row["only_a"], row["only_b"]) == ("win", 3, 0)  # rows 4 to 6
    assert found.differs == [("hyperparameter n_context 4 to 2", 1)]  # depth is of maple alone
    assert (found.unpaired, found.only_a, found.only_b) == ([], [], [])


def test_holms_correction_is_over_the_rows_of_the_comparison(board, beside):
    trials = [
        (share(right, 20), {"dataset": dataset, "method": method})
        for dataset, theirs in (("dtd", 12), ("pets", 2), ("cars", 9))
        for method, right in (("coop", 12), ("maple", theirs))
    ]
    file, ids = board("one", *trials)
    found = beside((file, ids[::2]), (file, ids[1::2]), across_methods=True)
    assert len(found.rows) == 3
    p = sorted(row["p_images"] for row in found.rows)
    expected = np.minimum(1, np.maximum.accumulate(np.array([3, 2, 1]) * p))
    assert sorted(row["p_images_holm"] for row in found.rows) == pytest.approx(expected)
    (line,) = summary(found.rows)
    assert (line["wins"], line["ties"], line["losses"], line["datasets"]) == (2, 1, 0, 3)
    mean = np.mean([row["difference"] for row in found.rows])
    assert line["average_difference"] == pytest.approx(mean)


def test_the_same_trial_on_two_boards_may_have_two_numbers(board, beside):
    one = board("one", (share(5), {"seed": 1}), (share(6), {"seed": 2}))
    two = board("two", (share(5), {"seed": 1}), (share(8), {"seed": 2}))
    assert one[1] == two[1]
    (row,) = beside(one, two).rows
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((0.55, 0.65))
    assert (row["cell_a"], row["outcome"], row["only_b"]) == (row["cell_b"], "loss", 2)


def test_what_moved_a_cell_and_what_only_one_has_is_named(board, beside):
    one = board(
        "one",
        (share(5), {"seed": 1}),
        (share(5), {"seed": 1, "dataset": "pets"}),
        (share(5), {"seed": 1, "dataset": "cars"}),
    )
    two = board(
        "two",
        (share(6), {"seed": 1, "hyperparameters": {"n_context": 16}}),
        (share(5), {"seed": 1, "dataset": "pets", "dataset_fingerprint": "d1"}),
        (share(5), {"seed": 1, "dataset": "food"}),
    )
    found = beside(one, two)
    assert [row["dataset"] for row in found.rows] == ["dtd"]
    assert found.differs == [("hyperparameter n_context 4 to 16", 1)]
    (cell,) = found.unpaired
    assert (cell["dataset"], cell["why"]) == ("pets", "dataset fingerprint d0 to d1")
    only = [[cell["dataset"] for cell in side] for side in (found.only_a, found.only_b)]
    assert only == [["cars"], ["food"]]


def test_less_is_better_where_the_metric_says_so(empty_board, tmp_path, cell, beside):
    files = []
    for name, values in (("one", [2.0, 2.2]), ("two", [2.5, 2.6])):
        file = shutil.copyfile(empty_board, tmp_path / f"{name}.duckdb")
        results = cell([0.0, 0.0], protocol="next_word")
        for result, value in zip(results, values, strict=True):
            result.metrics[0].update(metric="nll", value=value)
        with duckdb.connect(file) as opened:
            fill(opened, results=results)
        files.append((file, [result.trial_id for result in results]))
    (row,) = beside(*files).rows
    assert (row["metric"], row["difference"]) == ("nll", pytest.approx(-0.45))
    assert (row["outcome"], row["p_images"]) == ("win", None)


def test_a_run_is_compared_by_what_it_saw(board, beside, tmp_path):
    one = board("one", (share(5), {"seed": 1}), (share(6), {"seed": 2}))
    seen = [
        {"trial_id": trial, "split": "all", "metric": "accuracy", "value": value, "n": 10}
        for trial, value in zip(one[1], (0.5, 0.9), strict=True)
    ]
    numbers = tmp_path / "run's.numbers.parquet"
    pq.write_table(pa.Table.from_pylist(seen, NUMBERS), numbers)
    (row,) = beside(one, one, numbers=numbers).rows
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((0.7, 0.55))
    assert (row["only_a"], row["p_images"]) == (None, None)  # its answers are not known any more
