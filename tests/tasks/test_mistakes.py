"""What trials were wrong about, as pictures and texts."""

import base64
from io import BytesIO

import pytest
from PIL import Image

from tasks.pages.mistakes import Row, paths, previews

LOTS = 10**6


@pytest.fixture
def held(dataset_of):
    return dataset_of()


def rows_of(held, *row_ids):
    return [Row(held.name, held.fingerprint, row_id) for row_id in row_ids]


def test_pictures_are_those_of_the_rows(held, store):
    rows = rows_of(held, 5, 0)
    shown = previews(store, rows, LOTS)
    assert list(shown) == rows
    for row, uri in shown.items():
        kind, _, content = uri.partition(",")
        assert kind == "data:image/webp;base64"
        with (
            Image.open(BytesIO(base64.b64decode(content))) as picture,
            Image.open(BytesIO(held.images([row.row_id])[0])) as original,
        ):
            assert picture.size == original.size
            ours, theirs = (
                image.convert("L").resize((1, 1)).getpixel((0, 0)) for image in (picture, original)
            )
        assert abs(ours - theirs) < 16


def test_a_budget_keeps_the_first_and_a_row_counts_once(held, store):
    rows = rows_of(held, 3, 3, 1, 2)
    whole = previews(store, rows, LOTS)
    assert len(whole) == 3
    first, second = (len(whole[row]) for row in rows[1:3])
    assert list(previews(store, rows, first + second)) == rows[1:3]
    assert list(previews(store, rows, first + second - 1)) == rows[1:2]
    assert previews(store, rows, 0) == {}


def test_what_is_gone_or_never_was_is_left_out(held, store):
    (there,) = rows_of(held, 1)
    gone = [there._replace(fingerprint="0" * 16), there._replace(row_id=held.rows)]
    assert list(previews(store, [*gone, there], LOTS)) == [there]
    assert paths(store, [*gone, there]) == {there: str(held.column("path")[1])}
