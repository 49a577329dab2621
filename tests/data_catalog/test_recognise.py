"""What a path or URL is taken for, and archives."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from data_catalog import (
    Archive,
    HuggingFace,
    ImageFolder,
    Manifest,
    ParquetImages,
    SourceError,
    source_for,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def pack(tmp_path):
    """Writes a zip or tar.gz of names and contents."""

    def write(name, members):
        file = tmp_path / name
        if name.endswith(".zip"):
            with zipfile.ZipFile(file, "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, content)
        else:
            with tarfile.open(file, "w:gz") as archive:
                for member, content in members.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return file

    return write


def test_a_folder_of_class_folders_is_recognised(pets):
    assert source_for(pets) == ImageFolder(str(pets))


def test_a_relative_path_is_kept_as_absolute(pets, monkeypatch):
    monkeypatch.chdir(pets.parent)
    assert source_for("raw") == ImageFolder(str(pets))


def test_a_csv_and_a_folder_with_one_are_recognised(tree):
    root = tree("images/1.png")
    (root / "list.csv").write_text("path,class\nimages/1.png,cat\n")
    assert source_for(root / "list.csv") == Manifest(str(root / "list.csv")) == source_for(root)


def test_parquet_with_bytes_and_with_paths_are_told_apart(table, png):
    inside = table({"image": [png(1)], "label": [0]}, name="a/a.parquet")
    beside = table({"image": ["1.png"], "label": [0]}, name="b/b.parquet")
    assert source_for(inside) == ParquetImages(str(inside))
    assert source_for(inside.parent) == ParquetImages(str(inside.parent))
    assert source_for(beside) == Manifest(str(beside)) == source_for(beside.parent)


def test_a_folder_or_pattern_of_parquet_files_is_recognised(table, png):
    for name in ("d/train/0.parquet", "d/test/0.parquet"):
        table({"image": [png(1)], "label": [0]}, name=name)
    folder = table({"image": [png(1)], "label": [0]}, name="d/test/1.parquet").parents[1]
    assert source_for(folder) == ParquetImages(str(folder))
    assert source_for(f"{folder}/*/0.parquet") == ParquetImages(f"{folder}/*/0.parquet")
    found = source_for(f"{folder}/te*/*.parquet").examples()
    assert [(e.path, e.split) for e in found] == [
        ("test/0.parquet#0", "test"),
        ("test/1.parquet#0", "test"),
    ]


@pytest.mark.parametrize(
    ("url", "revision", "expected"),
    [
        ("hf://datasets/o/pets", COMMIT, HuggingFace("o/pets", COMMIT)),
        (f"hf://datasets/o/pets@{COMMIT}", None, HuggingFace("o/pets", COMMIT)),
        ("hf://datasets/o/pets/d/*.parquet", COMMIT, HuggingFace("o/pets", COMMIT, "d/*.parquet")),
        (f"hf://datasets/o/p@{COMMIT}/d", COMMIT, HuggingFace("o/p", COMMIT, "d")),
    ],
)
def test_a_hub_url_is_recognised_without_a_network(url, revision, expected):
    assert source_for(url, revision=revision) == expected


def test_a_hub_url_without_revision_is_refused():
    with pytest.raises(ValueError, match="is not a commit of 40 hexadecimal digits"):
        source_for("hf://datasets/owner/pets")


def test_a_missing_path_is_refused(tmp_path):
    for name in ("gone", "gone.zip", "gone.parquet", "gone.csv"):
        with pytest.raises(SourceError, match=f"no file or folder at {tmp_path / name}"):
            source_for(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="is empty"):
        source_for(tmp_path)


def test_a_pattern_without_match_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no Parquet file at"):
        source_for(tmp_path / "*.parquet")


def test_a_file_of_another_kind_is_refused(tree):
    with pytest.raises(SourceError, match="is a single file and no set of images"):
        source_for(tree("1.png") / "1.png")


def test_parquet_without_images_is_refused_with_its_columns(table):
    with pytest.raises(SourceError, match=r"no column of images: its columns are says \(text\), n"):
        source_for(table({"says": ["hello"], "n": [1]}))


def test_an_image_in_a_column_of_another_name_is_found_by_the_column_that_is_said(table, png):
    place = table({"pixels": [png(0), png(1)], "target": [0, 1]}).parent
    with pytest.raises(SourceError, match=r"is meant \(--columns image=\.\."):
        list(source_for(place).examples())
    chosen = source_for(place, columns={"image": "pixels"})
    assert [example.label for example in chosen.examples()] == [0, 1]


def test_parquet_without_labels_is_refused_with_its_columns(table, png):
    with pytest.raises(SourceError, match=r"has no labels: its columns are image \(image\), mask"):
        source_for(table({"image": [png(1)], "mask": [png(2)]}))


def test_a_digest_or_revision_that_would_go_unused_is_refused(pets):
    with pytest.raises(ValueError, match="only archives are checked by digest"):
        source_for(pets, sha256="0" * 64)
    with pytest.raises(ValueError, match="is no dataset of the Hugging Face hub"):
        source_for(pets, revision=COMMIT)


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz"])
def test_an_archive_is_unpacked_once_and_read_as_what_it_holds(pack, png, tmp_path, name):
    members = {"pets-1.0/cat/1.png": png(1), "pets-1.0/dog/2.png": png(2)}
    file = pack(name, members)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    source = source_for(file, digest, cache=tmp_path / "cache")
    assert [(e.path, e.content) for e in source.examples()] == [
        ("cat/1.png", png(1)),
        ("dog/2.png", png(2)),
    ]
    signature = source.signature()
    file.unlink()
    assert source.total() == 2
    assert source.signature() == signature
    assert str(tmp_path / "cache") not in source.describe()


def test_an_archive_is_read_through_any_file_system(pack, png, tmp_path):
    import fsspec

    file = pack("pets.zip", {"cat/1.png": png(1), "dog/2.png": png(2)})
    url = "memory://archives/pets.zip"
    with fsspec.open(url, "wb") as target:
        target.write(file.read_bytes())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert source_for(url, digest, cache=tmp_path / "cache").total() == 2


def test_a_table_inside_an_archive_is_read(pack, png, tmp_path):
    members = {"list.csv": b"path,class\nimages/1.png,cat\n", "images/1.png": png(1)}
    source = source_for(pack("pets.zip", members), cache=tmp_path / "cache")
    assert [e.class_name for e in source.examples()] == ["cat"]


def test_a_part_of_an_archive_is_read(pack, png, tmp_path):
    file = pack("pets.zip", {"a/cat/1.png": png(1), "a/dog/1.png": png(1), "b/cow/1.png": png(2)})
    assert Archive(str(file), inner="a", cache=str(tmp_path / "cache")).total() == 2
    with pytest.raises(SourceError, match=r"holds no 'c'; at its top are a, b"):
        Archive(str(file), inner="c", cache=str(tmp_path / "cache")).total()


def test_an_archive_of_another_digest_is_refused_with_both(pack, png, tmp_path):
    file = pack("pets.zip", {"cat/1.png": png(1)})
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    source = source_for(file, "0" * 64, cache=tmp_path / "cache")
    with pytest.raises(SourceError, match=f"has sha256 {found}, expected was {'0' * 64}"):
        source.total()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_digest_that_is_none_is_refused():
    with pytest.raises(ValueError, match="is not 64 hexadecimal digits"):
        Archive("/pets.zip", "abc")


@pytest.mark.parametrize("name", ["evil.zip", "evil.tar.gz"])
@pytest.mark.parametrize("member", ["../evil.png", "cat/../../evil.png"])
def test_an_archive_that_leaves_its_folder_is_refused(pack, tmp_path, name, member):
    source = source_for(pack(name, {member: b"x"}), cache=tmp_path / "cache" / "deep")
    with pytest.raises(SourceError, match="unsafe to unpack"):
        source.total()
    assert not list(tmp_path.rglob("evil.png"))


def test_a_link_out_of_a_tar_is_refused(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("cat")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    with pytest.raises(SourceError, match="unsafe to unpack"):
        source_for(tmp_path / "evil.tar", cache=tmp_path / "cache").total()


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK but not quite")
    with pytest.raises(SourceError, match="damaged, encrypted or no archive"):
        source_for(tmp_path / "pets.zip", cache=tmp_path / "cache").total()
