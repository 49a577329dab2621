"""Hosts of a cluster on this machine, see `hosts.py`."""

import importlib.util
import sys
from pathlib import Path

import pytest


def _beside(name):
    """A module of this folder, which is no package."""
    place = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"cluster_{name}", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hosts = _beside("hosts")


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
