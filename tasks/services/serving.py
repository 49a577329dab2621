"""What `shotboard up` keeps running: a Prefect server with its clock, a worker, MLflow, the board.

The server has the database that the private server of `shotboard run` uses too (`server.py`).
Both may run at once: SQLite puts their writes in line, and each records what is sent to it.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from operators.files import at_home, write_atomic
from tasks.progress import Stage, stage
from tasks.services.children import Child
from tasks.services.crashed import say_again, tell_crashed
from tasks.services.forms import Forms
from tasks.services.guard import guard_of, reached_at
from tasks.services.notifying import address, notify_at
from tasks.services.page_servers import addresses, start_board, start_mlflow
from tasks.services.pool import (
    POOL,
    Deployment,
    NoAnswer,
    deployments_of_pool,
    end_flow_runs,
    make_pool,
    skip_missed,
    trouble_with_worker,
)
from tasks.services.ports import Ports
from tasks.services.server import (
    START_SECONDS,
    PrefectUrl,
    reachable,
    settings,
    start_server,
    without_prefect,
)
from tasks.storage.store import Store

WORKER = f"{socket.gethostname()}-up"
QUERY_SECONDS = "2"  # between two looks of the worker for flow runs; Prefect's 10 are for clusters
WATCH_SECONDS = 0.5
TELL_SECONDS = 5.0  # between two looks at what became of flow runs


@dataclass(frozen=True)
class Serving:
    """What is up.

    Attributes:
        api: Where Prefect answers.
        board: The board page.
        mlflow: The page of MLflow, or the tracking server that `MLFLOW_TRACKING_URI` names.
        deployments: What can be run.
        children: The processes; each has its log.
        forms: Of the deployments.
        notified: Who is told of regressions, without a secret; None for nobody.
        locked: Whether each of them asks for the token.
    """

    api: PrefectUrl
    board: str
    mlflow: str
    deployments: tuple[Deployment, ...]
    children: tuple[Child, ...]
    forms: Forms
    notified: str | None
    locked: bool = False

    def watch(self) -> NoReturn:
        """Keeps forms and states true; only an interrupt or a child's end ends it.

        Raises:
            ChildError: A child ended; the message ends with its log.
        """
        told = time.monotonic()
        while True:
            for child in self.children:
                child.check()
            with suppress(NoAnswer):
                self.forms.follow()
                if time.monotonic() - told >= TELL_SECONDS:
                    told = time.monotonic()
                    tell_crashed(self.forms.store)
                    say_again()
            time.sleep(WATCH_SECONDS)


def project_folder(default: Path) -> Path:
    """Returns the folder of prefect.yaml: `SHOTBOARD_PROJECT`, else `default`.

    Raises:
        FileNotFoundError: It has no prefect.yaml.
    """
    named = os.environ.get("SHOTBOARD_PROJECT")
    folder = at_home(named).resolve() if named else default
    if not (folder / "prefect.yaml").is_file():
        raise FileNotFoundError(
            f"there is no prefect.yaml in {folder}, so there is nothing to deploy. Set "
            "SHOTBOARD_PROJECT to a checkout of Shotboard, which has one beside flows/."
        )
    return folder


@contextmanager
def serving(store: Store, project: Path, ports: Ports) -> Iterator[Serving]:
    """Starts everything; stops it when the block ends, the worker first, for its runs say so.

    Args:
        store: Keeps the databases, and the logs under `up/`.
        project: Folder of prefect.yaml.
        ports: Where the servers listen; that of MLflow's pages is left alone where a tracking
            server has its own.

    Yields:
        What is up, when all of it answers.

    Raises:
        ValueError: A port is taken, another `shotboard up` serves this store, `SHOTBOARD_NOTIFY` is
            no address, or `SHOTBOARD_TOKEN` no token.
        ChildError: Something did not start; the message ends with its log.
    """
    if store.mlflow_is_server:
        ports = replace(ports, mlflow=None)
    notified = address()
    with ExitStack() as stack:
        stack.enter_context(_alone(store, ports))
        ports.check()
        pages = addresses(ports)
        ours = (pages.board, pages.prefect, pages.mlflow if ports.mlflow else None)
        guard = guard_of(store, ports.host, ours)
        if notified or guard.login:
            _hide(store)
        shown = []
        for start in (start_board, start_mlflow) if ports.mlflow else (start_board,):
            shown.append(start(store, ports, pages, guard))
            stack.callback(shown[-1].child.stop)
        with _starting("Prefect server") as starting:
            log = store.up / "server.log"
            server, url = start_server(
                store.prefect,
                log,
                port=ports.prefect,
                services=True,
                host=ports.host,
                guard=guard.at(pages.prefect),
                shown=pages.prefect,
            )
            stack.callback(server.stop)
            starting.summary = f"answers at {url.ui}"
        stack.enter_context(settings(url, store.prefect, guard.login))
        environment = _environment(store, project, url, guard.login) | pages.environment()
        with _starting("deployments") as starting:
            with _asked(server):
                make_pool()
                notify_at(notified)
                tell_crashed(store)
                end_flow_runs("it was under way when `shotboard up` ended")
            _deploy(store, project, environment)
            with _asked(server):
                skip_missed()
                deployments = deployments_of_pool()
                forms = Forms(store)
                forms.follow()
            starting.summary = ", ".join(deployment.name for deployment in deployments)
        with _starting("worker") as starting:
            since = time.time()
            worker = _start_worker(store, project, environment)
            stack.callback(_end_flow_runs_of, server)
            stack.callback(worker.stop)
            stack.callback(_end_flow_runs_of, server)  # first: the worker would kill them at once
            worker.wait(partial(trouble_with_worker, WORKER, since), START_SECONDS)
            starting.summary = f"looks for flow runs in the pool {POOL}"
        for each in shown:
            with _starting(each.name) as starting:
                each.child.wait(partial(reachable, each.url, seconds=2), START_SECONDS)
                starting.summary = f"answers at {each.url}"
        mlflow = pages.mlflow or store.mlflow_uri_to_show
        children = (server, worker, *(each.child for each in shown))
        told = notified and notified.shown
        try:
            yield Serving(
                *(url, str(pages.board), mlflow, deployments, children, forms, told),
                locked=guard.login is not None,
            )
        finally:
            for each in shown:
                each.child.ask_to_stop()  # while the worker takes its time


@contextmanager
def _starting(name: str) -> Iterator[Stage]:
    """A stage that says so when it fails."""
    with stage(name) as this:
        this.note("starting")
        this.summary = "did not start"
        yield this


@contextmanager
def _asked(server: Child) -> Iterator[None]:
    """Questions to the server.

    Raises:
        ChildError: It has ended, or does not answer.
    """
    try:
        yield
    except NoAnswer as error:
        server.check()
        raise server.error(f"does not answer ({error})") from error


@contextmanager
def _alone(store: Store, ports: Ports) -> Iterator[None]:
    """Holds the store against a second `shotboard up`, and notes where this one is.

    Raises:
        ValueError: There is another.
    """
    store.up.mkdir(parents=True, exist_ok=True)
    store.prefect.mkdir(parents=True, exist_ok=True)
    note = store.up / "running"
    lock = FileLock(store.up / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        place = note.read_text() if note.is_file() else "starting"
        raise ValueError(
            f"`shotboard up` serves the store {store.home} already ({place}). Use that one, stop "
            "it with Ctrl-C, or name another store with --home."
        ) from None
    try:
        write_atomic(
            note, f"http://{reached_at(ports.host)}:{ports.prefect}, process {os.getpid()}".encode()
        )
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _hide(store: Store) -> None:
    """Makes Prefect's database, and SQLite's log of it, files that only their owner reads."""
    (store.prefect / "prefect.db").touch(mode=0o600)
    for file in store.prefect.glob("prefect.db*"):
        file.chmod(0o600)


def _environment(
    store: Store, project: Path, api: PrefectUrl, login: str | None = None
) -> dict[str, str]:
    """What `prefect deploy` and the worker get; flow runs inherit it from the worker.

    Args:
        store: Where results go.
        project: Folder of prefect.yaml.
        api: Of the server.
        login: That it asks for.
    """
    environment = without_prefect(os.environ)
    if environment.get("MLFLOW_TRACKING_URI"):  # else each flow run asks its own store
        environment["MLFLOW_TRACKING_URI"] = store.mlflow_uri
    own = {"PREFECT_API_AUTH_STRING": login} if login else {}
    return (
        environment
        | own
        | {
            "PREFECT_HOME": str(store.prefect),
            "PREFECT_API_URL": api,
            "PREFECT_WORKER_QUERY_SECONDS": QUERY_SECONDS,
            "SHOTBOARD_PROJECT": str(project),
            "SHOTBOARD_HOME": store.place,
            "PYTHONPATH": str(project),
        }
    )


def _deploy(store: Store, project: Path, environment: dict[str, str]) -> None:
    """Deploys all of prefect.yaml; what was changed in the UI is then as the file says again."""
    deploy = Child(
        "`prefect deploy --all`",
        *("prefect", "--no-prompt", "deploy", "--all"),
        log=store.up / "deployments.log",
        folder=project,
        environment=environment,
        way_out=f"Correct {project / 'prefect.yaml'}.",
    )
    try:
        deploy.finish(START_SECONDS)
    finally:
        deploy.stop()


def _start_worker(store: Store, project: Path, environment: dict[str, str]) -> Child:
    return Child(
        "the worker",
        *("prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER),
        log=store.up / "worker.log",
        folder=project,
        environment=environment,
    )


def _end_flow_runs_of(server: Child) -> None:
    """Ends them when we stop, where nothing may be in the way of stopping the rest."""
    with suppress(Exception):
        if server.alive:
            end_flow_runs("`shotboard up` was stopped")
