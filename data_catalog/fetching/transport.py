"""One file of a server or file system, from any of its bytes on.

The web is read with requests, which knows proxies and certificates of the environment; all other
places are fsspec's. A server that compresses on the way is asked not to, for a digest is that of
the file.
"""

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from data_catalog.secrets import redact
from data_catalog.sources import SourceError, SourceUnavailable
from data_catalog.sources.base import open_place, reaching, stamp

if TYPE_CHECKING:
    from requests import Response

CHUNK_BYTES = 1 << 20
CONNECT_SECONDS, SILENT_SECONDS = 15, 60
_DRIVE = re.compile(r"https://drive\.google\.com/uc\?(?:export=download&)?id=([\w-]+)")
_WEB = ("http://", "https://")
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_RANGE_REFUSED = 416


class Broken(SourceUnavailable):
    """The place does not give the file now, and may in a moment.

    Args:
        message: Says so.
        wait_seconds: See `wait_seconds`.

    Attributes:
        wait_seconds: How long the server asks to wait; None where it says nothing.
    """

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class Answer(NamedTuple):
    """What a place gives.

    Attributes:
        start: Position in the file of the first byte that comes; 0 where all of it does.
        size: Bytes of the whole file; None where the place does not say.
        version: What moves when the file does, such as an entity tag; empty if unknown.
        chunks: The bytes. Fewer than were told are `Broken`.
    """

    start: int
    size: int | None
    version: str
    chunks: Iterator[bytes]


@contextmanager
def opened(
    place: str, start: int = 0, version: str = "", headers: Mapping[str, str] | None = None
) -> Iterator[Answer]:
    """Opens the file at `place` for reading once.

    Args:
        place: A local path or any URL that fsspec knows.
        start: First byte that is wanted. A server may give all of the file nevertheless.
        version: That of the bytes before `start`: of another one, all of it is given.
        headers: Of a request to the web, such as one with a token.

    Raises:
        SourceError: It will not be had there: nothing is there, or it may not be read.
        SourceUnavailable: It cannot be reached; `Broken` where trying again may help.
    """
    if place.startswith(_WEB):
        with _from_web(place, start, version, headers) as answer:
            yield answer
        return
    fs, path = open_place(place)
    with reaching(place):
        info = fs.info(path)
        if info.get("type") == "directory":
            raise SourceError(f"{place} is a folder. Name a file in it.")
        now = repr(stamp(info))
        start = start if version in ("", now) else 0
        file = fs.open(path, "rb")
    with file:
        yield Answer(start, info.get("size"), now, _chunks(file, start, place))


def _chunks(file: IO[bytes], start: int, place: str) -> Iterator[bytes]:
    with reaching(place):
        file.seek(start)
    while True:
        with reaching(place):
            chunk = file.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


@contextmanager
def _from_web(
    url: str, start: int, version: str, headers: Mapping[str, str] | None
) -> Iterator[Answer]:
    import requests

    asked = {"Accept-Encoding": "identity", "User-Agent": "shotboard", **(headers or {})}
    if start:
        asked["Range"] = f"bytes={start}-"
        if version and not version.startswith("W/"):  # a weak tag says nothing of the bytes
            asked["If-Range"] = version
    with _web_faults(url), requests.Session() as session:
        # Of large files, Drive first asks whether one minds that it looked for no viruses.
        direct = r"https://drive.usercontent.google.com/download?id=\1&export=download&confirm=t"
        answer = session.get(
            _DRIVE.sub(direct, url),
            headers=asked,
            stream=True,
            timeout=(CONNECT_SECONDS, SILENT_SECONDS),
        )
        with answer:
            if answer.status_code != _RANGE_REFUSED or not start:
                _refuse(answer, url)
                yield _answer(answer, url)
                return
            if _whole_size(answer) == start:  # all is there already
                yield Answer(start, start, version, iter(()))
                return
    with _from_web(url, 0, "", headers) as whole:  # what is there is of another file
        yield whole


def _answer(answer: "Response", url: str) -> Answer:
    start, size = 0, _number(answer.headers.get("Content-Length"))
    if answer.status_code == 206:
        start, size = _range(answer, url)
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html") and not urlsplit(url).path.endswith((".html", ".htm")):
        raise SourceError(
            f"{url} answers with a web page and no file: it asks for a sign-in or a consent, or "
            "its limit of downloads is reached. Open it in a browser, and see what it asks."
        )
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Answer(start, size, tag, answer.raw.stream(CHUNK_BYTES, decode_content=False))


def _range(answer: "Response", url: str) -> tuple[int, int | None]:
    """First byte and size of the whole, as the answer to a request for a part says them."""
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    bounds, _, whole = rest.partition("/")
    first = _number(bounds.partition("-")[0])
    if unit != "bytes" or first is None:
        raise SourceError(f"{url} gives a part of the file, and does not say which.")
    return first, _number(whole)


def _whole_size(answer: "Response") -> int | None:
    return _number(answer.headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _refuse(answer: "Response", url: str) -> None:
    """Raises what a status of failure means.

    Raises:
        Broken: A moment later it may be given.
        SourceError: It will not be given.
    """
    status = answer.status_code
    if status < 400:
        return
    said = f"{url} answers {status} {answer.reason or ''}".rstrip()
    if status in _AGAIN:
        wait = _wait_seconds(answer)
        asks = f", and asks to come again in {wait:.0f} s" if wait else ""
        raise Broken(f"{said}{asks}.", wait)
    if status in (401, 403):
        raise SourceError(
            f"{said}: it has to be asked for with an account, or not from here. Open it in a "
            "browser, and see what it asks."
        )
    if status == 407:
        raise SourceError(f"{said}: the proxy wants a name and password. {_proxies(url)}")
    raise SourceError(f"{said}.")


def _wait_seconds(answer: "Response") -> float | None:
    """`Retry-After` in seconds, which is a number or a date."""
    said = answer.headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


@contextmanager
def _web_faults(url: str) -> Iterator[None]:
    """Turns what requests and urllib3 raise into a sentence.

    Raises:
        Broken: The connection failed or ended early.
        SourceError: The URL, the proxy or the certificate is no good.
    """
    import requests
    import urllib3

    try:
        yield
    except requests.exceptions.SSLError as error:
        raise SourceError(
            f"{url}: its certificate is not trusted ({_reason(error)}). Where a proxy signs with "
            "its own, name its file in REQUESTS_CA_BUNDLE."
        ) from None
    except requests.exceptions.ProxyError as error:
        raise SourceError(
            f"{url} could not be reached through the proxy ({_reason(error)}). {_proxies(url)}"
        ) from None
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.TooManyRedirects,
    ) as error:
        raise SourceError(f"{url} is no address that can be read ({_reason(error)}).") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        for each in (error, *error.args):
            if isinstance(each, urllib3.exceptions.IncompleteRead):
                raise Broken(f"{url} ended {each.expected:,} bytes early.") from None
            if isinstance(getattr(each, "reason", None), urllib3.exceptions.NameResolutionError):
                raise SourceUnavailable(
                    f"{url} could not be reached: no host {urlsplit(url).hostname} is known here. "
                    "Check the network, or name a proxy in HTTPS_PROXY."
                ) from None
        raise Broken(f"{url} could not be reached ({_reason(error)}).") from None


def _proxies(url: str) -> str:
    """What leads to the proxy, and how to go without."""
    from requests.utils import get_environ_proxies

    scheme = urlsplit(url).scheme
    proxies = get_environ_proxies(url)
    proxy = redact(str(proxies.get(scheme) or proxies.get("all") or "of the environment"))
    return (
        f"The proxy is {proxy}, from {scheme.upper()}_PROXY or ALL_PROXY; correct it, or name the "
        "host in NO_PROXY."
    )


def _reason(error: BaseException) -> str:
    """The innermost cause in its own words, on one line."""
    link: BaseException | None = error
    said = str(error)
    while link is not None:
        said = str(link) or said
        inner = getattr(link, "reason", None)
        args = [each for each in getattr(link, "args", ()) if isinstance(each, BaseException)]
        link = inner if isinstance(inner, BaseException) else (args[0] if args else None)
    return " ".join(said.rpartition(">: ")[2].split()) or type(error).__name__
