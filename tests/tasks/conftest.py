"""Small drawn datasets in a store of their own; the tiny CLIP of `tests/conftest.py` beside them.

Packages of the project are imported inside the fixtures: see `tests/conftest.py`.
"""

from pathlib import Path

import numpy as np
import pytest

CLASSES = ("cat", "dog", "boat", "tree")


class Listed:
    """A source of given examples."""

    def __init__(self, rows):
        self.rows = rows

    def examples(self):
        yield from self.rows

    def total(self):
        return len(self.rows)

    def signature(self):
        return f"{len(self.rows)} drawn images"

    def describe(self):
        return "drawn images"


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    from tasks.storage.store import Store

    return Store(tmp_path / "store")


@pytest.fixture
def dataset_of(store, monkeypatch):
    """Puts a dataset of grey squares, a brightness for each class, into catalog and store.

    `rows` says how many images each class has in each split; they are of the domains in turn. Of
    `composed` classes the columns say the attribute and the object. `val_is_test` has the images of
    val in test too.
    """
    from data_catalog import CATALOG, DatasetCard, Example
    from data_catalog.png import stored_png
    from tasks.ingestion.ingest import ingest_dataset

    def make(
        name="pets",
        classes=CLASSES,
        ingested=True,
        template="a photo of a {}.",
        domains=(),
        composed=False,
        val_is_test=False,
        **rows,
    ):
        rows = rows or {"train": 3, "val": 1, "test": 4}
        examples = []
        for split, count in rows.items():
            for label, word in enumerate(classes):
                for number in range(count):
                    of = "test" if val_is_test and split == "val" else split
                    generator = np.random.default_rng([label, number, len(of)])
                    pixels = generator.integers(0, 40, (8, 8), dtype=np.uint8) + np.uint8(
                        label * 60 % 200
                    )
                    path = f"{split}/{word}/{number}.png"
                    domain = domains[number % len(domains)] if domains else None
                    content = stored_png(pixels)
                    parts = zip(("attribute", "object"), word.split(), strict=composed)
                    extras = dict(parts) if composed else {}
                    row = Example(content, path, label, word, split, domain, extras=extras)
                    examples.append(row)
        card = DatasetCard(
            name=name,
            source=Listed(examples),
            classes=tuple(classes),
            template=template,
            domains=domains,
        )
        monkeypatch.setitem(CATALOG, name, card)
        return ingest_dataset(name, store) if ingested else card

    return make


@pytest.fixture
def tiny(clip_folder) -> str:
    """What `--backbones` takes for the tiny CLIP."""
    return str(Path(clip_folder))


@pytest.fixture
def complete(store):
    """Puts a made-up trial of a specification into the store, whole; gives its folder.

    Keywords replace fields of its `trial.json`. Its predictions are right in three of four rows.
    """
    import hashlib
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from operators.metrics import Score
    from operators.metrics.predictions import PREDICTIONS
    from operators.trials.results import Cost, Provenance, TrialResult

    rows = 4
    columns = [["all"] * rows, range(rows), [0] * rows, [0, 0, 0, 1], [0.5] * rows]
    named = dict(zip(PREDICTIONS.names, columns, strict=True))
    predictions = pa.BufferOutputStream()
    pq.write_table(pa.table(named, schema=PREDICTIONS), predictions)
    files = {
        "predictions.parquet": predictions.getvalue().to_pybytes(),
        "prompt.safetensors": (70).to_bytes(8, "little")
        + b'{"context":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'.ljust(70)
        + bytes(24),
    }
    cost = Cost(
        tune_seconds=1.0,
        evaluate_seconds=0.5,
        peak_memory_bytes=100,
        trainable_parameters=6,
        steps=5,
    )
    origin = Provenance(started_at="2026-01-01T00:00:00+00:00", device="cpu", torch_version="2")

    def make(spec, **changes):
        result = TrialResult(
            spec=spec,
            metrics=(Score("all", "accuracy", 0.75, rows),),
            cost=cost,
            provenance=origin,
            episode_fingerprint="0" * 16,
            sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        )
        folder = store.trial(spec.trial_id)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "trial.json").write_text(json.dumps(result.to_json() | changes, indent=1))
        return folder

    return make


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database without runs: to set one up takes longer than all these tests."""
    import sqlite3
    from contextlib import closing

    from tasks.publishing.mlflow_client import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    with closing(sqlite3.connect(path)) as database:  # what is in its log goes into the file
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path
