"""What the process environment should say before Prefect, Ray, MLflow or transformers is imported.

They read it once, at import: so an entry point calls `set_defaults()` in its first lines. A
variable that the user has set is never changed.
"""

import os
from collections.abc import MutableMapping

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warn at every fork
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default from the next Ray; else it warns
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread that outlives a stopped run must not start a Ray
}
# Despite its name, this makes every part of a Ray that starts here listen on 127.0.0.1 alone.
# A cluster of several machines needs the opposite, so it is not set when one is joined.
LOCAL_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
WORKER = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # one core, one worker, one thread


class MachineError(RuntimeError):
    """What a run needs of this machine failed in the middle; its text says what to do."""


def set_defaults(environ: MutableMapping[str, str] = os.environ) -> None:
    """Turns telemetry off wherever the user has not decided otherwise."""
    _fill(environ, QUIET)


def set_local_ray(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keeps a Ray that is about to start on this machine off the network."""
    _fill(environ, LOCAL_RAY)


def for_workers(environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables that a Ray worker gets: the defaults, where the user set none."""
    return {name: environ.get(name, value) for name, value in (QUIET | WORKER).items()}


def _fill(environ: MutableMapping[str, str], values: dict[str, str]) -> None:
    for name, value in values.items():
        environ.setdefault(name, value)
