"""Hosts of a cluster on this machine, see `hosts.py`."""

import importlib.util
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest


def _beside(name):
    """A module of this folder, which is no package."""
    place = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"cluster_{name}", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hosts, storing, servers_module = _beside("hosts"), _beside("storing"), _beside("servers")


@pytest.fixture(scope="session")
def hosts_module():
    """The module `hosts.py`, where hosts can be made here."""
    trouble = hosts.missing()
    if trouble:
        pytest.skip(trouble)
    return hosts


@pytest.fixture(scope="module")
def rig(hosts_module):
    """A switch without hosts; `rig.host(name)` adds one."""
    with hosts_module.Rig() as rig:
        yield rig


@pytest.fixture(scope="module")
def bucket(rig):
    """A store in a bucket that the hosts reach: `bucket.url`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with storing.bucket(rig.address) as bucket:
        rig.env.update(bucket.env)
        yield bucket


@pytest.fixture(scope="session")
def found_in():
    """What a store holds that has to be equal wherever it was computed; see `storing.found`."""
    return storing.found


@pytest.fixture(scope="module")
def cluster(rig, bucket):
    """Three hosts with one Ray: `head`, `others`, `address`, and `servers` on a fourth.

    `servers` are Prefect's and MLflow's over PostgreSQL, which all hosts are told; or the reason
    why there are none.
    """
    with ThreadPoolExecutor() as threads:
        servers = servers_module.missing()
        if servers is None:
            host = rig.host("servers")
            servers = threads.submit(servers_module.start_servers, host, hosts.wait_for)
        head, *others = (rig.host(name) for name in ("head", "b", "c"))
        address = head.start_ray()
        list(threads.map(lambda each: each.start_ray(head), others))
    if not isinstance(servers, str):
        servers = servers.result()
        rig.env.update(servers.env)
    return SimpleNamespace(head=head, others=others, address=address, servers=servers)
