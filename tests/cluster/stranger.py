"""What somebody on another machine tries, as a program on a host: a task a line, an answer a line.

Tasks and answers are JSON: `{"connect": ["10.0.0.1", 4200]}`, and see the functions.
"""

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

SECONDS = 60


def connect(address: list[Any]) -> bool:
    """Whether anybody listens at an address; `socket.AF_INET6` has four parts of one."""
    family = socket.AF_INET if len(address) == 2 else socket.AF_INET6
    with socket.socket(family) as line:
        line.settimeout(SECONDS)
        with suppress(OSError):
            line.connect(tuple(address))
            return True
    return False


def http(url: str, method: str, headers: dict[str, str], body: Any) -> tuple[int, str]:
    """The status and the text of an answer."""
    asked = urllib.request.Request(url, headers=headers, method=method)
    if body is not None:
        asked.data = json.dumps(body).encode()
        asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def raw(address: list[Any], text: str) -> str:
    """What a server sends to who knows no manners, up to the end of the first line."""
    with socket.create_connection(tuple(address), timeout=SECONDS) as line:
        line.sendall(text.encode("latin-1"))
        line.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            return line.makefile("rb").readline().decode("latin-1").strip()
    return ""


def web_socket(url: str, token: str | None, headers: dict[str, str]) -> int | str:
    """The status of a refusal, or what Prefect says to a token."""
    from websockets.asyncio.client import connect as opened
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    async def ask() -> str:
        told: Any = {"subprotocols": ["prefect"], "additional_headers": headers}
        async with opened(url, **told) as line:
            await line.send(json.dumps({"type": "auth", "token": token}))
            return json.loads(await line.recv())["type"]

    try:
        return asyncio.run(asyncio.wait_for(ask(), SECONDS))
    except InvalidStatus as error:
        return error.response.status_code
    except ConnectionClosed:
        return "closed"


KNOWN = {"connect": connect, "http": http, "raw": raw, "web_socket": web_socket}


def main() -> None:
    for line in sys.stdin:
        ((name, given),) = json.loads(line).items()
        sys.stdout.write(json.dumps(KNOWN[name](*given)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
