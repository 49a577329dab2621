"""Archives are unpacked whole and safely, or refused in a sentence with nothing left behind."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile

import pytest

from data_catalog import Archive, DatasetCard, SourceError, ingest, source_for
from data_catalog.sources import unpacking


@pytest.fixture
def zipped(tmp_path):
    def write(members, name="pets.zip", method=zipfile.ZIP_STORED):
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for member, content in members.items():
                info = zipfile.ZipInfo("x")
                info.filename, info.compress_type = member, method  # a backslash stays one
                archive.writestr(info, content)
        return tmp_path / name

    return write


@pytest.fixture
def tarred(tmp_path):
    """Writes a tar of members: a content, or what to set of a `TarInfo`."""

    def write(members, name="pets.tar", mode="w"):
        with tarfile.open(tmp_path / name, mode) as archive:
            for member, content in members:
                info = tarfile.TarInfo(member)
                if isinstance(content, bytes):
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
                else:
                    for key, value in content.items():
                        setattr(info, key, value)
                    archive.addfile(info)
        return tmp_path / name

    return write


@pytest.fixture
def refused(tmp_path):
    """Why an archive cannot be unpacked; nothing may be left of it."""

    def reason(file):
        cache = tmp_path / "cache"
        with pytest.raises(SourceError) as said:
            Archive(str(file), cache=str(cache)).unpacked()
        assert list(cache.iterdir()) == []
        assert "\n" not in str(said.value)
        return str(said.value)

    return reason


def link(leads_to):
    return {"type": tarfile.SYMTYPE, "linkname": leads_to}


def test_backslashes_in_a_zip_are_folders(zipped, png, tmp_path):
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(4)]
    found = []
    for separator in "\\/":
        members = {f"photos/{name}".replace("/", separator): png(n) for n, name in enumerate(names)}
        file = zipped({f"photos{separator}cat{separator}": b"", **members}, f"{ord(separator)}.zip")
        card = DatasetCard(name="pets", source=source_for(file, cache=tmp_path / "cache"))
        found.append(ingest(card, tmp_path / separator.replace("/", "slash")))
    assert found[0].classes == ("cat", "dog")
    assert found[0].rows == 8
    assert found[0].fingerprint == found[1].fingerprint


def test_a_zip_that_was_unpacked_with_backslashes_in_names_is_unpacked_again(zipped, png, tmp_path):
    source = Archive(str(zipped({"cat\\1.png": png(1), "dog\\2.png": png(2)})), cache=str(tmp_path))
    folder = source.unpacked()
    (folder / "cat/1.png").rename(folder / "cat\\1.png")
    assert (source.unpacked() / "cat/1.png").read_bytes() == png(1)
    assert sorted(path.name for path in folder.iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize("member", ["..\\x", "a\\..\\..\\x", "\\x", "C:\\x", "/x", "a/../../x"])
def test_a_zip_member_outside_is_refused_by_name(zipped, refused, member):
    assert f"member {member!r} would land outside" in refused(
        zipped({"a/1.png": b"1", member: b"x"})
    )


def test_a_link_in_a_zip_is_refused(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        info = zipfile.ZipInfo("cat")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    assert "member 'cat' is a link" in refused(tmp_path / "pets.zip")


def test_links_inside_a_tar_are_links(tarred, png, tmp_path):
    file = tarred(
        [
            ("all/1.png", png(1)),
            ("cat", link("all")),  # before what it leads to, and after
            ("dog/1.png", link("../all/1.png")),
            ("owl/1.png", {"type": tarfile.LNKTYPE, "linkname": "all/1.png"}),
            ("owl/gone.png", link("nowhere.png")),
        ]
    )
    folder = Archive(str(file), cache=str(tmp_path / "cache")).unpacked()
    for name in ("all", "cat", "dog", "owl"):
        assert (folder / name / "1.png").read_bytes() == png(1)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("cat", link("/etc"))], "'cat' is a link to the absolute path '/etc'"),
        ([("cat", link("../.."))], "'cat' is a link to '../..', outside of its folder"),
        ([("cat", link("../gone"))], "'cat' is a link to '../gone', outside"),
        (
            [("here", link(".")), ("cat", link("here/../.."))],
            "'cat' is a link to 'here/../..', outside of its folder",
        ),
        ([("a", link("b")), ("b", link("a"))], "links in it lead to each other"),
        ([("cat", link(".")), ("cat/1.png", b"1")], "File exists"),
        ([("cat", {"type": tarfile.LNKTYPE, "linkname": "gone"})], "linkname 'gone' not found"),
        ([("cat", {"type": tarfile.CHRTYPE})], "member 'cat' is a device"),
        ([("cat", {"type": tarfile.FIFOTYPE})], "member 'cat' is a device"),
        ([("../cat", b"1")], "'../cat' would land outside"),
        ([("a" * 300, b"1")], "File name too long"),
        ([("cat", b"1"), ("cat/1.png", b"1")], "damaged, encrypted or no archive"),
    ],
)
def test_a_tar_of_odd_members_is_refused(tarred, refused, members, said):
    assert said in refused(tarred(members))


def test_nothing_is_written_through_a_link(tarred, refused, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    up = "../" * 12 + str(outside).lstrip("/")
    refused(tarred([("cat", link(up)), ("cat/evil.png", b"1")]))
    assert list(outside.iterdir()) == []


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(unpacking, "FREE_MEMBERS", 50)


def test_a_zip_of_zeros_is_stopped_by_what_it_unpacks_to(zipped, refused, strict):
    bomb = {f"cat/{n}.bmp": bytes(1 << 20) for n in range(4)}
    assert "holds more than" in refused(zipped(bomb, method=zipfile.ZIP_DEFLATED))


def test_a_zip_that_lies_of_its_sizes_is_refused(zipped, refused, strict):
    file = zipped({"cat/1.bmp": bytes(3 << 20)}, method=zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    real = (3 << 20).to_bytes(4, "little")
    assert content.count(real) == 2  # in the local header and in the directory
    file.write_bytes(bytes(content).replace(real, (10).to_bytes(4, "little")))
    assert "damaged, encrypted or no archive (Bad CRC-32" in refused(file)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_of_zeros_is_stopped(tarred, refused, strict, kind):
    bomb = [(f"cat/{n}.bmp", bytes(1 << 20)) for n in range(4)]
    assert "holds more than" in refused(tarred(bomb, f"pets.tar.{kind}", f"w:{kind}"))


def test_a_sparse_file_is_taken_for_what_it_would_be(tarred, refused, strict):
    holes = {"type": tarfile.REGTYPE, "pax_headers": {}, "size": 0}
    huge = {**holes, "pax_headers": {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,0"}}
    assert "unsafe to unpack" in refused(tarred([("cat/1.bmp", huge)]))


def test_more_members_than_so_small_a_file_should_have_are_refused(tarred, zipped, refused, strict):
    empty = [(f"cat/{n}", b"") for n in range(2000)]
    assert "members" in refused(tarred(empty, "pets.tar.xz", "w:xz"))
    folders = [(f"cat/{n}", {"type": tarfile.DIRTYPE}) for n in range(2000)]
    assert "members" in refused(tarred(folders, "pets.tar.gz", "w:gz"))


def test_an_ordinary_archive_may_be_larger_than_the_free_bytes(tarred, tmp_path, strict):
    noise = os.urandom(1 << 19)
    file = tarred([(f"cat/{n}.jpg", noise) for n in range(5)], "pets.tar.gz", "w:gz")
    folder = Archive(str(file), cache=str(tmp_path / "cache")).unpacked()
    assert len(list(folder.rglob("*.jpg"))) == 5


def whole(tarred, kind):
    noise = os.urandom(30_000)
    return tarred(
        [("cat/1.png", noise), ("dog/1.png", noise)],
        f"pets.tar{kind}",
        {"": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[kind],
    )


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        (kind, harm)
        for kind in ("", ".gz", ".bz2", ".xz")
        for harm in ("cut", "flipped", "empty", "text")
        if kind or harm != "flipped"  # a tar has no checksum of its contents
    ],
)
def test_a_damaged_tar_is_one_sentence(tarred, refused, kind, harm):
    file = whole(tarred, kind)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    if harm == "flipped":
        content[middle : middle + 400] = bytes(400)
    harmed = {"cut": content[:middle], "flipped": content, "empty": b"", "text": b"<html>"}[harm]
    file.write_bytes(bytes(harmed))
    # What flipped bytes unpack to depends on the clock in the headers: garbage, or a tar cut short.
    assert refused(file).endswith("Fetch it again.")


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"<html>"),
        bz2.compress(b"x" * 600),
        lzma.compress(b"x" * 600),
        b"\xfd7zXZ\0...",
    ],
    ids=["gzip", "bz2", "lzma", "cut"],  # the bytes hold the time
)
def test_what_is_compressed_but_no_tar_is_one_sentence(tmp_path, refused, content):
    (tmp_path / "pets.tar.gz").write_bytes(content)
    assert "damaged, encrypted or no archive" in refused(tmp_path / "pets.tar.gz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_zip_is_one_sentence(zipped, refused, method):
    file = zipped({"cat/1.png": os.urandom(30_000)}, method=method)
    content = bytearray(file.read_bytes())
    content[10_000:10_400] = bytes(400)
    file.write_bytes(content)
    assert "damaged, encrypted or no archive" in refused(file)


def test_an_encrypted_zip_is_one_sentence(zipped, refused):
    file = zipped({"cat/1.png": b"1"})
    content = bytearray(file.read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    file.write_bytes(content)
    assert "password required" in refused(file)


def test_a_full_disk_is_not_called_a_damaged_archive(zipped, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking._Meter, "copy", full)
    with pytest.raises(OSError, match="No space left"):
        Archive(str(zipped({"cat/1.png": b"1"})), cache=str(tmp_path / "cache")).unpacked()
    assert list((tmp_path / "cache").iterdir()) == []
