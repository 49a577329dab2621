"""`datasets add --preview FILE` shows what a data set will be, and stores nothing."""

import json
import re
from html import unescape

import pytest
from PIL import Image


@pytest.fixture
def preview(shotboard, tmp_path):
    """The page of a path, as text, and what was printed."""

    def show(path, *options):
        file, home = tmp_path / "page.html", tmp_path / "store"
        answer = shotboard(
            *("datasets", "add", "mine", "--path", path, "--preview", file, "--home", home),
            *options,
        )
        assert answer.code == 0, answer.err
        assert not home.exists()
        assert answer.out.endswith("then give the command without --preview\n")
        return file.read_text("utf-8"), answer.out

    return show


def words(page):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])).split())


def test_each_class_is_shown_with_counts_and_some_images_and_nothing_is_stored(preview, pictures):
    page, said = preview(pictures)
    assert "classes: 4 (boat, cat, dog, tree)" in said
    assert page.count("<section>") == 4
    assert page.count('src="data:image/webp;base64,') == 24
    assert "0 boat 10 images" in words(page) and "2 dog 11 images" in words(page)
    assert "http" not in page and "<script" not in page


def test_an_image_that_cannot_be_used_is_shown_as_such(preview, pictures, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "raw" / name).mkdir(parents=True)
    for n in range(3):
        (tmp_path / "raw" / "cat" / f"{n}.jpg").write_bytes(
            (pictures / "cat" / f"{n}.jpg").read_bytes()
        )
        (tmp_path / "raw" / "dog" / f"{n}.jpg").write_bytes(
            (pictures / "dog" / ("torn.jpg" if n == 1 else f"{n}.jpg")).read_bytes()
        )
    page, _ = preview(tmp_path / "raw")
    assert page.count('<div class="bad">damaged: ') == 1 and page.count("data:image") == 5


def test_splits_domains_and_what_the_source_calls_a_class_stand_beside_it(preview, tmp_path):
    root = tmp_path / "raw"
    (root / "img").mkdir(parents=True)
    rows = []
    for n in range(12):
        Image.new("RGB", (8, 8), (n, 20 * n, 0)).save(root / "img" / f"{n}.png")
        rows.append(f"img/{n}.png,{n % 2},{('train', 'test')[n // 6]},{('ink', 'oil')[n % 4 // 2]}")
    (root / "labels.csv").write_text("\n".join(["path,label,split,domain", *rows]) + "\n")
    page, _ = preview(root, "--classes", "sea_lion,dog")
    assert "0 sea_lion 6 images · train 3 · test 3 · in the source: 0 · in a prompt: sea lion" in (
        words(page)
    )
    for kind in ("train · ink", "train · oil", "test · ink", "test · oil"):
        assert kind in words(page)


def test_texts_are_shown_as_they_are(preview, tmp_path):
    rows = [
        f"it was <b>{word}</b> {n},{label}" for n in range(9) for label, word in enumerate("ab")
    ]
    (tmp_path / "says.csv").write_text("\n".join(["review,stars", *rows, ""]))
    page, _ = preview(tmp_path / "says.csv", "--classes", "bad,good")
    assert "it was &lt;b&gt;a&lt;/b&gt;" in page and "<b>" not in page
    assert page.count('<figure class="text">') == 12


def test_the_splits_that_are_wanted_are_those_that_are_shown(preview, tmp_path):
    for split in ("part", "rest", "test"):
        for name in ("cat", "dog"):
            for n in range(3):
                file = tmp_path / "raw" / split / name / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (n, len(split), len(name) + ord(name[0]))).save(file)
    page, _ = preview(
        tmp_path / "raw", "--layout", "split/class", "--splits", "train=part,test=test"
    )
    assert "0 cat 6 images · train 3 · test 3" in words(page)
    assert "split rest left out" in words(page) and "rest/cat" not in words(page)


def test_of_many_classes_all_have_their_counts_and_some_their_images(
    preview, tmp_path, monkeypatch
):
    from data_catalog import samples
    from tasks.pages import contact_sheet

    monkeypatch.setattr(samples, "CLASSES", 2)
    monkeypatch.setattr(contact_sheet, "CLASSES", 2)
    (tmp_path / "raw").mkdir()
    for n in range(12):
        file = tmp_path / "raw" / "abcd"[n % 4] / f"{n}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (n, 0, 0)).save(file)
    page, _ = preview(tmp_path / "raw")
    assert (page.count("<section>"), page.count("<figure>")) == (4, 6)
    assert "of 2 classes; the others have their counts" in words(page)


def test_only_the_images_that_are_shown_are_read(tmp_path, monkeypatch):
    from data_catalog import DatasetCard, outline, source_for
    from data_catalog.samples import class_samples
    from data_catalog.sources import base, folder

    for n in range(40):
        file = tmp_path / "raw" / "ab"[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (n, 0, 0)).save(file)
    read = []

    def counting(fs, place, paths):
        for path in paths:
            read.append(path)
            yield from base.read_images(fs, place, [path])

    monkeypatch.setattr(folder, "read_images", counting)
    card = DatasetCard(name="mine", source=source_for(tmp_path / "raw"))
    found = class_samples(card, outline(card))
    assert [len(each.samples) for each in found] == [6, 6] and len(read) == 12


@pytest.mark.parametrize("path", ["table", "split_file", "archive", "parquet"])
def test_every_layout_picks_what_its_own_reading_gives(tmp_path, path):
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_catalog import source_for
    from data_catalog.sources import Picking, picked

    root = tmp_path / "raw"
    for n in range(9):
        file = root / "images" / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (n, 0, 0)).save(file)
    place = root
    if path == "table":
        rows = [f"images/{n}.png,{'ab'[n % 2]}" for n in range(9)]
        (root / "labels.csv").write_text("\n".join(["path,label", *rows]))
    elif path == "split_file":
        rows = [[f"{n}.png", n % 2, "ab"[n % 2]] for n in range(9)]
        split = {"train": rows[:4], "val": rows[4:6], "test": rows[6:]}
        (root / "split_zhou_Mine.json").write_text(json.dumps(split))
    elif path == "archive":
        for n in range(9):
            (root / "ab"[n % 2]).mkdir(exist_ok=True)
            (root / "images" / f"{n}.png").rename(root / "ab"[n % 2] / f"{n}.png")
        (root / "images").rmdir()
        place = shutil.make_archive(str(tmp_path / "mine"), "zip", root)
    else:
        images = [file.read_bytes() for file in sorted((root / "images").iterdir())]
        place = tmp_path / "mine.parquet"
        pq.write_table(pa.table({"image": images, "label": ["a", "b", "a"] * 3}), place)
    source = source_for(place, cache=tmp_path / "cache")
    every = list(source.examples())
    assert isinstance(source, Picking) == (path != "parquet")
    assert list(picked(source, [1, 2, 7])) == [every[n] for n in (1, 2, 7)]


def test_a_page_has_the_suffix_of_one(shotboard, pictures, tmp_path):
    answer = shotboard(
        *("datasets", "add", "mine", "--path", pictures, "--preview", tmp_path / "page.png"),
        *("--home", tmp_path / "store"),
    )
    assert answer.code == 2 and "it is a page. Name a file .html" in answer.sentence
