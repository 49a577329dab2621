"""The actors of a pool while hosts come and go; nothing of Ray is started."""

import threading
import time

import pytest

from tasks.computing import staff as staffing
from tasks.computing.hosts import Host
from tasks.computing.staff import STARTS, Staff
from tasks.environment import MachineError

SECONDS = 60


def host(name, cpus=1.0):
    return Host(f"node-{name}", f"10.0.0.{name}", cpus, 0.0)


class Ray:
    """Actors that run as soon as they are asked for, or never, or end at once."""

    def __init__(self, monkeypatch):
        import ray

        self.there = {}  # hosts, with workers that they are to have
        self.said, self.left_out, self.killed, self.made = [], {}, [], []
        self.broken = {}  # node: what its actors raise
        self.slow = set()  # nodes whose actors do not run
        self.trouble = None
        monkeypatch.setattr(ray, "wait", self.wait)
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "kill", self.killed.append)
        monkeypatch.setattr(staffing, "trouble_with_ray", lambda: self.trouble)
        monkeypatch.setattr(staffing, "is_here", lambda _: False)
        for name in ("START_LOOK_SECONDS", "POLL_SECONDS", "HOSTS_SECONDS"):
            monkeypatch.setattr(staffing, name, 0.01)

    def wanted(self):
        return {host: n for host, n in self.there.items() if host not in self.left_out}

    def create(self, host, count):
        self.made.append(host)
        actor = f"{host.node_id}-{len(self.made)}"
        return actor, (host.node_id, len(self.made))

    def wait(self, promises, num_returns=1, timeout=0.0):
        ready = [promise for promise in promises if promise[0] not in self.slow][:num_returns]
        if not ready:
            time.sleep(timeout)
        return ready, []

    def get(self, promise):
        if promise[0] in self.broken:
            raise self.broken[promise[0]]
        return promise[1]


@pytest.fixture
def ray(monkeypatch):
    return Ray(monkeypatch)


@pytest.fixture
def hire(ray):
    staffs = []

    def begin():
        staff = Staff(ray.create, ray.wanted, ray.left_out.__setitem__, ray.said.append)
        staffs.append(staff)
        return staff

    yield begin
    for each in staffs:
        each.close()


def until(true):
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def addresses(staff):
    return sorted(worker.host.address for worker in staff.workers)


def test_a_host_that_joins_gets_its_workers_and_one_that_goes_loses_them(ray, hire):
    one, two = host(1), host(2)
    ray.there = {one: 1}
    staff = hire()
    assert staff.take("").host == one
    ray.there = {one: 1, two: 2}
    assert {staff.take("").host for _ in range(2)} == {two}
    ray.there = {one: 1}
    until(lambda: addresses(staff) == [one.address])
    assert ray.said == [
        "host 10.0.0.2 joins, with 2 workers.",
        "host 10.0.0.2 is gone, with 2 workers.",
    ]
    assert len(ray.killed) == 2


def test_a_worker_whose_host_went_in_its_call_is_given_to_nobody(ray, hire):
    one, two = host(1), host(2)
    ray.there = {one: 1, two: 1}
    staff = hire()
    workers = [staff.take(""), staff.take("")]
    gone = next(worker for worker in workers if worker.host == two)
    ray.there = {one: 1}
    until(lambda: addresses(staff) == [one.address])
    staff.give(gone)
    stays = next(worker for worker in workers if worker.host == one)
    staff.give(stays)
    assert staff.take("") is stays


def test_nobody_waits_for_a_worker_that_does_not_run(ray, hire):
    one, two = host(1), host(2)
    ray.there, ray.slow = {one: 1, two: 1}, {two.node_id}
    staff = hire()
    for _ in range(3):
        worker = staff.take("")
        assert worker.host == one
        staff.give(worker)
    ray.slow = set()
    assert {staff.take("").host, staff.take("").host} == {one, two}


def test_a_host_whose_workers_end_at_once_is_left_out_and_the_others_work_on(ray, hire):
    one, two = host(1), host(2)
    ray.there, ray.broken = {one: 1, two: 1}, {two.node_id: ValueError("no libtorch")}
    staff = hire()
    until(lambda: ray.left_out)
    assert list(ray.left_out) == [two]
    assert "3 in a row have ended before they did anything. no libtorch" in ray.left_out[two]
    assert ray.made.count(two) == STARTS
    assert staff.take("").host == one


def test_where_no_worker_starts_all_who_wait_are_told(ray, hire):
    ray.there, ray.broken = {host(1): 2}, {"node-1": ValueError("no libtorch")}
    staff = hire()
    for _ in range(2):
        with pytest.raises(MachineError, match=r"no worker starts: 3 in a row .* no libtorch"):
            staff.take("")


def test_a_host_that_goes_while_its_worker_starts_is_not_blamed_for_that(ray, hire):
    from ray.exceptions import NodeDiedError

    one, two = host(1), host(2)
    ray.there, ray.broken = {one: 1}, {one.node_id: NodeDiedError("gone")}
    staff = hire()
    until(lambda: not staff.workers or len(ray.made) > 1)
    ray.there = {two: 1}
    assert staff.take("").host == two
    assert ray.left_out == {}


def test_surplus_workers_end_when_they_are_idle(ray, hire):
    head, two = host(0, cpus=0.0), host(2)
    ray.there = {head: 1}  # alone, it has to
    staff = hire()
    busy = staff.take("")
    ray.there = {head: 0, two: 1}
    assert staff.take("").host == two
    assert addresses(staff) == [head.address, two.address]
    staff.give(busy)
    until(lambda: addresses(staff) == [two.address])


def test_work_goes_to_the_host_where_another_has_loaded_what_it_needs(ray, hire):
    one, two = host(1), host(2)
    ray.there = {one: 2, two: 2}
    staff = hire()
    workers = [staff.take("") for _ in range(4)]
    loaded = next(worker for worker in workers if worker.host == two)
    loaded.has("digits")
    for worker in workers:
        staff.give(worker)
    first = staff.take("digits")
    assert first is loaded
    assert staff.take("digits").host == two  # its mate, before the other host
    assert staff.take("digits").host == one


def test_the_end_of_ray_is_told_to_who_waits(ray, hire):
    ray.there, ray.slow = {host(1): 1}, {"node-1"}
    staff = hire()
    threading.Timer(0.05, lambda: setattr(ray, "trouble", "the Ray cluster has gone.")).start()
    with pytest.raises(MachineError, match="the Ray cluster has gone"):
        staff.take("")
    assert staff.trouble == "the Ray cluster has gone."


def test_a_surplus_worker_that_ends_in_a_call_is_not_replaced(ray, hire):
    head, two = host(0, cpus=0.0), host(2)
    ray.there = {head: 1}
    staff = hire()
    busy = staff.take("")
    ray.there = {head: 0, two: 1}
    assert staff.take("").host == two
    staff.replace(busy)
    assert addresses(staff) == [two.address]
    assert ray.made.count(head) == 1


def test_who_was_given_up_gets_another_try_once_a_mate_has_ended(ray, hire):
    one = host(1)
    ray.there = {one: 1}
    staff = hire()
    runs = staff.take("")
    ray.broken = {one.node_id: ValueError("no memory")}
    ray.there = {one: 2}
    until(lambda: ray.made.count(one) == 1 + STARTS)
    until(lambda: staff.workers == [runs])  # no more of them, and the one that runs stays
    assert ray.left_out == {}
    ray.broken = {}
    staff.replace(runs)
    assert staff.take("").host == one


def test_a_host_that_is_dismissed_ends_its_workers_busy_or_not_and_others_get_theirs(ray, hire):
    one, two = host(1), host(2)
    ray.there = {one: 2, two: 0}  # as where fewer were asked for than there is room
    staff = hire()
    busy = staff.take("")
    ray.there = {one: 2, two: 1}
    assert staff.dismiss(one, "its disk is full.")
    assert (staff.left_out(one), staff.left_out(two)) == ("its disk is full.", "")
    assert busy.actor in ray.killed
    staff.give(busy)
    assert staff.take("").host == two
    assert addresses(staff) == [two.address]
    assert ray.left_out == {one: "its disk is full."}
    assert "host 10.0.0.1 is gone" not in " ".join(ray.said)
    assert not staff.dismiss(two, "its disk is full.")


def test_a_host_that_was_left_out_gets_workers_again_though_none_had_started(ray, hire):
    one, two = host(1), host(2)
    ray.there, ray.broken = {one: 1, two: 1}, {two.node_id: ValueError("no libtorch")}
    staff = hire()
    until(lambda: ray.left_out)
    until(lambda: addresses(staff) == [one.address])
    ray.broken = {}
    ray.left_out.clear()  # it was asked again, and has what it needs
    until(lambda: "host 10.0.0.2 joins, with 1 worker." in ray.said)
    assert {staff.take("").host for _ in range(2)} == {one, two}
    assert staff.left_out(two) == ""
