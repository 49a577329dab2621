"""Data that can be read in a second way: nothing of it is decided in silence."""

import json
import re
import shutil

import pytest

from data_catalog import DatasetCard, SourceError, outline, source_for

PETS = ("cat", "dog", "owl")
FILES = [f"{name}/{number}.png" for name in PETS for number in range(5)]


def csv(header, lines):
    return "\n".join([header, *lines])


def told(place, columns=None, split_names=None, **fields):
    """What the command `datasets add` understands."""
    source = source_for(place, columns=columns, **fields)
    return outline(DatasetCard(name="pets", source=source, split_names=split_names))


@pytest.mark.parametrize(
    ("header", "lines", "difference"),
    [
        (
            "path,label,split",
            [f"{file},{file[:3]},{'test' if file[4] > '2' else 'train'}" for file in FILES],
            "it has splits (test, train) that the folders have not",
        ),
        (
            "path,label",
            [f"{file},{file[:3]}" for file in FILES if file[4] != "4"],
            "it names 12 of the 15 images in the folders",
        ),
        (
            "path,label",
            [f"{file},{file[:3].replace('owl', 'tawny owl')}" for file in FILES],
            "what the folders call 'owl' is 'tawny owl' there",
        ),
    ],
)
def test_a_table_that_says_more_than_the_folders_is_asked_about(lay, header, lines, difference):
    place = lay(FILES, {"labels.csv": csv(header, lines)})
    with pytest.raises(SourceError, match=re.escape(difference)) as refusal:
        source_for(place)
    assert "--table labels.csv or --layout class." in str(refusal.value)


@pytest.mark.parametrize("around", ["images", "deep/images"])
def test_the_layout_that_a_refusal_names_is_one_for_the_path_that_was_given(lay, around):
    folders = [f"{part}/{name}" for part, names in (("x", PETS), ("y", PETS[:2])) for name in names]
    parts = [f"{around}/{folder}/{n}.png" for folder in folders for n in (1, 2)]
    place = lay(parts)
    with pytest.raises(SourceError) as refusal:
        source_for(place)
    layout = re.findall(r"If the inner one: --layout ([a-z/]+),", str(refusal.value))[0]
    assert told(place, layout=layout).classes == PETS


def test_a_table_below_a_wrapping_folder_goes_by_the_name_that_a_refusal_has(lay):
    rows = [f"images/{file},{'ab'[number % 2]}" for number, file in enumerate(FILES)]
    place = lay(
        [f"deep/images/{file}" for file in FILES], {"deep/labels.csv": csv("path,label", rows)}
    )
    with pytest.raises(SourceError, match=r"--table labels\.csv or --layout group/group/class"):
        source_for(place)
    assert told(place, table="labels.csv").classes == ("a", "b")


@pytest.mark.parametrize("inner", ["{split}/images", "{split}_set/{split}_set"])
def test_splits_may_wrap_their_class_folders(lay, inner):
    folders = [inner.format(split=split) for split in ("train", "test")]
    found = told(lay([f"{folder}/{file}" for folder in folders for file in FILES]))
    assert (found.classes, found.splits) == (PETS, {"train": 12, "val": 3, "test": 15})


def test_a_fault_of_the_only_table_is_told_first(lay):
    place = lay([f"img/{n}.png" for n in range(3)], {"labels.csv": 'path,label\nimg/0.png,"cat\n'})
    with pytest.raises(SourceError, match=r"^\S+labels.csv: a quote opens on line 2 and never"):
        source_for(place)


@pytest.mark.parametrize("column", ["label", "category"])
def test_two_columns_that_may_be_the_class_are_asked_about(table, png, column):
    columns = {
        "image": [png(n) for n in range(6)],
        "label": ["cat", "dog"] * 3,
        "category": [f"photo {n}" for n in range(6)],
    }
    place = table(columns)
    with pytest.raises(ValueError, match="column 'label' may be the class too"):
        told(place)
    classes = told(place, {"label": column}).classes
    assert classes == tuple(sorted(set(columns[column])))


@pytest.mark.parametrize(
    ("name", "values", "split_names"),
    [
        ("is_train", [1, 1, 1, 0, 0, 0], {"train": "1", "test": "0"}),
        ("is_train", [True, True, True, False, False, False], {"train": "True", "test": "False"}),
        ("set", ["train", "train", "train", "test", "test", "test"], None),
        ("training", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], {"train": "1", "test": "0"}),
    ],
)
def test_a_column_that_may_say_the_splits_is_named_and_read_if_told(
    table, png, name, values, split_names
):
    classes = ["cat", "dog", "owl"] * 2
    place = table({"image": [png(n) for n in range(6)], "label": classes, name: values})
    (note,) = told(place).notes[-1:]
    assert f"column {name!r}" in note
    assert f"--columns split={name}" in note
    assert told(place, {"split": name}, split_names).splits == {"train": 3, "val": 0, "test": 3}


def test_the_same_split_in_two_folders_of_parquet_files_is_asked_about(table, png):
    rows = {"image": [png(n) for n in range(4)], "label": ["cat", "dog"] * 2}
    for folder in ("plain", "other"):
        place = table(rows, name=f"hub/{folder}/train-0.parquet").parent.parent
    with pytest.raises(SourceError, match="the same split in several folders: other, plain"):
        source_for(place)


def test_a_test_split_without_the_column_of_labels_is_left_out_and_counted(table, png):
    pictures = [png(n) for n in range(6)]
    table({"image": pictures, "dx": ["cat", "dog"] * 3}, name="hub/train-0.parquet")
    place = table({"image": pictures[:4]}, name="hub/test-0.parquet").parent
    found = told(place, {"label": "dx"})
    assert (found.examples, found.classes) == (6, ("cat", "dog"))
    assert "split test left out, it has no labels: 4 images." in found.notes
    with pytest.raises(SourceError, match="no column 'dy', chosen as label"):
        told(place, {"label": "dy"})


def test_what_lies_beside_parquet_files_is_named(table, png):
    place = table(
        {"image": [png(0), png(1)] * 2, "label": ["cat", "dog"] * 2}, name="hub/a.parquet"
    )
    (place.parent / "train.csv").write_text("path,label\na.png,cat\n")
    assert "1 other file, not read: 1 .csv (train.csv)." in told(place.parent).notes


@pytest.mark.parametrize("point", [".0", ",00", "."])
def test_texts_that_were_floats_are_labels_in_any_table(table, png, point):
    labels = [f"{n % 2}{point}" for n in range(4)]
    place = table({"image": [png(n) for n in range(4)], "label": labels})
    with pytest.raises(ValueError, match="labels 0, 1 have no class name"):
        told(place)
    card = DatasetCard(name="pets", source=source_for(place), classes=("cat", "dog"))
    assert outline(card).classes == ("cat", "dog")


def test_numbers_as_names_are_doubted_in_any_table(table, png):
    place = table({"image": [png(n) for n in range(4)], "label": ["0", "1"] * 2})
    assert any("which no prompt should say" in note for note in told(place).notes)


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "\uff43at"), ("bull's eye", "bull\u2019s eye"), ("caf\xe9", "caf\xc3\xa9")],
)
def test_what_a_tokenizer_mends_makes_one_prompt(lay, one, other):
    place = lay([f"{name}/{n}.png" for name in (one, other) for n in range(3)])
    with pytest.raises(ValueError, match="make the same prompt"):
        told(place)


def test_classes_of_one_image_each_are_told_to_have_no_test(lay):
    assert "no test images" in told(lay([f"{name}/1.png" for name in PETS])).notes[-1]


@pytest.mark.parametrize("name", ["photos.zip", "shards.tar", "labels.csv"])
def test_a_folder_may_be_called_like_a_file(lay, tmp_path, name):
    shutil.move(lay(FILES), tmp_path / name)
    assert told(tmp_path / name).classes == PETS


def test_an_empty_path_is_not_the_working_folder():
    with pytest.raises(ValueError, match="the path is empty"):
        source_for(" ")


def test_a_split_file_may_have_backslashes(lay):
    rows = [[file.replace("/", "\\"), PETS.index(file[:3]), file[:3]] for file in FILES]
    text = json.dumps({"train": rows[::2], "test": rows[1::2]})
    place = lay([f"images/{file}" for file in FILES], {"split_zhou_Pets.json": text})
    found = told(place)
    assert (found.examples, found.classes) == (15, PETS)
    assert not found.notes
