"""A published data set is fetched whole, unpacked and ready, or what to do is said."""

import io
import json
import shutil
import tarfile
from contextlib import contextmanager

import pytest

from data_catalog import SourceError, SourceUnavailable
from data_catalog.fetching.checksum import Noted
from data_catalog.fetching.files import KEPT, Ways
from data_catalog.fetching.getting import Telling, download_bytes, get_published
from data_catalog.fetching.offers import offers
from data_catalog.published import Download


def tar_of(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def pets(web, published):
    web.files |= {
        "images.tar.gz": tar_of({"images/a.png": b"a", "images/b.png": b"b"}),
        "lists.tar.gz": tar_of({"images/c.png": b"c", "lists/test.txt": b"a b c"}),
        "split.json": b"{}",
    }
    return published(
        *(
            Download(url=web(name), holds=name, size_bytes=len(web.files[name]))
            for name in ("images.tar.gz", "lists.tar.gz", "split.json")
        )
    )


@pytest.fixture
def get(tmp_path):
    said = []

    @contextmanager
    def fetching(name):
        yield Ways(say=said.append, wait=lambda _: None)

    def run(dataset, **options):
        telling = Telling(fetching, said.append)
        noted = Noted(tmp_path / "digests.json")
        return get_published(dataset, tmp_path / "pets", noted, telling, **options)

    run.said = said
    return run


def seen(folder):
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if KEPT not in path.parts)


WHOLE = ["images/a.png", "images/b.png", "images/c.png", "lists/test.txt", "split.json"]


def test_archives_are_unpacked_among_each_other_and_go(pets, get, web):
    folder = get(pets)
    assert seen(folder) == WHOLE
    assert len(web.asked) == 3
    assert download_bytes(pets) == sum(map(len, (web.files[path] for path, _ in web.asked)))


def test_what_is_there_is_not_fetched_again_and_what_was_lost_is(pets, get, web):
    folder = get(pets)
    get(pets)
    assert len(web.asked) == 3
    shutil.rmtree(folder / "lists")
    get(pets)
    assert seen(folder) == WHOLE and len(web.asked) == 4


def test_archives_are_kept_where_that_is_asked(pets, get):
    assert [n for n in seen(get(pets, keep_archives=True)) if n.endswith("gz")] == [
        "images.tar.gz",
        "lists.tar.gz",
    ]


def test_a_process_that_died_while_it_unpacked_is_followed_by_one_that_does(pets, get, web):
    from data_catalog.fetching import unpacked

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unpacked, "_move_into", killed)
        get(pets)
    assert seen(get(pets)) == WHOLE
    assert [path for path, _ in web.asked].count("images.tar.gz") == 1


def test_a_file_of_the_user_is_not_overwritten(pets, get, tmp_path):
    mine = tmp_path / "pets" / "images" / "a.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(SourceError, match=r"holds 'a.png', and .* is there with another content"):
        get(pets)
    assert mine.read_bytes() == b"mine"


def test_an_archive_that_would_leave_its_folder_is_refused(get, web, published, tmp_path):
    web.files["bad.tar.gz"] = tar_of({"../../evil": b"x"})
    with pytest.raises(SourceError, match="would land outside of its folder"):
        get(published(Download(url=web("bad.tar.gz"), holds="evil")))
    assert not (tmp_path / "evil").exists() and seen(tmp_path / "pets") == ["bad.tar.gz"]


def test_archives_in_an_archive_are_unpacked_where_they_lie(get, web, published):
    inner = tar_of({"classes/a.png": b"a"})
    web.files["all.tar.gz"] = tar_of({"all/inner.tar.gz": inner, "all/list.txt": b"a"})
    folder = get(published(Download(url=web("all.tar.gz"), holds="all")))
    assert seen(folder) == ["all/classes/a.png", "all/list.txt"]


def test_a_data_set_is_ready_without_a_file_that_it_can_do_without(get, web, published):
    web.files["list.txt"] = b"a"
    dataset = published(
        Download(url=web("split.json"), holds="the split", optional=True),
        Download(url=web("list.txt"), holds="the list"),
    )
    assert seen(get(dataset)) == ["list.txt"]
    assert "answers 404" in get.said[-1] and get.said[-1].endswith("It goes on without.")


def test_a_mirror_in_other_files_lies_apart_and_comes_when_the_authors_do_not_answer(
    get, web, published, tmp_path
):
    web.files["copy/data.parquet"] = b"PAR1"
    dataset = published(
        Download(url=web("gone.tar.gz"), holds="images"),
        Download(url=web("copy/data.parquet"), holds="all, as Parquet", mirror=True),
    )
    folder = get(dataset)
    assert seen(folder) == ["data.parquet"]
    assert folder.parent == tmp_path / "pets" and folder.name.startswith("mirror-")
    assert "answers 404" in get.said[0] and f"Next is {web('copy')}." in get.said[0]


def test_what_nobody_gives_is_said_with_each_reason_and_the_way_by_hand(get, web, published):
    dataset = published(
        Download(url=web("gone.tar.gz"), holds="images"),
        Download(url=web("copy/data.parquet"), holds="all", mirror=True),
    )
    with pytest.raises(SourceError) as refused:
        get(dataset)
    assert str(refused.value).count("answers 404") == 2
    assert str(refused.value).endswith(
        "By hand: Ask the authors of pets: shotboard datasets add pets --path FOLDER."
    )


def test_where_nothing_may_be_fetched_one_sentence_says_what_to_do(get, published):
    dataset = published()
    assert offers(dataset) == [] and download_bytes(dataset) is None
    with pytest.raises(SourceError) as refused:
        get(dataset)
    assert (
        str(refused.value) == "Ask the authors of pets: shotboard datasets add pets --path FOLDER."
    )


def test_a_disk_without_room_is_refused_before_the_first_byte(get, web, published):
    dataset = published(Download(url=web("huge.tar.gz"), holds="all", size_bytes=1 << 60))
    with pytest.raises(OSError, match=r"needs about 2.1e\+09 GiB more, and .* on another disk"):
        get(dataset)
    assert web.asked == []


@pytest.fixture
def hub(web, monkeypatch):
    """A hub with one repository, at one commit."""
    import hashlib

    from huggingface_hub import constants

    commit, shard, note = "c" * 40, b"PAR1" * 9, b"read me"
    blob = hashlib.sha1(b"blob %d\0" % len(note) + note).hexdigest()
    tree = [
        {
            "type": "file",
            "path": "data/train.parquet",
            "size": len(shard),
            "oid": "0" * 40,
            "lfs": {
                "oid": hashlib.sha256(shard).hexdigest(),
                "size": len(shard),
                "pointerSize": 130,
            },
        },
        {"type": "file", "path": "README.md", "size": len(note), "oid": blob},
        {"type": "file", "path": ".gitattributes", "size": 1, "oid": blob},
    ]
    base = "datasets/someone/pets"
    web.files |= {
        f"api/{base}/tree/{commit}?recursive=true&expand=false": json.dumps(tree).encode(),
        f"{base}/resolve/{commit}/data/train.parquet": shard,
        f"{base}/resolve/{commit}/README.md": note,
    }
    here = web("").rstrip("/")
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, here)
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return web


def test_a_repository_is_fetched_at_its_commit_with_the_digests_of_the_hub(hub, get, published):
    dataset = published(
        Download(url="hf://datasets/someone/pets", holds="all", revision="c" * 40, mirror=True)
    )
    folder = get(dataset)
    assert seen(folder) == ["README.md", "data/train.parquet"]
    hub.files[f"datasets/someone/pets/resolve/{'c' * 40}/README.md"] = b"changed"
    (folder / "README.md").unlink()
    with pytest.raises(SourceError, match=r"git [0-9a-f]{40}, and published is git"):
        get(dataset)


def test_a_commit_that_is_not_there_is_said(hub, get, published):
    dataset = published(
        Download(url="hf://datasets/someone/pets", holds="all", revision="d" * 40, mirror=True)
    )
    with pytest.raises(SourceError, match="someone/pets"):
        get(dataset)


def test_a_hub_that_cannot_be_reached_may_be_later(get, published, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    dataset = published(
        Download(url="hf://datasets/someone/pets", holds="all", revision="c" * 40, mirror=True)
    )
    with pytest.raises(SourceUnavailable, match="someone/pets could not be reached"):
        get(dataset)
