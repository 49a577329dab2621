"""The board page over HTTP, for `shotboard up`: `python -m tasks.services.board_page PORT [HOST]`.

A page is made once for each board that is published, beside the one that is shown until then, so
whoever asks gets a whole page at once. The store is that of `SHOTBOARD_HOME`.
"""

import gzip
import hashlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tasks.pages.asking import BoardError
from tasks.plain_text import in_html, plain
from tasks.services.guard import HOST, Guard, Refusal
from tasks.storage.store import Store

FETCH_SECONDS = 30.0  # between two questions for the board of a URL
LOOK_SECONDS = 1.0  # between two looks for another board
HEALTH = "/health"
_WAITING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Shotboard</title>
<meta http-equiv="refresh" content="{seconds}"><meta name="color-scheme" content="light dark">
<body style="font-family: sans-serif; margin: 3rem"><h1>Shotboard</h1><p>{text}</p></body></html>
"""
_EMPTY = "There is no board yet. The first run that ends makes it, and then it is shown here."


@dataclass(frozen=True)
class Answer:
    """A page that is ready to be sent.

    Attributes:
        content: HTML in UTF-8.
        packed: The same by gzip.
        etag: Its digest, in quotes.
        status: OK for a board, else what says that there is none to show yet.
    """

    content: bytes
    packed: bytes
    etag: str
    status: HTTPStatus

    @classmethod
    def of(cls, content: bytes, status: HTTPStatus = HTTPStatus.OK) -> "Answer":
        """An answer with a content."""
        digest = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, gzip.compress(content, 6, mtime=0), f'"{digest}"', status)

    @classmethod
    def waiting(cls, text: str, seconds: int = 5) -> "Answer":
        """A sentence, which asks again by itself."""
        said = _WAITING.format(text=in_html(text), seconds=seconds)
        return cls.of(said.encode(), HTTPStatus.SERVICE_UNAVAILABLE)


class BoardPage:
    """The page of a store's board, made anew when the board is another one.

    Args:
        board: The published file.
        make: Makes the page.

    Attributes:
        answer: What is shown.
    """

    def __init__(self, board: Path, make: Callable[[], bytes]) -> None:
        self.board = board
        self.make = make
        self.answer = Answer.waiting("The board page is being made.", seconds=1)
        self._seen: object = self  # no stamp equals it

    def look(self) -> bool:
        """Makes the page if there is another board; says whether it tried.

        A board that cannot be shown leaves the page as it was, and is tried again when there is
        another one.
        """
        stamp = _stamp(self.board)
        if stamp == self._seen:
            return False
        self._seen = stamp  # of before the page is made: a board that comes meanwhile is the next
        if stamp is None:
            self.answer = Answer.waiting(_EMPTY)
            return True
        try:
            self.answer = Answer.of(self.make())
        except BoardError as error:
            logging.getLogger(__name__).warning("the page was not made: %s", plain(str(error)))
            if self.answer.status is not HTTPStatus.OK:
                self.answer = Answer.waiting(str(error))
        return True

    def follow(self) -> None:
        """Looks for another board for ever."""
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Moves when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


class _Handler(BaseHTTPRequestHandler):
    """Answers for a page to whom a guard lets through; a subclass has both."""

    page: BoardPage
    guard: Guard
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds for which a browser may keep a connection that it does not use

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if refused := self._refusal():
            headers = {"Content-Type": "text/plain; charset=utf-8", **refused.headers}
            self._send(refused.status, refused.text.encode(), headers)
        elif path == HEALTH:
            self._send(HTTPStatus.OK, b"true", {"Content-Type": "application/json"})
        elif path in ("/", "/index.html"):
            self._show(self.page.answer)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"", {})

    do_HEAD = do_GET

    def _refusal(self) -> Refusal | None:
        asked = (self.headers.get_all(name) for name in ("Host", "Origin", "Authorization"))
        # One that is given twice is nobody's: a proxy might have looked at the other.
        host, origin, login = ("\0".join(given) if given else None for given in asked)
        return self.guard.refusal(host, origin, login)

    def _show(self, answer: Answer) -> None:
        headers = {
            "ETag": answer.etag,
            "Cache-Control": "no-cache",  # a browser asks each time, by the tag
            "Vary": "Accept-Encoding",
            "Content-Type": "text/html; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        }
        known = [tag.strip() for tag in self.headers.get("If-None-Match", "").split(",")]
        if answer.status is HTTPStatus.OK and answer.etag in known:
            self._send(HTTPStatus.NOT_MODIFIED, b"", headers)
        elif "gzip" in self.headers.get("Accept-Encoding", ""):
            self._send(answer.status, answer.packed, headers | {"Content-Encoding": "gzip"})
        else:
            self._send(answer.status, answer.content, headers)

    def _send(self, status: HTTPStatus, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Leaves requests out of the log, which is for troubles."""


def server(
    page: BoardPage, port: int, host: str = HOST, guard: Guard | None = None
) -> ThreadingHTTPServer:
    """A server of a page, which listens already.

    Args:
        page: What it shows at `/`.
        port: Where it listens; 0 for any that is free.
        host: At which address; by default no other machine reaches it.
        guard: What a request must bring; by default that of a server of this machine.
    """
    handler = type("Handler", (_Handler,), {"page": page, "guard": guard or Guard()})
    return ThreadingHTTPServer((host, port), handler)


def _fetch(store: Store) -> None:
    """Fetches the board of a URL for ever, as other nodes publish it."""
    while True:
        time.sleep(FETCH_SECONDS)
        with suppress(OSError):  # it cannot be reached now: the last board stays
            store.refresh()


def main() -> None:
    """Serves the page of a store until the process ends."""
    from tasks.site import page

    store = Store.at()
    shown = BoardPage(store.board, lambda: page(store))
    port, host = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else HOST
    listening = server(shown, port, host, Guard.of_environment())
    threading.Thread(target=shown.follow, daemon=True).start()
    if store.url:
        threading.Thread(target=_fetch, args=(store,), daemon=True).start()
    listening.serve_forever()


if __name__ == "__main__":
    main()
