"""Trials that cost their worker: nobody beside them is harmed. No Ray here: a pool of pretence."""

import json
from collections import Counter
from contextlib import contextmanager

import pytest

from operators.spec import Target
from tasks.computing.attempts import BASE_SECONDS, HOSTS_FORGIVEN, time_limit
from tasks.computing.compute import compute
from tasks.computing.context import Context, Done
from tasks.computing.deaths import HostLost, HostUnfit, OutOfTime, WorkerDied
from tasks.computing.failures import (
    described,
    forgive,
    in_quarantine,
    left_alone,
    note_failure,
    of_the_store,
)
from tasks.computing.sharing import Sharing
from tasks.computing.worker_pool import TRIES, CallResult
from tasks.planning.planned import Bundle
from tasks.storage.leases import leases_of


class Ticks:
    """Stands for a stage."""

    def __init__(self):
        self.done = 0

    def step(self, by, failed):
        self.done += by


class Pool:
    """Runs calls in this thread; `deadly` and `slow` are seeds of trials that cost the worker."""

    def __init__(self, store, deadly=(), slow=(), deaths=10**6, error=None):
        self.store, self.deadly, self.slow, self.error = store, set(deadly), set(slow), error
        self.deaths = deaths
        self.calls = []

    def __len__(self):
        return 1

    def run(self, method, cells, context, *, near):
        if self.error:
            raise self.error
        return [8] * len(cells)

    def map_unordered(self, method, calls, context, *, tries, seconds, first):
        assert (method, tries, first.method) == ("compute", 1, "prepare")
        for call in calls:
            self.calls.append([spec.seed for spec in call])
            try:
                yield CallResult(call, self.compute(call, seconds(call)), None)
            except (WorkerDied, OutOfTime) as error:
                yield CallResult(call, None, error)

    def compute(self, call, seconds):
        done = []
        for spec in call:
            if spec.seed in self.deadly and self.deaths:
                self.deaths -= 1
                raise WorkerDied("compute", 1, "it crashed (SIGSEGV).")
            if spec.seed in self.slow:
                raise OutOfTime("compute", seconds)
            self.store.trial(spec.trial_id).mkdir(parents=True, exist_ok=True)
            self.store.clear_failure(spec.trial_id)
            done.append(Done(spec.trial_id, ""))
        return done


@pytest.fixture
def ran(store, spec, monkeypatch, tmp_path):
    """Computes seven seeds; returns errors by seed, and how far the bar came."""

    class Bar:
        def __init__(self, *_):
            pass

        def show(self, done, failed):
            pass

    monkeypatch.setattr("tasks.computing.compute.ProgressArtifact", Bar)
    specs = tuple(spec(seed=seed) for seed in range(7))
    context = Context("tiny", tmp_path, tmp_path, {"suite": "mini", "flow_run_id": "f1"})

    def run(pool):
        missing = tuple(s for s in specs if not store.trial(s.trial_id).exists())
        progress, limits = Ticks(), {s.trial_id: 5.0 for s in specs}
        bundle = Bundle("tiny", "pets", "few_shot", missing)
        with leases_of(store) as leases:
            given = progress, store, limits, Sharing(store, leases)
            done, held = compute.fn("mini", bundle, context, pool, *given)
        assert held == ()
        seeds = {s.trial_id: s.seed for s in specs}
        assert progress.done == len(done) == len(missing)
        return {seeds[one.trial_id]: one.error for one in done}

    return run


def test_a_trial_that_kills_every_worker_fails_alone_with_its_reason(store, spec, ran):
    pool = Pool(store, deadly={3})
    errors = ran(pool)
    assert {seed for seed, error in errors.items() if error} == {3}
    assert errors[3].startswith(f"its worker died in all of {TRIES} tries: it crashed (SIGSEGV).")
    assert sum(3 in call for call in pool.calls) == TRIES
    assert pool.calls[-1] == [3]  # alone, once it is suspected
    kept = json.loads((store.failures / f"{spec(seed=3).trial_id}.json").read_text())
    assert kept["error"] == errors[3]
    assert (kept["quarantine"], kept["suite"], kept["flow_run_id"]) == ("died", "mini", "f1")
    assert not any(store.failure(spec(seed=seed).trial_id) for seed in (0, 1, 2, 4, 5, 6))


def test_what_was_tuned_beside_it_is_computed_again_alone(store, ran):
    pool = Pool(store, deadly={3})
    assert len(ran(pool)) == 7
    first, *others = pool.calls
    assert len(first) > 1
    assert 3 in first
    assert all(len(call) == 1 for call in others)
    again = Counter(seed for call in others for seed in call)
    assert all(times == 1 for seed, times in again.items() if seed != 3)


def test_a_worker_that_something_else_has_killed_costs_no_trial(store, ran):
    errors = ran(Pool(store, deadly={3}, deaths=TRIES - 1))
    assert set(errors.values()) == {""}


def test_the_next_run_tries_a_trial_in_quarantine_once_and_alone(store, spec, ran):
    ran(Pool(store, deadly={3, 5}))
    assert in_quarantine(store, [spec(seed=s) for s in range(7)]) == {
        spec(seed=3).trial_id: TRIES,
        spec(seed=5).trial_id: TRIES,
    }
    pool = Pool(store, deadly={3})
    errors = ran(pool)
    assert sorted(pool.calls) == [[3], [5]]
    assert errors[5] == ""
    assert errors[3].startswith("its worker died in its one try: it crashed")
    assert in_quarantine(store, [spec(seed=3), spec(seed=5)]) == {spec(seed=3).trial_id: 4}


def test_a_trial_that_has_cost_four_workers_is_left_until_told(store, spec, ran):
    for _ in range(2):
        ran(Pool(store, deadly={3}))
    file = store.failures / f"{spec(seed=3).trial_id}.json"
    kept, stamp = file.read_text(), file.stat().st_mtime_ns
    pool = Pool(store, deadly={3})
    errors = ran(pool)
    assert pool.calls == []
    assert errors == {3: left_alone(4)}
    assert "--retry-quarantined" in errors[3]
    assert (file.read_text(), file.stat().st_mtime_ns) == (kept, stamp)  # why it is there
    forgive(store, [spec(seed=s) for s in range(7)])
    assert store.failure(spec(seed=3).trial_id) == json.loads(kept)["error"]
    assert file.stat().st_mtime_ns == stamp
    assert ran(Pool(store)) == {3: ""}
    assert not file.exists()


def test_a_trial_that_takes_too_long_has_a_try_in_every_run(store, spec, ran):
    for _ in range(6):
        errors = ran(Pool(store, slow={2}))
        assert "longer than its time limit" in errors[2]
    assert in_quarantine(store, [spec(seed=2)]) == {spec(seed=2).trial_id: 0}


def test_a_trial_that_takes_too_long_is_given_up_after_one_try_alone(store, spec, ran):
    pool = Pool(store, slow={2})
    errors = ran(pool)
    assert {seed for seed, error in errors.items() if error} == {2}
    assert "longer than its time limit of 5 s" in errors[2]
    assert "--time-limit" in errors[2]
    assert pool.calls.count([2]) == 1
    assert in_quarantine(store, [spec(seed=2)])


def test_workers_that_die_while_lanes_are_counted_cost_nothing(store, ran):
    errors = ran(Pool(store, error=WorkerDied("lanes", 3, "gone.")))
    assert set(errors.values()) == {""}


def test_trouble_of_the_disk_ends_the_bundle(store, ran, monkeypatch):
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Pool, "map_unordered", lambda *_, **__: [CallResult((), None, full)])
    with pytest.raises(OSError, match="No space"):
        ran(Pool(store))


class Ugly(Exception):
    def __str__(self):
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("the\nmethod"), "the method"),
        (SystemExit("enough"), "SystemExit: enough"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (PermissionError(13, "Permission denied", "/x"), "PermissionError: [Errno 13] Permission"),
        (Ugly(), "Ugly"),
        (RuntimeError("half of a pair \ud800"), "half of a pair ?"),
    ],
)
def test_an_error_is_a_line_whatever_it_is(error, said):
    assert described(error).startswith(said)


def test_an_endless_error_is_cut(store, spec):
    said = note_failure(store, spec(), {}, ValueError("x" * 10**6))
    assert len(said) == 2000
    assert store.failure(spec().trial_id) == said
    assert not in_quarantine(store, [spec()])


@contextmanager
def caught(kind):
    with pytest.raises(kind) as info:
        yield lambda: info.value


def test_what_counts_is_where_an_error_of_the_disk_was_raised(tmp_path):
    from operators.files import write_atomic

    with caught(OSError) as of_ours:
        write_atomic(tmp_path, b"a folder is no file")
    with caught(OSError) as of_a_method:
        (tmp_path / "none").read_bytes()
    assert of_the_store(of_ours())
    assert not of_the_store(of_a_method())


class Rows:
    """A dataset of a thousand images of ten classes."""

    classes = tuple("abcdefghij")
    rows = 1000

    def rows_of(self, split):
        return range(600)


def test_the_time_limit_grows_with_the_images_and_is_what_the_user_says(spec):
    def limit(method, shots, epochs, **fields):
        given = spec(method=method, shots=shots, hyperparameters={"epochs": epochs}, **fields)
        return time_limit(given, {"pets": Rows(), "cars": Rows()}, None)

    few, many, each = limit("coop", 1, 1), limit("coop", 16, 50), limit("cocoop", 16, 50)
    assert few == BASE_SECONDS + 5 * (10 + 1000)
    assert many == BASE_SECONDS + 5 * (50 * 160 + 1000)
    assert each > many
    assert limit("coop", 1, 1, targets={"cars": Target("f" * 16)}) == few + 5 * 1000
    assert time_limit(spec(), {"pets": Rows()}, 2.5) == 2.5


def test_a_failure_keeps_no_secret(store, spec):
    try:
        raise ValueError("https://anna:s3cr3t@host/a.zip?sig=s3cr3t did not answer")
    except ValueError as error:
        said = note_failure(store, spec(), {}, error)
    (file,) = store.failures.glob("*.json")
    assert "s3cr3t" not in said + file.read_text()
    assert "https://anna:***@host/a.zip?sig=*** did not answer" in file.read_text()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HostLost("compute", "10.0.0.3"), "its host 10.0.0.3 is gone, or cannot be reached."),
        (
            HostUnfit("compute", "10.0.0.3", "its disk is full."),
            "its host 10.0.0.3 was left out: its disk is full.",
        ),
    ],
)
@pytest.mark.parametrize(("lost", "failed"), [(HOSTS_FORGIVEN, False), (10**6, True)])
def test_a_host_that_goes_is_no_fault_of_its_trials_unless_one_host_after_another_does(
    store, ran, lost, failed, error, said
):
    class Hosts(Pool):
        def compute(self, call, seconds):
            if self.deaths and any(spec.seed in self.deadly for spec in call):
                self.deaths -= 1
                raise error
            return super().compute(call, seconds)

    pool = Hosts(store, deadly={3}, deaths=lost)
    errors = ran(pool)
    assert [seed for seed, error in errors.items() if error] == [3] * failed
    if failed:
        assert said in errors[3]
        assert sum(3 in call for call in pool.calls) == HOSTS_FORGIVEN + TRIES
