"""Features on disk: whole, or missing and said to be so."""

import errno
import os
import resource
import subprocess

import numpy as np
import pytest
import torch

import operators.episodes.features
from operators.episodes.array_files import ArrayFile, make
from operators.episodes.features import FeatureStore


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


def test_what_is_read_is_aligned_as_all_memory_of_torch(store):
    """Else equal features might give other bits: see test_weights_memory.py."""
    store.write(np.arange(6), values(6))
    read = [store.read(np.arange(first, 6)) for first in range(6)]  # that live at once
    assert [part.data_ptr() % 64 for part in read] == [0] * 6


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
    write = ArrayFile.write

    def dies(self, rows, values):
        if self.path.name == "checksums.npy":
            raise KeyboardInterrupt
        write(self, rows, values)

    monkeypatch.setattr(ArrayFile, "write", dies)
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

    def dies(path, *how):
        if path.name == "features.npy":
            raise KeyboardInterrupt
        make(path, *how)

    monkeypatch.setattr(operators.episodes.features, "make", dies)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore.create(store.folder, 6, 4)
    monkeypatch.undo()
    assert len(FeatureStore.create(store.folder, 6, 4).missing(np.arange(6))) == 6


def test_an_open_store_sees_what_another_one_writes(store):
    assert store.missing(some(3)).tolist() == [3]
    FeatureStore(store.folder).write(some(3), np.full((1, 3), 7, dtype=np.float32))
    assert torch.equal(store.read(some(3)), torch.full((1, 3), 7.0))


def test_an_open_store_goes_on_with_one_that_was_made_anew(store):
    store.write(some(3), values(1))
    (store.folder / "features.npy").unlink()
    FeatureStore.create(store.folder, 6, 3).write(some(3), values(1, start=5.0))
    assert torch.equal(store.read(some(3)), torch.tensor(values(1, start=5.0)))


def flip(path, place):
    """Changes a bit of a byte; a negative place counts from the end."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.fixture
def full(store):
    """A store with all of its rows."""
    store.write(np.arange(6), values(6, start=1.0))
    return store


@pytest.mark.parametrize("name", ["features.npy", "checksums.npy"])
def test_a_flipped_bit_costs_its_row_alone_and_is_never_read(full, name):
    row_bytes = {"features.npy": 12, "checksums.npy": 8}[name]
    flip(full.folder / name, -row_bytes)  # of the last row
    opened = FeatureStore(full.folder)
    with pytest.raises(LookupError, match=r"1 features in .* the first is that of row 5"):
        opened.read(np.arange(6))
    assert torch.equal(opened.read(some(0, 4)), torch.tensor(values(6, start=1.0)[[0, 4]]))
    again = FeatureStore.create(full.folder, 6, 3)
    assert again.missing(np.arange(6)).tolist() == [5]
    assert "1 features" in again.repairs[0] and "row 5" in again.repairs[0]
    again.write(some(5), values(6, start=1.0)[[5]])
    assert torch.equal(opened.read(np.arange(6)), torch.tensor(values(6, start=1.0)))


def test_no_number_in_the_file_is_never_read(full):
    written = np.load(full.folder / "features.npy", mmap_mode="r+")
    written[3, 1] = np.nan
    written.flush()
    with pytest.raises(LookupError, match="row 3"):
        FeatureStore(full.folder).read(some(3))
    assert FeatureStore.create(full.folder, 6, 3).missing(np.arange(6)).tolist() == [3]


@pytest.mark.parametrize(("left", "lost"), [(-1, [5]), (-12, [5]), (-30, [3, 4, 5])])
def test_a_file_that_was_cut_short_costs_what_was_cut_off(full, left, lost):
    path = full.folder / "features.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(LookupError, match=f"row {lost[0]}"):
        FeatureStore(full.folder).read(np.arange(6))
    again = FeatureStore.create(full.folder, 6, 3)
    assert again.missing(np.arange(6)).tolist() == lost
    again.write(some(*lost), values(6, start=1.0)[lost])
    assert torch.equal(again.read(np.arange(6)), torch.tensor(values(6, start=1.0)))


@pytest.mark.parametrize("name", ["features.npy", "checksums.npy"])
@pytest.mark.parametrize("content", [None, b"", b"noise" * 100, b"\x93NUMPY\x01\x00"])
def test_a_store_that_cannot_be_opened_is_named_and_made_anew(full, name, content):
    path = full.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(LookupError, match="they are encoded anew"):
        FeatureStore(full.folder)
    again = FeatureStore.create(full.folder, 6, 3)
    (said,) = again.repairs
    assert str(full.folder) in said and name in said
    assert len(again.missing(np.arange(6))) == 6


def test_a_new_store_says_nothing(store):
    assert store.repairs == []


def test_a_store_of_before_checksums_keeps_its_features_and_gets_them(tmp_path):
    """Those that are no numbers, or only zeros, were never written whole."""
    kept, there = values(6, start=1.0), np.array([1, 1, 1, 0, 1, 1], dtype=np.bool_)
    kept[1, 0], kept[2] = np.inf, 0.0
    np.save(tmp_path / "features.npy", kept)
    np.save(tmp_path / "present.npy", there)
    store = FeatureStore.create(tmp_path, 6, 3)
    assert store.missing(np.arange(6)).tolist() == [1, 2, 3]
    assert torch.equal(store.read(some(5, 0)), torch.tensor(kept[[5, 0]]))
    assert {path.name for path in tmp_path.iterdir()} == {"features.npy", "checksums.npy"}
    flip(tmp_path / "features.npy", -1)
    assert 5 in FeatureStore.create(tmp_path, 6, 3).missing(np.arange(6))


@pytest.mark.parametrize("step", ["reserve", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_without_room_is_a_sentence_and_leaves_the_rows_missing(
    store, monkeypatch, step, code
):
    def refuses(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, {"reserve": "posix_fallocate", "write": "pwrite"}[step], refuses)
    with pytest.raises(OSError, match=r"no room for the features of 2 images.*SHOTBOARD_HOME"):
        store.reserve(some(0, 1))
        store.write(some(0, 1), values(2))
    monkeypatch.undo()
    assert len(FeatureStore.create(store.folder, 6, 3).missing(np.arange(6))) == 6


def test_a_file_system_that_cannot_reserve_is_written_all_the_same(store, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    store.reserve(some(0, 1))
    store.write(some(0, 1), values(2))
    assert store.missing(np.arange(6)).tolist() == [2, 3, 4, 5]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_an_error_and_no_signal(small_disk):
    store = FeatureStore.create(small_disk / "features", 100_000, 512)  # takes no space yet
    store.write(some(7), np.ones((1, 512), dtype=np.float32))
    many = np.arange(1000, 2000)
    with pytest.raises(OSError, match="no room for the features of 1000 images"):
        store.reserve(many)
    with pytest.raises(OSError, match="no room for the features of 1000 images"):
        store.write(many, np.ones((1000, 512), dtype=np.float32))
    assert torch.equal(FeatureStore(store.folder).read(some(7)), torch.ones(1, 512))


def test_a_limit_of_the_file_size_is_an_error_and_no_signal(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="no room for features") as refused:
            FeatureStore.create(tmp_path, 1000, 512)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.errno == errno.EFBIG
