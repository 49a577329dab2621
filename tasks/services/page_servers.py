"""The servers of pages that `shotboard up` starts beside Prefect's: the board page, MLflow's UI."""

import os
import sqlite3
from contextlib import suppress
from typing import NamedTuple

from tasks.pages.links import Pages, served_pages
from tasks.services.children import Child
from tasks.services.ports import Ports
from tasks.services.server import without_prefect
from tasks.storage.moving import settle
from tasks.storage.store import Store

_HERE = "http://127.0.0.1"


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
    mlflow = f"{_HERE}:{ports.mlflow}" if ports.mlflow else None
    return Pages(
        named.board or f"{_HERE}:{ports.board}",
        named.mlflow or mlflow,
        named.prefect or f"{_HERE}:{ports.prefect}",
    )


def start_board(store: Store, port: int, pages: Pages) -> PageServer:
    """Starts the server of the board page.

    Args:
        store: Whose board.
        port: Where it listens on 127.0.0.1.
        pages: What the page links to.
    """
    child = Child(
        "the board page",
        *("tasks.services.board_page", str(port)),
        log=store.up / "board.log",
        folder=store.up,
        environment=without_prefect(os.environ)
        | pages.environment()
        | {"SHOTBOARD_HOME": store.place},
        way_out="Run `shotboard doctor`.",
    )
    return PageServer("board page", child, f"{_HERE}:{port}")


def start_mlflow(store: Store, port: int) -> PageServer:
    """Starts MLflow's server with its pages.

    Args:
        store: Whose runs it shows.
        port: Where it listens on 127.0.0.1.
    """
    with suppress(sqlite3.Error):  # the pages are served all the same; `shotboard doctor` tells
        settle(store)
    child = Child(
        "the MLflow UI",
        *("mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
        *("--artifacts-destination", str(store.mlflow_artifacts)),
        log=store.up / "mlflow.log",
        folder=store.up,
        environment=without_prefect(os.environ)
        | {
            # May hold a password, and all users of the machine can list the arguments.
            "MLFLOW_BACKEND_STORE_URI": store.mlflow_uri,
            # Jobs are evaluations of language models; they need ten more processes.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        way_out="Run `shotboard doctor`.",
    )
    return PageServer("MLflow UI", child, f"{_HERE}:{port}")
