"""Whatever people bring as data is read or refused in a sentence, and nothing of it is run.

Examples are drawn; `--hypothesis-profile=long` draws many more.
"""

import io
import json
import pickle
import runpy
import tarfile
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from data_catalog import CATALOG, DatasetCard, SourceError, source_for
from data_catalog.descriptions.form import Descriptions
from data_catalog.kinds.decoding import check_image, decode
from data_catalog.naming import check_class_names, check_prompts, check_verbalizer
from data_catalog.registry import read_cards
from data_catalog.sources.base import Example
from data_catalog.sources.unpacking import unpack
from data_catalog.split_lists import listed_rows

BAD = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "bad_input.py")))
NAMES, VALUES, DEEP = BAD.WORDS, BAD.values(max_leaves=8), BAD.deep(3_000)
is_a_sentence = partial(BAD.is_a_sentence, longest=5_000)
surroundings = BAD.surroundings

FIELDS = ("name", "source", "classes", "template", "templates", "kind", "domains", "verbalizer")
FIELDS += ("split_sizes", "split_names", "max_corrupt_share", "duplicate_class_names", "seed")
SOURCE = {"kind": "folder", "path": "/data"}


@st.composite
def cards(draw):
    """The text of a card that is nearly right."""
    values = {"name": "pets", "source": dict(SOURCE), "template": "a {}."}
    for key in draw(st.lists(st.sampled_from((*FIELDS, "colour")), max_size=3)):
        values[key] = draw(VALUES)
    if draw(st.booleans()) and isinstance(values["source"], dict):
        values["source"][draw(st.one_of(st.sampled_from(("kind", "path", "table")), NAMES))] = draw(
            VALUES
        )
    return yaml.safe_dump(values)


@given(st.one_of(cards(), st.text(max_size=60), st.binary(max_size=60)))
@example("!!python/object/apply:os.system ['touch trapped']")
@example("a: &a [*a]")
@example(DEEP)
@example("name: pets\nsource: {kind: [], path: x}")
@example("name: pets\nsource: {kind: folder, path: null}")
@example("name: ../../pets\nsource: {kind: folder, path: x}")
def test_a_card_is_read_or_refused_in_a_sentence(tmp_path_factory, text):
    faults = {}
    with surroundings(tmp_path_factory) as around:
        (around.place / "pets.yaml").write_bytes(BAD.as_bytes(text))
        found = read_cards(around.place, CATALOG, faults)
        assert [path.name for path in around.place.iterdir()] == ["pets.yaml"]
    assert len(found) + len(faults) == 1
    for fault in faults.values():
        is_a_sentence(fault)
    for card in found.values():
        assert DatasetCard.from_yaml(card.to_yaml()) == card
        assert "/" not in card.name


ENTRIES = st.one_of(
    VALUES, st.tuples(NAMES, st.integers(), NAMES), st.tuples(NAMES, st.booleans(), NAMES)
)
SPLIT_FILES = st.dictionaries(
    st.one_of(st.sampled_from(("train", "val", "test")), NAMES),
    st.one_of(VALUES, st.lists(ENTRIES, max_size=3)),
    max_size=3,
).map(lambda values: json.dumps(values).encode())


@given(st.one_of(SPLIT_FILES, st.binary(max_size=40)))
@example(DEEP.encode())
@example(b'{"train": ' + DEEP.encode())
@example(b'{"train": [["a.jpg", 1e999, "cat"]]}')
@example(b"1" * 5000)
def test_a_split_file_is_read_or_refused_in_a_sentence(content):
    try:
        rows = listed_rows(content, "split.json")
    except ValueError as error:
        is_a_sentence(error)
    else:
        assert all(isinstance(row.path, str) and isinstance(row.label, int) for row in rows)


@given(st.one_of(st.dictionaries(NAMES, VALUES, max_size=3).map(json.dumps), st.text(max_size=40)))
@example(DEEP)
@example('{"cat": ["a", "a"], "CAT": []}')
def test_descriptions_are_read_or_refused_in_a_sentence(text):
    try:
        Descriptions.from_json(text)
    except ValueError as error:
        is_a_sentence(error)


ANY = st.one_of(
    st.text(max_size=20), st.sampled_from(("cat", "CAT", "c\u0327at", "cat ", "\0", "_"))
)


@given(st.lists(ANY, max_size=4), st.booleans(), st.lists(ANY, max_size=4))
def test_class_names_are_taken_or_refused_in_a_sentence(names, duplicates, words):
    for check in (check_class_names, check_prompts):
        try:
            check("pets", names, duplicates=duplicates)
        except ValueError as error:
            is_a_sentence(error)
    try:
        check_verbalizer("pets", words, names)
    except ValueError as error:
        is_a_sentence(error)


CELLS = st.one_of(st.text(max_size=10), st.integers().map(str), st.sampled_from(("a.png", '"', "")))
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=5).map(
    lambda rows: "\n".join(",".join(row) for row in rows)
)


@given(
    st.one_of(TABLES.map(lambda t: f"image,label\n{t}"), TABLES, st.binary(max_size=80)),
    st.sampled_from(("all.csv", "all.tsv", "all.jsonl", "all.parquet", "split_zhou_pets.json")),
)
@example(DEEP, "all.jsonl")
@example(b"PAR1" + bytes(40) + b"PAR1", "all.parquet")
@example(b"\xff\xfe" + b"a" * 7, "all.csv")
@example("image,label\n../../../../etc/passwd,cat", "all.csv")
@example("image,label\nfile:///etc/passwd,cat\nhttp://[::1,dog", "all.csv")
def test_a_table_is_read_or_refused_in_a_sentence(tmp_path_factory, content, name):
    with surroundings(tmp_path_factory) as around:
        folder = around.place
        (folder / name).write_bytes(BAD.as_bytes(content))
        for place in (folder / name, folder):
            try:
                source = source_for(place, cache=folder / "cache")
                rows = list(source.examples())
            except ValueError as error:  # SourceError is one
                is_a_sentence(error)
            else:
                assert all(isinstance(row.path, str) for row in rows)
        assert [path.name for path in folder.iterdir() if path.name != "cache"] == [name]


MEMBERS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12),
    st.sampled_from(("../out", "/out", "a/../../out", "C:\\out", "..\\out", "a//b", "./a", "a\0b")),
    st.sampled_from(("AROUND/out", "AROUND/file", "../../file", "../beside/file", "~/.profile")),
)
BODIES = st.one_of(st.binary(max_size=20), st.sampled_from((tarfile.SYMTYPE, tarfile.LNKTYPE)))


def as_zip(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name
            if not isinstance(content, bytes) or content in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.external_attr = 0o120777 << 16
                content = b"../out"
            archive.writestr(info, content)
    return packed.getvalue()


def as_tar(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.type, info.linkname = content, "../out"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    st.lists(st.tuples(MEMBERS, BODIES), max_size=4),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3),
)
def test_an_archive_is_unpacked_inside_its_folder_or_refused(
    tmp_path_factory, members, zips, flips
):
    """Some of its bytes are changed afterwards."""
    name = "a.zip" if zips else "a.tar"
    file = tmp_path_factory.mktemp("archive") / name
    with surroundings(tmp_path_factory) as around:
        named = [(path.replace("AROUND", str(around.folder)), body) for path, body in members]
        try:
            content = bytearray(as_zip(named) if zips else as_tar(named))
        except (ValueError, UnicodeError):
            return  # what no archive can hold
        for place, value in flips:
            content[place % len(content)] = value
        file.write_bytes(content)
        try:
            unpack(file, around.place, name)
        except SourceError as error:
            is_a_sentence(error)
        for path in around.place.rglob("*"):
            assert path.parent.resolve().is_relative_to(around.place.resolve())


def encoded(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


IMAGES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")}


@given(
    st.sampled_from(sorted(IMAGES)),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 3000),
)
def test_an_image_is_decoded_or_set_aside_with_a_reason(kind, flips, cut):
    content = bytearray(IMAGES[kind])
    for place, value in flips:
        content[place % len(content)] = value
    content = bytes(content[: max(1, cut % (2 * len(content)))])
    checked = check_image(Example(content, "a.png"))
    if checked.error:
        is_a_sentence(checked.error)
    else:
        assert decode(checked.example.content).ndim == 3


WRITTEN = {
    "made": lambda around: (around.folder / "up" / "out").touch(),
    "changed": lambda around: (around.folder / "file").write_text("another's"),
    "removed": lambda around: (around.folder / "up" / "beside" / "file").unlink(),
    "in the working folder": lambda around: Path("out").mkdir(),
    "at home": lambda around: Path("~/out").expanduser().touch(),
    "beside the store": lambda around: (around.folder.parent / "also" / "out").touch(),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_what_is_written_outside_is_seen(tmp_path_factory, write):
    also = tmp_path_factory.getbasetemp() / "also"
    also.mkdir(exist_ok=True)
    with surroundings(tmp_path_factory, also) as around:
        (around.place / "in").mkdir()
    with pytest.raises(AssertionError), surroundings(tmp_path_factory, also) as around:
        write(around)


@pytest.mark.parametrize(
    "name", ["all.csv", "all.parquet", "a.zip", "a.tar", "train.jsonl", "a.pkl"]
)
def test_a_pickle_is_never_read(tmp_path, name):
    trap = BAD.Trap(tmp_path / "trapped")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(trap))
    for place in (folder / name, folder):
        with pytest.raises(ValueError):
            list(source_for(place, cache=tmp_path / "cache").examples())
    assert check_image(Example(pickle.dumps(trap), "a.png")).error
    trap.check()
