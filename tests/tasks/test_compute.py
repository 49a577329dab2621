"""How trials are cut into calls of the workers; no Ray here."""

import pytest

from tasks.computing.compute import CALL_SECONDS, CALL_TRIALS, Calls


class Clock:
    """Stands still unless it is told otherwise."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def served(calls, clock, seconds):
    """Ends each call before the next begins; `seconds` by method."""
    sizes = []
    for call in calls:
        clock.now += sum(seconds[spec.method] for spec in call)
        calls.ended(call)
        sizes.append((call[0].method, len(call)))
    return sizes


def test_a_hundred_quick_trials_take_few_calls(spec, clock):
    calls = Calls([spec(seed=seed) for seed in range(100)], workers=2, clock=clock)
    sizes = served(calls, clock, {"coop": 0.005})
    assert sum(size for _, size in sizes) == 100
    assert len(sizes) <= 13


def test_the_calls_a_trial_fall_with_the_number_of_trials(spec, clock):
    calls = Calls([spec(seed=seed) for seed in range(2000)], workers=2, clock=clock)
    assert len(served(calls, clock, {"coop": 0.005})) <= 1300 / 25


def test_a_long_trial_has_a_call_of_its_own(spec, clock):
    calls = Calls([spec(seed=seed) for seed in range(20)], workers=2, clock=clock)
    assert served(calls, clock, {"coop": 2 * CALL_SECONDS}) == [("coop", 1)] * 20


def test_a_first_trial_that_loads_the_backbone_does_not_make_the_others_slow(spec, clock):
    calls = Calls([spec(seed=seed) for seed in range(100)], workers=2, clock=clock)
    first = next(calls)
    clock.now += 60.0
    calls.ended(first)
    assert len(served(calls, clock, {"coop": 0.005})) <= 13


def test_seeds_that_are_worth_tuning_together_share_a_call(spec, clock):
    specs = [spec(seed=seed, shots=shots) for shots in (16, 4, 1) for seed in (1, 2, 3)]
    lanes = {s.cell_id: 4 if s.shots < 16 else 1 for s in specs}
    calls = Calls(specs, workers=1, lanes=lanes, clock=clock)
    sizes = served(calls, clock, {"coop": 2 * CALL_SECONDS})
    assert [size for _, size in sizes] == [1, 1, 1, 3, 3]


def test_seeds_are_split_when_a_worker_would_idle(spec, clock):
    specs = [spec(seed=seed) for seed in (1, 2, 3)]
    calls = Calls(specs, workers=2, lanes={specs[0].cell_id: 8}, clock=clock)
    assert [size for _, size in served(calls, clock, {"coop": 1.0})] == [2, 1]


def test_a_method_that_turns_out_long_is_alone_again(spec, clock):
    specs = [spec(seed=seed, shots=16 if seed < 50 else 1) for seed in range(100)]
    calls = Calls(specs, workers=1, clock=clock)
    for _ in range(4):
        call = next(calls)
        calls.ended(call)
    assert len(call) > 1
    call = next(calls)
    clock.now += 100 * CALL_SECONDS
    calls.ended(call)
    assert len(next(calls)) == 1


def test_a_call_holds_trials_of_one_method(spec, clock):
    specs = [spec(seed=s, method=m) for s in range(50) for m in ("coop", "tip-adapter")]
    calls = Calls(specs, workers=2, clock=clock)
    for call in calls:
        assert len({spec.method for spec in call}) == 1
        calls.ended(call)


def test_every_trial_is_handed_out_once(spec, clock):
    specs = [spec(seed=s, method=m) for s in range(50) for m in ("coop", "tip-adapter")]
    calls = Calls(specs, workers=3, clock=clock)
    out = []
    for call in calls:
        calls.ended(call)
        out += [spec.trial_id for spec in call]
    assert sorted(out) == sorted(spec.trial_id for spec in specs)


def test_the_longest_trials_come_first_whatever_their_method(spec, clock):
    specs = [
        spec(method="coop", shots=16, hyperparameters={"epochs": 50}),
        spec(method="kgcoop", shots=16, hyperparameters={"epochs": 40}),
        spec(method="coop", shots=4, hyperparameters={"epochs": 50}),
        spec(method="zero-shot", shots=0, hyperparameters={}),
    ]
    calls = Calls(specs, workers=2, clock=clock)
    assert [call[0] for call in calls] == specs


def test_the_last_calls_are_small_so_that_workers_end_together(spec, clock):
    calls = Calls([spec(seed=seed) for seed in range(400)], workers=4, clock=clock)
    sizes = [size for _, size in served(calls, clock, {"coop": 0.0})]
    assert max(sizes) <= min(CALL_TRIALS, 400 // 4)
    assert sizes[-4:] == [1] * 4
