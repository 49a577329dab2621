"""The servers of pages that `shotboard up` starts beside Prefect's: the board page, MLflow's UI."""

import os
import sqlite3
from contextlib import suppress
from importlib.metadata import entry_points
from typing import NamedTuple

from tasks.environment import MachineError
from tasks.pages.links import Pages, served_pages
from tasks.services.children import Child
from tasks.services.guard import Guard, reached_at, shown_at
from tasks.services.ports import Ports
from tasks.services.server import without_prefect
from tasks.storage.moving import settle
from tasks.storage.store import Store

_APP = "shotboard"  # `tasks.services.guarded.mlflow`, as MLflow knows it by pyproject.toml


class PageServer(NamedTuple):
    """A server of pages.

    Attributes:
        name: What a person calls it.
        child: Its process.
        url: Where it answers here, whatever others are told.
    """

    name: str
    child: Child
    url: str


def addresses(ports: Ports) -> Pages:
    """What other pages link to: a name that was set, such as that of a proxy, or our own."""
    named = served_pages()
    here = f"http://{shown_at(ports.host)}"
    mlflow = f"{here}:{ports.mlflow}" if ports.mlflow else None
    return Pages(
        named.board or f"{here}:{ports.board}",
        named.mlflow or mlflow,
        named.prefect or f"{here}:{ports.prefect}",
    )


def start_board(store: Store, ports: Ports, pages: Pages, guard: Guard) -> PageServer:
    """Starts the server of the board page.

    Args:
        store: Whose board.
        ports: Where it listens.
        pages: What the page links to.
        guard: What a request must bring.
    """
    child = Child(
        "the board page",
        *("tasks.services.board_page", str(ports.board), ports.host),
        log=store.up / "board.log",
        folder=store.up,
        environment=without_prefect(os.environ)
        | pages.environment()
        | guard.at(pages.board).environment()
        | {"SHOTBOARD_HOME": store.place},
        way_out="Run `shotboard doctor`.",
    )
    return PageServer("board page", child, f"http://{reached_at(ports.host)}:{ports.board}")


def start_mlflow(store: Store, ports: Ports, pages: Pages, guard: Guard) -> PageServer:
    """Starts MLflow's server with its pages.

    Args:
        store: Whose runs it shows.
        ports: Where it listens.
        pages: Where it is said to be.
        guard: What a request must bring.

    Raises:
        MachineError: This installation does not name our app to MLflow.
    """
    if _APP not in {each.name for each in entry_points(group="mlflow.app")}:
        raise MachineError(
            "MLflow does not know the app with which `shotboard up` guards its pages, for this "
            "installation is older than its code: run `make install`."
        )
    guard = guard.at(pages.mlflow)
    with suppress(sqlite3.Error):  # the pages are served all the same; `shotboard doctor` tells
        settle(store)
    child = Child(
        "the MLflow UI",
        *("mlflow", "server", "--workers", "1", "--app-name", _APP),
        *("--host", ports.host, "--port", str(ports.mlflow)),
        *("--artifacts-destination", str(store.mlflow_artifacts)),
        log=store.up / "mlflow.log",
        folder=store.up,
        environment=without_prefect(os.environ)
        | guard.environment()
        | {
            # The guard has looked at both already, and more closely.
            "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": _origins(guard, ports.mlflow),
            # May hold a password, and all users of the machine can list the arguments.
            "MLFLOW_BACKEND_STORE_URI": store.mlflow_uri,
            # Jobs are evaluations of language models; they need ten more processes.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        way_out="Run `shotboard doctor`.",
    )
    return PageServer("MLflow UI", child, f"http://{reached_at(ports.host)}:{ports.mlflow}")


def _origins(guard: Guard, port: int | None) -> str:
    """Every address of our pages of MLflow, as MLflow is told them."""
    return ",".join(sorted({*guard.origins, *(f"http://{name}:{port}" for name in guard.names)}))
