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
    from tasks.store import Store

    return Store(tmp_path / "store")


@pytest.fixture
def dataset_of(store, monkeypatch):
    """Puts a dataset of grey squares, a brightness for each class, into catalog and store.

    `rows` says how many images each class has in each split.
    """
    from data_catalog import CATALOG, DatasetCard, Example
    from data_catalog.png import stored_png
    from tasks.ingest import ingest_dataset

    def make(name="pets", classes=CLASSES, ingested=True, template="a photo of a {}.", **rows):
        rows = rows or {"train": 3, "val": 1, "test": 4}
        examples = []
        for split, count in rows.items():
            for label, word in enumerate(classes):
                for number in range(count):
                    generator = np.random.default_rng([label, number, len(split)])
                    pixels = generator.integers(0, 40, (8, 8), dtype=np.uint8) + np.uint8(
                        label * 60 % 200
                    )
                    path = f"{split}/{word}/{number}.png"
                    examples.append(Example(stored_png(pixels), path, label, word, split))
        card = DatasetCard(
            name=name, source=Listed(examples), classes=tuple(classes), template=template
        )
        monkeypatch.setitem(CATALOG, name, card)
        return ingest_dataset(name, store) if ingested else card

    return make


@pytest.fixture
def tiny(clip_folder) -> str:
    """What `--backbones` takes for the tiny CLIP."""
    return str(Path(clip_folder))
