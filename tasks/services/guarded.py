"""The servers of Prefect and MLflow behind our guard: what `uvicorn` and `mlflow server` start.

`shotboard` is an app of MLflow (`mlflow.app` in pyproject.toml), as its own `basic-auth` is one.
"""

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


def prefect() -> Guarded:
    """Prefect's server, of the environment."""
    from prefect.server.api.server import create_app

    return Guarded(create_app(), Guard.of_environment(), own_sockets=True)


def mlflow() -> Guarded:
    """MLflow's server, as `mlflow server` has set the environment for it."""
    from importlib import import_module

    return Guarded(import_module("mlflow.server.fastapi_app").app, Guard.of_environment())
