"""Links, names of places, splits of Parquet files and WebDataset shards."""

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


def card(root, **told):
    names = {key: told.pop(key) for key in ("classes", "split_names") if key in told}
    return DatasetCard(name="pets", source=source_for(root, **told), **names)


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
    assert told.examples == 25  # those of the other class, once more
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
    assert outline(card(path)).examples == (6 if kind == "parquet" else 15)
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(path, tmp_path)
    assert source_for(relative) == source_for(path) == source_for(path)
    assert outline(card(f"file://{path}")).examples == outline(card(path)).examples


def test_a_pattern_is_still_one_where_nothing_is_called_so(table, png):
    for number in range(3):
        name = f"a[1]::b/part-{number}.parquet"
        file = table({"image": [png(number)] * 2, "label": ["cat", "dog"]}, name=name)
    assert outline(card(f"{file.parent}/part-*.parquet")).examples == 6
    assert outline(card(f"{file.parent}/part-?.parquet")).examples == 6
    assert outline(card(f"{file.parent}/*[12].parquet")).examples == 4


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
        (
            {
                "d/train-0.parquet": SIX * 2,
                "d/test-0.parquet": SIX,
                "d/unsupervised-0.parquet": [-1] * 9,
            },
            (9, 3, 6),
            "split unsupervised left out, it has no labels: 9 images.",
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
    with pytest.raises(ValueError, match=r"split 'extra' is none of train.*--splits train=extra"):
        outline(card(root))
    told = card(root, split_names={"train": ["train"], "test": "test"})
    assert outline(told).splits == {"train": 9, "val": 3, "test": 6}
    dataset = ingest(told, tmp_path / "store")
    assert dataset.rows == 18
    assert "split extra left out, as the card says: 6 images." in dataset.card["doubts"]


def test_a_card_without_names_of_splits_has_the_digest_it_always_had(lay):
    plain = card(lay(images("{c}/{n}.png")))
    assert "split_names" not in plain.to_yaml()
    assert DatasetCard.from_yaml(plain.to_yaml()).digest() == plain.digest()
    fixed = DatasetCard(name="pets", source=source_for("hf://datasets/o/pets", revision="0" * 40))
    assert fixed.digest() == "0c6b88335a8e01e8"  # as before the field came
    named = card(plain.source.path, split_names={"train": "train", "test": ["val", "dev"]})
    assert named.digest() != plain.digest()
    assert DatasetCard.from_yaml(named.to_yaml()) == named


def test_configurations_of_one_data_set_are_not_read_as_one(table, png):
    files = {f"{name}/{split}/0.parquet": SIX for name in ("a", "b") for split in ("train", "test")}
    root = parquet(table, png, files)
    with pytest.raises(
        SourceError, match=r"same split in several folders: a, b\. .*give one: .*/a"
    ):
        source_for(root)
    assert outline(card(root / "a")).examples == 12
    assert outline(card(f"{root}/**/*.parquet")).examples == 24


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
    assert told.examples == (12 if of == "train/0.tar" else 24)
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
    assert (told.classes, told.examples) == (PETS, 12)
    columns["label"] = ["cat", "dog"] * 3  # where there is a label, `cls` is none
    assert outline(card(table(columns, name="other.parquet"))).classes == ("cat", "dog")
