"""PostgreSQL, and the servers of Prefect and MLflow over it, on a host of the rig."""

import importlib.util
import os
import pwd
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

PREFECT, MLFLOW, DATABASE = 4200, 5000, 5432
USER, PASSWORD = "shotboard", "not-a-secret"
PROGRAMS = Path("/usr/lib/postgresql")  # where Debian puts those of the server, by version
SECONDS = 300


class Servers(NamedTuple):
    """What runs on the host.

    Attributes:
        host: Where.
        env: Variables with which other hosts use the two servers.
        log: The folder of their logs, as this machine sees it.
    """

    host: Any
    env: dict[str, str]
    log: Path

    def ask(self, database: str, sql: str) -> list[list[str]]:
        """Rows of a statement, as PostgreSQL prints their values."""
        asked = ("psql", "-h", self.host.address, "-U", USER, "-d", database, "-At", "-F", "\t")
        answer = self.host.run(*asked, "-c", sql, env={"PGPASSWORD": PASSWORD})
        return [line.split("\t") for line in answer.stdout.splitlines()]


def missing() -> str | None:
    """Why there is no PostgreSQL to start; None where there is."""
    if _programs() is None:
        return f"no PostgreSQL in {PROGRAMS} (Debian's package `postgresql`)"
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return "PostgreSQL does not run as root, and there is no user `postgres`"
    absent = [name for name in ("psycopg2", "asyncpg") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} is not installed" if absent else None


def _programs() -> Path | None:
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def start_servers(host: Any, wait_for: Any) -> Servers:
    """Starts all three, and waits until they answer; they end with the host.

    Args:
        host: One of the rig, with nothing else on it.
        wait_for: Of `hosts.py`.
    """
    log = host.path("logs")
    log.mkdir()
    database = _start_postgres(host, wait_for)
    for name in ("prefect", "mlflow"):
        made = ("createdb", "-h", host.address, "-U", USER, name)
        host.run(*made, env={"PGPASSWORD": PASSWORD})
    prefect = ("prefect", "server", "start", "--host", host.address, "--port", PREFECT, "--no-ui")
    _start(
        host,
        *prefect,
        env={
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}/prefect",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        },
    )
    mlflow = ("mlflow", "server", "--host", host.address, "--port", MLFLOW, "--workers", 1)
    _start(
        host,
        *mlflow,
        *("--backend-store-uri", f"postgresql://{database}/mlflow"),
        *("--artifacts-destination", "artifacts"),
        env={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    urls = {
        "PREFECT_API_URL": f"http://{host.address}:{PREFECT}/api",
        "MLFLOW_TRACKING_URI": f"http://{host.address}:{MLFLOW}",
    }
    for page in (f"{urls['PREFECT_API_URL']}/health", f"{urls['MLFLOW_TRACKING_URI']}/health"):
        wait_for(lambda page=page: _answers(page), SECONDS, 0.2)
    return Servers(host, urls, log)


def _start_postgres(host: Any, wait_for: Any) -> str:
    """Returns `user:password@address:port`."""
    programs = _programs()
    assert programs is not None
    user = pwd.getpwnam("postgres")
    # Where it is started from has to be seen by its user, who may not look into root's folders.
    owned = host.path("/tmp/postgres")
    owned.mkdir()
    (owned / "password").write_text(PASSWORD)
    for path in (owned, owned / "password"):
        _give(path, user)
    own = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    data = "/tmp/postgres/data"
    made = (programs / "initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", "--no-sync")
    host.run("env", "-C", "/tmp/postgres", *own, *made, "--pwfile=/tmp/postgres/password")
    with (owned / "data" / "pg_hba.conf").open("a") as file:
        file.write("host all all samenet scram-sha-256\n")
    settings = {
        "listen_addresses": host.address,
        "port": DATABASE,
        "unix_socket_directories": "/tmp/postgres",
        "fsync": "off",  # its disk is memory, and ends with the host
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = ("env", "-C", "/tmp/postgres", *own, programs / "postgres", "-D", data, *options)
    _start(host, *command, name="postgres")
    ready = (programs / "pg_isready", "-h", host.address, "-p", DATABASE, "-q")
    wait_for(lambda: host.run(*ready, check=False).returncode == 0, SECONDS, 0.1)
    return f"{USER}:{PASSWORD}@{host.address}:{DATABASE}"


def _start(host: Any, *command: Any, name: str = "", env: dict[str, str] | None = None) -> None:
    with (host.path("logs") / f"{name or command[0]}.log").open("w") as log:
        host.popen(*command, env=env, stdout=log, stderr=subprocess.STDOUT)


def _give(path: Path, user: pwd.struct_passwd) -> None:
    os.chown(path, user.pw_uid, user.pw_gid)


def _answers(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False
