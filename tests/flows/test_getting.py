"""`shotboard datasets get`: from names to registered data sets, or to one sentence."""

import io
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from data_catalog.published import PUBLISHED, Download, Reading, Row, TemplateSet


def read(tree):
    """Rows of images/<split>/<class>/<n>.png."""
    names = [(name, *name.split("/")[1:3]) for name in tree.below("images/")]
    rows = [Row(name, None, label, split) for name, split, label in names]
    order = ("train", "val", "test")
    return Reading(sorted(rows, key=lambda row: order.index(row.split)), "official", "as published")


@pytest.fixture
def wild(web, published, monkeypatch):
    """A published dataset of twelve drawn images, known as `wild`, whose archive is on the web."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(12):
            split, name = ("train", "val", "test")[number % 3], ("cat", "owl")[number % 2]
            picture = io.BytesIO()
            Image.new("RGB", (9, 9), (20 * number, 9, 99)).save(picture, "PNG")
            file.writestr(f"images/{split}/{name}/{number}.png", picture.getvalue())
    web.files["wild.zip"] = archive.getvalue()
    dataset = published(
        Download(url=web("wild.zip"), holds="all", size_bytes=len(web.files["wild.zip"])),
        name="wild",
        title="Wild",
        reader=read,
        classes=("cat", "owl"),
        counts={"official": {"train": 4, "val": 4, "test": 4}},
        template_sets={"coop": TemplateSet("a photo of a {}, in the wild.")},
    )
    monkeypatch.setitem(PUBLISHED, "wild", dataset)
    return dataset


def test_a_dataset_is_fetched_shown_registered_and_ready(shotboard, wild, tmp_path, web):
    home = ["--home", tmp_path / "store"]
    answer = shotboard("datasets", "get", "wild", *home)
    assert answer.code == 0, answer.err
    assert "fetch wild.zip, MiB: 0.0 MiB in" in answer.err and "unpacks wild.zip" in answer.err
    assert "classes: 2 (cat, owl)" in answer.out
    assert answer.out.endswith("next: shotboard run --datasets wild\n")
    shown = shotboard("datasets", "ingest", "wild", "--json", *home).json
    assert shown[0]["rows"] == 12 and shown[0]["template"] == "a photo of a {}, in the wild."
    assert shotboard("datasets", "get", "wild", *home).code == 0
    assert len(web.asked) == 1


def test_files_go_where_they_are_asked_to_and_come_from_where_they_are_asked(
    shotboard, wild, tmp_path, web
):
    mirror, to = tmp_path / "share", tmp_path / "data"
    mirror.mkdir()
    (mirror / "wild.zip").write_bytes(web.files["wild.zip"])
    home = ["--home", tmp_path / "store"]
    options = "--from", mirror, "--to", to, "--keep-archives"
    assert shotboard("datasets", "get", "wild", *options, *home).code == 0
    assert (to / "wild.zip").is_file() and len(list(to.rglob("*.png"))) == 12
    assert web.asked == []
    refused = shotboard("datasets", "get", "wild", *home)
    assert (refused.code, web.asked) == (2, [])
    assert f"wild is registered here, and reads published: {to}" in refused.sentence


def test_a_wrong_count_is_refused_with_both(shotboard, wild, tmp_path, monkeypatch):
    from dataclasses import replace

    other = replace(wild, counts={"official": {"train": 5, "val": 4, "test": 4}})
    monkeypatch.setitem(PUBLISHED, "wild", other)
    home = ["--home", tmp_path / "store"]
    assert shotboard("datasets", "get", "wild", *home).code == 0
    refused = shotboard("datasets", "ingest", "wild", *home)
    assert "rows are train 4, val 4, test 4" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wilt"], "no published dataset is called 'wilt'. Did you mean wild?"),
        (["digits"], "digits ships with Shotboard: nothing is to be fetched"),
        (["wild", "--from", "nowhere"], "no mirror of wild is called so"),
        (["wild", "--to", __file__], "is a file. Give a folder"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_fetched(
    shotboard, wild, tmp_path, arguments, said, web
):
    answer = shotboard("datasets", "get", *arguments, "--home", tmp_path / "store")
    assert answer.code == 2 and said in answer.sentence, answer.err
    assert web.asked == []


def test_where_nothing_may_be_fetched_there_is_one_sentence_and_nothing_else(
    shotboard, published, tmp_path, monkeypatch
):
    monkeypatch.setitem(PUBLISHED, "wild", published(name="wild"))
    answer = shotboard("datasets", "get", "wild", "--home", tmp_path / "store")
    assert (answer.code, answer.out) == (2, "")
    assert answer.sentence == (
        "Ask the authors of pets: shotboard datasets add wild --path FOLDER."
    )


def test_the_downloader_is_imported_by_no_other_command():
    program = (
        "import sys, flows.cli.app, flows.cli.getting\n"
        "print([name for name in ('requests', 'huggingface_hub') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout == "[]\n", answer.stderr
