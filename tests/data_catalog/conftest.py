"""Drawn images and small trees of them; nothing here needs a network."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_catalog import DatasetCard, Example, ImageFolder
from data_catalog.png import stored_png
from data_catalog.published import PUBLISHED


class Listed:
    """A source of given examples."""

    def __init__(self, rows, kind="image"):
        self.rows = rows
        self.kind = kind

    def holds(self):
        return self.kind

    def examples(self):
        yield from self.rows

    def total(self):
        return len(self.rows)

    def signature(self):
        return "listed"

    def describe(self):
        return "examples of a test"


@pytest.fixture
def card_of():
    """Makes a card of the given examples."""

    def make(*rows: Example, **fields) -> DatasetCard:
        return DatasetCard(name="pets", source=Listed(rows, fields.get("kind", "image")), **fields)

    return make


@pytest.fixture
def three_ways(png):
    """Six examples with all that a fingerprint takes in."""
    return [
        Example(png(n), f"{n}.png", n % 2, ("cat", "dog")[n % 2], split, "photo")
        for n, split in enumerate(["train", "train", "val", "val", "test", "test"])
    ]


@pytest.fixture
def png():
    """Makes the same 6 x 5 picture from the same number, on every machine."""

    def make(seed: int) -> bytes:
        return stored_png(np.random.default_rng(seed).integers(0, 256, (5, 6), dtype=np.uint8))

    return make


@pytest.fixture
def jpeg():
    """Makes a JPEG; its bytes may differ between versions of the encoder."""

    def make(seed: int) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    return make


@pytest.fixture
def tree(tmp_path, png):
    """Writes pictures at the given relative paths, a new picture for each, and names the root."""

    def write(*paths: str, root: str = "raw") -> Path:
        for seed, path in enumerate(paths):
            file = tmp_path / root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(seed))
        return tmp_path / root

    return write


@pytest.fixture
def pets(tree):
    """A folder of ten cats and ten dogs, without splits."""
    return tree(*(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)))


@pytest.fixture
def card(pets):
    """The card of `pets`."""
    return DatasetCard(name="pets", source=ImageFolder(str(pets)))


@pytest.fixture
def table(tmp_path):
    """Writes a Parquet file of the given columns and names it."""

    def write(columns: dict, *, name: str = "data.parquet", metadata: dict | None = None) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
        return file

    return write


@pytest.fixture
def lay(tree):
    """Writes images and texts by path, and names the root."""

    def write(pictures, texts=()):
        root = tree(*pictures)
        for name, text in dict(texts).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return write


@pytest.fixture
def originals(tmp_path):
    """Writes files as a published dataset has them: drawn pictures, bytes and texts."""
    drawn = np.random.default_rng(0)

    def write(files):
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                pixels = drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path, format="PNG")
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)
        return tmp_path / "data"

    return write


@pytest.fixture
def known_as(monkeypatch):
    """Gives a published dataset other facts, such as the counts of a small imitation."""

    def make(name, **facts):
        dataset = replace(PUBLISHED[name], **facts)
        monkeypatch.setitem(PUBLISHED, name, dataset)
        return dataset

    return make
