"""Files and features that are whole or absent."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from operators.features import FeatureStore
from operators.files import commit_folder, write_atomic


def test_write_atomic_makes_the_file_and_the_folders_above(tmp_path):
    write_atomic(tmp_path / "a" / "b", b"new")
    assert (tmp_path / "a" / "b").read_bytes() == b"new"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]


def test_write_atomic_that_fails_keeps_the_old_file_and_no_draft(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", b"old")
    monkeypatch.setattr(
        "operators.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with commit_folder(tmp_path / "trials" / "one") as draft:
        (draft / "file").write_text("whole")
        assert not (tmp_path / "trials" / "one").exists()
    assert (tmp_path / "trials" / "one" / "file").read_text() == "whole"
    assert [each.name for each in (tmp_path / "trials").iterdir()] == ["one"]


def test_the_first_writer_of_a_folder_wins(tmp_path):
    with commit_folder(tmp_path / "one") as late:
        (late / "file").write_text("second")
        with commit_folder(tmp_path / "one") as early:
            (early / "file").write_text("first")
    assert (tmp_path / "one" / "file").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_block_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), commit_folder(tmp_path / "one") as draft:
        (draft / "file").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "one").write_text("in the way")
    with pytest.raises(OSError), commit_folder(tmp_path / "one") as draft:
        (draft / "file").write_text("whole")
    assert (tmp_path / "one").read_text() == "in the way"


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "features", 6, 3)


def some(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def values(rows: int, start: float = 0.0) -> np.ndarray:
    return (start + np.arange(rows * 3)).reshape(rows, 3).astype(np.float32)


def test_a_new_store_lacks_all_rows(store):
    assert store.missing(some(5, 1, 1)).tolist() == [1, 5]


def test_what_was_written_is_read_in_the_order_asked_for(store):
    store.write(some(4, 1), values(2))
    assert torch.equal(store.read(some(1, 4)), torch.tensor(values(2)[[1, 0]]))
    assert store.missing(np.arange(6)).tolist() == [0, 2, 3, 5]


def test_reading_hands_out_a_copy(store):
    store.write(some(1), values(1))
    store.read(some(1)).zero_()
    assert torch.equal(store.read(some(1)), torch.tensor(values(1)))


def test_a_row_that_was_not_encoded_is_refused(store):
    store.write(some(1), values(1))
    with pytest.raises(LookupError, match="2 rows have no features in features, the first is 3"):
        store.read(some(1, 3, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_no_number_is_refused_and_nothing_is_marked(store, bad):
    features = values(2)
    features[1, 2] = bad
    with pytest.raises(ValueError, match=r"rows \[4\] are infinite or no numbers"):
        store.write(some(1, 4), features)
    assert len(store.missing(np.arange(6))) == 6


def test_a_death_between_writing_and_marking_leaves_the_row_missing(store, monkeypatch):
    load = np.load

    def dies(path, *args, **kwargs):
        if path.name == "present.npy" and kwargs["mmap_mode"] == "r+":
            raise KeyboardInterrupt
        return load(path, *args, **kwargs)

    monkeypatch.setattr(np, "load", dies)
    with pytest.raises(KeyboardInterrupt):
        store.write(some(2), values(1))
    monkeypatch.undo()
    again = FeatureStore.create(store.folder, 6, 3)
    assert again.missing(some(2)).tolist() == [2]


def test_opening_again_keeps_what_is_there(store):
    store.write(some(2), values(1))
    assert FeatureStore.create(store.folder, 6, 3).missing(np.arange(6)).tolist() == [0, 1, 3, 4, 5]


def test_a_store_of_another_size_starts_anew(store):
    store.write(some(2), values(1))
    assert len(FeatureStore.create(store.folder, 6, 4).missing(np.arange(6))) == 6


def test_a_death_while_starting_anew_marks_no_empty_row(store, monkeypatch):
    store.write(some(2), values(1))
    made = np.lib.format.open_memmap

    def dies(path, **kwargs):
        if path.name == ".features.npy":
            raise KeyboardInterrupt
        return made(path, **kwargs)

    monkeypatch.setattr(np.lib.format, "open_memmap", dies)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore.create(store.folder, 6, 4)
    monkeypatch.undo()
    assert len(FeatureStore.create(store.folder, 6, 4).missing(np.arange(6))) == 6


def test_an_open_store_sees_what_another_process_writes(store):
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from operators.features import FeatureStore\n"
        "store = FeatureStore(Path(sys.argv[1]))\n"
        "store.write(np.array([3]), np.full((1, 3), 7, dtype=np.float32))\n"
    )
    assert store.missing(some(3)).tolist() == [3]
    subprocess.run([sys.executable, "-c", code, str(store.folder)], check=True)
    assert torch.equal(store.read(some(3)), torch.full((1, 3), 7.0))
