"""Whether a Ray cluster is there to be joined, and from here; Ray itself might wait for ever."""

import os
import socket
import subprocess
import sys

import psutil

from tasks.environment import own_code

JOIN_SECONDS = 30.0
_ALIVE = 0  # a state of nodes, in the protocol of Ray's head


def check_address(address: str) -> None:
    """Raises ConnectionError unless a Ray answers, for `ray.init` may wait for ever."""
    trouble = nobody_listens(address)
    joins = address != "auto" and not address.startswith("ray://")
    if not trouble and joins:
        trouble = _health(address)
    if trouble:
        raise ConnectionError(no_cluster(address, trouble))
    if joins and not _among(_hosts_of(address)):
        host = address.rpartition(":")[0]
        raise ConnectionError(
            f"this machine is no host of the Ray cluster at {address}: make it one with `ray start "
            f"--address={address}`, start the run on a host, or join from outside with "
            f"--ray-address ray://{host}:10001."
        )


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
            timeout=JOIN_SECONDS,
            env={**os.environ, **own_code()},
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {JOIN_SECONDS:.0f} s"
    if answer.returncode == 0:
        return None
    lines = (answer.stderr or answer.stdout).strip().splitlines()
    return lines[-1] if lines else f"health check ended with code {answer.returncode}"
