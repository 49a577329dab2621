"""Which class was taken for which, by name, for trials and for cells."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.board import fill
from operators.metrics.predictions import PREDICTIONS
from operators.spec import Target

CLASSES = [
    *(
        {"dataset": "dtd", "dataset_fingerprint": "d0", "label": n, "class": c}
        for n, c in enumerate(("banded", "dotted", "woven"))
    ),
    *(
        {"dataset": "pets", "dataset_fingerprint": "p0", "label": n, "class": c}
        for n, c in enumerate(("cat", "dog", "bird"))
    ),
]


@pytest.fixture
def asked(tmp_path, trial):
    """A trial with the label and the predicted class of each test row, by split."""

    def make(answers, **changes):
        one = trial({split: 0.5 for split in answers}, **changes)
        path = tmp_path / one.trial_id / "predictions.parquet"
        path.parent.mkdir()
        rows = [
            {"split": split, "row_id": row, "label": label, "predicted": predicted}
            for split, pairs in answers.items()
            for row, (label, predicted) in enumerate(pairs)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), path)
        return one, path

    return make


def put(connection, tested, classes=CLASSES, **others):
    results, predictions = zip(*tested, strict=True)
    fill(connection, results=results, predictions=predictions, classes=classes, **others)


def test_confusions_have_names_numbers_and_shares(connection, rows, asked):
    put(connection, [asked({"all": [(0, 0), (0, 2), (0, 2), (1, 1)]})])
    found = {(r["class"], r["predicted_class"]): (r["n"], r["share"]) for r in rows("confusions")}
    assert found == {
        ("banded", "banded"): (1, pytest.approx(1 / 3)),
        ("banded", "woven"): (2, pytest.approx(2 / 3)),
        ("dotted", "dotted"): (1, 1.0),
    }


def test_a_cell_has_the_rows_of_all_its_seeds(connection, rows, asked):
    put(
        connection,
        [asked({"all": [(0, 0), (0, 2)]}, seed=1), asked({"all": [(0, 2), (0, 2)]}, seed=2)],
    )
    found = {r["predicted_class"]: (r["n"], r["share"]) for r in rows("cell_confusions")}
    assert found == {"banded": (1, 0.25), "woven": (3, 0.75)}


def test_a_target_has_the_names_of_its_own_classes(connection, rows, asked):
    one = asked(
        {"all": [(0, 1)], "pets": [(0, 1)]},
        protocol="cross_dataset",
        targets={"pets": Target("p0")},
    )
    put(connection, [one])
    found = {r["split"]: (r["class"], r["predicted_class"]) for r in rows("confusions")}
    assert found == {"all": ("banded", "dotted"), "pets": ("cat", "dog")}


def test_names_that_nobody_knows_are_null_and_a_second_name_of_a_data_set_doubles_nothing(
    connection, rows, asked
):
    again = [{**row, "dataset": "copy"} for row in CLASSES]
    other = asked({"all": [(0, 1)]}, dataset_fingerprint="x")
    put(connection, [asked({"all": [(0, 1)]}), other], CLASSES + again)
    assert sorted(str(r["class"]) for r in rows("confusions")) == ["None", "banded"]


def test_a_trial_that_is_gone_or_comes_anew_is_counted_once(connection, rows, asked):
    one = asked({"all": [(0, 0), (0, 2)]})
    put(connection, [one])
    put(connection, [one])
    assert sum(r["n"] for r in rows("confusions")) == 2
    fill(connection, present=[], classes=CLASSES)
    assert rows("confusions") == []


def test_confusions_are_those_of_pandas(connection, rows, asked):
    generator = np.random.default_rng(3)
    pairs = generator.integers(0, 3, (60, 2)).tolist()
    put(connection, [asked({"all": pairs})])
    table = pd.DataFrame(pairs, columns=["label", "predicted"])
    shares = pd.crosstab(table["label"], table["predicted"], normalize="index")
    found = {(r["label"], r["predicted"]): r["share"] for r in rows("confusions")}
    assert found == pytest.approx(
        {(i, j): share for (i, j), share in shares.stack().items() if share}
    )
