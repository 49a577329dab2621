import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tasks.computing import joining
from tasks.computing.batches import Feed, PairWorker
from tasks.computing.deaths import OutOfTime, WorkerDied
from tasks.computing.hosts import Host
from tasks.computing.ray_cluster import Cluster, ray_cluster
from tasks.computing.worker_pool import First, PoolClosed
from tasks.environment import MachineError
from tasks.services.children import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120  # of what takes a moment where nothing else runs
pytestmark = pytest.mark.timeout(900)  # a start of Ray is tried twice, for minutes each


def make_worker():  # noqa: C901  # a method for each thing that is tried
    """A class that travels by value, since Ray workers do not import test files."""

    class Worker:
        def __init__(self, factor):
            self.factor = factor

        def scale(self, number):
            return self.factor * number

        def fail_on(self, number, bad):
            if number == bad:
                raise KeyError(f"batch {number}")
            return number

        def facts(self):
            import operators.spec

            return os.getpid(), os.environ["OMP_NUM_THREADS"], operators.spec.__file__

        def die_once(self, marker):
            marker = Path(marker)
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "survived"

        def die(self, number):
            sys.stderr.write("about to die\n" * 5)
            sys.stderr.flush()
            if number:
                os.kill(os.getpid(), number)
            os._exit(3)

        def nap(self, seconds):
            time.sleep(seconds)

        def meet(self, place, number):
            """Ends when so many workers have come to a folder."""
            place = Path(place)
            (place / str(os.getpid())).touch()
            deadline = time.monotonic() + SECONDS
            while len(list(place.iterdir())) < number:
                if time.monotonic() > deadline:
                    raise TimeoutError("nobody else came")
                time.sleep(0.02)
            return os.getpid()

        def prepare(self, place, seconds):
            (Path(place) / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            time.sleep(seconds)

    return Worker


before_ray = signal.getsignal(signal.SIGTERM)


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(cpus=4, workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    return cluster.pool(make_worker(), 10)


@pytest.fixture
def both(pool, tmp_path_factory):
    """Asks both workers at once for their ids."""

    def ask(**how):
        place = str(tmp_path_factory.mktemp("meeting"))
        return {o.result for o in pool.map_unordered("meet", [place] * 2, 2, **how)}

    return ask


@pytest.mark.slow
def test_a_local_ray_listens_on_the_loopback_alone(pool):
    import ray

    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_worker_has_one_thread(pool):
    assert pool.run("facts")[1] == "1"


@pytest.mark.slow
def test_a_worker_imports_the_packages_of_the_driver(pool):
    assert pool.run("facts")[2] == str(ROOT / "operators" / "spec.py")


@pytest.mark.slow
def test_threads_share_the_workers(pool):
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: pool.run("scale", i), range(40))) == [
            10 * number for number in range(40)
        ]


@pytest.mark.slow
def test_two_maps_share_the_pool_and_each_gets_its_own(pool):
    def scaled(numbers):
        return sorted(outcome.result for outcome in pool.map_unordered("scale", numbers))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(scaled, [range(20), range(100, 120)])
    assert first == [10 * number for number in range(20)]
    assert second == [10 * number for number in range(100, 120)]


@pytest.mark.slow
def test_a_map_keeps_all_workers_busy(both):
    assert len(both() - {None}) == 2


@pytest.mark.slow
def test_an_error_is_the_original_one_and_costs_its_batch_alone(pool):
    outcomes = {o.batch: o for o in pool.map_unordered("fail_on", range(4), 2)}
    assert [outcomes[number].result for number in (0, 1, 3)] == [0, 1, 3]
    assert type(outcomes[2].error) is KeyError
    with pytest.raises(KeyError, match="batch 2"):
        pool.run("fail_on", 2, 2)


@pytest.mark.slow
def test_a_batch_whose_worker_is_killed_is_repeated(pool, tmp_path):
    assert pool.run("die_once", str(tmp_path / "marker")) == "survived"


@pytest.mark.slow
def test_a_worker_killed_from_outside_is_started_again(pool, tmp_path):
    place = str(tmp_path)
    with ThreadPoolExecutor(2) as threads:  # they wait for a third: the one after the killed
        calls = [threads.submit(pool.run, "meet", place, 3) for _ in range(2)]
        deadline = time.monotonic() + SECONDS
        while len(here := list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        killed = int(here[0].name)
        os.kill(killed, signal.SIGKILL)
        assert {call.result() for call in calls} == {
            int(path.name) for path in tmp_path.iterdir()
        } - {killed}


@pytest.mark.slow
def test_a_feed_of_pictures_loses_nothing_to_a_killed_worker(cluster):
    from data_catalog.world.source import World

    worker = PairWorker(World(), 4, 16)
    expected = [worker.make(step) for step in range(12)]
    pool, found = cluster.pool(PairWorker, World(), 4, 16), []
    for batch in Feed(worker, pool, 0, 12):
        found.append(batch)
        if len(found) == 3:
            assert batch.maker != os.getpid()
            os.kill(batch.maker, signal.SIGKILL)
    pool.close()
    assert [batch.texts for batch in found] == [batch.texts for batch in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.images, theirs.images)


@pytest.mark.slow
def test_a_call_that_always_kills_its_worker_is_refused_and_the_pool_lives_on(pool):
    with pytest.raises(WorkerDied, match=r"every one of 2 tries of die: its process ended without"):
        pool.run("die", signal.SIGKILL, tries=2)
    assert sorted(o.result for o in pool.map_unordered("scale", range(4))) == [0, 10, 20, 30]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (0, r"without a word, as by SIGKILL or os\._exit\. Its log ends with: .*about to die"),
        (signal.SIGSEGV, r"it crashed \(SIGSEGV\) in File .*test_ray_cluster\.py.* in die"),
    ],
)
def test_a_death_is_told_with_its_cause_and_the_last_words(pool, number, cause):
    with pytest.raises(WorkerDied, match=f"in a call of die: .*{cause}") as died:
        pool.run("die", int(number), tries=1)
    assert "memory" not in str(died.value)


@pytest.mark.slow
def test_a_call_that_hangs_is_ended_with_its_worker_and_the_pool_lives_on(pool, both):
    before = both()
    with pytest.raises(OutOfTime, match="a call of nap was ended after 1 s"):
        pool.run("nap", 600, seconds=1.0)
    after = both(seconds=lambda _: 2.0 * SECONDS)
    assert len(before & after) == 1
    (outcome,) = pool.map_unordered("nap", [600.0], seconds=lambda _: 1.0)
    assert isinstance(outcome.error, OutOfTime)
    assert len(after & both()) == 1


@pytest.mark.slow
def test_a_worker_has_the_first_call_once_and_its_time_does_not_count(cluster, pool, tmp_path):
    first = First("key", "prepare", (str(tmp_path), 6.0))
    alone = cluster.pool(make_worker(), 10)
    for _ in range(3):
        outcomes = alone.map_unordered("scale", range(6), seconds=lambda _: 5.0, first=first)
        assert sorted(outcome.result for outcome in outcomes) == list(range(0, 60, 10))
    prepared = sum(worker.had == {"key"} for worker in alone.workers)
    assert len(list(tmp_path.iterdir())) == prepared > 0
    alone.close()


@pytest.mark.slow
def test_a_pool_that_is_closed_ends_its_calls_as_stopped(cluster, pool, tmp_path):
    alone = cluster.pool(make_worker(), 10)
    outcomes = alone.map_unordered("prepare", [str(tmp_path)] * 4, 600)
    closing = threading.Timer(0.2, alone.close)
    closing.start()
    assert {type(outcome.error) for outcome in outcomes} == {PoolClosed}
    closing.join()


@pytest.mark.slow
def test_sigterm_is_handled_by_who_handled_it_before_ray_started(cluster, pool):
    # Ray's own handler ends the process; the one that it sets in C aborts it three seconds later.
    import ctypes

    assert signal.getsignal(signal.SIGTERM) == before_ray
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(256)
    here = ctypes.create_string_buffer(256)
    libc.sigaction(signal.SIGTERM, None, action)
    previous = signal.signal(signal.SIGUSR2, lambda *_: None)
    libc.sigaction(signal.SIGUSR2, None, here)
    signal.signal(signal.SIGUSR2, previous)
    python = here.raw[:8]  # the address of the handler, which Python has one of for all signals
    assert action.raw[:8] in (python, bytes(8))


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_the_reason(cluster, pool):
    class Broken:
        def __init__(self):
            raise ImportError("libtorch.so is not what it was")

        def work(self):
            return 1

    broken = cluster.pool(Broken)
    with pytest.raises(MachineError, match=r"no worker starts: .*ImportError: libtorch\.so is not"):
        broken.run("work")
    broken.close()


@pytest.mark.slow
def test_gpus_that_the_cluster_lacks_are_refused_at_once(cluster, pool):
    with (
        pytest.raises(ValueError, match=r"gpus_per_worker=0\.5: the cluster has 0 GPUs.*=0 to run"),
        ray_cluster(gpus_per_worker=0.5),
    ):
        pass


@pytest.mark.slow
def test_a_ray_that_was_there_is_left_running(cluster, pool):
    with ray_cluster(workers=1) as second:
        assert second.pool(make_worker(), 3).run("scale", 2) == 6
    assert pool.run("scale", 2) == 20


@pytest.mark.slow
def test_another_process_joins_by_address_and_leaves_it_running(pool):
    import ray

    script = (
        "from tasks.computing.ray_cluster import ray_cluster\n"
        "class Worker:\n"
        "    def name(self):\n"
        "        import operators.spec\n"
        "        return operators.spec.__name__\n"
        f"with ray_cluster({ray.get_runtime_context().gcs_address!r}, workers=1) as cluster:\n"
        "    print(cluster.started_by_us, cluster.pool(Worker).run('name'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.stdout.strip() == "True operators.spec", done.stderr
    assert pool.run("scale", 2) == 20


def test_whatever_ray_raises_once_it_has_gone_is_a_sentence(monkeypatch):
    from tasks.computing import worker_pool

    class Actor:
        class work:
            @staticmethod
            def remote():
                raise RuntimeError("Failed to connect to GCS within 60 seconds")

    def call():
        worker = worker_pool.Worker(Actor(), Host("node", "127.0.0.1", 1.0, 0.0), None)
        object.__new__(worker_pool.WorkerPool)._call(worker, "work", (), None)

    monkeypatch.setattr(worker_pool, "trouble_with_ray", lambda: None)
    with pytest.raises(RuntimeError, match="within 60 seconds"):  # with Ray there, as it is
        call()
    monkeypatch.setattr(worker_pool, "trouble_with_ray", lambda: "gcs_server has ended.")
    with pytest.raises(MachineError, match="gcs_server has ended"):
        call()


def test_an_address_where_nobody_listens_is_refused_at_once():
    address = f"127.0.0.1:{free_port()}"
    script = (
        "from tasks.computing.joining import check_address\n"
        f"try:\n    check_address({address!r})\n"
        "except ConnectionError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith(f"no Ray cluster answers at {address}")
    assert "--ray-address" in done.stdout


def test_nothing_starts_before_it_is_needed():
    with ray_cluster() as cluster:
        assert cluster == Cluster(None, None, 0.0, None, _lock=cluster._lock)
        assert not cluster._pools
        assert not cluster.started_by_us


@pytest.mark.parametrize("part", [-1, 1.5, 2, float("nan")])
def test_a_part_of_a_gpu_that_ray_cannot_give_is_refused(part):
    with pytest.raises(ValueError, match="gpus_per_worker="), ray_cluster(gpus_per_worker=part):
        pass


def test_a_pool_of_no_workers_is_refused():
    with pytest.raises(ValueError, match="workers=0"), ray_cluster(workers=0):
        pass


def test_a_machine_that_is_no_host_of_a_cluster_is_told_at_once_what_to_do(monkeypatch):
    monkeypatch.setattr(joining, "nobody_listens", lambda _: None)
    monkeypatch.setattr(joining, "_health", lambda _: None)
    monkeypatch.setattr(joining, "_hosts_of", lambda _: {"192.0.2.7"})
    with pytest.raises(ConnectionError, match=r"no host of the Ray .*ray://192\.0\.2\.7:10001"):
        joining.check_address("192.0.2.7:6379")
    joining.check_address("ray://192.0.2.7:10001")
    monkeypatch.setattr(joining, "_hosts_of", lambda _: {"192.0.2.7", "127.0.0.1"})
    joining.check_address("192.0.2.7:6379")
    monkeypatch.setattr(joining, "_hosts_of", lambda _: set())  # then Ray says whether it may
    joining.check_address("192.0.2.7:6379")


@pytest.mark.slow
def test_the_hosts_of_a_cluster_are_known_before_it_is_joined(pool):
    import ray

    assert joining._hosts_of(ray.get_runtime_context().gcs_address) == {"127.0.0.1"}
    assert joining._hosts_of(f"127.0.0.1:{free_port()}") == set()


@pytest.mark.parametrize(
    ("address", "raised", "said", "tries"),
    [
        ("ray://h:1", ConnectionError("x\nStarting Ray client server failed. See"), "too busy", 3),
        ("ray://h:1", ConnectionError("ray client connection timeout"), "a token, set RAY_AUTH", 1),
        ("h:1", RuntimeError("Version mismatch: Ray: 1\nPython: 2"), "of another version", 1),
        ("h:1", ConnectionError("Starting Ray client server failed"), "^Starting Ray", 1),
    ],
)
def test_what_keeps_a_cluster_from_being_joined_is_a_sentence(
    address, raised, said, tries, monkeypatch
):
    asked = []

    def refuse(address, **how):
        asked.append(sorted(Path(how["runtime_env"]["working_dir"]).glob("*/__init__.py")))
        raise raised

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever tokens this machine has
    monkeypatch.setattr(joining, "check_address", lambda _: None)
    monkeypatch.setattr("ray.init", refuse)
    with pytest.raises(ConnectionError, match=said) as error:
        joining.join(address, {})
    assert "\n" not in str(error.value)
    assert len(asked) == tries
    assert {path.parent.name for path in asked[0]} >= {"operators", "tasks", "flows"}
