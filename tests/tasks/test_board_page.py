"""The board page over HTTP: whole, tagged, packed, and made once for each board."""

import gzip
import os
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tasks.pages.asking import BoardError
from tasks.services.board_page import BoardPage, server
from tasks.services.children import Child, free_port
from tasks.services.server import reachable


class Maker:
    """Makes pages with a number, and counts; waits or fails where it is told to."""

    def __init__(self):
        self.made = 0
        self.error = None
        self.go = threading.Event()
        self.go.set()

    def __call__(self):
        assert self.go.wait(60)
        if self.error:
            raise self.error
        self.made += 1
        return f"<html>board {self.made}</html>".encode()


@pytest.fixture
def board(tmp_path):
    """A file in the place of a board; `publish` puts another one there."""
    path = tmp_path / "leaderboard.duckdb"

    def publish(content):
        draft = tmp_path / "draft"
        draft.write_text(content)
        draft.replace(path)

    publish("one")
    return path, publish


@contextmanager
def listening(page):
    serving = server(page, 0)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def ask(url, method="GET", **headers):
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    request.method = method
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_a_page_is_made_once_for_each_board(board):
    path, publish = board
    make = Maker()
    page = BoardPage(path, make)
    assert [page.look(), page.look(), page.look()] == [True, False, False]
    with listening(page) as url:
        assert {ask(url)[1] for _ in range(5)} == {b"<html>board 1</html>"}
        publish("two")
        assert [page.look(), page.look()] == [True, False]
        assert ask(url)[1] == b"<html>board 2</html>"
    assert make.made == 2


def test_the_last_page_is_shown_until_the_next_one_is_whole(board):
    path, publish = board
    make = Maker()
    page = BoardPage(path, make)
    page.look()
    with listening(page) as url:
        publish("two")
        make.go.clear()
        making = threading.Thread(target=page.look)
        making.start()
        assert ask(url)[1] == b"<html>board 1</html>"
        publish("three")  # while the second is made
        make.go.set()
        making.join()
        assert ask(url)[1] == b"<html>board 2</html>"
        page.look()
        assert ask(url)[1] == b"<html>board 3</html>"


def test_a_board_that_cannot_be_shown_leaves_the_last_page(board, caplog):
    path, publish = board
    make = Maker()
    page = BoardPage(path, make)
    make.error = BoardError("the board <b> is damaged")
    page.look()
    with listening(page) as url:
        status, body, _ = ask(url)
        assert (status, b"the board &lt;b&gt; is damaged" in body) == (503, True)
        make.error = None
        publish("two")
        page.look()
        make.error = BoardError("the board is damaged again")
        publish("three")
        page.look()
        assert ask(url)[:2] == (200, b"<html>board 1</html>")
    assert "the board is damaged again" in caplog.text


def test_without_a_board_the_page_says_so_and_asks_again(tmp_path):
    page = BoardPage(tmp_path / "absent", Maker())
    with listening(page) as url:
        assert (ask(url)[0], b"is being made" in ask(url)[1]) == (503, True)
        page.look()
        status, body, _ = ask(url)
        assert (status, b"There is no board yet" in body, b"refresh" in body) == (503, True, True)


def test_what_a_browser_has_is_not_sent_again_and_what_is_sent_is_packed(board):
    path, publish = board
    page = BoardPage(path, Maker())
    page.look()
    with listening(page) as url:
        status, body, headers = ask(f"{url}/?from=mail")
        assert (status, headers["Cache-Control"]) == (200, "no-cache")
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        tag = headers["ETag"]
        assert ask(url, If_None_Match=tag)[:2] == (304, b"")
        assert ask(url, If_None_Match=f'"other", {tag}')[0] == 304
        packed = ask(url, Accept_Encoding="gzip, br")
        assert packed[2]["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed[1]) == body
        empty, length = ask(url, method="HEAD")[1:]
        assert (empty, int(length["Content-Length"])) == (b"", len(body))
        publish("two")
        page.look()
        status, _, headers = ask(url, If_None_Match=tag)
        assert (status, headers["ETag"] != tag) == (200, True)


def test_there_is_nothing_but_the_page(board):
    page = BoardPage(board[0], Maker())
    with listening(page) as url:
        assert reachable(url) is None
        for place in ("/leaderboard.duckdb", "/../trials", "/trials/0f/trial.json"):
            assert ask(f"{url}{place}")[:2] == (404, b"")


def test_the_process_shows_the_board_of_its_store_with_links_to_what_is_served(tmp_path):
    from tasks.pages.board import rebuild
    from tasks.storage.store import Store

    store = Store(tmp_path / "store")
    rebuild(store)
    port = free_port()
    served = {
        "SHOTBOARD_HOME": str(store.home),
        "SHOTBOARD_PREFECT_URL": "http://127.0.0.1:4200",
        "SHOTBOARD_MLFLOW_URL": "http://127.0.0.1:5000",
    }
    child = Child(
        "the board page",
        *("tasks.services.board_page", str(port)),
        log=tmp_path / "log",
        folder=tmp_path,
        environment=dict(os.environ) | served,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        child.wait(lambda: None if ask_quietly(url) == 200 else "no page", 120)
        text = ask(url)[1].decode()
    finally:
        child.stop()
    assert "http://127.0.0.1:4200" in text
    assert "http://127.0.0.1:5000" in text
    assert reachable(url) is not None


def ask_quietly(url):
    try:
        return ask(url)[0]
    except OSError:
        return None
