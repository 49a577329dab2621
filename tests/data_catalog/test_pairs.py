import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_catalog import SourceError
from data_catalog.pairs import Pair, PairSource, ParquetPairs


def png(value, side=6):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def texts(*batches):
    return [pair.text for batch in batches for pair in batch]


@pytest.fixture
def write(tmp_path):
    """Writes a Parquet file of rows 0..n-1, whose sentence and brightness are their number."""

    def make(rows=20, name="part-0.parquet", first=0, broken=(), group=4, **columns):
        numbers = range(first, first + rows)
        images = [b"no image" if n in broken else png(n) for n in numbers]
        table = pa.table({"image": images, "text": [f"row {n}" for n in numbers], **columns})
        (tmp_path / "pairs").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "pairs" / name, row_group_size=group)
        return str(tmp_path / "pairs")

    return make


def test_it_is_a_source_of_rgb_images_with_their_own_sentence(write):
    source = ParquetPairs(write())
    assert isinstance(source, PairSource)
    for image, text in source.batch(0, 20):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        assert text == f"row {image[0, 0, 0]}"


def test_an_epoch_visits_every_row_once_and_the_next_one_in_another_order(write):
    write(12)
    source = ParquetPairs(write(8, "part-1.parquet", first=12))
    first, second = (texts(source.batch(e * 2, 10), source.batch(e * 2 + 1, 10)) for e in (0, 1))
    assert sorted(first) == sorted(second) == sorted(f"row {n}" for n in range(20))
    assert first != second
    assert first != [f"row {n}" for n in range(20)]


def test_a_batch_follows_from_its_step_alone(write):
    path = write()
    straight = ParquetPairs(path)
    expected = [texts(straight.batch(step, 6)) for step in range(12)]
    jumping = ParquetPairs(path)
    assert [texts(jumping.batch(step, 6)) for step in (11, 0, 7)] == [
        expected[11],
        expected[0],
        expected[7],
    ]
    travelled = pickle.loads(pickle.dumps(jumping))
    assert texts(travelled.batch(5, 6)) == expected[5]


def test_rows_are_shuffled_across_windows(write, monkeypatch):
    monkeypatch.setattr("data_catalog.pairs.WINDOW_ROWS", 8)
    source = ParquetPairs(write(40))
    assert sorted(texts(source.batch(0, 40))) == sorted(f"row {n}" for n in range(40))
    assert source.signature() != ParquetPairs(source.path, seed=1).signature()


def test_another_seed_is_another_order(write):
    path = write()
    assert texts(ParquetPairs(path, seed=1).batch(0, 20)) != texts(ParquetPairs(path).batch(0, 20))


def test_a_row_that_cannot_be_read_is_replaced_in_the_same_way_every_time(write):
    path = write(broken={3, 9})
    one, two = ParquetPairs(path), ParquetPairs(path)
    whole = texts(one.batch(0, 20))
    assert len(whole) == 20
    assert not {"row 3", "row 9"} & set(whole)
    assert one.skipped == 2
    assert texts(two.batch(1, 10)) == whole[10:]


def test_a_row_without_text_counts_as_one_that_cannot_be_read(write, tmp_path):
    path = write(8, text=["", None, " ", *(f"row {n}" for n in range(3, 8))])
    source = ParquetPairs(path)
    assert set(texts(source.batch(0, 8))) == {f"row {n}" for n in range(3, 8)}
    assert source.skipped == 3
    assert list(source.texts(100)) == [f"row {n}" for n in range(3, 8)]


def test_nothing_that_can_be_read_is_an_error(write):
    path = write(4, broken=set(range(4)))
    with pytest.raises(SourceError, match="none of 4 rows that follow each other has an image"):
        ParquetPairs(path).batch(0, 2)


def test_texts_are_the_first_ones_in_the_order_of_the_files(write):
    write(5)
    source = ParquetPairs(write(5, "part-1.parquet", first=5))
    assert list(source.texts(7)) == [f"row {n}" for n in range(7)]


def test_images_may_be_structs_under_other_names(tmp_path):
    rows = [{"bytes": png(n), "path": f"{n}.png"} for n in range(4)]
    table = pa.table({"picture": rows, "says": [f"row {n}" for n in range(4)]})
    path = tmp_path / "own.parquet"
    pq.write_table(table, path)
    source = ParquetPairs(str(path), image="picture", text="says")
    assert sorted(texts(source.batch(0, 4))) == [f"row {n}" for n in range(4)]
    assert (
        source.describe() == "4 pairs in 1 Parquet file at own.parquet (columns picture and says)"
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": "imge"}, "no column 'imge', chosen as image. Did you mean image?"),
        ({"text": "txet"}, "no column 'txet', chosen as text. Did you mean text?"),
        ({"image": "text"}, "column 'text', chosen as image, holds text; needed is encoded bytes."),
        ({"text": "image"}, "column 'image', chosen as text, holds image; needed is text."),
    ],
)
def test_a_column_that_will_not_do_is_named(write, columns, said):
    with pytest.raises(SourceError, match=said):
        ParquetPairs(write(), **columns).signature()


def test_a_table_without_sentences_says_what_it_has(tmp_path):
    pq.write_table(pa.table({"image": [png(1)], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"has no text column: its columns are image \(image\)"):
        ParquetPairs(str(tmp_path)).batch(0, 1)


def test_a_place_without_rows_or_files_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no file or folder at"):
        ParquetPairs(str(tmp_path / "absent")).batch(0, 1)
    empty = pa.table({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(SourceError, match="have no rows"):
        ParquetPairs(str(tmp_path)).batch(0, 1)


def test_the_signature_moves_with_files_and_columns(write):
    path = write()
    before = ParquetPairs(path).signature()
    assert ParquetPairs(path).signature() == before
    write(4, "part-1.parquet", first=20)
    assert ParquetPairs(path).signature() != before


def test_a_url_of_fsspec_will_do(write):
    import fsspec

    file = f"{write()}/part-0.parquet"
    memory = fsspec.filesystem("memory")
    with open(file, "rb") as source:  # noqa: PTH123
        memory.pipe("/pairs/part-0.parquet", source.read())
    found = ParquetPairs("memory://pairs").batch(0, 4)
    assert all(isinstance(pair, Pair) for pair in found)
    assert texts(found) == texts(ParquetPairs(file).batch(0, 4))
