"""Tables as text: every separator, no row lost, and paths as people write them."""

import csv
from dataclasses import replace

import pytest

from data_catalog import DatasetCard, IngestionError, Manifest, SourceError, ingest

NAMES = ("cat", "dog", "owl")


@pytest.fixture
def labelled(tree):
    """Writes a table beside twelve pictures, from lines or bytes."""

    def write(lines, name: str = "labels.csv", encoding: str = "utf-8") -> Manifest:
        root = tree(*(f"img/{number}.png" for number in range(12)))
        content = lines if isinstance(lines, bytes) else "\n".join(lines).encode(encoding)
        (root / name).write_bytes(content)
        return Manifest(str(root / name))

    return write


def rows(separator=",", label=NAMES.__getitem__):
    return [f"img/{number}.png{separator}{label(number // 4)}" for number in range(12)]


def ingested(source, tmp_path, **fields):
    return ingest(DatasetCard(name="t", source=source, **fields), tmp_path / "t")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", ":", "#", "~", "^"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_a_separator_is_known_by_the_header(labelled, separator, name):
    found = list(labelled([f"path{separator}label", *rows(separator)], name).examples())
    assert [each.class_name for each in found] == [NAMES[n // 4] for n in range(12)]
    assert not any(each.error for each in found)


def test_a_blank_in_the_names_of_columns_separates_nothing(labelled):
    found = list(labelled(["path,image label,label", *(f"{row},x" for row in rows())]).examples())
    assert {each.class_name for each in found} == {"x"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_of_other_systems_are_read(labelled, encoding, ending):
    text = ending.join(["path,label", *rows(label=lambda k: ("chat", "été", "œuf")[k])])
    found = list(labelled(text.encode(encoding)).examples())
    assert [each.class_name for each in found][4::4] == ["été", "œuf"]
    assert len(found) == 12


def test_excel_names_the_separator_in_a_line_of_its_own(labelled):
    source = labelled(["sep=;", "path;label", *rows(";")])
    assert [each.class_name for each in source.examples()][::4] == list(NAMES)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (rows(), "has no header: its first line, 'img/0.png,cat', names an image"),
        (rows(";"), "has no header: .* such as 'path;label'"),
        (["src;kind", *rows(";")], "seems to be separated by a semicolon"),
        (["a,b", "1,2"], r"The first line of a table is its header"),
        (["path;label;x|image|label", "1"], "by a semicolon or by a vertical bar"),
        (["path,label,label", "a,b,c"], "names 'label' more than once"),
        (["path,label", "1.png,cat", "2.png,dog,x"], "line 3: 3 fields, while the header names 2"),
        (["path,label", '1.png, "cat"', '2.png, "dog"'], "line 2: a blank stands before the quote"),
        ("path,label\nimg/0.png,\xe9t\xe9\n".encode("latin-1"), "line 2 holds b'\\\\xe9'"),
        ("path,label\nimg/0.png,cat\n".encode("utf-16-le"), "zero bytes, as UTF-16"),
        (["path,label", f"1.png,{'x' * 200_000}"], "line 2 cannot be read .*field limit"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(labelled, lines, message):
    with pytest.raises(SourceError, match=message):
        labelled(lines).total()


def with_quotes(*places):
    """The table with a stray quote before or after the label of some rows."""
    lines = ["path,label", *rows()]
    for line, side in places:
        path, label = lines[line - 1].split(",")
        lines[line - 1] = f'{path},"{label}' if side == "before" else f'{path},{label}"'
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (with_quotes((7, "before")), "a quote opens on line 7 and never closes"),
        (
            with_quotes((7, "before"), (9, "after")),
            "line 7: the label holds a line break, so that 3 lines are one row",
        ),
        (with_quotes((7, "before"), (8, "after")), "line 7: .* 2 lines are one row"),
        (with_quotes((3, "before"), (9, "before")), "from line 3 on, a quote closes before the"),
        (
            ["path,label,note", 'a.png,cat,"5 in', "b.png,dog,ok", 'c.png,owl,6 in"'],
            "line 2: the note holds a line break, so that 3 lines are one row",
        ),
        (
            ["path,label,note", 'a.png,cat,"5 in', 'b.png,dog,6 in"', "c.png,owl,"],
            "line 2: the note holds a line break",
        ),
        (["path,label", '"img/0', '.png",cat'], "line 2: the path holds a line break"),
    ],
)
def test_a_stray_quote_loses_no_row(labelled, lines, message):
    with pytest.raises(SourceError, match=message):
        labelled(lines).total()


def test_quotes_that_close_are_read(labelled):
    lines = ["path,label,note"]
    lines += [f'img/{n}.png,"a ""{NAMES[n // 4]}"", small",7" x 5"' for n in range(11)]
    lines += ['img/11.png,"a ""owl"", small","two', 'lines"']
    found = list(labelled(lines).examples())
    assert {each.class_name for each in found} == {f'a "{name}", small' for name in NAMES}
    assert [each.extras["note"] for each in found] == ['7" x 5"'] * 11 + ["two\nlines"]


def test_labels_as_floats_are_labels(labelled, tmp_path):
    source = labelled(["path,label", *rows(label=lambda k: f"{k}.0")])
    with pytest.raises(IngestionError, match="labels 0, 1, 2 have no class name"):
        ingested(source, tmp_path)
    dataset = ingested(source, tmp_path, classes=NAMES)
    assert dataset.classes == NAMES
    assert dataset.labels.tolist() == [n // 4 for n in range(12)]


@pytest.mark.parametrize(
    "label",
    ["{}.", "{}.000", "{}e0", '"{},0"', "+{}.0"],
    ids=["point", "zeros", "e", "comma", "plus"],
)
def test_floats_of_other_spellings_are_labels(labelled, label):
    found = list(labelled(["path,label", *rows(label=label.format)]).examples())
    assert [each.label for each in found] == [n // 4 for n in range(12)]


def test_labels_between_whole_numbers_are_refused(labelled, table, png):
    with pytest.raises(SourceError, match=r"label 0\.5 is not a whole number"):
        list(labelled(["path,label", *rows(label=lambda k: f"{k}.5")]).examples())
    from data_catalog import ParquetImages

    for label in (0.5, float("inf")):
        file = table({"image": [png(1)], "label": [label]})
        with pytest.raises(SourceError, match="is not a whole number"):
            list(ParquetImages(str(file)).examples())


def test_numbers_in_a_column_of_class_names_stay_names(labelled):
    found = list(labelled(["path,class_name", *rows(label=lambda k: f"{k}.5")]).examples())
    assert found[0].class_name == "0.5"


@pytest.mark.parametrize("gap", ["", " ", "nan", "NaN"])
@pytest.mark.parametrize("label", [NAMES.__getitem__, "{}.0".format, "{}".format])
def test_rows_without_a_label_are_counted_and_named(labelled, tmp_path, gap, label):
    lines = ["path,label", *rows(label=label)]
    lines[3] = f"img/2.png,{gap}"
    with pytest.raises(IngestionError, match=r"1 of 12 rows have no label: img/2\.png"):
        ingested(labelled(lines), tmp_path, classes=NAMES)


def test_backslashes_in_paths_are_folders_where_no_file_is_called_so(labelled, tmp_path):
    with_slashes = ingested(labelled(["path,label", *rows()]), tmp_path)
    lines = ["path,label", *(row.replace("/", "\\") for row in rows())]
    assert ingested(labelled(lines), tmp_path).fingerprint == with_slashes.fingerprint


def test_a_file_with_a_backslash_in_its_name_is_itself(labelled, tmp_path, png):
    source = labelled(["path,label", "img\\0.png,cat"])
    (tmp_path / "raw" / "img\\0.png").write_bytes(png(99))
    (found,) = source.examples()
    assert (found.content, found.path) == (png(99), "img\\0.png")


def test_what_is_wrong_with_paths_is_said_with_counts(labelled, tmp_path):
    lines = ["path,label", *rows()]
    lines[1:5] = ["img\\x.png,cat", "C:\\data\\y.png,cat", "img,cat", ",cat"]
    with pytest.raises(IngestionError) as said:
        ingested(labelled(lines), tmp_path, max_corrupt_share=0)
    assert "4 of 12 images (33%) cannot be used" in str(said.value)
    assert "3 missing: img\\x.png (no such file; its path has backslashes, and with / there is" in (
        str(said.value)
    )
    assert "1 a folder: img" in str(said.value)
    assert "row 4 (the row names no file)" in str(said.value)
    assert "Fetch the data again" not in str(said.value)


def test_an_image_that_may_not_be_read_is_not_called_damaged(labelled, monkeypatch):
    from fsspec.implementations.local import LocalFileSystem

    whole = LocalFileSystem.cat_file

    def cat_file(self, path, *args, **kwargs):
        if path.endswith("img/1.png"):
            raise PermissionError(13, "Permission denied")
        return whole(self, path, *args, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
    errors = [each.error for each in labelled(["path,label", *rows()]).examples()]
    assert errors == ["", "unreadable: this user may not read it", *[""] * 10]


@pytest.mark.parametrize(
    "name", ["a[1].png", "a*.png", "what?.png", "a::b.png", "50%20.png", "#1.png"]
)
def test_characters_of_patterns_in_paths_are_characters(tree, png, name):
    root = tree(name, "a1.png")
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], [name, "cat"], ["a1.png", "dog"]])
    first, second = Manifest(str(root / "list.csv")).examples()
    assert (first.content, second.content) == (png(0), png(1))


def test_paths_may_be_absolute_at_home_or_urls(tree, png, monkeypatch, tmp_path):
    root = tree("1.png", "2.png", "3.png", "4.png")
    monkeypatch.setenv("HOME", str(root))
    (root / "list").mkdir()
    paths = [f"{root}/1.png", "~/2.png", f"file://{root}/3.png", "../4.png", "~nobody/5.png"]
    lines = ["path,label", *(f"{path},cat" for path in paths)]
    (root / "list/list.csv").write_text("\n".join(lines))
    found = list(Manifest(str(root / "list/list.csv")).examples())
    assert [each.content for each in found[:4]] == [png(n) for n in range(4)]
    assert [each.path for each in found] == paths
    assert found[4].error.startswith("missing")


@pytest.mark.parametrize("path", ["a" * 300 + ".png", "\0.png"])
def test_a_path_that_no_file_can_have_costs_itself_alone(tmp_path, table, png, path):
    (tmp_path / "1.png").write_bytes(png(1))
    file = table({"path": ["1.png", path], "label": ["cat", "dog"]})
    good, bad = Manifest(str(file)).examples()
    assert (good.error, bool(bad.error)) == ("", True)


def of_pairs(number: int) -> str:
    return f"{('old', 'red')[number % 2]},{('cat', 'pine cone')[number // 6]}"


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path,attribute,object", None),
        ("path,state,category", {"attribute": "state", "object": "category"}),
    ],
)
def test_two_columns_name_the_pairs_that_classes_are(labelled, tmp_path, header, columns):
    table = labelled([header, *(f"img/{n}.png,{of_pairs(n)}" for n in range(12))])
    found = ingested(replace(table, columns=columns), tmp_path)
    assert found.classes == ("old cat", "old pine cone", "red cat", "red pine cone")
    assert found.pairs == tuple((a, o) for a in ("old", "red") for o in ("cat", "pine cone"))
    assert found.column("object").tolist() == [of_pairs(n).split(",")[1] for n in range(12)]


def test_half_of_a_pair_is_refused_with_the_other_half(labelled):
    table = labelled(["path,state,noun", *(f"img/{n}.png,{of_pairs(n)}" for n in range(12))])
    with pytest.raises(SourceError, match=r"attribute=state is half of a pair: say object=.. too"):
        list(replace(table, columns={"attribute": "state"}).examples())


def test_a_class_whose_rows_say_two_pairs_makes_no_pairs(labelled, tmp_path):
    lines = (f"img/{n}.png,{of_pairs(n)},{NAMES[n // 4]}" for n in range(12))
    assert ingested(labelled(["path,attribute,object,label", *lines]), tmp_path).pairs == ()
