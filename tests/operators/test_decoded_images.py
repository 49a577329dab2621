"""Decoded images are kept while there is room, and give the pixels that decoding gives."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from operators.episodes.features import DatasetImages, DecodedImages
from operators.episodes.views import View
from operators.images import decode


def png(row, side=30):
    drawn = np.random.default_rng(row).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(drawn).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def asked():
    return []


@pytest.fixture
def encoded(asked):
    def read(rows):
        asked.append(rows.tolist())
        return [png(row) for row in rows.tolist()]

    return read


SIZE = 30 * 34 * 3  # bytes of one


def test_rows_are_decoded_once_while_there_is_room(encoded, asked):
    images = DecodedImages(encoded, room=3 * SIZE)
    first = images.read(np.array([2, 0, 2]))
    again = images.read(np.array([0, 2, 1]))
    assert asked == [[2, 0], [1]]
    for row, image in zip((2, 0, 2, 0, 2, 1), [*first, *again], strict=True):
        assert np.array_equal(image, decode(png(row)))


def test_the_ones_that_were_asked_for_last_stay(encoded, asked):
    images = DecodedImages(encoded, room=2 * SIZE)
    images.read(np.array([0, 1]))
    images.read(np.array([0]))
    images.read(np.array([2]))  # 1 goes
    images.read(np.array([0, 2]))
    images.read(np.array([1]))
    assert asked == [[0, 1], [2], [1]]


def test_more_than_there_is_room_for_is_read_all_the_same(encoded):
    images = DecodedImages(encoded, room=SIZE - 1)
    assert len(images.read(np.arange(5))) == 5
    assert images._kept == {}
    assert images._size == 0


def test_views_are_those_of_the_files_and_centre_crops_keep_nothing(encoded, asked, clip):
    rows, view = np.array([3, 1, 4]), View(0, 7, "crop-0.5")
    source = DatasetImages(encoded, clip)
    for _ in range(2):
        found = source.pixels(rows, view)
        wanted = clip.preprocess([png(row) for row in rows], view.crops(rows))
        assert torch.equal(found, wanted)
    assert asked == [[3, 1, 4]]
    assert torch.equal(source.pixels(rows), clip.preprocess([png(row) for row in rows]))
    assert asked == [[3, 1, 4]] * 2
