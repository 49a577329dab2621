"""A pool on a cluster whose hosts come and go; each is a raylet of its own on this machine."""

import threading
import time

import pytest

from tasks.computing import staff, troubles
from tasks.computing.deaths import HostLost
from tasks.computing.ray_cluster import ray_cluster
from tasks.computing.ray_start import PATIENCE
from tasks.computing.surveying import needed_of

SECONDS = 500  # of what takes a moment where nothing else runs
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]


def make_worker():
    class Worker:
        """Calls tell on which host they were."""

        def host(self):
            import ray

            return ray.get_runtime_context().get_node_id()

        def meet(self, place, number):
            """Ends when workers of so many hosts have come to a folder."""
            import time
            from pathlib import Path

            (Path(place) / self.host()).touch()
            deadline = time.monotonic() + 500
            while len(list(Path(place).iterdir())) < number:
                if time.monotonic() > deadline:
                    raise TimeoutError("nobody else came")
                time.sleep(0.02)
            return self.host()

        def wait_for(self, file):
            """Ends when a file is there; leaves one that says where it is."""
            import time
            from pathlib import Path

            (Path(file).parent / f"at-{self.host()}").touch()
            while not Path(file).exists():
                time.sleep(0.02)
            return self.host()

        def write(self, disks, place):
            """Writes to the disk of its host; leaves a file that says where."""
            from pathlib import Path

            (Path(place) / self.host()).touch()
            Path(disks.get(self.host(), "/dev/null")).write_text("a trial")
            return self.host()

        def code(self):
            import operators.spec

            return operators.spec.__file__, operators.spec.__doc__

        @staticmethod
        def needs(*_, **__):
            return needed_of()

    return Worker


@pytest.fixture(scope="module")
def hosts(monkeypatch_module):
    from ray.cluster_utils import Cluster

    monkeypatch_module.setenv("RAY_health_check_initial_delay_ms", "1000")
    monkeypatch_module.setenv("RAY_health_check_period_ms", "500")
    for name, value in PATIENCE.items():
        monkeypatch_module.setenv(name, value)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def pool(hosts, monkeypatch_module):
    monkeypatch_module.setattr(staff, "HOSTS_SECONDS", 0.5)
    with ray_cluster(hosts.address) as cluster:
        yield cluster.pool(make_worker())


def until(true, what):
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_hosts_that_come_get_work_and_those_that_go_cost_no_call(hosts, pool, tmp_path):
    class Said(list):
        say = list.append

    said = Said()
    pool.tell(said)
    assert len(pool) == 2
    both = tmp_path / "both"
    both.mkdir()
    first = {o.result for o in pool.map_unordered("meet", [str(both)] * 2, 2)}
    assert len(first) == 2

    # One more, in the middle of a map that began with two.
    three = tmp_path / "three"
    three.mkdir()
    outcomes = []
    mapping = threading.Thread(
        target=lambda: outcomes.extend(pool.map_unordered("meet", [str(three)] * 3, 3))
    )
    mapping.start()
    until(lambda: len(list(three.iterdir())) == 2, "two of three hosts")
    new = hosts.add_node(num_cpus=1)
    mapping.join(SECONDS)
    assert {outcome.error for outcome in outcomes} == {None}
    assert {outcome.result for outcome in outcomes} == first | {new.node_id}
    assert any("joins, with 1 worker" in text for text in said)

    # It goes again, with a call on it: that is repeated elsewhere, and others are left alone.
    go = tmp_path / "go"
    ended = []
    mapping = threading.Thread(
        target=lambda: ended.extend(pool.map_unordered("wait_for", [str(go)] * 3))
    )
    mapping.start()
    until(lambda: (tmp_path / f"at-{new.node_id}").exists(), "a call on the new host")
    hosts.remove_node(new, allow_graceful=False)
    until(lambda: any("is gone, with 1 worker" in text for text in said), f"its end: {said}")
    go.touch()
    mapping.join(SECONDS)
    assert {outcome.error for outcome in ended} == {None}
    assert {outcome.result for outcome in ended} <= first
    assert len(pool) == 2


def test_a_call_that_is_lost_with_its_host_is_told_so_and_not_as_its_fault(hosts, pool, tmp_path):
    new = hosts.add_node(num_cpus=1)
    until(lambda: sum(each.pid is not None for each in pool.workers) == 3, "a third worker")
    ended = []
    calls = [str(tmp_path / "never")] * 3
    mapping = threading.Thread(
        target=lambda: ended.extend(pool.map_unordered("wait_for", calls, tries=1))
    )
    mapping.start()
    until(lambda: (tmp_path / f"at-{new.node_id}").exists(), "a call on the new host")
    hosts.remove_node(new, allow_graceful=False)
    until(lambda: ended, "the end of the call")
    assert isinstance(ended[0].error, HostLost)
    assert "is gone, or cannot be reached" in ended[0].error.cause
    (tmp_path / "never").touch()
    mapping.join(SECONDS)
    assert [outcome.error for outcome in ended[1:]] == [None, None]


def test_a_host_that_has_no_room_is_left_out_and_its_call_made_elsewhere(
    hosts, pool, tmp_path, monkeypatch
):
    class Said(list):
        say = list.append

    said = Said()
    pool.tell(said)
    new = hosts.add_node(num_cpus=1)
    # All are raylets of one machine: of those that it has, one is to be another's.
    monkeypatch.setattr(troubles, "is_here", lambda host: host.node_id != new.node_id)
    until(lambda: sum(each.pid is not None for each in pool.workers) == 3, "a third worker")
    calls, ended = [{new.node_id: "/dev/full"}] * 12, []
    until(
        lambda: (
            ended.extend(pool.map_unordered("write", calls, str(tmp_path)))
            or (tmp_path / new.node_id).exists()
        ),
        "a call on the new host",
    )
    assert {outcome.error for outcome in ended} == {None}
    assert new.node_id not in {outcome.result for outcome in ended}
    until(lambda: len(pool) == 2, "its worker gone")
    (told,) = [text for text in said if "is left out" in text]
    assert "it cannot go on: OSError: [Errno 28] No space left on device." in told
    hosts.remove_node(new)


def test_workers_have_the_code_of_the_driver_and_no_other(hosts, pool):
    import operators.spec

    file, doc = pool.run("code")
    assert doc == operators.spec.__doc__
    assert file != operators.spec.__file__
    assert "working_dir" in file


def test_work_goes_where_what_it_needs_is_loaded(hosts, pool):
    places = {key: pool.run("host", near=key) for key in ("digits", "textiles")}
    for _ in range(5):
        for key, place in places.items():
            assert pool.run("host", near=key) == place
