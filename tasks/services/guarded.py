"""The servers of Prefect and MLflow behind our guard: run as a module, and by `mlflow server`.

`python -m tasks.services.guarded 7` serves Prefect on the socket that is file 7 of this process.
`shotboard` is an app of MLflow (`mlflow.app` in pyproject.toml), as its own `basic-auth` is one.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from tasks.services.guard import Guard, Refusal


class Guarded:
    """An ASGI application that is asked only what its guard lets through.

    Args:
        app: The application.
        guard: What a request must bring.
        own_sockets: Whether it asks for the login in its WebSockets by itself, as Prefect's do: a
            browser cannot send it with the request for one.
    """

    def __init__(self, app: Any, guard: Guard, *, own_sockets: bool = False) -> None:
        self.app = app
        self.guard = guard
        self.own_sockets = own_sockets

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; see the ASGI specification."""
        if scope["type"] in ("http", "websocket") and (refused := self._refusal(scope)):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refused.text})
            else:
                await _answer(refused, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Any) -> Refusal | None:
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            # One that is given twice is nobody's: a proxy might have looked at the other.
            headers[name] = "\0" if name in headers else value.decode("latin-1")
        host, origin, login = (headers.get(n) for n in (b"host", b"origin", b"authorization"))
        asked = not (self.own_sockets and scope["type"] == "websocket")
        return self.guard.refusal(host, origin, login, login=asked)


async def _answer(refused: Refusal, send: Any) -> None:
    body = refused.text.encode()
    headers = {
        **refused.headers,
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
    }
    packed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status.value, "headers": packed})
    await send({"type": "http.response.body", "body": body})


class SameOrigin:
    """Prefect's application, whose pages call it at the address that they were asked for at.

    Prefect tells them one address, and a browser refuses a page that calls another than its own:
    this machine has several, of which a stranger may know one.

    Args:
        app: The application; its guard has looked at the name by which it is asked.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; see the ASGI specification."""
        if scope["type"] != "http" or not scope["path"].endswith("/ui-settings"):
            await self.app(scope, receive, send)
            return
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        headers = [each for each in scope["headers"] if each[0] != b"accept-encoding"]
        await self.app({**scope, "headers": headers}, receive, keep)
        start, body = messages[0], b"".join(each.get("body", b"") for each in messages[1:])
        with suppress(ValueError, TypeError):  # another version has no such settings
            host = dict(headers)[b"host"].decode("latin-1")
            told = json.loads(body) | {"api_url": f"{scope['scheme']}://{host}/api"}
            body = json.dumps(told).encode()
        kept = [each for each in start["headers"] if each[0].lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await send({**start, "headers": [*kept, length]})
        await send({"type": "http.response.body", "body": body})


def prefect() -> Guarded:
    """Prefect's server, of the environment."""
    from prefect.server.api.server import create_app

    app = create_app()
    # A proxy has a name and a scheme that requests do not show here.
    own = app if os.environ.get("SHOTBOARD_PREFECT_URL") else SameOrigin(app)
    return Guarded(own, Guard.of_environment(), own_sockets=True)


def mlflow() -> Guarded:
    """MLflow's server, as `mlflow server` has set the environment for it."""
    from importlib import import_module

    return Guarded(import_module("mlflow.server.fastapi_app").app, Guard.of_environment())


def main(file: int) -> None:
    """Serves Prefect until it is told to end.

    Args:
        file: Descriptor of a socket that somebody listens on.
    """
    import uvicorn

    config = uvicorn.Config(
        "tasks.services.guarded:prefect",
        factory=True,
        log_level="warning",
        lifespan="on",
        # A page of the UI that is open holds a connection, which would be waited for.
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=file)])
    sys.exit(not server.started)


if __name__ == "__main__":
    main(int(sys.argv[1]))
