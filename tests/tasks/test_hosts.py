"""Which hosts of a cluster get how many workers, and which are left out."""

import os
import resource
import threading
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from operators.files import abandoned
from tasks.computing import surveying
from tasks.computing.hosts import Host, check_room, share_out
from tasks.computing.surveying import (
    AGAIN_SECONDS,
    HostWatch,
    Needs,
    needed_of,
    own_packages,
    survey,
)
from tasks.environment import MachineError
from tasks.stopped import RunStopped


def host(cpus: float = 1.0, gpus: float = 0.0, name: str = "a") -> Host:
    return Host(f"node-{name}", f"10.0.0.{ord(name)}", cpus, gpus)


@pytest.mark.parametrize(
    ("gpus", "each", "workers"),
    [([2], 0.5, 4), ([2], 1, 2), ([1], 0.3333, 3), ([1], 0.3, 3), ([2, 1], 0.5, 6)],
)
def test_workers_are_as_many_as_the_gpus_of_each_host_hold(gpus, each, workers):
    there = [host(8, n, chr(97 + i)) for i, n in enumerate(gpus)]
    assert sum(share_out(there, gpus_per_worker=each, requested=None).values()) == workers


def test_without_gpus_there_is_one_worker_a_core_and_none_on_a_head_without():
    head, one, two = host(0, name="h"), host(6, name="b"), host(2.5, name="c")
    counts = share_out([head, one, two], gpus_per_worker=0, requested=None)
    assert counts == {head: 0, one: 6, two: 2}
    assert share_out([head], gpus_per_worker=0, requested=None) == {head: 1}


def test_workers_that_were_asked_for_are_shared_out_by_room():
    large, small = host(6, name="b"), host(2, name="c")

    def counts(requested, gpus=0.0):
        return tuple(share_out([large, small], gpus_per_worker=gpus, requested=requested).values())

    assert counts(4) == (3, 1)
    assert counts(8) == (6, 2)
    assert counts(16) == (12, 4)  # more than cores, as on one machine
    assert counts(1) == (1, 0)
    with_gpus = [host(8, 2, "b"), host(8, 1, "c")]
    shared = share_out(with_gpus, gpus_per_worker=1, requested=5)
    assert tuple(shared.values()) == (2, 1)


def test_more_workers_than_the_gpus_hold_are_refused():
    with pytest.raises(ValueError, match="3 workers with gpus_per_worker=1: the cluster has 2"):
        check_room([host(8, 2)], gpus_per_worker=1, requested=3)
    with pytest.raises(ValueError, match="gpus_per_worker=1: the cluster has 0 GPUs, which hold 0"):
        check_room([host(8), host(8, name="b")], gpus_per_worker=1, requested=None)
    check_room([host(8, 2)], gpus_per_worker=0.5, requested=4)
    check_room([host(0)], gpus_per_worker=0, requested=None)


def test_a_host_that_sees_the_store_can_work_and_one_with_a_like_named_folder_cannot(tmp_path):
    with needed_of(str(tmp_path / "store"), [tmp_path, Path("mini-clip")]) as needs:
        assert needs.folders == (str(tmp_path),)
        assert survey(needs) == ("", "")
        elsewhere = tmp_path / "store"
        marks = list(elsewhere.iterdir())
        for mark in marks:  # as it is where the folder is another one
            mark.rmdir()
        unmet, _ = survey(needs)
    assert unmet.startswith(f"it does not see the store {elsewhere}: name a store that all hosts")
    assert list(elsewhere.iterdir()) == []


def test_a_shared_folder_of_objects_is_looked_for_too(tmp_path):
    with needed_of(f"file://{tmp_path}") as needs:
        assert survey(needs) == ("", "")
        next(tmp_path.glob(".seen.*")).rmdir()
        assert "does not see the store file://" in survey(needs)[0]


def test_a_bucket_that_a_host_does_not_reach_is_told(monkeypatch):
    monkeypatch.setattr(surveying, "REACH_SECONDS", 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with needed_of("s3://bucket/store") as needs:
        assert survey(needs)[0].startswith("it does not reach the store: ")


def test_a_host_that_cannot_write_is_told_where(tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setenv("SHOTBOARD_CACHE", str(tmp_path / "cache"))
    with needed_of(str(tmp_path)) as folder, needed_of(f"file://{tmp_path}") as url:
        assert survey(folder) == survey(url) == ("", "")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # as where the disk is full
        try:
            (mine, _), (copy, _) = survey(folder), survey(url)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert mine.startswith(f"it cannot write to its store: {tmp_path} (File too large). It needs")
    assert copy.startswith(
        f"it cannot write to its copy of the store, which SHOTBOARD_CACHE names: {tmp_path}/cache/"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert survey(Needs("/proc"))[0].startswith("it cannot write to its store: /proc (")


def test_packages_that_a_host_lacks_are_named_and_others_versions_told():
    packages = own_packages()
    assert packages["torch"] == metadata.version("torch")
    assert {"numpy", "pyarrow", "obstore", "ray"} <= packages.keys()
    assert "moto" not in packages  # what tests need is not asked of hosts
    lacking = Needs(packages=packages | {"no-such-package": "1.0"})
    assert survey(lacking)[0].startswith("it lacks no-such-package, which Shotboard needs")
    other = Needs(packages=packages | {"torch": "1.0", "requests": "1.0"})
    assert survey(other) == ("", f"torch {packages['torch']}, not 1.0")


def test_a_folder_that_was_asked_for_by_its_path_must_be_there(tmp_path):
    needs = Needs(folders=(str(tmp_path / "clip"),))
    assert survey(needs)[0].startswith(f"it has no {tmp_path / 'clip'}: put what was asked for")


class Answers:
    """In the place of Ray: each host answers, once it is told to, or raises."""

    def __init__(self, monkeypatch):
        import ray

        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(ray, "remote", lambda **_: lambda function: self)
        monkeypatch.setattr(surveying, "on", lambda host: {"host": host})
        monkeypatch.setattr(
            ray, "wait", lambda some, timeout: ([r for r in some if self.has(r)], [])
        )
        monkeypatch.setattr(ray, "get", self.get)

    def options(self, host):
        self.host = host
        return self

    def remote(self, needs):
        self.asked.append(self.host.address)
        return self.host.address

    def has(self, address):
        return address in self.answers

    def get(self, address, timeout):
        answer = self.answers[address]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_hosts_are_asked_once_and_nobody_is_waited_for(monkeypatch):
    answers, said, there = Answers(monkeypatch), [], [host(name="b"), host(name="c")]
    watch = HostWatch(Needs(), said.append, lambda: there)
    assert watch.look() == [] == watch.look()
    answers.answers[there[0].address] = ("", "torch 1.0, not 2.0")
    assert watch.look() == [there[0]]
    answers.answers[there[1].address] = ("it lacks torch.", "")
    assert watch.look() == [there[0]] == watch.look()
    assert answers.asked == [each.address for each in there]
    assert said == [
        "host 10.0.0.98 has torch 1.0, not 2.0: last digits of its figures may differ.",
        "host 10.0.0.99 is left out: it lacks torch.",
    ]
    there.pop(0)
    assert watch.look() == []
    again = there.pop()._replace(node_id="later")  # a host that comes back is a new one to Ray
    there.append(again)
    answers.answers[again.address] = ("", "")
    assert [watch.look(), watch.look()] == [[], [again]]


def test_where_no_host_can_work_the_run_is_refused_with_all_reasons(monkeypatch):
    answers, there = Answers(monkeypatch), [host(name="b"), host(name="c")]
    answers.answers["10.0.0.98"] = ("it lacks torch.", "")
    answers.answers["10.0.0.99"] = RuntimeError(
        "a tale\n  ModuleNotFoundError: No module 'tasks'\n"
    )
    watch = HostWatch(Needs(), [].append, lambda: there)
    with pytest.raises(
        MachineError, match=r"no host of the Ray cluster can work\. 10\.0\.0\.98: it"
    ):
        watch.first(threading.Event())
    assert watch.left_out["10.0.0.99"] == (
        "it does not run our code (ModuleNotFoundError: No module 'tasks')."
    )


def test_a_host_that_never_answers_is_left_out(monkeypatch):
    answers, there = Answers(monkeypatch), [host(name="b"), host(name="c")]
    from ray.exceptions import GetTimeoutError

    answers.answers["10.0.0.98"] = ("", "")
    monkeypatch.setattr(surveying, "SURVEY_SECONDS", 0.0)
    answers.answers["10.0.0.99"] = GetTimeoutError()
    monkeypatch.setattr(answers, "has", lambda address: address == "10.0.0.98")
    watch = HostWatch(Needs(), [].append, lambda: there)
    assert watch.first(threading.Event()) == [there[0]]
    assert "did not answer" in watch.left_out["10.0.0.99"]


def test_needs_travel_whole():
    import pickle

    needs = Needs("s3://b/s", "", ("/x",), {"torch": "2"})
    assert pickle.loads(pickle.dumps(replace(needs, mark="m"))) == replace(needs, mark="m")


def test_what_shows_the_store_to_hosts_is_swept_once_its_run_was_killed_and_not_before(tmp_path):
    with needed_of(str(tmp_path)) as needs:
        os.utime(needs.mark, (0, 0))
        assert list(abandoned(tmp_path)) == []
    left = Path(needs.mark)
    assert not left.exists()
    left.mkdir()  # as by a run that was killed
    os.utime(left, (0, 0))
    assert list(abandoned(tmp_path)) == [left]


def test_a_host_that_goes_before_it_answers_keeps_nobody_waiting(monkeypatch):
    answers, there = Answers(monkeypatch), [host(name="b"), host(name="c")]
    answers.answers["10.0.0.98"] = ("", "")
    watch = HostWatch(Needs(), [].append, lambda: there)
    assert watch.look() == []
    gone = there.pop()
    assert watch.first(threading.Event()) == there
    assert gone.address in answers.asked


def test_a_run_that_is_stopped_waits_for_no_answer(monkeypatch):
    Answers(monkeypatch)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(RunStopped):
        HostWatch(Needs(), [].append, lambda: [host()]).first(stopped)


def test_a_host_that_was_left_out_is_asked_again_later_and_told_once(monkeypatch):
    answers, said, one, now = Answers(monkeypatch), [], host(name="b"), [0.0]
    watch = HostWatch(Needs(), said.append, lambda: [one], lambda: now[0])
    answers.answers[one.address] = ("it does not reach the store: busy.", "")
    for _ in range(2):
        for _ in range(3):
            assert watch.look() == []
        now[0] += AGAIN_SECONDS
    assert len(answers.asked) == 2
    assert len(said) == 1
    answers.answers[one.address] = ("", "")
    assert [watch.look(), watch.look()] == [[], [one]]
    assert watch.reasons == ""
