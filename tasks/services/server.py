"""A Prefect API for one command: the user's server, or a private one that lives as long as we do.

Prefect's own temporary server loses task runs at exit and is started again by every process that
meets no `PREFECT_API_URL`; so one real server process is started here, told to all of this
process and drained before it stops. It keeps its SQLite database in the store. `shotboard up`
(`serving.py`) starts its server here too.
"""

import base64
import os
import re
import socket
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from operators.files import write_atomic
from tasks.environment import NOTIFY, QUIET, TOKEN, MachineError, own_code
from tasks.progress import reporter
from tasks.services.children import Child, ChildError
from tasks.services.draining import drain
from tasks.services.guard import HOST, Guard, reached_at
from tasks.services.kept import Kept
from tasks.sqlite_files import database_url, fault_of, is_full, remedy
from tasks.storage.locks import alone
from tasks.storage.store import Store

# A new database takes some 15 s of migrations on an idle core. A server that ends is told at once;
# this is for one that hangs, and on a busy machine several start.
START_SECONDS = 600.0

# What serves deployments, automations and the feed of events. Runs, task runs, logs and
# artifacts are recorded without them, and SQLite has a fraction of the writes.
_UNNEEDED = (
    "SCHEDULER",
    "LATE_RUNS",
    "FOREMAN",
    "PAUSE_EXPIRATIONS",
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "TRIGGERS",
    "EVENT_PERSISTER",
)

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_DAMAGE = re.compile(
    r"Can't locate revision|malformed|file is not a database|no such (table|column)"
    r"|table \w+ already exists|duplicate column"
)


class PrefectUrl(str):
    """The URL of an API, e.g. `http://127.0.0.1:41003/api`.

    Attributes:
        started_by_us: Whether the server is a private one, which ends with this process.
    """

    started_by_us: bool = False

    @property
    def ui(self) -> str:
        """The page that a person opens."""
        return self.removesuffix("/api")


@contextmanager
def prefect_api(store: Store) -> Iterator[PrefectUrl]:
    """Gives the URL of a Prefect API that answers, and makes this process and its threads use it.

    A `PREFECT_API_URL` of the environment or the active profile is used as it is; else a server
    is started on a free port of 127.0.0.1 and stopped when the block ends, after it has written
    all that was sent to it. Its log is `prefect/server.log` in the store.

    Yields:
        The URL, which also tells whether the server was started here.

    Raises:
        ConnectionError: The server that was asked for does not answer.
        ValueError: A proxy of the environment cannot be used.
        MachineError: The server went away while it was used.
        ChildError: The private server did not start; the message ends with its log.
    """
    _check_proxies()
    configured = configured_api()
    if configured:
        _check_reachable(configured)
        _tell_crashed(store)
        with _answering(configured):
            yield PrefectUrl(configured)
        return
    store.prefect.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server, url = _kept(store.prefect, store.prefect / "server.log")
        # Undone from the last to the first: drained while this process still points there, then the
        # settings go back, and only then does the server stop.
        stack.callback(server.stop)
        url.started_by_us = True
        stack.enter_context(settings(url, store.prefect))
        stack.callback(drain, server)
        _tell_crashed(store)
        with _answering(url):
            yield url


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """Says that a server has gone, where that is what went wrong.

    Raises:
        MachineError: It does not answer any more.
    """
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        if not (trouble := reachable(url)):
            raise
        raise MachineError(
            f"the Prefect server at {url} does not answer any more ({trouble}). Start it again, or "
            "unset PREFECT_API_URL to run with a private server."
        ) from error


def _kept(home: Path, log: Path) -> tuple[Kept, PrefectUrl]:
    """A private server, which is started again at the same address where it ends by itself.

    Prefect's clients ask again, and send again what was not confirmed; with nobody there, each
    change of a state would hold the run for a minute, and a new client would fail at once.

    Args:
        home: Folder of its database.
        log: What it writes; that of a server that ended is beside it.
    """
    place = socket.create_server((HOST, 0))
    try:
        server, url = _start_at(place, home, log)
    except BaseException:
        place.close()
        raise
    tell = reporter()  # of who starts it: a thread has none

    def ended(child: Child) -> None:
        log.replace(log.with_suffix(".ended.log"))
        code = child.process.returncode
        tell.say(f"the private Prefect server has ended (code {code}) and is started again.")

    return Kept(server, place, lambda: _start_at(place, home, log)[0], ended), url


def _tell_crashed(store: Store) -> None:
    """Tells the server of runs that were killed before; no command fails for want of that."""
    from tasks.services.crashed import tell_crashed

    with suppress(Exception):
        tell_crashed(store)


def reachable(url: str, *, seconds: float = 15.0) -> str | None:
    """Returns None where a Prefect API or an MLflow server answers at `url`, else what is wrong.

    A name and a password in it are sent as the clients of both send them, as a login.
    """
    try:
        place = urlsplit(url.rstrip("/"))
        login, known, host = place.netloc.rpartition("@")
        asked = urllib.request.Request(f"{place._replace(netloc=host).geturl()}/health")
        if known:
            packed = base64.b64encode(unquote(login).encode()).decode()
            asked.add_header("Authorization", f"Basic {packed}")
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            return None if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        # Behind a login, as Prefect Cloud is, the page of health is not for everybody.
        return None if error.code in (401, 403) or "prefect.cloud" in url else str(error)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _check_proxies() -> None:
    """Refuses a proxy that Prefect's client cannot use: it sets up each, needed or not.

    Raises:
        ValueError: See above.
    """
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError) as error:
        named = [name for name in os.environ if name.lower() in _PROXIES and os.environ[name]]
        raise ValueError(
            f"a proxy that {' or '.join(named)} names cannot be used ({error}). Correct it, or "
            "unset it for this command."
        ) from error


def configured_api() -> str | None:
    """The API that the environment or the active profile names, if one does.

    A set variable spares the import of Prefect, which takes over a second.
    """
    if "PREFECT_API_URL" in os.environ and "prefect" not in sys.modules:
        return os.environ["PREFECT_API_URL"]
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value()


def _check_reachable(url: str) -> None:
    trouble = reachable(url)
    if trouble:
        raise ConnectionError(
            f"PREFECT_API_URL is {url}, but no Prefect server answers there ({trouble}). Start "
            "it (`prefect server start`), or unset PREFECT_API_URL (`prefect "
            "config unset PREFECT_API_URL`) to run with a private server."
        )


def start_server(
    home: Path, log: Path, *, port: int = 0, host: str = HOST, **how: Any
) -> tuple[Child, PrefectUrl]:
    """Starts a server and returns it when it answers; one at a time may set up a database.

    Args:
        home: Folder of its database; it is there.
        log: What it writes.
        port: Where it listens; without one, wherever there is room.
        host: At which address; by default no other machine reaches it.
        how: `services`, `guard` and `shown`, see `_start_at`.

    Raises:
        ChildError: It did not start; the message ends with its log.
        MachineError: Its database cannot be used.
    """
    with socket.create_server((host, port)) as place:
        return _start_at(place, home, log, host=host, **how)


def _start_at(
    place: socket.socket,
    home: Path,
    log: Path,
    *,
    services: bool = False,
    host: str = HOST,
    guard: Guard | None = None,
    shown: str | None = None,
) -> tuple[Child, PrefectUrl]:
    """Starts a server on a socket; see `start_server`.

    Args:
        place: Where it listens. Who holds it may start another there.
        home: Folder of its database.
        log: What it writes.
        services: Whether it also serves schedules, automations and the feed of events.
        host: Address of the place.
        guard: What a request must bring; by default that of a server of this machine.
        shown: Where a browser finds it, if that is elsewhere.
    """
    if fault := fault_of(home / "prefect.db") or _no_room(home):
        raise _unusable(home, fault)
    name = "the Prefect server" if services else "the private Prefect server"
    way_out = "Run `shotboard doctor`."
    if not services:
        way_out = "Run `shotboard doctor`, or set PREFECT_API_URL to a server of yours."
    url = PrefectUrl(f"http://{reached_at(host)}:{place.getsockname()[1]}/api")
    with _alone_unless_set_up(home):
        environment = _environment(home, shown or url.ui, guard or Guard(), services=services)
        server = Child(
            *(name, "tasks.services.guarded", str(place.fileno())),
            log=log,
            folder=home,
            environment=environment,
            way_out=way_out,
            sockets=(place,),
        )
        try:
            server.wait(partial(reachable, url, seconds=2), START_SECONDS)
            _remember_schema(home)
        except BaseException as error:
            server.stop()
            fault = _fault_in(log, home / "prefect.db") or _no_room(home)
            if isinstance(error, ChildError) and fault:
                raise _unusable(home, fault) from error
            raise
        return server, url


def _alone_unless_set_up(home: Path) -> AbstractContextManager[None]:
    """Keeps other servers of a store from starting while its database is set up.

    That is no single step: a server that started in its middle would find tables half made. Those
    of a database that is there start beside each other.
    """
    if schema_is_current(home):
        return nullcontext()
    waiting = f"another command sets up {home / 'prefect.db'}: waiting for it."
    return alone(home / "start.lock", waiting)


def _fault_in(log: Path, database: Path) -> str:
    """What a server that ended said of its database; empty where it was something else.

    Damage in the middle of a file, and tables of another version, show only when they are used.
    """
    said = [line for line in log.read_text(errors="replace").splitlines() if _DAMAGE.search(line)]
    return f"{database}: {said[-1].strip()}" if said else ""


def _no_room(home: Path) -> str:
    """What is said of a full disk, on which the server can write no log either; else nothing."""
    return f"{home / 'prefect.db'} has no room to grow" if is_full(home) else ""


def _unusable(home: Path, fault: str) -> MachineError:
    database = home / "prefect.db"
    return MachineError(
        f"the Prefect server cannot use its database: {fault.rstrip('.')}. "
        + remedy(database, "makes a new one, and no number is in it")
    )


def _environment(home: Path, shown: str, guard: Guard, *, services: bool) -> dict[str, str]:
    """The environment of the server: what the user set for Prefect is for other servers."""
    left_out = () if services else _UNNEEDED
    return (
        without_prefect(os.environ)
        | {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in left_out}
        | guard.environment()
        | ({"PREFECT_SERVER_API_AUTH_STRING": guard.login} if guard.login else {})
        | {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(
                home / "prefect.db", "aiosqlite"
            ),
            # SQLite has one writer at a time, and the default of 10 s is few on a busy machine.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": str(not schema_is_current(home)),
            "PREFECT_API_BLOCKS_REGISTER_ON_START": str(services),
            "PREFECT_UI_API_URL": f"{shown}/api",  # where the pages of the UI call
            # Runs that ended 90 days ago are forgotten, as events are; no number is in them.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs" if services else "",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT__SERVER_FINAL": "1",  # no other app in its process: as `prefect server start`
        }
    )


def without_prefect(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what the user set for Prefect, and with the defaults of ours.

    The address of notifications and the token of our servers, secrets, are for no child.
    """
    kept = {k: v for k, v in environ.items() if not k.startswith(("PREFECT_", NOTIFY, TOKEN))}
    return QUIET | kept | own_code(kept)


def schema_is_current(home: Path) -> bool:
    """Whether this version of Prefect set up the database: asking Alembic takes a second."""
    note = home / "schema"
    return note.is_file() and note.read_text() == _schema(home)


def _remember_schema(home: Path) -> None:
    """Notes, for the next start, what the server has just set up."""
    schema = _schema(home)
    if schema:
        write_atomic(home / "schema", schema.encode())


def _schema(home: Path) -> str | None:
    """Version of Prefect and revision of its database, or None where there is none."""
    database = f"{(home / 'prefect.db').as_uri()}?mode=ro"  # does not create what it asks
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, uri=True)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return f"prefect {version('prefect')}, revision {row[0]}" if row else None
    return None


@contextmanager
def settings(url: str, home: Path, login: str | None = None) -> Iterator[None]:
    """Points Prefect in this process to `url`: this context, other threads and child processes.

    Settings live in a context variable, which a new thread does not inherit, so the global
    context, which threads fall back on, is refreshed as well.

    Args:
        url: Of the API.
        home: Of Prefect.
        login: Name and password, with a colon between, if it asks for them.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_KEY,
        PREFECT_API_URL,
        PREFECT_HOME,
        temporary_settings,
    )

    values = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home), "PREFECT_API_AUTH_STRING": login}
    before = {name: os.environ.get(name) for name in values}
    _set(values)  # for child processes; Prefect itself reads them when refreshed
    refresh_global_settings_context()
    own = {PREFECT_API_AUTH_STRING: login} if login else {}
    try:
        with temporary_settings(
            updates={PREFECT_API_URL: url, PREFECT_HOME: home, **own},
            restore_defaults={PREFECT_API_KEY, PREFECT_API_AUTH_STRING} - own.keys(),
        ):
            yield
    finally:
        _set(before)
        refresh_global_settings_context()


def _set(values: Mapping[str, str | None]) -> None:
    """Sets variables of this process; takes those away that have no value."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
