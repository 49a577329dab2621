"""What the process environment should say before Prefect, Ray, MLflow or transformers is imported.

They read it once, at import: so an entry point calls `set_defaults()` in its first lines. A
variable that the user has set is never changed, but for this machine's own address, which is added
to what goes past a proxy.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable, MutableMapping
from pathlib import Path

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default asks a dead server for four minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where `--json` is read by machines
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warn at every fork
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default from the next Ray; else it warns
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread that outlives a stopped run must not start a Ray
}
# Despite its name, this makes every part of a Ray that starts here listen on 127.0.0.1 alone.
# A cluster of several machines needs the opposite, so it is not set when one is joined.
LOCAL_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
WORKER = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # one core, one worker, one thread
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NOTIFY = "SHOTBOARD_NOTIFY"  # a secret: where regressions are told
TOKEN = "SHOTBOARD_TOKEN"  # a secret: who may ask the servers of `shotboard up`
PACKAGES = ("flows", "tasks", "operators", "data_catalog")
ROOT = Path(__file__).resolve().parents[1]  # the folder of our packages


class MachineError(RuntimeError):
    """What a run needs of this machine failed in the middle; its text says what to do."""


def set_defaults(environ: MutableMapping[str, str] = os.environ) -> None:
    """Turns telemetry off wherever the user has not decided otherwise, and proxies off loopback."""
    _fill(environ, QUIET)
    _spare_loopback(environ)


def set_local_ray(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keeps a Ray that is about to start on this machine off the network."""
    _fill(environ, LOCAL_RAY)


def for_workers(environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables that a Ray worker gets: the defaults, where the user set none."""
    defaults = {name: environ.get(name, value) for name, value in (QUIET | WORKER).items()}
    return defaults | own_code(environ)


def own_code(
    environ: MutableMapping[str, str] = os.environ, search_path: Iterable[str] | None = None
) -> dict[str, str]:
    """Returns the variables with which a Python process that we start imports what this one does.

    A user's `tasks.py` or `torch.py` in the working folder, or beside the script that was started,
    is none of ours: Python would look there first. What `PYTHONPATH` names was asked for. It stays,
    after our own packages where it has some of their names.

    Args:
        environ: Has the user's `PYTHONPATH`.
        search_path: Of this process; `sys.path` unless given.
    """
    asked = [Path(e).resolve() for e in environ.get("PYTHONPATH", "").split(os.pathsep) if e]
    here = {Path.cwd(), Path(sys.argv[0] or ".").resolve().parent}
    entries = [Path(e or ".").resolve() for e in (sys.path if search_path is None else search_path)]
    found = [e for e in entries if e in asked or (e not in here and not _built_in(e))]
    looked_in = [*asked, *(e for e in found if e.is_dir())]
    # Installed packages are found without a word, and come after Python's own.
    if not _built_in(ROOT) or any(_has_our_names(entry) for entry in looked_in if entry != ROOT):
        looked_in.insert(0, ROOT)
    return {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(map(str, looked_in))),
    }


def _built_in(entry: Path) -> bool:
    """Whether every Python of this environment looks in a folder by itself."""
    packages = {"site-packages", "dist-packages"} & set(entry.parts)
    return bool(packages) or entry.is_relative_to(sysconfig.get_path("stdlib"))


def _has_our_names(entry: Path) -> bool:
    """Whether a folder has modules that are called as our packages are."""
    return any((entry / n).is_dir() or (entry / f"{n}.py").is_file() for n in PACKAGES)


def _spare_loopback(environ: MutableMapping[str, str]) -> None:
    """Adds this machine's own address to `NO_PROXY`, in both spellings: libraries read either.

    Our servers are on 127.0.0.1, which no proxy can reach.
    """
    asked = {name: environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    for name, value in asked.items():
        hosts = value if value is not None else next((v for v in asked.values() if v), "")
        listed = [host.strip() for host in hosts.split(",") if host.strip()]
        more = () if "*" in listed else (host for host in LOOPBACK if host not in listed)
        environ[name] = ",".join([*listed, *more])


def _fill(environ: MutableMapping[str, str], values: dict[str, str]) -> None:
    for name, value in values.items():
        environ.setdefault(name, value)
