"""A Ray cluster that is joined: whether it is there, and can be from here, before Ray may wait."""

import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import psutil

from tasks.computing.shipping import code_to_ship
from tasks.environment import own_code

JOIN_SECONDS = 30.0
HEALTH_SECONDS = 120.0  # of a process that imports Ray first, half a minute on a busy machine
JOINS = 3  # tries to join as a client, for whom the head starts a process; Ray gives that 30 s
_SLOW = "Starting Ray client server failed"
_SILENT = "ray client connection timeout"
_TOKEN = "AuthenticationError"  # in Ray's words about a token that is missing or wrong
_GIVE_TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what its head was started with or has in "
    "~/.ray/auth_token."
)
_ALIVE = 0  # a state of nodes, in the protocol of Ray's head


def join(address: str, variables: Mapping[str, str], **own: Any) -> None:
    """Joins a cluster, with our code for its hosts.

    Args:
        address: `host:port` of its head, `ray://..` or `auto`.
        variables: That workers get.
        own: Other arguments of Ray.

    Raises:
        ConnectionError: There is none, or it cannot be joined from here.
    """
    import ray

    check_address(address)
    warnings.filterwarnings("ignore", message="Ray Client connection timed out")  # told below
    client = address.startswith("ray://")
    with code_to_ship() as code:
        for attempt in range(1, JOINS + 1):
            try:
                ray.init(
                    address,
                    runtime_env={"env_vars": dict(variables), "working_dir": str(code)},
                    log_to_driver=not client,  # to `worker_logs`; a client would print it
                    configure_logging=False,
                    **own,
                )
                return
            except (RuntimeError, ConnectionError) as error:  # Ray raises no narrower classes
                text = " ".join(str(error).split())
                if "version mismatch" in text.lower():
                    raise ConnectionError(
                        f"the Ray cluster at {address} is of another version: {text} Its hosts and "
                        "this machine need the same Ray and the same Python."
                    ) from error
                if client and _SILENT in text:
                    if attempt < JOINS and _have_token():
                        continue
                    raise ConnectionError(
                        f"{address} does not answer as a Ray cluster answers clients. Where it "
                        f"asks for a token, {_GIVE_TOKEN} Else give the port that its head has for "
                        "clients, 10001 unless `ray start --ray-client-server-port` said another."
                    ) from error
                if not (client and _SLOW in text):
                    raise
                if attempt == JOINS:
                    raise ConnectionError(
                        f"the head of the Ray cluster at {address} started no process for this "
                        f"run in time, {JOINS} times over: it is too busy, or short of memory. Run "
                        "again when it is not, or start the run on a host of the cluster."
                    ) from error


def check_address(address: str) -> None:
    """Raises ConnectionError unless a Ray answers, for `ray.init` may wait for ever."""
    trouble = nobody_listens(address)
    joins = address != "auto" and not address.startswith("ray://")
    if not trouble and joins:
        trouble = _health(address)
        if trouble and _TOKEN in trouble and _have_token():
            trouble = _health(address)
    if trouble and _TOKEN in trouble:
        raise ConnectionError(
            f"the Ray cluster at {address} asks for a token, and this process has none or another: "
            f"{_GIVE_TOKEN}"
        )
    if trouble:
        raise ConnectionError(no_cluster(address, trouble))
    if joins and not _among(_hosts_of(address)):
        host = address.rpartition(":")[0]
        raise ConnectionError(
            f"this machine is no host of the Ray cluster at {address}: make it one with `ray start "
            f"--address={address}`, start the run on a host, or join from outside with "
            f"--ray-address ray://{host}:10001."
        )


def _have_token() -> bool:
    """Has the token of this machine sent from now on; says whether there is one to try.

    Not where somebody has said whether to. A cluster that asks for none is never sent one: calls of
    its workers to this process would be refused.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return False
    from ray._private.authentication import authentication_token_setup as setup

    setup.logger.setLevel(logging.ERROR)  # that it does so needs no reader
    return setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _hosts_of(address: str) -> set[str]:
    """Addresses of the hosts of a cluster that is healthy; none where it does not say."""
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]

    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=JOIN_SECONDS).values()
        return {node.node_manager_address for node in nodes if node.state == _ALIVE}
    except Exception:  # whatever Ray raises: it is asked again as it is joined
        return set()


def _among(hosts: set[str]) -> bool:
    """Whether this machine is one of some hosts, as far as one can tell."""
    own = {each.address for some in psutil.net_if_addrs().values() for each in some}
    return not hosts or not own.isdisjoint(hosts)


def nobody_listens(address: str) -> str | None:
    """Returns what is wrong where a connection to `address` is refused; asks no Ray."""
    if address == "auto":
        return None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        return str(error)
    return None


def no_cluster(address: str, trouble: str) -> str:
    """The sentence about a cluster that is not there."""
    return (
        f"no Ray cluster answers at {address} ({trouble}). Start one there with `ray start "
        "--head`, give the address that it prints, or leave out --ray-address to run on this "
        "machine."
    )


def _health(address: str) -> str | None:
    """Returns None where the head of a cluster is healthy, else the last line of Ray's complaint.

    Asked in a process of its own, which can be ended.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=HEALTH_SECONDS,
            env={**os.environ, **own_code()},
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {HEALTH_SECONDS:.0f} s"
    if answer.returncode == 0:
        return None
    lines = (answer.stderr or answer.stdout).strip().splitlines()
    return lines[-1] if lines else f"health check ended with code {answer.returncode}"
