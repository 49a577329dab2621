"""Leases: who may do what while several runs use one store; no Ray, and a pretended clock."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.storage import processes
from tasks.storage.leases import LEASE_SECONDS, Folder, Leases

ROOT = Path(__file__).resolve().parents[2]


class Memory:
    """A place without a file system, as an object store is one; may fail, and stop in between."""

    def __init__(self):
        self.files = {}
        self.lock = threading.Lock()
        self.before = lambda *_: None

    def create(self, name, content):
        self.before("create", name)
        with self.lock:
            return self.files.setdefault(name, content) is content

    def read(self, name):
        return self.files.get(name)

    def replace(self, name, content):
        self.files[name] = content

    def delete(self, name):
        self.before("delete", name)
        self.files.pop(name, None)

    def names(self):
        return list(self.files)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return Folder(tmp_path / "leases") if request.param == "folder" else Memory()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def owner(place, clock):
    """Makes owners; `elsewhere` are those whose machine nobody can ask."""
    made = []

    def make(elsewhere=False):
        leases = Leases(place, {"suite": "mini"}, clock)
        made.append(leases)
        if elsewhere:
            leases.take("nothing")
            leases.release("nothing")
            leases._over.set()  # no signs but those that a test gives
            show(leases)
        return leases

    def show(leases, **changes):
        name = f"owner-{leases.owner}.json"
        values = json.loads(place.read(name)) | {"host": "far away", "key": ""} | changes
        place.replace(name, json.dumps(values).encode())

    make.show = show
    yield make
    for leases in made:
        leases.close()


def names(place):
    return sorted(name for name in place.names() if not name.startswith("owner-"))


def test_a_lease_is_of_one_owner_until_it_is_given_back(place, owner):
    first, second = owner(), owner()
    assert first.take("t1")
    assert first.take("t1")
    assert not second.take("t1")
    assert not second.free("t1")
    assert second.take("t2")
    first.release("t1")
    assert second.free("t1")
    assert second.take("t1")
    assert names(place) == ["t1.json", "t2.json"]


def test_an_owner_that_ends_leaves_nothing(place, owner):
    first, second = owner(), owner()
    with first, second:
        first.take("t1")
        second.take("t2")
    assert list(place.names()) == []


def test_it_says_who_has_it(place, owner):
    leases = owner()
    leases.take("t1")
    told = json.loads(place.read("t1.json"))
    known = json.loads(place.read(f"owner-{told['owner']}.json"))
    assert known["pid"] == os.getpid()
    assert known["suite"] == "mini"
    assert {"host", "until", "beat"} < known.keys()


def test_a_process_of_this_machine_that_has_ended_is_inherited_at_once(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tasks.storage.leases import Folder, Leases\n"
        "assert Leases(Folder(Path(sys.argv[1]))).take('t1')\n"
        "print('taken', flush=True)\n"
        "sys.stdin.read()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    place = Folder(tmp_path / "leases")
    command = [sys.executable, "-I", "-c", code, place.path, ROOT]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        Leases(place) as leases,
    ):
        assert other.stdout.readline() == b"taken\n"
        assert not leases.take("t1")
        other.stdin.close()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is there, as a zombie
        assert leases.take("t1")
        assert leases.inherited("t1")
        assert len(names(place)) == 2
        leases.release("t1")
        assert names(place) == []
        leases.sweep()
        assert list(place.names()) == [f"owner-{leases.owner}.json"]


def test_who_shows_no_life_on_another_machine_is_inherited_after_a_while(place, owner, clock):
    far, near = owner(elsewhere=True), owner()
    assert far.take("t1")
    assert not near.take("t1")
    clock.now += LEASE_SECONDS - 1
    assert not near.take("t1")
    owner.show(far, beat=2)
    clock.now += LEASE_SECONDS - 1
    assert not near.take("t1")
    clock.now += LEASE_SECONDS - 1
    assert not near.take("t1")
    clock.now += 2
    assert near.free("t1")
    assert near.take("t1")
    assert near.inherited("t1")


def test_no_clock_of_another_machine_counts(place, owner, clock):
    far, near = owner(elsewhere=True), owner()
    far.take("t1")
    for beat, until in enumerate(("1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"), 2):
        owner.show(far, beat=beat, until=until, started_at=beat * 1e9)
        assert not near.take("t1")
    clock.now += 2 * LEASE_SECONDS
    assert near.take("t1")


def test_a_clock_that_is_set_kills_no_owner_of_this_machine(place, owner):
    first, second = owner(), owner()
    first.take("t1")
    name = f"owner-{first.owner}.json"
    values = json.loads(place.read(name))
    assert values["key"]
    place.replace(name, json.dumps(values | {"started_at": values["started_at"] - 86400}).encode())
    assert not second.take("t1")
    place.replace(name, json.dumps(values | {"key": values["key"] + "1"}).encode())
    assert second.take("t1")  # a later process that was given the same id


def test_a_process_of_another_container_is_not_looked_for_here():
    here = processes.this_one()
    assert not processes.has_ended(here)
    assert processes.has_ended(here._replace(pid=2**22 + 1))
    assert processes.has_ended(here._replace(pid=2**22 + 1, key=""))
    beside = here._replace(pid=2**22 + 1, key=f"{here.key.rpartition(' ')[0]}x 77")
    assert not processes.has_ended(beside)
    assert not processes.has_ended(here._replace(host="far", pid=2**22 + 1, key=""))


def test_of_many_who_inherit_one_gets_it_and_so_for_their_heirs(place, owner, clock):
    dead = owner(elsewhere=True)
    dead.take("t1")
    for _ in range(3):
        heirs = [owner(elsewhere=True) for _ in range(6)]
        assert not any(heir.take("t1") for heir in heirs)
        clock.now += LEASE_SECONDS
        with ThreadPoolExecutor(6) as threads:
            got = list(threads.map(lambda heir: heir.take("t1"), heirs))
        assert sum(got) == 1
    assert len(names(place)) == 4
    heirs[got.index(True)].release("t1")
    assert names(place) == []


def test_who_comes_while_a_line_is_given_back_does_not_share_it(clock):
    place = Memory()
    dead, heir, late = (Leases(place, {}, clock) for _ in range(3))
    with heir, late:
        dead.take("t1")
        place.delete(f"owner-{dead.owner}.json")
        heir.take("somethingelse")

        def when(what, name):
            if name == f"t1.{dead.owner}.json":  # the line was given back, and its head taken again
                place.before = lambda *_: None
                place.files["t1.json"] = heir._mine

        place.before = when
        assert not late.take("t1")
        assert names(place) == ["somethingelse.json", "t1.json"]
    dead.close()


def test_a_damaged_lease_is_one_that_nobody_has(place, owner):
    for name in ("t1.json", "t1.damaged0.json"):
        place.replace(name, b'{"owner')
    leases = owner()
    assert leases.take("t1")
    leases.release("t1")
    assert names(place) == []


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(place, owner, clock):
    dead, living, sweeper = owner(elsewhere=True), owner(elsewhere=True), owner()
    dead.take("t1")
    living.take("t2")
    place.replace("t3.dead.json", b"{}")  # whose head was given back
    sweeper.sweep()
    clock.now += LEASE_SECONDS
    owner.show(living, beat=7)
    sweeper.sweep()
    assert names(place) == ["t2.json"]
    assert {n for n in place.names() if n.startswith("owner-")} == {
        f"owner-{leases.owner}.json" for leases in (living, sweeper)
    }


def test_one_at_a_time_is_alone(place, owner):
    inside, most = [], []

    def work(leases):
        for _ in range(5):
            with leases.alone("mlflow"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    owners = [owner(), owner()]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, owners * 2))
    assert len(most) == 20
    assert set(most) == {1}


SCRAMBLE = """
import random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tasks.storage.leases import Folder, Leases
place, log = Path(sys.argv[1]), Path(sys.argv[2])
mine = random.Random(int(sys.argv[4]))
with Leases(Folder(place)) as leases:
    left = list(range(60))
    mine.shuffle(left)
    while left:
        for trial in list(left):
            if (log / f"{trial}.done").exists():
                left.remove(trial)
            elif leases.take(f"t{trial}"):
                if not (log / f"{trial}.done").exists():
                    (log / f"{trial}.{leases.owner}.began").touch()
                    time.sleep(mine.random() / 100)
                    if mine.random() < float(sys.argv[5]):
                        import os
                        os.kill(os.getpid(), 9)
                    (log / f"{trial}.done").touch()
                leases.release(f"t{trial}")
                left.remove(trial)
"""


def test_processes_that_are_killed_while_they_share_work_cost_what_was_in_flight(tmp_path):
    place, log = tmp_path / "leases", tmp_path / "log"
    log.mkdir()

    def start(number, deadly):
        command = [sys.executable, "-I", "-c", SCRAMBLE, place, log, ROOT, str(number), str(deadly)]
        return subprocess.Popen(command)

    # By their seeds they die at their 11th, 21st and 9th piece of work: before it is all done.
    deadly = [start(number, 0.1) for number in (1, 2, 3)]
    deadline = time.monotonic() + 60
    while sum(process.poll() is not None for process in deadly) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert start(0, 0).wait() == 0  # beside the third
    killed = sum(process.wait() == -9 for process in deadly)
    assert len(list(log.glob("*.done"))) == 60
    began = Counter(path.name.partition(".")[0] for path in log.glob("*.began"))
    assert killed >= 2
    assert sum(began.values()) <= 60 + killed
    with Leases(Folder(place)) as leases:
        leases.sweep()
    assert list(place.iterdir()) == []
