"""Folders, tables and the hub: what they yield, and what they refuse."""

import json
import os
import uuid

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from data_catalog import HuggingFace, ImageFolder, Manifest, ParquetImages, SourceError
from data_catalog import SourceUnavailable as Unavailable
from data_catalog.sources import read_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Unplugged(MemoryFileSystem):
    """A file system that is never reached."""

    protocol = "unplugged"

    def info(self, path, **_):
        raise ConnectionError("no route to host")


@pytest.fixture
def memory(png):
    """A fresh folder in memory and a function that writes into it."""
    root = f"memory://{uuid.uuid4().hex}"

    def write(name, content):
        with fsspec.open(f"{root}/{name}", "wb") as file:
            file.write(content)

    return root, write


def test_one_file_is_read_whole_or_refused_by_name(memory, tmp_path):
    root, write = memory
    write("note.txt", b"hello")
    assert read_file(f"{root}/note.txt") == b"hello"
    (tmp_path / "note.txt").write_bytes(b"here")
    assert read_file(f"file://{tmp_path}/note.txt") == read_file(str(tmp_path / "note.txt"))
    for place, said in {
        f"{root}/absent.txt": "no file or folder at",
        str(tmp_path / "absent.txt"): "no file or folder at",
        str(tmp_path): "is a folder",
        str(tmp_path / ("long" * 100)): "cannot be read: ",
        "nosuch://place": "no file system is called 'nosuch'",
    }.items():
        with pytest.raises(SourceError, match=said) as refused:
            read_file(place)
        assert place in str(refused.value)


def facts(source):
    return [(e.path, e.class_name, e.split, e.domain) for e in source.examples()]


def test_class_folders_are_read_in_order_of_path(tree, png):
    root = tree("dog/b.png", "cat/z.png", "dog/a.png", "cat/deep/er/y.png")
    source = ImageFolder(str(root))
    assert [path for path, *_ in facts(source)] == [
        "cat/deep/er/y.png",
        "cat/z.png",
        "dog/a.png",
        "dog/b.png",
    ]
    assert next(iter(source.examples())).content == png(3)
    assert source.total() == 4


def test_folders_named_like_splits_are_splits(tree):
    root = tree("train/cat/1.png", "val/cat/2.png", "test/dog/3.png")
    assert facts(ImageFolder(str(root))) == [
        ("test/dog/3.png", "dog", "test", None),
        ("train/cat/1.png", "cat", "train", None),
        ("val/cat/2.png", "cat", "val", None),
    ]


def test_a_layout_gives_domains(tree):
    root = tree("sketch/cat/1.png", "photo/cat/2.png")
    assert facts(ImageFolder(str(root), layout="domain/class"))[0] == (
        *("photo/cat/2.png", "cat", None, "photo"),
    )


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="layout 'clas' is not made of class"):
        ImageFolder("/nowhere", layout="clas")


def test_split_folders_beside_others_are_refused(tree):
    root = tree("train/cat/1.png", "test/cat/2.png", "masks/cat/3.png")
    with pytest.raises(SourceError, match=r"split folders \(test, train\) beside masks"):
        list(ImageFolder(str(root)).examples())


def test_images_without_class_folders_are_refused(tree):
    with pytest.raises(SourceError, match=r"only files such as 1\.png"):
        list(ImageFolder(str(tree("1.png"))).examples())


def test_hidden_files_are_no_images_and_others_are(tree):
    root = tree("cat/1.png", "cat/.DS_Store", "cat/Thumbs.db", "__MACOSX/cat/1.png", "cat/a")
    assert [path for path, *_ in facts(ImageFolder(str(root)))] == ["cat/1.png", "cat/a"]


def test_brackets_in_a_file_name_are_no_pattern(tree, png):
    root = tree("cat/a[1].png", "dog/*.png")
    assert [e.content for e in ImageFolder(str(root)).examples()] == [png(0), png(1)]


def test_a_file_name_that_is_no_utf8_is_spelled_out(tree):
    root = tree("cat/1.png", "dog/2.png")
    (root / "cat/1.png").rename(root / "cat" / os.fsdecode(b"\xe9.png"))
    assert facts(ImageFolder(str(root)))[0][0] == "cat/\\udce9.png"


def test_a_folder_behind_a_link_is_read(tree, tmp_path):
    root = tree("cat/1.png", "dog/2.png")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    assert len(facts(ImageFolder(str(tmp_path / "link")))) == 2


def test_a_folder_is_read_through_any_file_system(memory, png):
    root, write = memory
    write("cat/1.png", png(1))
    write("dog/2.png", png(2))
    found = list(ImageFolder(root).examples())
    assert [(e.path, e.content) for e in found] == [("cat/1.png", png(1)), ("dog/2.png", png(2))]


@pytest.mark.parametrize("change", ["touch", "add", "rename"])
def test_the_signature_of_a_folder_moves_with_its_files(pets, change):
    source = ImageFolder(str(pets))
    before = source.signature()
    assert source.signature() == before
    if change == "touch":
        os.utime(pets / "cat/0.png", ns=(1, 1))
    elif change == "add":
        (pets / "cat/new.png").write_bytes(b"")
    else:
        (pets / "cat/0.png").rename(pets / "cat/renamed.png")
    assert source.signature() != before


def test_a_file_system_that_does_not_answer_is_one_sentence():
    fsspec.register_implementation("unplugged", Unplugged, clobber=True)
    with pytest.raises(Unavailable, match=r"unplugged://pets could not be reached \(no route"):
        list(ImageFolder("unplugged://pets").examples())


def test_a_dead_web_server_is_not_taken_for_a_missing_file():
    with pytest.raises(Unavailable, match="could not be reached"):
        list(Manifest("http://127.0.0.1:9/list.csv").examples())


def test_an_unknown_scheme_is_refused():
    with pytest.raises(SourceError, match="no file system is called 'ftpp'"):
        list(ImageFolder("ftpp://pets").examples())


def test_a_csv_names_files_beside_it(tree, png):
    root = tree("images/1.png", "images/2.png")
    (root / "list.csv").write_text(
        "\ufefffile_name,label,class_name,split,domain,weight\n"
        'images/2.png,1,"dog, small",train,photo,3\nimages/1.png,0,cat,test,,4\n',
        "utf-8",
    )
    first, second = Manifest(str(root / "list.csv")).examples()
    assert first == (
        *(png(1), "images/2.png", 1, "dog, small", "train", "photo", {"weight": "3"}, ""),
    )
    assert (second.label, second.domain) == (0, None)


def test_words_in_a_label_column_are_class_names(tree):
    root = tree("1.png")
    (root / "list.tsv").write_text("path\tlabel\n1.png\tcat\n")
    (example,) = Manifest(str(root / "list.tsv")).examples()
    assert (example.label, example.class_name) == (None, "cat")


def test_a_missing_file_of_a_manifest_is_a_bad_image_and_no_failure(tree):
    root = tree("1.png")
    (root / "list.csv").write_text("path,class\n1.png,cat\ngone.png,dog\n")
    good, bad = Manifest(str(root / "list.csv")).examples()
    assert not good.error
    assert bad.path == "gone.png"
    assert bad.error == "missing: no such file"


def test_a_parquet_manifest_names_files(tree, table):
    root = tree("1.png", root=".")
    source = Manifest(str(table({"image": ["1.png"], "label": [0], "class_name": ["cat"]})))
    (example,) = source.examples()
    assert example.content == (root / "1.png").read_bytes()


def test_a_chosen_column_takes_the_place_of_the_usual_one(tree):
    root = tree("1.png")
    (root / "list.csv").write_text("path,label,breed\n1.png,0,tabby\n")
    (example,) = Manifest(str(root / "list.csv"), columns={"label": "breed"}).examples()
    assert example.class_name == "tabby"


def test_a_chosen_column_that_is_not_there_is_refused(table, png):
    file = table({"image": [png(1)], "label": [0]})
    with pytest.raises(SourceError, match="no column 'lable', chosen as label"):
        list(ParquetImages(str(file), columns={"label": "lable"}).examples())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\n1.png\n", "line 2: 1 field, while the header names 2"),
        ("path,class\n", "no rows below its header"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        list(Manifest(str(tmp_path / "list.csv")).examples())


def test_the_signature_of_a_manifest_moves_with_its_images(tree):
    root = tree("1.png")
    (root / "list.csv").write_text("path,class\n1.png,cat\n")
    source = Manifest(str(root / "list.csv"))
    before = source.signature()
    os.utime(root / "1.png", ns=(1, 1))
    assert source.signature() != before


def test_parquet_with_bytes_keeps_scalars_and_tells_what_it_leaves_out(table, png):
    file = table(
        {"image": [png(1)], "label": [3], "class_name": ["cat"], "n": [7], "mask": [b"m"]},
    )
    (example,) = ParquetImages(str(file)).examples()
    assert example == (png(1), "data.parquet#0", 3, "cat", None, None, {"n": 7}, "")
    assert ParquetImages(str(file)).notes() == ["columns not kept: mask"]


def test_hugging_face_structs_and_class_labels_are_understood(table, png):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    file = table(
        {
            "image": [{"bytes": png(1), "path": "x.png"}, {"bytes": None, "path": "y"}],
            "label": [1, 0],
        },
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    good, empty = ParquetImages(str(file)).examples()
    assert (good.content, good.path, good.label, good.class_name) == (png(1), "x.png", 1, "dog")
    assert empty.error == "empty: the image column holds no bytes, only the path y"


def test_the_split_is_read_from_the_names_of_files_and_folders(table, png):
    for name in ("d/train-00000-of-00002.parquet", "d/train-00001-of-00002.parquet"):
        file = table({"img": [png(1)], "label": ["cat"]}, name=name)
    table({"img": [png(1)], "label": ["cat"]}, name="d/validation/0000.parquet")
    source = ParquetImages(str(file.parent))
    assert [e.split for e in source.examples()] == ["train", "train", "validation"]
    assert source.total() == 3


def test_a_table_of_classes_beside_the_images_is_passed_over_and_named(table, png):
    table({"class_name": ["cat"], "text": ["purrs"]}, name="d/classes.parquet")
    file = table({"image": [png(1)], "label": ["cat"]}, name="d/data.parquet")
    source = ParquetImages(str(file.parent))
    assert source.total() == 1
    assert source.notes() == ["tables without images, not read: classes.parquet"]


def test_a_parquet_file_is_read_through_any_file_system(memory, table, png):
    root, write = memory
    write("data.parquet", table({"image": [png(1)], "label": ["cat"]}).read_bytes())
    assert next(iter(ParquetImages(f"{root}/data.parquet").examples())).content == png(1)


def test_a_cut_parquet_file_is_refused(table, png):
    file = table({"image": [png(1)], "label": [0]})
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        list(ParquetImages(str(file)).examples())


def test_a_label_that_is_no_whole_number_is_refused(table, png):
    file = table({"image": [png(1)], "label": pa.array([0.5])})
    with pytest.raises(SourceError, match=r"label 0\.5 is not a whole number"):
        list(ParquetImages(str(file)).examples())


@pytest.mark.parametrize("revision", ["", None, "main", "v1.0"])
def test_a_hub_dataset_without_a_commit_is_refused(revision):
    with pytest.raises(ValueError, match="is not a commit"):
        HuggingFace("owner/pets", revision)


def test_a_hub_dataset_is_read_from_a_mirror(table, png, tmp_path):
    name = f"owner/pets@{COMMIT}/data/train-00000-of-00001.parquet"
    table({"image": [{"bytes": png(1), "path": "1.png"}], "label": ["cat"]}, name=name)
    (example,) = HuggingFace("owner/pets", COMMIT, root=str(tmp_path)).examples()
    assert (example.content, example.split) == (png(1), "train")


def test_a_hub_that_is_not_reached_is_one_sentence_and_has_a_signature():
    fsspec.register_implementation("unplugged", Unplugged, clobber=True)
    source = HuggingFace("owner/pets", COMMIT, root="unplugged://datasets")
    with pytest.raises(Unavailable, match="could not be reached"):
        source.total()
    assert source.signature() == HuggingFace("owner/pets", COMMIT).signature()


def test_a_parquet_that_is_damaged_where_it_is_read_is_one_sentence(table, png):
    file = table({"image": [png(n) for n in range(40)], "label": ["cat", "dog"] * 20})
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)  # its footer is whole
    file.write_bytes(content)
    with pytest.raises(SourceError, match=r"is damaged, or holds what cannot be read"):
        list(ParquetImages(str(file)).examples())
