"""Who may ask our servers: pages of theirs, and where a token is set, whoever has it.

A server on 127.0.0.1 is asked by more than its user: any page in the user's browser may send it
requests, and a page whose name is turned to 127.0.0.1 (DNS rebinding) may read the answers too. So
a request has to name the server as we do, and must not come from a page of somebody else.
"""

import base64
import hmac
import ipaddress
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from operators.files import write_atomic
from tasks.environment import LOOPBACK, TOKEN
from tasks.storage.store import Store

HOST = "127.0.0.1"
USER = "shotboard"  # whom browsers and clients name beside the token
NAMES, ORIGINS, LOGIN = "SHOTBOARD_GUARD_NAMES", "SHOTBOARD_GUARD_ORIGINS", "SHOTBOARD_GUARD_LOGIN"
SHORTEST = 16  # characters of a token
_EVERYWHERE = ("0.0.0.0", "")
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
_TOKEN = re.compile(rf"[\w.~+/=-]{{{SHORTEST},200}}", re.ASCII)


class Refusal(NamedTuple):
    """Why a request gets no answer.

    Attributes:
        status: Of HTTP.
        text: A sentence for a person.
        headers: Beside it.
    """

    status: HTTPStatus
    text: str
    headers: Mapping[str, str] = {}


@dataclass(frozen=True)
class Guard:
    """What a request must bring.

    Attributes:
        names: What the server is called, beside its addresses.
        origins: Of its pages where a proxy has names of its own, such as
            `https://board.example.org`.
        login: Name and token with a colon between; None where nobody is asked for it.
    """

    names: frozenset[str] = frozenset(LOOPBACK)
    origins: frozenset[str] = frozenset()
    login: str | None = field(default=None, repr=False)

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> "Guard":
        """What `environment` told this process."""
        names, origins = (frozenset(environ.get(name, "").split()) for name in (NAMES, ORIGINS))
        return cls(names or cls.names, origins, environ.get(LOGIN))

    def at(self, root: str | None) -> "Guard":
        """The guard of one of our servers, whose pages may ask it: those of the others may not.

        A page of MLflow, for one, may be an artifact that somebody else has written.
        """
        place = _place(root) if root else None
        return replace(
            self, origins=frozenset({f"{place.scheme}://{place.netloc}"} if place else ())
        )

    def environment(self) -> dict[str, str]:
        """The variables that tell a server of ours, which is another process."""
        told = {NAMES: " ".join(sorted(self.names)), ORIGINS: " ".join(sorted(self.origins))}
        return told | ({LOGIN: self.login} if self.login else {})

    def refusal(
        self, host: str | None, origin: str | None, authorization: str | None, *, login: bool = True
    ) -> Refusal | None:
        """Why a request gets no answer; None if it gets one.

        Args:
            host: Its header `Host`.
            origin: Its header `Origin`, which browsers add where a page asks.
            authorization: Its header of that name.
            login: Whether it must bring the login, if there is one.
        """
        named = _place(f"//{host}") if host and _HOST.fullmatch(host) else None
        if named is None or not self._is_ours(named.hostname):
            return Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server is not called that. Ask it by the address that `shotboard up` "
                "prints; names of a proxy are told by SHOTBOARD_BOARD_URL and its like.",
            )
        if origin is not None and not self._may_ask(_place(origin), origin, named):
            return Refusal(HTTPStatus.FORBIDDEN, "A page of another server may not ask this one.")
        if login and self.login and not self._knows(authorization):
            return Refusal(
                HTTPStatus.UNAUTHORIZED,
                f"Log in as {USER}, with the token of this `shotboard up` as password.",
                {"WWW-Authenticate": 'Basic realm="Shotboard", charset="UTF-8"'},
            )
        return None

    def _is_ours(self, host: str | None) -> bool:
        """Whether a host is an address, which nobody can turn elsewhere, or a name of ours."""
        host = (host or "").rstrip(".")
        return host in self.names or _is_address(host)

    def _may_ask(self, origin: SplitResult | None, written: str, named: SplitResult) -> bool:
        if origin is None:
            return False
        if written in self.origins or origin.netloc.lower() == named.netloc.lower():
            return True
        hosts = {origin.hostname, named.hostname}
        return hosts <= self.names and _port(origin) == _port(named)

    def _knows(self, authorization: str | None) -> bool:
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "basic" or self.login is None:
            return False
        with suppress(ValueError):
            return hmac.compare_digest(base64.b64decode(given, validate=True), self.login.encode())
        return False


def guard_of(store: Store, host: str, roots: Iterable[str | None]) -> Guard:
    """The guard of the servers of a store.

    Args:
        store: Keeps the token in `up/token`, unless `SHOTBOARD_TOKEN` has one.
        host: The name or address that they listen on; beyond this machine they ask for a token.
        roots: Where our pages are said to be; a proxy's have names of their own.

    Raises:
        ValueError: `SHOTBOARD_TOKEN` is none.
    """
    places = [place for root in roots if root and (place := _place(root))]
    names = {*LOOPBACK, *(place.hostname for place in places if place.hostname)}
    if host not in LOOPBACK:
        names |= {host, socket.gethostname().lower(), *_addresses()} - set(_EVERYWHERE)
    token = _token(store, host)
    return Guard(frozenset(names), login=f"{USER}:{token}" if token else None)


def reached_at(host: str) -> str:
    """The address at which this machine reaches what listens on a host."""
    return HOST if host in _EVERYWHERE else host


def shown_at(host: str) -> str:
    """What others call this machine where servers listen on a host."""
    return socket.gethostname() if host in _EVERYWHERE else host


def _token(store: Store, host: str) -> str | None:
    named = os.environ.get(TOKEN)
    if named is not None:
        if not _TOKEN.fullmatch(named):
            raise ValueError(
                f"{TOKEN} is no token (its value is not shown): give {SHORTEST} to 200 letters, "
                f"digits and -._~+/=, such as `openssl rand -hex 32` prints, or unset it."
            )
        return named
    if host in LOOPBACK:
        return None
    file = store.up / "token"
    with suppress(OSError, UnicodeDecodeError):
        kept = file.read_text().strip()
        if _TOKEN.fullmatch(kept) and not stat.S_IMODE(file.stat().st_mode) & 0o077:
            return kept
    made = secrets.token_urlsafe(32)
    write_atomic(file, f"{made}\n".encode(), private=True)
    return made


def _addresses() -> set[str]:
    """The addresses of this machine."""
    import psutil

    found = (each for card in psutil.net_if_addrs().values() for each in card)
    return {each.address for each in found if each.family == socket.AF_INET}


def _place(url: str) -> SplitResult | None:
    """The parts of a URL, whose host and port are what they should be; else None."""
    with suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port
        return parts if parts.hostname and "@" not in parts.netloc else None
    return None


def _port(place: SplitResult) -> int:
    return place.port or (443 if place.scheme == "https" else 80)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
