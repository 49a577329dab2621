"""What the fingerprint of a dataset takes in: class names and every row."""

import pytest

from data_catalog import ingest


def test_the_fingerprint_is_pinned(card_of, tmp_path, three_ways):
    # If this moves, every published dataset fingerprint moves: bump INGESTION_VERSION.
    assert ingest(card_of(*three_ways), tmp_path).fingerprint == "e6da4d053071226d"


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row._replace(label=1, class_name="dog"),
        lambda row: row._replace(split="val"),
        lambda row: row._replace(domain="sketch"),
        lambda row: row._replace(path="other.png"),
        lambda row: row._replace(content=row.content[:-12] + b"\0\0\0\0tEXt" + row.content[-12:]),
    ],
    ids=["label", "split", "domain", "path", "image"],
)
def test_the_fingerprint_moves_with_every_row(card_of, tmp_path, three_ways, change):
    three_ways.append(three_ways[0]._replace(path="7.png"))
    before = ingest(card_of(*three_ways), tmp_path / "before")
    three_ways[-1] = change(three_ways[-1])
    assert ingest(card_of(*three_ways), tmp_path / "after").fingerprint != before.fingerprint


def test_the_fingerprint_moves_with_a_class_name(card_of, tmp_path, three_ways):
    rows = [row._replace(class_name=None) for row in three_ways]
    prints = {
        ingest(card_of(*rows, classes=("cat", name)), tmp_path / name).fingerprint
        for name in ("dog", "poodle")
    }
    assert len(prints) == 2
