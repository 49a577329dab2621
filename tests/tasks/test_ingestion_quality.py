"""What a person is told of an ingested dataset's balance and twins, by the tasks."""

from tasks.ingestion import ingest as module
from tasks.ingestion.ingest import quality_row, twin_rows
from tasks.publishing.dataset_inputs import _twins

CARD = {
    "name": "pets",
    "class_balance": {"train": {"ratio": 12.5}},
    "twins": {
        "exact": {"count": 1, "first": [["a.png", "b.png", 0]]},
        "near": {"count": 2, "first": [["c.png", "d.png", 3], ["e.png", "d.png", 6]]},
    },
}


def test_artifacts_have_counts_and_pairs():
    assert quality_row(CARD) == {"imbalance": 12.5, "test_equal": 1, "test_nearly_equal": 2}
    rows = twin_rows(CARD)
    assert [(row["test"], row["train_or_val"], row["distance"]) for row in rows] == [
        ("a.png", "b.png", 0),
        ("c.png", "d.png", 3),
        ("e.png", "d.png", 6),
    ]


def test_a_dataset_of_before_says_nothing():
    assert set(quality_row({"name": "old"}).values()) == {None}
    assert twin_rows({"name": "old"}) == []


def test_mlflow_has_the_counts_where_there_are_any():
    counts = {"num_test_equal": 1, "num_test_nearly_equal": 2}
    assert _twins(CARD["twins"]) == counts
    assert _twins({}) == {}


def test_the_rate_counts_from_where_this_ingestion_began(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))

    class Stage:
        noted = ""
        done: tuple = ()

        def note(self, text):
            self.noted = text

        def to(self, done, total):
            self.done = (done, total)

    stage = Stage()
    tell = module._with_rate(stage, "image")  # pyright: ignore[reportArgumentType]
    tell(600, 1000)
    tell(800, 1000)
    assert stage.noted == "100 images a second, of which 600 were checked before"
    assert stage.done == (800, 1000)
