"""Ports of the servers of `shotboard up`."""

import socket

import pytest

from tasks.services.children import free_port
from tasks.services.ports import Ports


def test_two_servers_cannot_have_one_port():
    with pytest.raises(ValueError, match="--board-port and --mlflow-port are both 4321"):
        Ports(free_port(), 4321, 4321).check()
    with pytest.raises(ValueError, match="--port and --board-port are both 4321"):
        Ports(4321, 4321, free_port()).check()


def test_a_port_that_is_taken_is_named_with_its_option():
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        taken = mine.getsockname()[1]
        with pytest.raises(ValueError, match=f"--board-port {taken}: the board page cannot listen"):
            Ports(free_port(), taken, free_port()).check()


def test_the_port_of_a_server_that_is_not_started_is_not_looked_at():
    ports = Ports(free_port(), free_port(), None)
    ports.check()
    assert [option for option, _, _ in ports.named] == ["--port", "--board-port"]


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a b", "::1", "x" * 300])
def test_a_host_that_this_machine_does_not_have_is_refused(host):
    with pytest.raises(ValueError, match=r"--host .*no IPv4 address or name of this machine"):
        Ports(free_port(), free_port(), None, host).check()
