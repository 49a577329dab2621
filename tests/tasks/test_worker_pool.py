"""Calls on hosts that have trouble of their own in the middle of a run; nothing of Ray is started.

Hosts are 10.0.0.1, where the driver is, 10.0.0.2 and so on.
"""

import errno
import time
from types import SimpleNamespace

import pytest

from tasks.computing import staff, surveying, troubles, worker_pool
from tasks.computing.deaths import HostLost, HostUnfit, WorkerDied
from tasks.computing.hosts import Host
from tasks.computing.surveying import AGAIN_SECONDS, HostWatch, Needs
from tasks.computing.worker_pool import HOST_TRIES, TRIES, WorkerPool
from tasks.environment import MachineError
from tasks.storage.remote import DamagedError, RemoteError

FULL = OSError(errno.ENOSPC, "No space left on device", "/scratch/trials")
CUT_OFF = RemoteError("the store s3://b/s does not do what it is asked: x cannot be read (late).")
SECONDS = 60


def host(number, cpus=1.0):
    return Host(f"node-{number}", f"10.0.0.{number}", cpus, 0.0)


def died():
    from ray.exceptions import RayActorError

    return RayActorError()


class Cluster:
    """In the place of Ray: calls are made as somebody asks for their answers.

    Attributes:
        there: Its hosts.
        trouble: What calls raise, by address of the host.
        unmet: What hosts lack that are asked, likewise.
        called: The address of each call.
        killed: Actors that were ended: their calls end with them.
    """

    def __init__(self, monkeypatch):
        import ray

        self.there, self.trouble, self.unmet, self.now = [], {}, {}, 0.0
        self.called, self.said, self.killed = [], [], []
        monkeypatch.setattr(ray, "remote", lambda **_: self.made)
        monkeypatch.setattr(ray, "wait", lambda some, **_: (some, []))
        monkeypatch.setattr(ray, "get", lambda answer, **_: answer())
        monkeypatch.setattr(ray, "kill", self.killed.append)
        monkeypatch.setattr(worker_pool, "HostWatch", self.watch)
        for module in (worker_pool, surveying):
            monkeypatch.setattr(module, "on", lambda host: {"on": host})
        for module in (worker_pool, staff, troubles):
            monkeypatch.setattr(module, "is_here", lambda host: host.address == "10.0.0.1")
        for module in (worker_pool, staff):
            monkeypatch.setattr(module, "trouble_with_ray", lambda: None)
        for name in ("START_LOOK_SECONDS", "POLL_SECONDS", "HOSTS_SECONDS"):
            monkeypatch.setattr(staff, name, 0.01)

    def watch(self, needs, say):
        return HostWatch(needs, say, lambda: list(self.there), lambda: self.now)

    def made(self, what):
        """An actor of a class, or the question of a survey, on the host that the options say."""

        def remote(on):
            if what is surveying.survey:
                return lambda: (self.unmet.get(on.address, ""), "")
            return Actor(self, on)

        return SimpleNamespace(
            options=lambda on, **_: SimpleNamespace(remote=lambda *_: remote(on))
        )


class Actor:
    def __init__(self, cluster, host):
        self.cluster, self.host = cluster, host
        self.__ray_call__ = SimpleNamespace(remote=lambda _: lambda: 1)
        self.compute = SimpleNamespace(remote=lambda *args: lambda: self.answer(*args))

    def answer(self, *_):
        from ray.exceptions import RayTaskError

        self.cluster.called.append(self.host.address)
        if self in self.cluster.killed:
            raise died()
        trouble = self.cluster.trouble.get(self.host.address)
        if callable(trouble):
            trouble = trouble(self)
        if trouble is None:
            return self.host.address
        raise RayTaskError("compute", "its frames", trouble)


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


@pytest.fixture
def pool_on(cluster, tmp_path):
    """Makes a pool on hosts of these numbers."""
    pools = []

    reaching = Needs(str(tmp_path))

    def make(*numbers, needs=reaching, **how):
        cluster.there = [host(n) if isinstance(n, int) else n for n in numbers]
        pool = WorkerPool(dict, needs=needs, **how)
        pools.append(pool)
        pool.tell(SimpleNamespace(say=cluster.said.append))
        return pool

    yield make
    for pool in pools:
        pool.close()


def until(true):
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ran(pool, calls, **how):
    """Of some calls what each gave, in any order."""
    outcomes = pool.map_unordered("compute", range(calls), **how)
    return [outcome.error or outcome.result for outcome in outcomes]


@pytest.mark.parametrize("trouble", [FULL, OSError(errno.EROFS, "Read-only"), CUT_OFF])
def test_a_host_with_trouble_of_its_own_is_left_out_and_its_calls_are_made_elsewhere(
    cluster, pool_on, trouble
):
    pool = pool_on(1, 2)
    cluster.trouble["10.0.0.2"] = trouble
    until(lambda: sum(each.pid is not None for each in pool.workers) == 2)
    assert ran(pool, 20) == ["10.0.0.1"] * 20
    assert cluster.called.count("10.0.0.2") == 1
    (said,) = cluster.said
    assert said.startswith("host 10.0.0.2 is left out: it cannot go on: ")
    assert str(trouble).rstrip(".") in said
    assert [worker.host.address for worker in pool.workers] == ["10.0.0.1"]


def test_a_call_that_may_not_be_tried_again_tells_that_its_host_was_left_out(cluster, pool_on):
    pool = pool_on(1, 2)
    cluster.trouble["10.0.0.2"] = FULL
    until(lambda: sum(each.pid is not None for each in pool.workers) == 2)
    (error,) = [end for end in ran(pool, 20, tries=1) if isinstance(end, Exception)]
    assert isinstance(error, HostUnfit)
    assert error.cause.startswith(
        "its host 10.0.0.2 was left out: it cannot go on: OSError: [Errno"
    )


def test_calls_beside_it_on_its_host_are_lost_with_it_and_not_to_blame(cluster, pool_on):
    pool = pool_on(1, host(2, cpus=2.0))
    there = []

    def one_fails(actor):
        there.append(actor)
        until(lambda: len(there) == 2)
        if actor is there[0]:
            return FULL
        until(lambda: actor in cluster.killed)
        raise died()

    cluster.trouble["10.0.0.2"] = one_fails
    until(lambda: sum(each.pid is not None for each in pool.workers) == 3)
    lost = [end for end in ran(pool, 20, tries=1) if isinstance(end, Exception)]
    assert [type(error) for error in lost] == [HostUnfit] * 2
    assert len({error.cause for error in lost}) == 1


def test_where_no_other_host_is_left_the_run_ends_in_the_sentence_for_all(cluster, pool_on):
    pool = pool_on(2, 3)
    cluster.trouble |= {"10.0.0.2": FULL, "10.0.0.3": FULL}
    ends = ran(pool, 6)
    assert FULL in ends
    with pytest.raises(OSError, match="No space left"):  # and nobody waits for a worker
        pool.run("compute")
    assert len(cluster.said) == 2


def test_on_the_drivers_own_host_it_ends_the_run_though_others_are_there(cluster, pool_on):
    pool = pool_on(1, 2)
    cluster.trouble["10.0.0.1"] = FULL
    assert FULL in ran(pool, 20)
    assert cluster.said == []


def test_the_trouble_of_the_store_itself_is_no_hosts(cluster, pool_on, tmp_path):
    pool = pool_on(2, 3, needs=Needs(str(tmp_path), mark=str(tmp_path / "gone")))
    cluster.trouble |= {"10.0.0.2": FULL, "10.0.0.3": FULL}
    assert set(ran(pool, 4)) == {FULL}
    assert cluster.said == []


def test_an_object_that_is_damaged_is_so_for_all_hosts(cluster, pool_on):
    pool = pool_on(2, 3)
    damaged = DamagedError("blobs/ab/cd of s3://b/s is not what was written there.")
    cluster.trouble |= {"10.0.0.2": damaged, "10.0.0.3": damaged}
    assert set(ran(pool, 4)) == {damaged}
    assert cluster.said == []


def test_what_a_method_says_of_its_arguments_leaves_nobody_out(cluster, pool_on):
    pool = pool_on(2, 3)
    cluster.trouble |= {"10.0.0.2": ValueError("odd"), "10.0.0.3": ValueError("odd")}
    assert {str(end) for end in ran(pool, 4)} == {"odd"}
    assert len(pool) == 2


def test_on_one_machine_alone_it_is_raised_as_it_is(cluster, pool_on):
    pool = pool_on(2, needs=None)
    cluster.trouble["10.0.0.2"] = FULL
    with pytest.raises(OSError, match="No space left"):
        pool.run("compute")
    assert cluster.said == []


def test_one_that_was_left_out_is_asked_again_and_gets_work_once_it_can(cluster, pool_on):
    pool = pool_on(1, 2)
    cluster.trouble["10.0.0.2"] = FULL
    cluster.unmet["10.0.0.2"] = "it cannot write to its store: /s (No space left on device)."
    until(lambda: sum(each.pid is not None for each in pool.workers) == 2)
    assert ran(pool, 20) == ["10.0.0.1"] * 20
    cluster.now += AGAIN_SECONDS
    until(lambda: len(cluster.said) == 2)
    assert "is left out: it cannot write to its store" in cluster.said[1]
    assert len(pool) == 1
    cluster.trouble, cluster.unmet = {}, {}
    cluster.now += AGAIN_SECONDS
    until(lambda: cluster.said[2:] == ["host 10.0.0.2 joins, with 1 worker."])
    until(lambda: len(pool) == 2)
    until(lambda: "10.0.0.2" in ran(pool, 20))


def test_a_call_that_takes_host_after_host_is_given_up(cluster, pool_on):
    numbers = range(2, HOST_TRIES + 4)
    pool = pool_on(*numbers)
    cluster.trouble = {f"10.0.0.{number}": FULL for number in numbers}
    with pytest.raises(HostLost, match="was left out: it cannot go on: OSError"):
        pool.run("compute")
    assert len(cluster.said) == HOST_TRIES


def test_a_worker_that_dies_by_itself_is_blamed_on_its_call_as_ever(cluster, pool_on):
    pool = pool_on(2, 3)

    def dies(actor):
        raise died()

    cluster.trouble |= {"10.0.0.2": dies, "10.0.0.3": dies}
    with pytest.raises(WorkerDied, match=f"at every one of {TRIES} tries"):
        pool.run("compute")


def test_a_ray_that_ends_as_a_host_is_left_out_is_told_as_that(cluster, pool_on, monkeypatch):
    pool = pool_on(2, 3)
    until(lambda: all(each.pid for each in pool.workers))

    def gone(actor):
        monkeypatch.setattr(staff, "trouble_with_ray", lambda: "the Ray cluster has gone.")
        cluster.there = None  # what is asked of it raises
        return FULL

    cluster.trouble |= {"10.0.0.2": gone, "10.0.0.3": gone}
    with pytest.raises(MachineError, match="the Ray cluster has gone"):
        pool.run("compute")
