"""Layouts that users have: what each is taken for, and what is said or refused."""

import json
import os

import numpy as np
import pytest

from data_catalog import DatasetCard, ingest, outline, source_for

PETS = ("cat", "dog", "owl")


def images(pattern, classes=PETS, copies=5):
    """Paths of some images of each class."""
    return [pattern.format(c=name, n=n) for name in classes for n in range(copies)]


def csv(*lines):
    return "\n".join(lines) + "\n"


def rows(pattern, classes=PETS, copies=5):
    """Lines of a table of paths and classes."""
    return [f"{pattern.format(c=c, n=n)},{c}" for c in classes for n in range(copies)]


SPLIT_FILE = {
    split: [[f"{c}_{n}.png", 2 - k, c.title()] for k, c in enumerate(PETS) for n in numbers]
    for split, numbers in {"train": range(3), "val": [3], "test": [4]}.items()
}


# Files by path (a text, or None for an image), then the classes in order and the rows by split.
LAYOUTS = {
    "class folders": (images("{c}/{n}.png"), {}, PETS, (6, 3, 6)),
    "one folder round them": (images("pets-1.0/{c}/{n}.png"), {}, PETS, (6, 3, 6)),
    "two folders round them, and a note": (
        images("a/pets/{c}/{n}.png"),
        {"README.md": "hello", "a/LICENSE": "mine"},
        PETS,
        (6, 3, 6),
    ),
    "suffixes in capitals": (images("{c}/{n}.JPEG"), {}, PETS, (6, 3, 6)),
    "images deep inside": (images("{c}/images/{n}.png"), {}, PETS, (6, 3, 6)),
    "files of systems": (
        images("{c}/{n}.png"),
        {"__MACOSX/cat/._1.png": "", "cat/Thumbs.db": "", ".DS_Store": "", "dog/.hidden/1.png": ""},
        PETS,
        (6, 3, 6),
    ),
    "classes of letters": (images("{c}/{n}.png", "abc"), {}, ("a", "b", "c"), (6, 3, 6)),
    "split folders": (
        images("train/{c}/{n}.png") + images("test/{c}/{n}x.png"),
        {},
        PETS,
        (12, 3, 15),
    ),
    "split folders of other spellings": (
        images("Training/{c}/{n}.png") + images("DEV/{c}/{n}.png") + images("testing/{c}/{n}.png"),
        {},
        PETS,
        (15, 15, 15),
    ),
    "split folders of longer names": (
        images("train_set/{c}/{n}.png") + images("test_set/{c}/{n}.png"),
        {"notes.txt": ""},
        PETS,
        (12, 3, 15),
    ),
    "splits below classes": (
        images("{c}/train/{n}.png") + images("{c}/test/{n}.png"),
        {},
        PETS,
        (12, 3, 15),
    ),
    "validation in place of test": (
        images("train/{c}/{n}.png") + images("valid/{c}/{n}.png"),
        {},
        PETS,
        (12, 3, 15),
    ),
    "folders by letter, as SUN397": (
        images("a/{c}/{n}.png", ("abbey", "attic"))
        + images("b/{c}/{n}.png", ("bank/indoor", "bank/outdoor")),
        {"ClassName.txt": "/a/abbey"},
        ("abbey", "attic", "indoor bank", "outdoor bank"),
        (8, 4, 8),
    ),
    "folders by letter below splits": (
        images("train/a/{c}/{n}.png", ("abbey",))
        + images("train/b/{c}/{n}.png", ("bar",))
        + images("val/a/{c}/{n}.png", ("abbey",))
        + images("val/b/{c}/{n}.png", ("bar",)),
        {},
        ("abbey", "bar"),
        (8, 2, 10),
    ),
    "a table beside parts": (
        images("images_part_{n}/{c}.png", copies=2) + images("images_part_3/{c}{n}.png", copies=3),
        {
            "labels.csv": csv(
                "image_path,label",
                *rows("images_part_{n}/{c}.png", copies=2),
                *rows("images_part_3/{c}{n}.png", copies=3),
            )
        },
        PETS,
        (6, 3, 6),
    ),
    "a table of names in parts": (
        images("part1/{c}{n}.png", copies=2) + images("part2/{c}{n}x.png", copies=3),
        {"meta.csv": csv("file,label", *rows("{c}{n}.png", copies=2), *rows("{c}{n}x", copies=3))},
        PETS,
        (6, 3, 6),
    ),
    "a table that says the same": (
        images("{c}/{n}.png"),
        {"labels.csv": csv("path,label", *rows("{c}/{n}.png"))},
        PETS,
        (6, 3, 6),
    ),
    "a table of something else": (
        images("{c}/{n}.png"),
        {"classes.csv": csv("class,says", "cat,purr", "dog,woof", "owl,hoot")},
        PETS,
        (6, 3, 6),
    ),
    "a table for each split": (
        images("img/{c}{n}.png"),
        {
            "train.csv": csv("path,label", *rows("img/{c}{n}.png", copies=4)),
            "test.csv": csv("path,label", *[f"img/{c}4.png,{c}" for c in PETS]),
        },
        PETS,
        (9, 3, 3),
    ),
    "three tables, images in folders of the splits": (
        images("train/{c}{n}.png") + images("test/{c}{n}.png") + images("val/{c}{n}.png"),
        {
            f"{name}.CSV": csv("filename,class", *rows("{c}{n}.png"))
            for name in ("Train", "Validation", "TEST")
        },
        PETS,
        (15, 15, 15),
    ),
    "a table in each split folder": (
        images("train/{c}{n}.png") + images("test/{c}{n}.png"),
        {
            f"{split}/metadata.csv": csv("file_name,label", *rows("{c}{n}.png"))
            for split in ("train", "test")
        },
        PETS,
        (12, 3, 15),
    ),
    "one folder round a table and its images": (
        images("pets/img/{c}{n}.png"),
        {"pets/labels.csv": csv("path,label", *rows("img/{c}{n}.png")), "README.md": "pets"},
        PETS,
        (6, 3, 6),
    ),
    "a table in the folder of its images": (
        images("img/{c}{n}.png"),
        {"img/labels.csv": csv("path,label", *rows("{c}{n}.png"))},
        PETS,
        (6, 3, 6),
    ),
    "a table in a folder beside its images": (
        images("img/{c}{n}.png"),
        {"meta/labels.csv": csv("path,label", *rows("{c}{n}.png"))},
        PETS,
        (6, 3, 6),
    ),
    "one folder round a split file": (
        images("pets/images/{c}_{n}.png"),
        {"pets/split_zhou_Pets.json": json.dumps(SPLIT_FILE)},
        ("Owl", "Dog", "Cat"),
        (9, 3, 3),
    ),
    "JSON Lines in each split folder, as the hub has them": (
        images("train/{c}{n}.png") + images("test/{c}{n}.png"),
        {
            f"{split}/metadata.jsonl": "".join(
                json.dumps({"file_name": f"{c}{n}.png", "label": c}) + "\n"
                for c in PETS
                for n in range(5)
            )
            for split in ("train", "test")
        },
        PETS,
        (12, 3, 15),
    ),
    "tests without labels beside a table": (
        images("img/{c}{n}.png"),
        {
            "train.csv": csv("path,label", *rows("img/{c}{n}.png", copies=4)),
            "test.csv": csv("path", "img/cat4.png"),
        },
        PETS,
        (6, 3, 3),
    ),
    "a split file of CoOp": (
        images("images/{c}_{n}.png"),
        {"split_zhou_Pets.json": json.dumps(SPLIT_FILE), "annotations/trainval.txt": "cat 1"},
        ("Owl", "Dog", "Cat"),
        (9, 3, 3),
    ),
    "a split file, images beside it": (
        images("{c}_{n}.png"),
        {"split_zhou_Pets.json": json.dumps(SPLIT_FILE), "other.json": "[1]"},
        ("Owl", "Dog", "Cat"),
        (9, 3, 3),
    ),
    "a split file of train and test": (
        images("jpg/photos/{c}_{n}.png"),
        {"split.json": json.dumps({k: v for k, v in SPLIT_FILE.items() if k != "val"})},
        ("Owl", "Dog", "Cat"),
        (6, 3, 3),
    ),
}


def card(root, **told):
    names = {key: told.pop(key) for key in ("classes", "split_names") if key in told}
    return DatasetCard(name="pets", source=source_for(root, **told), **names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_told_before_and_read_as_told(lay, tmp_path, layout):
    pictures, texts, classes, sizes = LAYOUTS[layout]
    told = outline(card(lay(pictures, texts)))
    splits = dict(zip(("train", "val", "test"), sizes, strict=True))
    assert (told.classes, told.splits, told.examples) == (classes, splits, sum(sizes))
    dataset = ingest(card(tmp_path / "raw"), tmp_path / "store")
    assert (dataset.classes, dataset.card["splits"]) == (classes, splits)
    assert dataset.card["quarantined"]["count"] == 0
    named = {note for note in told.notes if note in dataset.card["doubts"]}
    assert named == set(told.notes)


def test_the_class_of_each_image_is_that_of_the_table_and_not_of_its_folder(lay, tmp_path):
    pictures, texts, *_ = LAYOUTS["a table of names in parts"]
    dataset = ingest(card(lay(pictures, texts)), tmp_path / "store")
    known = dict(zip(dataset.column("path"), dataset.column("class_name"), strict=True))
    assert known == {f"{c}{n}.png": c for c in PETS for n in range(2)} | {
        f"{c}{n}x": c for c in PETS for n in range(3)
    }


# Layouts that may be read in two ways, what the refusal must name, and what settles it.
REFUSED = {
    "images alone": (images("{c}{n}.png"), {}, ["all images lie in one folder", "--table"]),
    "one class": (images("photos/{c}{n}.png"), {}, ["all images lie in one folder", "photos"]),
    "splits without classes": (
        images("train/{c}{n}.png") + images("test/{c}{n}.png"),
        {},
        ["split folders hold images and no class folders"],
    ),
    "parts without a table": (
        images("part_1/{c}{n}.png") + images("part_2/{c}{n}.png"),
        {},
        ["part_1, part_2", "like parts of one set", "--layout class"],
    ),
    "hashes": (
        images("0a1b2c3d4e/{n}.png", "x") + images("99ffee0011/{n}.png", "x"),
        {},
        ["called like hashes"],
    ),
    "images and masks": (
        images("images/{n}.png", "x") + images("masks/{n}.png", "x"),
        {},
        ["images, masks", "like folders of files"],
    ),
    "parts and a table of other columns": (
        images("part1/{c}{n}.png", copies=3) + images("part2/{c}{n}x.png", copies=2),
        {"meta.csv": csv("image_id,dx", *rows("{c}{n}", copies=3), *rows("{c}{n}x", copies=2))},
        ["part1, part2", "meta.csv", "--columns file=..,label=.."],
    ),
    "a table that says otherwise": (
        images("{c}/{n}.png"),
        {
            "breeds.csv": csv(
                "path,label", *[f"{c}/{n}.png,{c}{n % 2}" for c in PETS for n in range(5)]
            )
        },
        ["breeds.csv", "6 labels", "3 folders", "--table breeds.csv", "--layout class"],
    ),
    "tables of other columns for each split": (
        images("train/{c}{n}.png") + images("test/{c}{n}x.png"),
        {"sample.csv": csv("id,y", "1,0"), "train.csv": csv("id,breed", *rows("{c}{n}"))},
        ["split folders hold images and no class", "--table train.csv --columns file=..,label=.."],
    ),
    "labels in another kind of file": (
        images("img/{c}{n}.png"),
        {"labels.json": '{"cat1.png": "cat"}', "list.txt": "cat1.png 1"},
        ["all images lie in one folder", "1 .json (labels.json), 1 .txt (list.txt)"],
    ),
    "two tables": (
        images("img/{c}{n}.png"),
        {name: csv("path,label", *rows("img/{c}{n}.png")) for name in ("a.csv", "b.csv")},
        ["a.csv, b.csv", "--table a.csv"],
    ),
    "two split files": (
        images("{c}_{n}.png"),
        dict.fromkeys(("one.json", "two.json"), json.dumps(SPLIT_FILE)),
        ["several split files: one.json, two.json"],
    ),
    "domains of other classes": (
        images("photo/{c}/{n}.png") + images("sketch/{c}/{n}.png", ("cat", "dog")),
        {},
        ["two folders deep", "--layout domain/class is likely"],
    ),
    "kinds of kinds": (
        images("animals/{c}/{n}.png") + images("cars/{c}/{n}.png", ("bus", "van")),
        {},
        ["two folders deep", "--layout group/class", "--layout class."],
    ),
    "splits beside classes": (
        images("{c}/{n}.png") + images("test/{n}.png", "x"),
        {},
        ["split folders (test) beside", "--layout split/class"],
    ),
    "archives": (["a/1.txt"], {"b.tar": ""}, ["no whole tar"]),
    "a class that train lacks": (
        images("train/{c}/{n}.png", ("cat", "dog")) + images("test/{c}/{n}.png", ("cat", "owl")),
        {},
        ["1 of 3 classes have no train row: owl"],
    ),
    "a split of another name": (
        images("img/{c}{n}.png"),
        {
            "list.csv": csv(
                "path,label,split", *(f"{row},holdout" for row in rows("img/{c}{n}.png"))
            )
        },
        ["split 'holdout' is none of train", "--splits train=holdout"],
    ),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_what_may_be_read_in_two_ways_is_refused_with_the_way_out(lay, layout):
    pictures, texts, said = REFUSED[layout]
    with pytest.raises(ValueError) as refused:  # the texts are compared below
        outline(card(lay(pictures, texts)))
    assert [text for text in said if text not in str(refused.value)] == []


SETTLED = {
    "parts without a table": ({"layout": "class"}, ("part_1", "part_2")),
    "parts and a table of other columns": (
        {"table": "meta.csv", "columns": {"file": "image_id", "label": "dx"}},
        PETS,
    ),
    "a table that says otherwise": (
        {"table": "breeds.csv"},
        tuple(f"{c}{n}" for c in PETS for n in range(2)),
    ),
    "tables of other columns for each split": (
        {"table": "train.csv", "columns": {"file": "id", "label": "breed"}},
        PETS,
    ),
    "two tables": ({"table": "a.csv"}, PETS),
    "two split files": ({"table": "one.json"}, ("Owl", "Dog", "Cat")),
    "domains of other classes": ({"layout": "domain/class"}, PETS),
    "kinds of kinds": ({"layout": "group/class"}, ("bus", "cat", "dog", "owl", "van")),
    "splits beside classes": ({"layout": "class"}, (*PETS, "test")),
    "a split of another name": ({"split_names": {"train": "holdout"}}, PETS),
}


@pytest.mark.parametrize("layout", SETTLED)
def test_an_option_settles_what_was_refused(lay, tmp_path, layout):
    told, classes = SETTLED[layout]
    assert ingest(card(lay(*REFUSED[layout][:2]), **told), tmp_path / "store").classes == classes


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"columns": {"label": "x"}}, "columns was given, but"),
        ({"table": "labels.csv"}, "no file labels.csv in"),
        ({"layout": "class", "table": "a.csv"}, "table was given, but a layout is one of folders"),
        ({"layout": "class/clas"}, "layout 'class/clas' is not made of class"),
        ({"layout": "class+/split"}, "is not made of class"),
        ({"table": "cat/1.png"}, "is a single file and no set of images"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(lay, told, said):
    with pytest.raises(ValueError, match=said):
        source_for(lay(images("{c}/{n}.png")), **told)


def test_everything_that_is_passed_over_is_counted_and_named(lay):
    root = lay(
        [*images("{c}/{n}.png"), "logo.png", "cat/deep/1.png"],
        {"cat/a.txt": "", "cat/b.TXT": "", "notes/list.csv": "x", "readme": ""},
    )
    (root / "empty").mkdir()
    (root / "lost").symlink_to(root / "nowhere")
    (root / "cat/loop").symlink_to(root)
    os.mkfifo(root / "dog/pipe")
    told = outline(card(root))
    assert (told.classes, told.examples) == (PETS, 16)
    assert told.notes == [
        "1 link to nothing: lost.",
        "1 link to a folder around it, not followed: cat/loop.",
        "no regular file, not opened: dog/pipe.",
        "2 files above the class folders, not read: logo.png, readme.",
        "3 files of other kinds, not read: 2 .txt (cat/a.txt), 1 .csv (notes/list.csv).",
        "folders without images, so no classes: empty, notes.",
        "images in folders below a class folder are counted to it: cat/deep.",
    ]


DOMAINS = ("photo", "sketch")


@pytest.mark.parametrize(
    ("patterns", "splits"),
    [
        (["{d}/{c}/{n}.png"], (15, 6, 9)),
        (["PACS/kfold/{d}/{c}/{n}.png"], (15, 6, 9)),
        (["{d}/{c}/deep/{n}.png"], (15, 6, 9)),
        (["train/{d}/{c}/{n}.png", "test/{d}/{c}/{n}.png"], (24, 6, 30)),
        (["{d}/train/{c}/{n}.png", "{d}/test/{c}/{n}.png"], (24, 6, 30)),
    ],
    ids=["bare", "wrapped", "deep", "below splits", "above splits"],
)
def test_folders_that_hold_the_same_classes_are_domains(lay, tmp_path, patterns, splits):
    paths = [
        name
        for pattern in patterns
        for domain in DOMAINS
        for name in images(pattern.replace("{d}", domain))
    ]
    told = outline(card(lay(paths)))
    assert (told.classes, tuple(told.splits.values())) == (PETS, splits)
    assert told.domains == dict.fromkeys(DOMAINS, len(paths) // 2)
    assert [note for note in told.notes if "photo, sketch are taken as domains" in note]
    dataset = ingest(card(tmp_path / "raw"), tmp_path / "store")
    assert dataset.domain_names == DOMAINS
    assert np.bincount(dataset.domain_codes).tolist() == [len(paths) // 2] * 2


def test_parts_that_hold_the_same_classes_are_no_domains(lay):
    told = outline(card(lay(images("part_1/{c}/{n}.png") + images("part_2/{c}/{n}.png"))))
    assert (told.classes, told.domains) == (PETS, {})


@pytest.mark.parametrize("inner", [("images", "masks"), ("images", "labels", "meta")])
def test_folders_of_files_below_classes_make_no_domains(lay, inner):
    with pytest.raises(ValueError, match="are called like folders of files"):
        outline(card(lay(images("cat/{c}/{n}.png", inner) + images("dog/{c}/{n}.png", inner))))
