"""The real sets, read through the same door as a user's own."""

import json

import numpy as np
import pytest

from data_catalog import DatasetCard, IngestionError, SourceError, holds, ingest, source_for

pytestmark = pytest.mark.data


def test_trashnet_keeps_its_660_rows_and_its_splits(real_data, tmp_path):
    card = DatasetCard(name="trashnet", source=source_for(real_data / "trashnet"))
    dataset = ingest(card, tmp_path)
    assert dataset.rows == 660
    assert dataset.card["splits"] == {"train": 300, "val": 120, "test": 240}
    assert dataset.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    # One photo is filed under two classes, in different splits: found, not hidden.
    assert dataset.card["duplicates"] == {"rows": 1, "leaked_images": 1, "conflicting_images": 1}
    assert dataset.verify() == []


def test_pacs_keeps_its_four_domains(real_data, tmp_path):
    domains = ("art_painting", "cartoon", "photo", "sketch")
    card = DatasetCard(name="pacs", source=source_for(real_data / "pacs"), domains=domains)
    assert set(np.unique(ingest(card, tmp_path).domains)) == set(domains)


def test_a_sample_of_imagenet_needs_its_repeated_names_declared(real_data, tmp_path):
    source = source_for(real_data / "imagenet_sample1k")
    with pytest.raises(IngestionError, match="declare duplicate_class_names"):
        ingest(DatasetCard(name="in1k", source=source), tmp_path)
    card = DatasetCard(name="in1k", source=source, duplicate_class_names=True)
    dataset = ingest(card, tmp_path)
    assert len(dataset.classes) == 1000
    assert len(set(dataset.classes)) == 998
    assert dataset.card["splits"] == {"train": 0, "val": 0, "test": 1000}


def test_the_table_of_classes_of_grocery_store_is_passed_over(real_data):
    source = source_for(real_data / "grocery_store")
    assert source.total() == 3333
    assert "classes.parquet" in source.notes()[0]


def test_masks_without_labels_are_refused(real_data):
    with pytest.raises(SourceError, match="has no labels"):
        source_for(real_data / "camvid")


def text_card(real_data, name, **fields):
    source = source_for(real_data / "text" / f"{name}.parquet")
    return DatasetCard(name=name, source=source, kind=holds(source), **fields)


@pytest.mark.parametrize(
    ("name", "classes", "sizes"),
    [
        ("trec6", 6, {"train": 4362, "val": 1090, "test": 500}),
        ("sst2", 2, {"train": 6920, "val": 872, "test": 1821}),
        ("sst5", 5, {"train": 8544, "val": 1101, "test": 2210}),
        ("mr", 2, {"train": 5332, "val": 2132, "test": 3198}),
        ("clinc150", 150, {"train": 15000, "val": 3000, "test": 4500}),
        ("ag_news_test", 4, {"train": 0, "val": 0, "test": 7600}),
    ],
)
def test_sets_of_texts_lose_no_row(real_data, tmp_path, name, classes, sizes):
    dataset = ingest(text_card(real_data, name), tmp_path)
    manifest = json.loads((real_data / "text/MANIFEST.json").read_text())["sets"][name]
    hidden = sum(n for split, n in manifest["splits"].items() if split.startswith("oos_"))
    assert dataset.rows == manifest["rows"] - hidden
    assert (len(dataset.classes), dataset.card["splits"]) == (classes, sizes)
    assert dataset.card["quarantined"]["count"] == 0
    assert dataset.verify() == []


def test_questions_of_trec_that_are_in_train_and_test_are_counted(real_data, tmp_path):
    repeated = ingest(text_card(real_data, "trec6"), tmp_path).card["duplicates"]
    assert repeated == {"rows": 81, "leaked_texts": 10, "conflicting_texts": 0}


def test_a_folder_of_several_sets_of_texts_asks_which_one_is_meant(real_data):
    with pytest.raises(SourceError, match=r"--table \w+\.parquet"):
        source_for(real_data / "text")
