"""Which part of a GPU trials are given, and what of one a worker takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from operators.backbones import reference
from operators.engine.launching import busy
from operators.estimating.memory import CONTEXT, memory_of, tower_sizes
from operators.estimating.work import Size, known_work
from tasks.computing import gpus, ray_cluster
from tasks.computing.device import device_for
from tasks.computing.gpus import device_of
from tasks.computing.hosts import Host
from tasks.computing.ray_cluster import Cluster
from tasks.estimating.shares import MOST, share, share_of
from tasks.planning.choices import check
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite

GIB = 1 << 30
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("need", "working", "part"),
    [
        (4 * GIB, 0.3, 0.25),  # four keep it busy
        (10 * GIB, 0.3, 0.5),  # but two have room
        (1 * GIB, 0.9, 0.5),  # a second fills the gaps
        (1 * GIB, 1.0, 1.0),  # nothing is left over
        (30 * GIB, 0.1, 1.0),  # more than there is: alone
        (1 * GIB, 0.001, 1 / MOST),
        (7 * GIB, 0.4, 0.3333),  # as Ray counts parts, rounded down, so that three fit
    ],
)
def test_trials_share_a_gpu_as_its_memory_holds_and_no_more_than_keep_it_busy(need, working, part):
    assert share(need, 24 * GIB, working) == part


def test_a_large_step_leaves_nothing_over_and_a_small_one_most():
    assert busy(1e12) == 1
    assert busy(0) < busy(1e9) < busy(1e11) < 1


def test_the_need_of_a_trial_grows_with_classes_images_and_weights():
    def need(method, backbone, classes, precision="fp32", batch=32):
        sizes = tower_sizes(reference(backbone))
        size = Size(classes, 16 * classes, ())
        values = {"batch_size": batch}
        return memory_of(known_work()[method], size, values, sizes, precision)

    small = need("coop", "clip-vit-b16", 10)
    assert CONTEXT < small < need("coop", "clip-vit-b16", 1000) < 8 * GIB
    assert small < need("coop", "clip-vit-l14", 10)
    assert need("maple", "clip-vit-b16", 100, batch=4) < need("maple", "clip-vit-b16", 100)
    assert need("maple", "clip-vit-b16", 100, "bf16") < need("maple", "clip-vit-b16", 100)


@pytest.fixture
def planned(store, dataset_of, tiny):
    """The trials of a small suite, their datasets and backbones."""
    dataset = dataset_of()

    def make(*methods):
        values = {"name": "mini", "datasets": [dataset.name], "backbones": [tiny]}
        values |= {"methods": list(methods), "shots": [1], "seeds": [1]}
        request = check(store, make_suite(values, where="mini"))
        datasets = {dataset.name: dataset}
        return make_plan(store, request, datasets).specs, datasets, request.backbones.references

    return make


def test_a_run_gives_each_worker_what_its_neediest_trial_is_given(planned):
    card = 24 * GIB
    assert share_of(*planned("coop", "zero-shot"), card) == 1 / MOST
    assert share_of(*planned("coop", "maple"), 3 * CONTEXT) == 0.5  # of all that has room for two


def test_a_method_of_which_nothing_is_known_has_a_gpu_to_itself(planned, monkeypatch):
    monkeypatch.setattr("tasks.estimating.shares.known_work", dict)
    assert share_of(*planned("coop"), 24 * GIB) == 1.0


@pytest.fixture
def there(monkeypatch):
    """Says which hosts there are; Ray is not started."""

    def say(*hosts):
        monkeypatch.setattr(ray_cluster, "hosts_there", lambda: list(hosts))
        monkeypatch.setattr(ray_cluster, "connect", lambda *_: False)
        return Cluster(None, None, None, None)

    return say


def test_workers_ask_for_the_share_that_is_worked_out(there, monkeypatch):
    asked = {}
    monkeypatch.setattr(ray_cluster, "WorkerPool", lambda *_, **how: asked.update(how))
    cluster = there(Host("a", "10.0.0.1", 16.0, 2.0))
    cluster.settle(lambda: 0.25)
    cluster.pool(dict)
    assert asked["gpus_per_worker"] == 0.25
    cluster.settle(lambda: 1.0)  # once
    assert cluster.gpus_per_worker == 0.25


def test_where_the_cluster_has_no_gpu_none_is_asked_for(there):
    cluster = there(Host("a", "10.0.0.1", 3.0, 0.0))
    cluster.settle(lambda: pytest.fail("nobody asks how large a GPU is that is not there"))
    assert cluster.gpus_per_worker == 0.0


@pytest.mark.parametrize(
    ("given", "there", "device", "bound"),
    [
        (0.0, True, "cpu", None),  # its machine has a GPU, which Ray gave to others
        (0.25, True, "cuda", 0.25),
        (1.0, True, "cuda", None),
        (None, True, "cuda", None),  # no worker of Ray
        (None, False, "cpu", None),
    ],
)
def test_a_worker_computes_on_what_it_was_given_and_takes_no_more_memory(
    monkeypatch, given, there, device, bound
):
    bounds = [None]
    monkeypatch.setattr(gpus, "granted", lambda: given)
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", bounds.append)
    assert (device_of("auto"), bounds[-1]) == (device, bound)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("cuda:2", "torch sees 2 GPUs here, numbered from 0: give cuda:1 or less"),
        ("cuda:0,cuda:1", "is none: give auto, cpu, cuda or cuda:N"),
        ("mps", "is none of auto, cpu, cuda and cuda:N"),
    ],
)
def test_a_gpu_is_chosen_by_its_number_or_refused(monkeypatch, asked, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_for("cuda:1") == "cuda:1"
    with pytest.raises(RequestError, match=said):
        device_for(asked)


class Asked:
    """In the place of Ray: hosts say how large their GPUs are once all of them were asked."""

    def __init__(self, monkeypatch, sizes):
        import ray
        from ray.exceptions import GetTimeoutError

        self.asked, self.cancelled, self.busy = [], [], GetTimeoutError()
        self.sizes = {f"10.0.0.{n}": size for n, size in enumerate(sizes)}
        there = [Host(name, name, 1.0, 1.0) for name in self.sizes]
        there.append(Host("without", "10.0.0.9", 1.0, 0.0))
        monkeypatch.setattr(gpus, "hosts_there", lambda: there)
        monkeypatch.setattr(gpus, "on", lambda host: {"host": host})
        monkeypatch.setattr(ray, "remote", lambda **_: lambda _: self)
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "cancel", self.cancelled.append)

    def options(self, host):
        self.host = host
        return self

    def remote(self):
        self.asked.append(self.host.address)
        return self.host.address

    def get(self, address, timeout):
        assert self.asked == list(self.sizes)
        size = self.sizes[address]
        if size is None:
            raise self.busy
        if isinstance(size, Exception):
            raise size
        return size


def test_hosts_with_gpus_are_asked_at_once_and_the_smallest_one_counts(monkeypatch):
    Asked(monkeypatch, [24 * GIB, OSError("no torch"), 16 * GIB, 80 * GIB])
    assert gpus.smallest_card() == 16 * GIB


def test_gpus_that_are_all_in_use_are_told_and_nobody_goes_on_waiting_for_them(monkeypatch):
    asked = Asked(monkeypatch, [24 * GIB, None, 16 * GIB])
    with pytest.raises(RequestError, match=r"the GPUs of 10\.0\.0\.1 are in use"):
        gpus.smallest_card()
    assert asked.cancelled == asked.asked


TWO_GPUS = """
import os, ray
ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
from tasks.computing.gpus import granted, smallest_card
from tasks.computing.ray_cluster import ray_cluster
from tasks.planning.resolve import RequestError

class Worker:
    def look(self, place):
        import pathlib, time
        from tasks.computing.gpus import device_of
        from tasks.computing.gpus import granted
        pathlib.Path(place, str(os.getpid())).touch()
        while len(os.listdir(place)) < 4:  # so that each answers once
            time.sleep(0.02)
        return granted(), os.environ["CUDA_VISIBLE_DEVICES"], device_of("auto")

assert granted() is None
try:
    smallest_card()
except RequestError as error:
    print("REFUSED", error)
with ray_cluster(gpus_per_worker=None) as cluster:
    cluster.settle(lambda: 0.5)
    pool = cluster.pool(Worker)
    place = os.environ["PLACE"]
    found = [each.result or each.error for each in pool.map_unordered("look", [place] * 4)]
    print("FOUND", sorted(found))
ray.shutdown()
"""


@pytest.mark.slow
@pytest.mark.served
def test_ray_puts_workers_on_the_gpus_that_it_counts(tmp_path):
    place = tmp_path / "met"
    place.mkdir()
    command = [sys.executable, "-c", TWO_GPUS]
    how = os.environ | {"PLACE": str(place)}
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=how, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    said = [line.partition(" ") for line in ended.stdout.splitlines()]  # Ray says things as well
    (refused,) = (text for word, _, text in said if word == "REFUSED")
    (found,) = (text for word, _, text in said if word == "FOUND")
    assert "Ray counts GPUs at" in refused  # which are pretended, so torch has none
    assert eval(found) == [(0.5, "0", "cpu")] * 2 + [(0.5, "1", "cpu")] * 2
    assert not torch.cuda.is_initialized()
