"""Datasets whose files hold pixels: CIFAR's records, MNIST's IDX, SVHN's MATLAB files."""

import gzip
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data_catalog import IngestionError, SourceError, ingest, known_card, lies_packed
from data_catalog.published import PUBLISHED

DRAWN = np.random.default_rng(0)


def shown(dataset, split):
    """Pixels by label of the rows of a split."""
    rows = dataset.rows_of(split)
    pixels = [np.array(Image.open(BytesIO(image))) for image in dataset.images(rows)]
    return list(zip(dataset.labels[rows].tolist(), pixels, strict=True))


def records(labels, images, coarse=()):
    """CIFAR's binary records of images (n, h, w, 3)."""
    first = np.array(coarse or labels, dtype=np.uint8).reshape(len(labels), 1)
    parts = [first] if not coarse else [first, np.array(labels, np.uint8).reshape(-1, 1)]
    planes = images.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    return np.concatenate([*parts, planes], axis=1).astype(np.uint8).tobytes()


def drawn(*shape):
    return DRAWN.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def cifar10(originals, known_as):
    """Five batches of ten images and a test batch, and what they show."""
    images = drawn(6, 10, 32, 32, 3)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {
        f"cifar-10-batches-bin/{name}": records(list(range(10)), batch)
        for name, batch in zip(names, images, strict=True)
    }
    counts = {"published rule": {"train": 40, "val": 10, "test": 10}}
    return known_as("cifar10", counts=counts), originals(files), images


def test_cifar10_is_read_from_its_records(cifar10, tmp_path):
    known, place, images = cifar10
    assert not lies_packed(place)
    dataset = ingest(known_card(known, place), tmp_path / "store")
    assert (dataset.classes, dataset.card["splits"]["val"]) == (known.classes, 10)
    for label, pixels in shown(dataset, "test"):
        assert np.array_equal(pixels, images[5, label])
    for label, pixels in shown(dataset, "train"):
        assert any(np.array_equal(pixels, batch[label]) for batch in images[:5])
    assert dataset.card["splits"] == {"train": 40, "val": 10, "test": 10}


def test_cifar_in_pickles_is_refused_with_the_archive_to_take(originals):
    place = originals(
        {"cifar-10-batches-py/batches.meta": b"", "cifar-10-batches-py/data_batch_1": b""}
    )
    with pytest.raises(SourceError, match=r"pickles, .*never read .*cifar-10-binary\.tar\.gz"):
        known_card(PUBLISHED["cifar10"], place)


def test_a_batch_that_is_cut_short_is_named(cifar10):
    known, place, _ = cifar10
    batch = place / "cifar-10-batches-bin" / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(
        SourceError, match=r"data_batch_3\.bin has 30,729 bytes, and no whole number"
    ):
        known_card(known, place)


def test_a_batch_that_is_missing_is_named(cifar10):
    known, place, _ = cifar10
    (place / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(SourceError, match=r"no data_batch_4\.bin in .*Fetch https://www\.cs\.tor"):
        known_card(known, place)


def test_too_few_images_are_refused_by_their_counts(cifar10, known_as, tmp_path):
    _, place, _ = cifar10
    whole = known_as("cifar10", counts={"published rule": {"train": 40_000, "test": 10_000}})
    with pytest.raises(
        IngestionError, match=r"train 40, val 10, test 10 and 0 corrupt, the card sa"
    ):
        ingest(known_card(whole, place), tmp_path / "store")


def test_cifar100_has_the_fine_label_of_each_record(originals, known_as, tmp_path):
    labels, images = list(range(100)) * 5, drawn(600, 32, 32, 3)
    files = {
        "cifar-100-binary/train.bin": records(labels, images[:500], coarse=[7] * 500),
        "cifar-100-binary/test.bin": records(labels[:100], images[500:], coarse=[7] * 100),
    }
    counts = {"published rule": {"train": 400, "val": 100, "test": 100}}
    dataset = ingest(
        known_card(known_as("cifar100", counts=counts), originals(files)), tmp_path / "s"
    )
    assert (len(dataset.classes), dataset.classes[41]) == (100, "lawn mower")
    assert all(
        np.array_equal(pixels, images[500 + label]) for label, pixels in shown(dataset, "test")
    )


def idx(array):
    """An IDX file of unsigned bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(known_as):
    """Five train images and one test image of each digit, as the four files."""
    known_as("mnist", counts={"published rule": {"train": 40, "val": 10, "test": 10}})
    labels = np.array([*range(10)] * 6, dtype=np.uint8)
    images = drawn(60, 28, 28)
    return images, {
        "train-images": idx(images[:50]),
        "train-labels": idx(labels[:50]),
        "t10k-images": idx(images[50:]),
        "t10k-labels": idx(labels[50:]),
    }


def named(files, end="ubyte", mark="-", squeeze=bytes):
    """The files under the names of a copy."""
    return {
        f"MNIST/raw/{part}{mark}idx{3 if 'images' in part else 1}-{end}": squeeze(content)
        for part, content in files.items()
    }


@pytest.mark.parametrize(
    "spelling",
    [{}, {"end": "ubyte.gz", "squeeze": gzip.compress}, {"mark": "."}],
    ids=["plain", "gzip", "with a point"],
)
def test_mnist_is_read_from_its_files_however_they_are_called(mnist, originals, tmp_path, spelling):
    images, files = mnist
    dataset = ingest(
        known_card(PUBLISHED["mnist"], originals(named(files, **spelling))), tmp_path / "s"
    )
    assert dataset.card["splits"] == {"train": 40, "val": 10, "test": 10}
    for label, pixels in shown(dataset, "test"):
        assert np.array_equal(pixels, images[50 + label])
    assert dataset.card["template"] == 'a photo of the number: "{}".'


def test_mnist_with_other_numbers_of_images_and_labels_is_refused(mnist, originals):
    _, files = mnist
    files["t10k-labels"] = idx(np.zeros(3, dtype=np.uint8))
    with pytest.raises(
        SourceError, match=r"has 10 images, and .*t10k-labels-idx1-ubyte has 3 labels"
    ):
        known_card(PUBLISHED["mnist"], originals(named(files)))


def test_a_file_that_is_no_idx_is_named(mnist, originals):
    _, files = mnist
    files["train-images"] = b"<html>404</html>"
    with pytest.raises(SourceError, match=r"train-images-idx3-ubyte is no IDX file of 3"):
        known_card(PUBLISHED["mnist"], originals(named(files)))


def matlab(images, labels):
    file = BytesIO()
    savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": np.array(labels).reshape(-1, 1)})
    return file.getvalue()


def test_svhn_has_label_0_for_its_label_10(originals, known_as, tmp_path):
    images, labels = drawn(60, 32, 32, 3), [*range(1, 11)]
    files = {
        "train_32x32.mat": matlab(images[:50], labels * 5),
        "test_32x32.mat": matlab(images[50:], labels),
    }
    counts = {"published rule": {"train": 40, "val": 10, "test": 10}}
    known = known_as("svhn", counts=counts)
    dataset = ingest(known_card(known, originals(files)), tmp_path / "store")
    assert dataset.card["splits"] == counts["published rule"]
    assert dataset.classes[0] == "zero"
    for label, pixels in shown(dataset, "test"):
        assert np.array_equal(pixels, images[50 + (label or 10) - 1])


@pytest.mark.parametrize("labels", [{}, {"y": "abc"}, {"y": [1.5, 2]}, {"y": [0, 11]}])
def test_svhn_without_labels_is_refused(originals, labels):
    file = BytesIO()
    savemat(file, {"X": drawn(32, 32, 3, 2), **labels})
    place = originals({"train_32x32.mat": file.getvalue(), "test_32x32.mat": file.getvalue()})
    with pytest.raises(SourceError, match=r"train_32x32\.mat has no y with labels 1 to 10"):
        known_card(PUBLISHED["svhn"], place)
