"""Layouts that users have: what each is taken for, and what is said or refused."""

import io
import json
import os
import tarfile
from collections import Counter

import pytest

from data_catalog import DatasetCard, SourceError, ingest, outline, source_for

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


@pytest.fixture
def lay(tree):
    """Writes images and texts, and names the root."""

    def write(pictures, texts=()):
        root = tree(*pictures)
        for name, text in dict(texts).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return write


def card(root, **told):
    names = {key: told.pop(key) for key in ("classes", "split_names") if key in told}
    return DatasetCard(name="pets", source=source_for(root, **told), **names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_told_before_and_read_as_told(lay, tmp_path, layout):
    pictures, texts, classes, sizes = LAYOUTS[layout]
    told = outline(card(lay(pictures, texts)))
    splits = dict(zip(("train", "val", "test"), sizes, strict=True))
    assert (told.classes, told.splits, told.images) == (classes, splits, sum(sizes))
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
    "domains": (
        images("photo/{c}/{n}.png") + images("sketch/{c}/{n}.png"),
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
    "two tables": ({"table": "a.csv"}, PETS),
    "two split files": ({"table": "one.json"}, ("Owl", "Dog", "Cat")),
    "domains": ({"layout": "domain/class"}, PETS),
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
    assert (told.classes, told.images) == (PETS, 16)
    assert told.notes == [
        "1 link to nothing: lost.",
        "1 link to a folder around it, not followed: cat/loop.",
        "no regular file, not opened: dog/pipe.",
        "2 files above the class folders, not read: logo.png, readme.",
        "3 files of other kinds, not read: 2 .txt (cat/a.txt), 1 .csv (notes/list.csv).",
        "folders without images, so no classes: empty, notes.",
        "images in folders below a class folder are counted to it: cat/deep.",
    ]


@pytest.mark.parametrize("links", ["classes", "splits", "files", "root"])
def test_links_are_read_as_what_they_name(tree, tmp_path, links):
    store = tree(*images("{c}/{n}.png"), root="store")
    root = tmp_path / "linked"
    if links == "root":
        root.symlink_to(store)
    elif links == "splits":
        root.mkdir()
        for split in ("train", "test"):
            (root / split).symlink_to(store)
    for name in PETS if links in ("classes", "files") else ():
        if links == "classes":
            root.mkdir(exist_ok=True)
            (root / name).symlink_to(store / name)
        else:
            (root / name).mkdir(parents=True)
            for file in (store / name).iterdir():
                (root / name / file.name).symlink_to(file)
    dataset = ingest(card(root), tmp_path / "data")
    assert dataset.classes == PETS
    assert dataset.rows == (30 if links == "splits" else 15)
    if links != "splits":
        assert dataset.fingerprint == ingest(card(store), tmp_path / "data2").fingerprint


@pytest.mark.parametrize(("name", "text"), [("cat", "../store/cat"), ("train", "../store")])
def test_a_link_that_was_copied_as_text_is_refused_by_name(tree, tmp_path, name, text):
    tree(*images("{c}/{n}.png"), root="store")
    root = tree(*images("{c}/{n}.png", ("dog", "owl")))
    (root / name).write_text(text)
    with pytest.raises(SourceError, match=f"raw/{name} is a text that says '{text}': a link that"):
        source_for(root)


def test_links_that_name_each_other_end(tree):
    root = tree(*images("{c}/{n}.png"))
    for one, other in (("cat", "dog"), ("dog", "cat")):
        (root / one / "more").symlink_to(root / other)
    (root / "self").symlink_to(root / "self")
    told = outline(card(root))
    assert told.images == 25  # those of the other class, once more
    assert (
        "3 links to a folder around it, not followed: cat/more/more, dog/more/more, self."
        in str(told)
    )


@pytest.mark.parametrize("name", ["what?", "star*", "a::b", "[ab]", "~me", "50%20", "a b", "{x}"])
@pytest.mark.parametrize("kind", ["folder", "table", "parquet"])
def test_a_local_path_is_a_name_and_no_pattern(tree, table, png, tmp_path, monkeypatch, name, kind):
    root = tree(*images("{c}/{n}.png"), root=f"{name}/raw")
    path = root
    if kind == "table":
        path = root / "list.csv"
        path.write_text(csv("path,label", *rows("{c}/{n}.png")))
    elif kind == "parquet":
        columns = {"image": [png(n) for n in range(6)], "label": ["cat", "dog"] * 3}
        path = table(columns, name=f"{name}/pq/train-0.parquet").parent
    assert outline(card(path)).images == (6 if kind == "parquet" else 15)
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(path, tmp_path)
    assert source_for(relative) == source_for(path) == source_for(path)
    assert outline(card(f"file://{path}")).images == outline(card(path)).images


def test_a_pattern_is_still_one_where_nothing_is_called_so(table, png):
    for number in range(3):
        name = f"a[1]::b/part-{number}.parquet"
        file = table({"image": [png(number)] * 2, "label": ["cat", "dog"]}, name=name)
    assert outline(card(f"{file.parent}/part-*.parquet")).images == 6
    assert outline(card(f"{file.parent}/part-?.parquet")).images == 6
    assert outline(card(f"{file.parent}/*[12].parquet")).images == 4


def parquet(table, png, files, names=PETS, **more):
    """Parquet files of three classes, twice each, by name; a label of None is hidden."""
    features = {"label": {"names": list(names), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for seed, (name, labels) in enumerate(files.items()):
        pictures = [{"bytes": png(100 * seed + n), "path": f"{n}.png"} for n in range(len(labels))]
        columns = {"image": pictures, "label": labels, **more}
        file = table(columns, name=f"pq/{name}", metadata=metadata)
    return next(parent for parent in file.parents if parent.name == "pq")


SIX = [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("files", "splits", "said"),
    [
        (
            {
                "d/train-0-of-1.parquet": SIX * 2,
                "d/validation-0.parquet": SIX,
                "d/test-0.parquet": [-1] * 6,
            },
            (9, 3, 6),
            "split test left out, it has no labels: 6 images.",
        ),
        (
            {"train/0.parquet": SIX * 2, "dev/0.parquet": SIX, "test/0.parquet": [None] * 4},
            (9, 3, 6),
            "split test left out, it has no labels: 4 images.",
        ),
        (
            {"x/partial-train/0.parquet": SIX * 2, "x/test/0.parquet": SIX},
            (9, 3, 6),
            "only a part of the rows of train, as its name says: partial-...",
        ),
        (
            {"x/partial-train/0.parquet": SIX * 2, "x/partial-test/0.parquet": SIX},
            (9, 3, 6),
            "only a part of the rows of test, train, as its name says: partial-...",
        ),
        ({"pets-train-0.parquet": SIX * 2, "pets_test.parquet": SIX}, (9, 3, 6), ""),
    ],
)
def test_splits_of_parquet_files(table, png, tmp_path, files, splits, said):
    root = parquet(table, png, files)
    told = outline(card(root))
    assert tuple(told.splits.values()) == splits
    assert told.notes == [said] * bool(said)
    dataset = ingest(card(root), tmp_path / "store")
    assert tuple(dataset.card["splits"].values()) == splits
    assert [note for note in dataset.card["doubts"] if note in told.notes] == told.notes
    assert dataset.verify() == []


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_table_with_hidden_test_labels_leaves_them_out_too(lay, tmp_path, hidden):
    lines = [f"img/{c}{n}.png,{k},{c},train" for k, c in enumerate(PETS) for n in range(3)]
    lines += [f"img/{c}3.png,{hidden},,test" for c in PETS]
    root = lay(
        images("img/{c}{n}.png", copies=4), {"l.csv": csv("path,label,class_name,split", *lines)}
    )
    dataset = ingest(card(root), tmp_path / "store")
    assert (dataset.classes, dataset.rows) == (PETS, 9)
    assert "split test left out, it has no labels: 3 images." in dataset.card["doubts"]
    assert len(dataset.images(range(9))) == 9


def test_a_split_that_lacks_some_labels_is_refused(table, png):
    root = parquet(table, png, {"train-0.parquet": SIX, "test-0.parquet": [0, 1, -1, 2, 2, 2]})
    with pytest.raises(ValueError, match=r"1 of 12 rows have no label"):
        outline(card(root))


def test_splits_that_are_not_wanted_are_left_out_and_counted(table, png, tmp_path):
    files = {"train/0.parquet": SIX * 2, "extra/0.parquet": SIX, "test/0.parquet": SIX}
    root = parquet(table, png, files)
    with pytest.raises(ValueError, match="6 of 24 rows have no split"):
        outline(card(root))
    told = card(root, split_names={"train": ["train"], "test": "test"})
    assert outline(told).splits == {"train": 9, "val": 3, "test": 6}
    dataset = ingest(told, tmp_path / "store")
    assert dataset.rows == 18
    assert "split no split left out, as the card says: 6 images." in dataset.card["doubts"]


def test_a_card_without_names_of_splits_has_the_digest_it_always_had(lay):
    plain = card(lay(images("{c}/{n}.png")))
    assert "split_names" not in plain.to_yaml()
    assert DatasetCard.from_yaml(plain.to_yaml()).digest() == plain.digest()
    fixed = DatasetCard(name="pets", source=source_for("hf://datasets/o/pets", revision="0" * 40))
    assert fixed.digest() == "0c6b88335a8e01e8"  # as before the field came
    named = card(plain.source.path, split_names={"train": "train", "test": ["val", "dev"]})
    assert named.digest() != plain.digest()
    assert DatasetCard.from_yaml(named.to_yaml()) == named


def shard(file, samples):
    """A tar of samples, each a key with its parts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".tgz" else "w") as archive:
        for key, parts in samples.items():
            for part, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{part}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path, png):
    """A folder of WebDataset shards, in the layout of CLIP_benchmark."""
    for split, copies in (("train", 4), ("test", 2)):
        for number in range(2):
            samples = {
                f"s{k}{n}": {
                    "png": png(100 * k + 10 * n + number + len(split)),
                    "cls": str(k).encode(),
                    "json": b"{}",
                }
                for k in range(3)
                for n in range(copies)
            }
            shard(tmp_path / "wds" / split / f"{number}.tar", samples)
    (tmp_path / "wds/classnames.txt").write_text("owl\ncat\ndog\n")
    (tmp_path / "wds/test/nshards.txt").write_text("2")
    return tmp_path / "wds"


def test_shards_of_webdataset_are_read(shards, tmp_path):
    dataset = ingest(card(shards), tmp_path / "store")
    assert dataset.classes == ("owl", "cat", "dog")
    assert dataset.card["splits"] == {"train": 18, "val": 6, "test": 12}
    assert Counter(dataset.column("path"))["train/0.tar/s01"] == 1
    assert dataset.card["doubts"][:2] == [
        "1 other file, not read: 1 .txt (test/nshards.txt).",
        "parts of samples that are not read: 36 .json.",
    ]
    assert dataset.verify() == []


@pytest.mark.parametrize("of", ["train/0.tar", "train/*.tar", "train"])
def test_some_shards_alone_are_read_with_names_of_the_card(shards, of):
    told = outline(card(shards / of, classes=("owl", "cat", "dog")))
    assert told.images == (12 if of == "train/0.tar" else 24)
    with pytest.raises(ValueError, match="have no class name"):
        outline(card(shards / of))


def test_shards_that_are_damaged_or_without_labels_are_refused(shards, png):
    whole = (shards / "train/1.tar").read_bytes()
    (shards / "train/1.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"train/1\.tar is no whole tar"):
        list(source_for(shards).examples())
    for file in shards.glob("*/*.tar"):
        shard(file, {"a": {"png": png(1), "txt": b"a cat"}})
    with pytest.raises(SourceError, match="no WebDataset shards of images"):
        source_for(shards)


def test_the_columns_of_webdataset_are_known(table, png):
    columns = {
        "webp": [{"bytes": png(n), "path": f"{n}.webp"} for n in range(6)],
        "cls": SIX,
        "__key__": [f"s{n}" for n in range(6)],
        "__url__": ["0.tar"] * 6,
    }
    for split in ("train", "test"):
        root = table(columns, name=f"pq/default/{split}/0.parquet").parents[2]
    told = outline(card(root, classes=PETS))
    assert (told.classes, told.images) == (PETS, 12)
    columns["label"] = ["cat", "dog"] * 3  # where there is a label, `cls` is none
    assert outline(card(table(columns, name="other.parquet"))).classes == ("cat", "dog")
