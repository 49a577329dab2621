"""The read side: rows, images, damage."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from data_catalog import Dataset, current, ingest, writing


@pytest.fixture
def dataset(card, tmp_path, monkeypatch):
    """Twenty rows in row groups of three."""
    monkeypatch.setattr(writing, "GROUP_ROWS", 3)
    return ingest(card, tmp_path / "pets")


def test_rows_of_the_splits_are_ascending_and_cover_all(dataset):
    rows = [dataset.rows_of(split) for split in ("train", "val", "test")]
    assert all((np.diff(part) > 0).all() for part in rows)
    assert sorted(np.concatenate(rows)) == list(range(20))


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(ValueError, match="split 'dev' is none of train, val, test"):
        dataset.rows_of("dev")


def test_images_come_in_the_order_asked_for_with_repetitions(dataset, png):
    assert dataset.images([19, 0, 7, 19, 8]) == [png(n) for n in (19, 0, 7, 19, 8)]
    assert dataset.images(np.array([4])) == [png(4)]
    assert dataset.images([]) == []


@pytest.mark.parametrize("row", [-1, 20])
def test_a_row_that_is_not_there_is_refused(dataset, row):
    with pytest.raises(IndexError, match=f"pets has no row {row}: its 20 rows count from 0"):
        dataset.images([0, row])


def test_large_images_end_a_row_group_early(card, tmp_path, monkeypatch, png):
    monkeypatch.setattr(writing, "GROUP_BYTES", len(png(0)) * 2)
    dataset = ingest(card, tmp_path / "pets")
    assert dataset.images([13]) == [png(13)]
    assert dataset._file.metadata.num_row_groups == 10


def test_threads_may_share_a_dataset(dataset, png):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: dataset.images([row])[0], range(20)))
    assert found == [png(row) for row in range(20)]


def test_a_dataset_travels_to_another_process_as_its_path(dataset, png):
    dataset.images([0])
    sent = pickle.dumps(dataset)
    assert len(sent) < 1000
    assert pickle.loads(sent).images([3]) == [png(3)]


def test_labels_are_writable_int32(dataset):
    assert dataset.labels.dtype == np.int32
    assert dataset.labels.flags.writeable


def test_an_unknown_column_is_refused(dataset):
    with pytest.raises(KeyError, match="no column 'image'; it has row_id, label"):
        dataset.column("image")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no ingested dataset"):
        Dataset.open(tmp_path / "gone")


def test_damaged_files_are_refused(dataset):
    (dataset.folder / "data.parquet").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="is damaged"):
        Dataset.open(dataset.folder)


def test_nothing_is_current_before_ingestion(tmp_path):
    assert current(tmp_path) is None


def test_a_damaged_pointer_is_refused(dataset):
    (dataset.folder.parent / "current.json").write_text("{")
    with pytest.raises(ValueError, match="Delete it and ingest again"):
        current(dataset.folder.parent)


def test_verify_names_a_changed_image(dataset, png):
    file = dataset.folder / "data.parquet"
    content = file.read_bytes()
    changed = content.replace(png(5), png(6))
    assert len(changed) == len(content)
    file.write_bytes(changed)
    (sentence,) = Dataset.open(dataset.folder).verify()
    assert sentence.startswith("row 5 (cat/5.png): the image has sha256")


def test_verify_names_a_card_of_other_classes(dataset):
    file = dataset.folder / "card.json"
    file.write_text(json.dumps(dataset.card | {"classes": ["cat", "cow"]}))
    (sentence,) = Dataset.open(dataset.folder).verify()
    assert "the content has fingerprint" in sentence


def test_importing_the_catalog_loads_no_heavy_library():
    code = (
        "import sys, data_catalog;"
        "heavy = {'pyarrow', 'PIL', 'sklearn', 'fsspec', 'yaml', 'torch'};"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_without_a_domain_have_the_code_minus_one(card_of, tmp_path, three_ways):
    three_ways[2] = three_ways[2]._replace(domain=None)
    dataset = ingest(card_of(*three_ways), tmp_path)
    assert dataset.domain_names == ("photo",)
    assert dataset.domain_codes.tolist() == [0, 0, -1, 0, 0, 0]


def test_a_dataset_without_domains_has_none(card, tmp_path):
    dataset = ingest(card, tmp_path / "data")
    assert (dataset.domain_names, set(dataset.domain_codes.tolist())) == ((), {-1})


def test_data_of_a_kind_that_is_not_known_here_is_one_sentence(card, tmp_path):
    folder = ingest(card, tmp_path / "data").folder
    values = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**values, "kind": "smell"}))
    with pytest.raises(ValueError, match="holds data of kind 'smell', unknown here"):
        Dataset.open(folder).examples([0])
