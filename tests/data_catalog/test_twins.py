"""Test rows that train or val has, equal or nearly: found, named, and no others."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data_catalog import Example, ingest
from data_catalog.kinds import KINDS
from data_catalog.quality import balance_of
from data_catalog.twins import Twins, exact_twins, near_twins

IMAGES = KINDS["image"]


def photo(seed, size=(96, 72)):
    """A picture with shapes and shades, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(image, form="PNG", **options):
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


COPIES = {
    "smaller": lambda image: encoded(image.resize((67, 50), Image.Resampling.BICUBIC)),
    "larger": lambda image: encoded(image.resize((144, 108), Image.Resampling.BICUBIC)),
    "compressed": lambda image: encoded(image, "JPEG", quality=60),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.1)),
    "all of it": lambda image: encoded(
        ImageEnhance.Brightness(image.resize((67, 50))).enhance(1.1), "JPEG", quality=60
    ),
}


def labelled(content, path, split, number):
    return Example(content, path, number % 2, ("cat", "dog")[number % 2], split)


@pytest.fixture
def apart():
    """Forty different pictures, half in train, half in test."""
    return [
        labelled(encoded(photo(n)), f"{n}.png", ("train", "test")[n % 4 // 2], n) for n in range(40)
    ]


@pytest.mark.parametrize("copy", COPIES)
def test_changed_copies_are_named_with_their_distance(card_of, tmp_path, apart, copy):
    rows = [*apart, labelled(COPIES[copy](photo(0)), "copy", "test", 0)]
    rows.append(labelled(COPIES[copy](photo(2)), "into train", "train", 0))
    dataset = ingest(card_of(*rows), tmp_path)
    twins = dataset.card["twins"]
    assert twins["exact"] == {"count": 0, "first": []}
    assert twins["near"]["count"] == 2
    pairs = {(test, other) for test, other, _ in twins["near"]["first"]}
    assert pairs == {("copy", "0.png"), ("2.png", "into train")}
    assert all(0 <= bits <= IMAGES.radius for *_, bits in twins["near"]["first"])
    (doubt,) = [line for line in dataset.card["doubts"] if "nearly equal" in line]
    assert doubt.startswith("2 test images nearly equal to one of train or val (resized, compress")
    assert "copy and 0.png" in doubt


def test_different_images_are_no_twins(card_of, tmp_path, apart):
    dataset = ingest(card_of(*apart), tmp_path)
    assert dataset.card["twins"]["near"] == {"count": 0, "first": []}
    assert dataset.card["doubts"] == []


def test_another_colour_is_another_image(card_of, tmp_path, apart):
    red, green, blue = photo(0).split()
    turned = encoded(Image.merge("RGB", (blue, red, green)))
    dataset = ingest(card_of(*apart, labelled(turned, "turned", "test", 0)), tmp_path)
    assert dataset.card["twins"]["near"]["count"] == 0


def test_images_of_one_colour_are_no_twins(card_of, tmp_path, apart):
    plain = [Image.new("RGB", (40, 30), (level, level, level)) for level in (100, 110)]
    rows = [labelled(encoded(image), f"{n}", s, 0) for n, (image, s) in enumerate(
        zip(plain, ("train", "test"), strict=True)
    )]  # fmt: skip
    dataset = ingest(card_of(*apart, *rows), tmp_path)
    assert dataset.card["twins"]["near"]["count"] == 0


def test_equal_images_are_exact_and_not_near(card_of, tmp_path, apart):
    rows = [*apart, apart[0]._replace(path="copy", split="test")]
    twins = ingest(card_of(*rows), tmp_path).card["twins"]
    assert twins["exact"] == {"count": 1, "first": [["copy", "0.png", 0]]}
    assert twins["near"]["count"] == 0


def test_texts_that_differ_in_case_and_punctuation_are_twins(card_of, tmp_path):
    rows = [
        Example(text.encode(), f"{n}", n % 2, ("bad", "good")[n % 2], split)
        for n, (text, split) in enumerate(
            [
                ("A fine film, indeed.", "train"),
                ("Nothing works.", "train"),
                ("a fine  film -- INDEED!", "test"),
                ("nothing works here", "test"),
                ("Ein schöner Film", "val"),
                ("a fine film", "val"),
                ("ein scho\u0308ner film!", "test"),
                ("C++ is fine", "test"),
                ("C is fine", "train"),
            ]
        )
    ]
    twins = ingest(card_of(*rows, kind="text"), tmp_path).card["twins"]
    assert twins["near"] == {"count": 2, "first": [["2", "0", 0], ["6", "4", 0]]}


class Drawn:
    """Looks that nobody has drawn: a hash is what they hold."""

    look_bytes, radius = 8, 7

    def __init__(self, hashes):
        self.values = hashes

    def of(self, rows):
        return self.values[rows].view(np.uint8).reshape(len(rows), 8)

    def hashes(self, looks):
        return np.ascontiguousarray(looks).view(np.uint64).reshape(-1)

    def alike(self, first, second):
        return np.ones(len(first), bool)


@pytest.mark.parametrize("clustered", [False, True])
def test_the_search_finds_what_comparing_all_pairs_finds(clustered):
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 1 << 63, 1500, dtype=np.uint64)
    if clustered:  # families around a few hashes, as sets of one kind of picture have them
        hashes = hashes[rng.integers(0, 30, 1500)]
    else:  # a few that are near
        hashes[:40] = hashes[40:80]
    for _ in range(5):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, 1500, dtype=np.uint64))
    asked = rng.random(1500) < 0.3
    none = Twins(*(np.empty(0, np.int64) for _ in range(3)))
    drawn = Drawn(hashes)
    found = near_twins(drawn, drawn, asked, none)  # pyright: ignore[reportArgumentType]
    rows, others = np.flatnonzero(asked), np.flatnonzero(~asked)
    distances = np.bitwise_count(hashes[rows][:, None] ^ hashes[others][None, :])
    near = distances.min(axis=1) <= Drawn.radius
    assert found is not None
    assert found.rows.tolist() == rows[near].tolist()
    assert found.others.tolist() == others[distances.argmin(axis=1)[near]].tolist()
    assert found.distances.tolist() == distances.min(axis=1)[near].tolist()
    assert near.any()
    assert not near.all()


def test_where_all_are_alike_the_search_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr("data_catalog.twins.MOST_COMPARED", 100)
    drawn = Drawn(np.full(100, 7, np.uint64))
    none = Twins(*(np.empty(0, np.int64) for _ in range(3)))
    asked = np.arange(100) < 50
    assert near_twins(drawn, drawn, asked, none) is None  # pyright: ignore[reportArgumentType]


def test_exact_twins_name_the_first_row():
    digests = np.array([b"b", b"a", b"a", b"c", b"a", b"b"], "S32")
    asked = np.array([False, False, False, True, True, True])
    found = exact_twins(digests, asked)
    assert (found.rows.tolist(), found.others.tolist()) == ([4, 5], [1, 0])


def test_balance_names_the_smallest_and_the_largest_class():
    found = balance_of(("ant", "bee", "cat"), {"train": [40, 4, 0], "val": [0, 0, 0]})
    assert found == {
        "train": {
            "smallest": {"class": "bee", "rows": 4},
            "largest": {"class": "ant", "rows": 40},
            "ratio": 10.0,
            "empty": 1,
        }
    }


def test_uneven_classes_are_a_doubt(card_of, tmp_path, png):
    rows = [Example(png(n), f"{n}.png", 0, "cat", "train") for n in range(40)]
    rows += [Example(png(n), f"{n}.png", 1, "dog", "train") for n in range(40, 44)]
    rows += [Example(png(n), f"{n}.png", n % 2, ("cat", "dog")[n % 2], "test") for n in (44, 45)]
    (doubt,) = ingest(card_of(*rows), tmp_path).card["doubts"]
    assert doubt == "classes of train are uneven: cat has 32 images, dog 3 (10.67 times)."
