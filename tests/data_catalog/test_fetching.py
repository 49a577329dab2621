"""Files are fetched from a real server of this machine, whatever it does, or refused in words."""

import hashlib
import json
import multiprocessing
from pathlib import Path

import pytest

from data_catalog import SourceError, SourceUnavailable
from data_catalog.fetching.checksum import Checksum, Noted, checksum
from data_catalog.fetching.files import KEPT, RemoteFile, Ways, fetch_file

CONTENT = bytes(range(256)) * 9_000  # 2.3 MB: three chunks
SHA256 = checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


class Heard:
    """Ways that remember what was said, and wait no time."""

    def __init__(self):
        self.said, self.waited, self.steps = [], [], []
        self.ways = Ways(
            progress=lambda *step: self.steps.append(step),
            say=self.said.append,
            wait=self.waited.append,
        )


@pytest.fixture
def web(web):
    web.files["photos.bin"] = CONTENT
    return web


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def get(tmp_path, heard):
    """Fetches `photos.bin` into a folder."""
    noted = Noted(tmp_path / "store" / "digests.json")

    def fetch(*places, folder="pets", **fields):
        wanted = RemoteFile("photos.bin", places, **fields)
        return fetch_file(wanted, tmp_path / folder, noted, heard.ways)

    return fetch


def left_over(tmp_path):
    return sorted(
        path.name for path in (tmp_path / "pets" / KEPT).iterdir() if path.suffix != ".lock"
    )


def test_a_file_is_fetched_with_its_progress_and_nothing_is_left_beside_it(
    web, get, heard, tmp_path
):
    file = get(web("photos.bin"), checksum=SHA256, size=len(CONTENT))
    assert file.read_bytes() == CONTENT
    assert heard.steps[-1] == (len(CONTENT), len(CONTENT)) and len(heard.steps) > 1
    assert heard.said == [] and left_over(tmp_path) == []


@pytest.mark.parametrize("kind", ["sha256", "md5", "git"])
def test_a_published_digest_of_any_kind_is_compared(web, get, kind):
    blob = b"blob %d\0" % len(CONTENT) + CONTENT
    digits = {
        "sha256": SHA256.digits,
        "md5": hashlib.md5(CONTENT).hexdigest(),
        "git": hashlib.sha1(blob).hexdigest(),
    }
    assert get(web("photos.bin"), checksum=checksum(kind, digits[kind])).is_file()
    wrong = checksum(kind, digits[kind][::-1])
    with pytest.raises(SourceError, match=digits[kind]):
        get(web("photos.bin"), checksum=wrong, folder="again")


def test_a_connection_that_ends_early_goes_on_where_it_was(web, get, heard):
    web.faults["photos.bin"] = [1_200_000, 700_000]
    assert get(web("photos.bin"), checksum=SHA256).read_bytes() == CONTENT
    assert web.asked[1:] == [("photos.bin", "bytes=1200000-"), ("photos.bin", "bytes=1900000-")]
    assert len(heard.said) == 2 and "early" in heard.said[0]


def test_what_an_earlier_command_has_fetched_is_not_fetched_again(web, get, tmp_path):
    web.faults["photos.bin"] = [1_200_000, *[(503, {"Retry-After": "4000"})] * 1]
    with pytest.raises(SourceUnavailable, match=r"The same command goes on"):
        get(web("photos.bin"))
    assert left_over(tmp_path) == ["photos.bin.part", "photos.bin.part.json"]
    assert get(web("photos.bin")).read_bytes() == CONTENT
    assert web.asked[-1] == ("photos.bin", "bytes=1200000-")
    assert left_over(tmp_path) == []


def test_a_part_without_version_and_digest_is_not_trusted(web, get):
    web.tag = ""
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    with pytest.raises(SourceError):
        get(web("photos.bin"))
    assert get(web("photos.bin")).read_bytes() == CONTENT
    assert web.asked[-1] == ("photos.bin", None)


def test_a_file_that_changed_meanwhile_is_fetched_anew(web, get, heard):
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    with pytest.raises(SourceError):
        get(web("photos.bin"))
    web.files["photos.bin"], web.tag = CONTENT[::-1], '"2"'
    assert get(web("photos.bin")).read_bytes() == CONTENT[::-1]
    assert any("starts again" in said for said in heard.said)


def test_a_part_that_is_longer_than_the_file_is_fetched_anew(web, get):
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    with pytest.raises(SourceError):
        get(web("photos.bin"))
    web.files["photos.bin"] = CONTENT[:1000]
    assert get(web("photos.bin")).read_bytes() == CONTENT[:1000]


def test_a_server_without_ranges_gives_all_of_it_again(web, get, heard):
    web.ranges = False
    web.faults["photos.bin"] = [1_200_000]
    assert get(web("photos.bin"), checksum=SHA256).read_bytes() == CONTENT
    assert "starts again" in heard.said[-1]


def test_a_server_that_always_ends_early_is_given_up(web, get):
    web.ranges = False
    web.faults["photos.bin"] = [1_200_000] * 9
    with pytest.raises(SourceUnavailable, match="early"):
        get(web("photos.bin"))
    assert len(web.asked) == 6


def test_a_shorter_file_than_was_published_is_refused_before_it_is_fetched(web, get, heard):
    with pytest.raises(SourceError, match=r"has 2,304,000 bytes, and 2,304,001 were published"):
        get(web("photos.bin"), size=len(CONTENT) + 1)
    assert heard.steps == []


def test_a_shorter_file_than_the_server_told_is_not_taken(web, get):
    web.tell, web.ranges = 100, False
    with pytest.raises(SourceUnavailable, match="early"):
        get(web("photos.bin"))


def test_the_next_mirror_goes_on_where_the_first_has_failed(web, get, heard):
    web.files["mirror"] = CONTENT
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    file = get(web("photos.bin"), web("mirror"), checksum=SHA256)
    assert file.read_bytes() == CONTENT
    assert web.asked[-1] == ("mirror", "bytes=1200000-")
    assert heard.said[-1].endswith(f"Next is {web('mirror')}.")


def test_a_mirror_does_not_go_on_with_another_file(web, get):
    web.files |= {"photos.bin": CONTENT[::-1], "mirror": CONTENT}
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    file = get(web("photos.bin"), web("mirror"), checksum=SHA256)
    assert file.read_bytes() == CONTENT
    assert web.asked[-1] == ("mirror", None)


def test_without_a_digest_a_mirror_begins_at_its_first_byte(web, get):
    web.files["mirror"] = CONTENT
    web.faults["photos.bin"] = [1_200_000, (404, {})]
    assert get(web("photos.bin"), web("mirror")).read_bytes() == CONTENT
    assert web.asked[-1] == ("mirror", None)


def test_a_wrong_file_is_set_aside_and_named_with_both_digests(web, get, heard, tmp_path):
    web.files |= {"photos.bin": b"changed", "mirror": CONTENT}
    changed = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(SourceError) as refused:
        get(web("photos.bin"), checksum=SHA256)
    (aside,) = left_over(tmp_path)
    assert (tmp_path / "pets" / KEPT / aside).read_bytes() == b"changed"
    for part in (changed, SHA256.digits, aside, "Name another place with --from"):
        assert part in str(refused.value)
    assert get(web("photos.bin"), web("mirror"), checksum=SHA256).read_bytes() == CONTENT


def test_a_file_of_no_published_digest_is_compared_with_its_own_next_time(web, get, tmp_path):
    get(web("photos.bin"), folder="first")
    assert get(web("photos.bin"), folder="second").read_bytes() == CONTENT
    web.files["photos.bin"] = b"changed"
    changed = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(
        SourceError, match=f"{changed}, and noted when it was first fetched .*{SHA256.digits}"
    ):
        get(web("photos.bin"), folder="third")
    known = json.loads((tmp_path / "store" / "digests.json").read_text())
    assert known[web("photos.bin")]["sha256"] == SHA256.digits


def test_a_file_that_was_fetched_by_hand_is_taken_or_set_aside(web, get, heard, tmp_path):
    there = tmp_path / "pets" / "photos.bin"
    there.parent.mkdir()
    there.write_bytes(CONTENT)
    assert get(web("photos.bin"), checksum=SHA256) == there
    assert web.asked == []
    there.write_bytes(b"another")
    assert get(web("photos.bin"), checksum=SHA256).read_bytes() == CONTENT
    assert hashlib.sha256(b"another").hexdigest() in heard.said[0]
    assert [name for name in left_over(tmp_path) if ".wrong-" in name]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said"),
    [
        (404, {}, SourceError, "answers 404"),
        (403, {}, SourceError, "answers 403 Forbidden: it has to be asked for with an account"),
        (401, {}, SourceError, "answers 401"),
        (200, {"Content_Type": "text/html; charset=utf-8"}, SourceError, "a web page and no file"),
        (503, {"Retry-After": "4000"}, SourceUnavailable, "to come again in 4000 s"),
    ],
)
def test_a_file_that_is_not_given_says_why_and_where_to_put_it(
    web, get, status, headers, kind, said, tmp_path, heard
):
    web.faults["photos.bin"] = [(status, headers)]
    with pytest.raises(kind, match=said) as refused:
        get(web("photos.bin"))
    assert f"fetch photos.bin by hand, put it at {tmp_path / 'pets' / 'photos.bin'}" in str(
        refused.value
    )
    assert len(web.asked) == 1 and heard.waited == []


def test_a_busy_server_is_asked_again_when_it_says(web, get, heard):
    date = "Fri, 01 Jan 1999 00:00:00 GMT"  # passed
    web.faults["photos.bin"] = [
        (503, {"Retry-After": "7"}),
        (429, {"Retry-After": date}),
        (500, {}),
    ]
    assert get(web("photos.bin")).read_bytes() == CONTENT
    assert heard.waited == [7, 0, 8]


def test_a_proxy_that_is_not_there_is_named(web, get, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    with pytest.raises(SourceError) as refused:
        get(web("photos.bin"))
    said = str(refused.value)
    assert "http://me:***@127.0.0.1:9, from HTTP_PROXY" in said and "NO_PROXY" in said
    assert "secret" not in said and web.asked == []


def test_a_file_is_fetched_through_a_proxy(web, get, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", web("").rstrip("/"))
    web.files["http://data.invalid/photos.bin"] = CONTENT
    assert get("http://data.invalid/photos.bin", checksum=SHA256).read_bytes() == CONTENT


def test_a_large_file_of_drive_is_asked_for_as_one_that_was_not_scanned(get, monkeypatch):
    import requests

    asked = []

    def refused(_, url, **options):
        asked.append(url)
        raise requests.exceptions.InvalidURL("none")

    monkeypatch.setattr(requests.Session, "get", refused)
    with pytest.raises(SourceError):
        get("https://drive.google.com/uc?id=1a_B-c")
    assert asked == [
        "https://drive.usercontent.google.com/download?id=1a_B-c&export=download&confirm=t"
    ]


def test_a_host_that_is_not_there_is_a_sentence(get, heard):
    with pytest.raises(SourceUnavailable, match=r"http://127.0.0.1:9/photos.bin could not be"):
        get("http://127.0.0.1:9/photos.bin")
    assert heard.waited == [2, 4, 8, 16]


def test_a_name_that_nobody_knows_is_not_asked_for_again(get, heard):
    with pytest.raises(SourceUnavailable, match=r"no host nowhere\.invalid is known here"):
        get("http://nowhere.invalid/photos.bin")
    assert heard.waited == []


def test_a_mirror_may_be_a_folder_of_this_machine(get, tmp_path, heard):
    mirror = tmp_path / "share" / "photos.bin"
    mirror.parent.mkdir()
    with pytest.raises(SourceError, match="no file or folder at"):
        get(str(mirror))
    mirror.write_bytes(CONTENT)
    assert get(str(mirror), checksum=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../photos.bin", "/photos.bin", "a/../../b", "a\\b", ""])
def test_a_download_lands_in_its_folder(name):
    with pytest.raises(ValueError, match="outside of its folder"):
        RemoteFile(name, ("http://127.0.0.1/x",))


def _fetch_in_a_process(url, folder, answers):
    heard = Heard()
    wanted = RemoteFile("photos.bin", (url,), checksum=SHA256)
    file = fetch_file(wanted, folder, Noted(folder.parent / "digests.json"), heard.ways)
    answers.put((Path(file).read_bytes() == CONTENT, heard.said))


def test_two_processes_that_want_a_file_fetch_it_once(web, tmp_path):
    web.faults["photos.bin"] = []
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    workers = [
        spawn.Process(
            target=_fetch_in_a_process, args=(web("photos.bin"), tmp_path / "pets", answers)
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert [whole for whole, _ in found] == [True, True]
    assert len(web.asked) == 1


def test_checksums_are_what_they_say():
    with pytest.raises(ValueError, match="no checksum is called 'crc'"):
        checksum("crc", "00")
    with pytest.raises(ValueError, match="is not 32 hexadecimal digits"):
        checksum("md5", SHA256.digits)
    assert str(Checksum("md5", "0a")) == "md5 0a"
