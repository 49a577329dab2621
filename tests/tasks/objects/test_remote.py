"""What a store asks of a bucket, against a server of S3 with faults on the way to it."""

import threading

import pytest
from obstore.store import MemoryStore

from tasks.storage.below import Below
from tasks.storage.remote import DamagedError, Remote, RemoteError


@pytest.fixture
def remote(s3):
    return Remote.at(s3.url, patience=4)


@pytest.fixture(params=["s3", "file", "memory"])
def place(request, tmp_path):
    if request.param == "s3":
        return Remote.at(request.getfixturevalue("s3").url, patience=4)
    if request.param == "file":
        return Remote.at((tmp_path / "shared folder").as_uri())
    return Remote("memory://", MemoryStore())


def test_an_object_is_created_once_and_the_first_content_stays(place):
    tag = place.create("trials/a.json", b"first")
    assert place.create("trials/a.json", b"second") is None
    assert place.read("trials/a.json") == b"first"
    assert place.listed("trials")["a.json"].tag == tag
    assert place.create("trials/a.json", b"first") == tag  # by the same content it is ours


def test_of_many_who_create_at_once_one_is_told_that_it_did(place):
    ready, told = threading.Barrier(8), []

    def create(number):
        ready.wait(60)
        if place.create("marker", b"%d" % number) is not None:
            told.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert place.read("marker") == b"%d" % told[0]
    assert len(told) == 1


def test_objects_are_replaced_listed_and_removed(place):
    place.replace("files/runs/a.json", b"1")
    before = place.head("files/runs/a.json")
    place.replace("files/runs/a.json", b"22")
    after = place.listed("files")
    assert list(after) == ["runs/a.json"]
    assert after["runs/a.json"].size == 2
    assert after["runs/a.json"].tag != before.tag
    place.delete("files/runs/a.json")
    place.delete("files/runs/a.json")
    assert place.read("files/runs/a.json") is place.head("files/runs/a.json") is None
    assert place.listed("files") == {}


def test_a_blob_comes_back_as_it_was_or_not_at_all(place, tmp_path):
    content = bytes(range(256)) * 40_000  # larger than what is sent in one part
    (tmp_path / "sent").write_bytes(content)
    digest, size = place.put_blob(tmp_path / "sent")
    assert size == len(content)
    assert place.put_blob(content) == (digest, size)
    place.get_blob(digest, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content
    place.replace(f"blobs/{digest[:2]}/{digest}", content[:-1] + b"x")
    with pytest.raises(DamagedError, match="is not what was written"):
        place.get_blob(digest, tmp_path / "again")
    with pytest.raises(DamagedError, match="is gone"):
        place.get_blob("0" * 64, tmp_path / "none")


def test_a_place_proves_that_it_creates_once_and_nothing_stays_of_it(place):
    place.prove()
    assert place.listed("probes") == {}


def test_a_place_where_the_second_creation_succeeds_is_refused(s3):
    s3.faults.careless = True
    with pytest.raises(ValueError, match="lets an object be created twice"):
        Remote.at(s3.url, patience=4).prove()


@pytest.mark.parametrize("kind", ["busy", "cut", "lost", "twice"])
def test_a_creation_that_is_disturbed_is_done_once_and_told_of(remote, s3, kind):
    s3.faults.plan(kind, "PUT", "marker")
    assert remote.create("marker", b"ours") is not None
    assert remote.create("marker", b"theirs") is None
    assert remote.read("marker") == b"ours"


@pytest.mark.parametrize("kind", ["busy", "cut", "lost"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_requests_are_tried_again(remote, s3, kind, method):
    remote.replace("key", b"content")
    s3.faults.plan(kind, method, "key", times=2)
    remote.replace("key", b"changed")
    assert remote.read("key") == b"changed"
    assert remote.head("key").size == 7
    remote.delete("key")
    assert remote.read("key") is None


def test_a_listing_that_is_disturbed_is_whole(remote, s3):
    for number in range(5):
        remote.replace(f"trials/{number}.json", b"{}")
    s3.faults.plan("busy", "GET", "list-type")
    s3.faults.plan("lost", "GET", "list-type")
    assert len(remote.listed("trials")) == 5


def test_a_server_that_stays_away_is_told_of_in_a_sentence(s3):
    s3.faults.plan("busy", "PUT", "", times=1000)
    s3.faults.plan("busy", "GET", "", times=1000)
    remote = Remote.at(s3.url, patience=0.5)
    for ask in (lambda: remote.create("a", b""), lambda: remote.read("a")):
        with pytest.raises(RemoteError, match=f"the store {s3.url} does not do what it is asked"):
            ask()


def test_a_bucket_that_is_not_there_is_told_of_in_a_sentence(s3):
    with pytest.raises(RemoteError, match="nothing can be created"):
        Remote.at("s3://no-such-bucket/store", patience=1).prove()


@pytest.mark.parametrize(
    "url",
    ["s3://AKIAIOSFODNN7EXAMPLE:hunter2@bucket/store", "s3://bucket/store?token=hunter2hunter2"],
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url):
    with pytest.raises(ValueError, match="credentials by the environment") as caught:
        Remote.at(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["gopher://bucket/store", "https://example.org/a", "memory:///a"])
def test_another_kind_of_place_is_refused(url):
    with pytest.raises(ValueError, match="SHOTBOARD_HOME a folder, or a URL such as s3://bucket"):
        Remote.at(url)


def test_small_files_below_a_name_are_created_once_and_listed(place):
    below = Below(place, "leases")
    assert below.create("a.json", b"ours") is True
    assert below.create("a.json", b"theirs") is False
    below.replace("b.json", b"1")
    assert sorted(below.names()) == ["a.json", "b.json"]
    assert below.read("a.json") == b"ours"
    below.delete("a.json")
    below.delete("a.json")
    assert below.read("a.json") is None
    assert below.create("a.json", b"theirs") is True
    assert Below(place, "other").names() == []
