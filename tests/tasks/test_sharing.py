"""Two runs over one store: no trial is computed by both. No Ray here: pools of pretence."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.computing import elsewhere
from tasks.computing.compute import Calls, compute
from tasks.computing.context import Context, Done
from tasks.computing.failures import note_failure
from tasks.computing.sharing import Sharing
from tasks.computing.worker_pool import CallResult
from tasks.planning.planned import Bundle, Plan
from tasks.planning.suite import make_suite
from tasks.storage.leases import leases_of

SEEDS = 60


class Stage:
    def __init__(self):
        self.done, self.failed, self.notes = 0, 0, []

    def step(self, by, failed=0):
        self.done, self.failed = self.done + by, self.failed + failed

    def note(self, text):
        self.notes.append(text)


class Pool:
    """Computes in threads, a moment each; seeds in `bad` fail."""

    def __init__(self, store, bad=(), seconds=0.001):
        self.store, self.bad, self.seconds = store, set(bad), seconds
        self.computed = []

    def __len__(self):
        return 2

    def run(self, method, cells, context, *, near):
        return [1] * len(cells)

    def map_unordered(self, method, calls, context, **_):
        for call in calls:
            yield CallResult(call, [self.compute(spec) for spec in call], None)

    def compute(self, spec):
        self.computed.append(spec.seed)
        time.sleep(self.seconds)
        if spec.seed in self.bad:
            return Done(spec.trial_id, note_failure(self.store, spec, {}, "it is bad"))
        self.store.trial(spec.trial_id).mkdir(parents=True)
        return Done(spec.trial_id, "")


@pytest.fixture
def plan(spec):
    suite = make_suite({"name": "mini", "datasets": ["digits"], "methods": ["coop"]}, where="mini")
    return Plan(suite, tuple(spec(seed=seed) for seed in range(SEEDS)), frozenset())


@pytest.fixture
def run(store, plan, monkeypatch, tmp_path):
    """Does what a run does of its trials; returns what became of each."""
    monkeypatch.setattr("flows.computing.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("tasks.computing.compute.ProgressArtifact.__init__", lambda *_: None)
    monkeypatch.setattr("tasks.computing.compute.ProgressArtifact.show", lambda *_: None)
    context = Context("tiny", tmp_path, tmp_path, {})

    def do(specs, pool, meet=lambda: None):
        limits, progress = {s.trial_id: 5.0 for s in plan.specs}, Stage()
        with leases_of(store) as leases, ThreadPoolExecutor(1) as threads:
            sharing = Sharing(store, leases)

            def submit(bundle):
                given = bundle, context, pool, progress, store, limits, sharing
                return threads.submit(compute.fn, "mini", *given)

            meet()
            done, held = submit(Bundle("tiny", "pets", "few_shot", tuple(specs))).result()
            done += elsewhere(plan, list(held), sharing, progress, submit)
        assert progress.done == len(done)
        assert progress.failed == sum(bool(one.error) for one in done)
        assert sharing.taken() == {s.trial_id for s in plan.specs if s.seed in pool.computed}
        return done

    return do


def both(run, store, first, second, **how):
    pools = Pool(store, **how), Pool(store, **how)
    meet = threading.Barrier(2).wait
    with ThreadPoolExecutor(2) as threads:
        pairs = zip((first, second), pools, strict=True)
        ended = list(threads.map(lambda pair: run(*pair, meet), pairs))
    return ended, pools


def test_two_runs_of_the_same_trials_share_them(store, plan, run):
    ended, pools = both(run, store, plan.specs, plan.specs)
    counts = Counter(seed for pool in pools for seed in pool.computed)
    assert counts == dict.fromkeys(range(SEEDS), 1)
    assert all(pool.computed for pool in pools)
    for done in ended:
        assert sorted(one.trial_id for one in done) == sorted(s.trial_id for s in plan.specs)
    assert list(store.leases.iterdir()) == []


def test_runs_that_overlap_share_what_they_have_in_common(store, plan, run):
    ended, pools = both(run, store, plan.specs[:40], plan.specs[20:])
    counts = Counter(seed for pool in pools for seed in pool.computed)
    assert counts == dict.fromkeys(range(SEEDS), 1)
    assert [len(done) for done in ended] == [40, 40]


def test_what_fails_in_one_run_is_not_tried_by_the_other(store, plan, run):
    ended, pools = both(run, store, plan.specs, plan.specs, bad={7, 11})
    counts = Counter(seed for pool in pools for seed in pool.computed)
    assert counts == dict.fromkeys(range(SEEDS), 1)
    for done in ended:
        assert [one.error for one in done if one.error] == ["it is bad"] * 2


def test_an_old_failure_is_tried_again(store, plan, run):
    run(plan.specs, Pool(store, bad={7}))
    pool = Pool(store)
    assert not any(one.error for one in run(plan.specs[7:8], pool))
    assert pool.computed == [7]


def test_what_another_run_gives_up_is_taken_over(store, plan, run):
    other, first = leases_of(store), plan.specs[0]
    assert other.take(first.trial_id)
    pool, waits = Pool(store), threading.Event()

    def give_up():
        while not waits.wait(0.01):
            if len(pool.computed) == SEEDS - 1:
                other.release(first.trial_id)  # it was stopped
                return

    thread = threading.Thread(target=give_up)
    thread.start()
    done = run(plan.specs, pool)
    thread.join()
    other.close()
    assert pool.computed[-1] == 0
    assert len(pool.computed) == len(done) == SEEDS


def test_a_call_has_no_trial_that_another_run_has(plan):
    taken = {spec.trial_id for spec in plan.specs if spec.seed % 3}
    calls = Calls(plan.specs, workers=1, take=lambda spec: spec.trial_id in taken)
    found = []
    for call in calls:
        calls.ended(call)
        found += call
    assert {spec.trial_id for spec in found} == taken
    assert len(found) == len(taken)
