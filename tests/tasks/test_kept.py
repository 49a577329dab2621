"""A server that is started again: how often, and what becomes of those who ask it meanwhile."""

import socket
import time

import pytest

from tasks.services.kept import TRIES, Kept

SECONDS = 60


class Server:
    """A child that runs until it is told otherwise."""

    name = "the server"

    def __init__(self, alive=True):
        self.alive = alive
        self.stopped = False

    def stop(self):
        self.stopped = True


def kept(start, child=None):
    place = socket.create_server(("127.0.0.1", 0))
    ended = []
    return Kept(child or Server(), place, start, ended.append), place, ended


def until(holds):
    deadline = time.monotonic() + SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_server_that_ends_is_replaced_and_who_asks_meanwhile_is_not_refused():
    first, second = Server(), Server()
    server, place, ended = kept(lambda: second, first)
    first.alive = False
    socket.create_connection(place.getsockname(), timeout=SECONDS).close()
    until(lambda: server.child is second)
    assert ended == [first]
    assert server.alive
    server.stop()
    assert second.stopped


@pytest.mark.parametrize("raises", [True, False])
def test_a_server_that_never_stays_is_given_up_and_who_asks_is_refused_at_once(raises):
    started = []

    def start():
        started.append(Server(alive=False))
        if raises:
            raise OSError("it does not start")
        return started[-1]

    server, place, _ = kept(start, Server(alive=False))
    address = place.getsockname()
    until(lambda: not server.alive)
    assert len(started) == server.again == TRIES
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=SECONDS)
    server.stop()


def test_a_server_that_is_stopped_is_not_started_again():
    first = Server()
    server, _, ended = kept(Server, first)
    server.stop()
    assert first.stopped
    assert ended == []
    assert server.again == 0
