"""Every method on a GPU that is pretended: nothing is on the wrong device, no step has to wait."""

import json
import random
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from operators.contract import Case
from operators.contract.device_rules import DEVICE, WrongDevice
from operators.contract.pretended import pretending, pretending_here
from operators.engine.graphs import RepeatedSteps, on_cpu
from operators.engine.stacking import LANES, lanes_worth, run_stacked
from operators.methods import METHODS

ROOT = Path(__file__).parents[2]
READS_OF_A_SEARCH = 6  # of a fit without gradient steps: what was found, once
# Searches without gradient steps that decide by values where they look next: how many values each
# reads at most in this fit, and how many in an iteration of L-BFGS, whose line search is torch's.
DECIDING = {"llm-bbo": (16, 0), "pac-bayes": (11, 0)}
DECIDING |= dict.fromkeys(["linear-probe", "text-linear-probe"], (30, 8))


@pytest.fixture(scope="module")
def told(clip_folder, causal_folder):
    """What each method waits for, as published and with each other choice, by its name.

    In a process of its own, where no shape is checked at each of a million calls.
    """
    command = [sys.executable, str(ROOT / "benchmarks/waiting.py")]
    command += ["--dual", str(clip_folder), "--language", str(causal_folder)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert ended.returncode == 0, ended.stderr[-2000:]
    return {name: [line for line in lines if line["method"] == name] for name in METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_on_a_device_and_no_step_of_it_waits(name, told):
    published, *choices = told[name]
    assert published["with"] == {}
    assert published.get("recorded", METHODS[name].repeats) == METHODS[name].repeats
    for one in (published, *choices):
        assert "error" not in one
        assert one["answers"] == ["cuda:0", [4, 4]]
        few, many = one["steps"]
        if METHODS[name].tuning is None:
            values, in_an_iteration = DECIDING.get(name, (READS_OF_A_SEARCH, 0))
            assert one["reads"] <= values + in_an_iteration * few
        else:
            assert many > few
            assert one["more"] == {}, one["with"]


def test_every_form_of_a_method_is_among_what_waits_for_nothing(told):
    made = {name: [one["with"] for one in lines] for name, lines in told.items()}
    assert {"encoder": "transformer"} in made["pre"]
    assert {"modality": "visual"} in made["grip"]
    assert {"host": "maple"} in made["dept-clip"]
    assert {"optimizer": "adafactor"} in made["clip-adapter"]
    uneven = [name for name, choices in made.items() if any("words" in one for one in choices)]
    assert uneven == [name for name, one in METHODS.items() if one.track == "text-classification"]


def test_what_a_gpu_refuses_is_refused():
    with pretending():
        there, here = torch.ones(2, 2, device="cuda"), torch.ones(2, 2)
        for call in (
            lambda: there + here,
            lambda: here @ there,
            lambda: torch.cat([there, here]),
            lambda: here[torch.zeros(1, dtype=torch.long, device="cuda")],
            lambda: torch.nn.functional.linear(there, here),
            lambda: there @ torch.ones(2),
            lambda: torch.rand(2, generator=torch.Generator(), device="cuda"),
            lambda: there.pin_memory(),
        ):
            with pytest.raises(WrongDevice, match=r"cuda:0|CPU"):
                call()
        with pytest.raises(TypeError, match=r"use \.cpu"):
            there.numpy()
        assert (there * torch.tensor(2.0)).device == DEVICE  # a number of the CPU is none
        assert there[torch.tensor([0])].device == DEVICE  # and an index is copied


def test_the_host_is_told_where_it_waits():
    with pretending() as waits:
        there = torch.arange(4.0, device="cuda")
        float(there[0])
        there[there > 1]
        there.to("cpu")
        torch.ones(2).to("cuda")
        torch.ones(2).pin_memory().to("cuda", non_blocking=True)
        there.sum() + there.softmax(0)
    told = [(wait.kind, wait.what) for wait in waits.every]
    assert told == [
        ("read", "__float__"),
        ("read", "__getitem__ by a mask"),
        ("read", "to"),
        ("upload", "to"),
    ]
    assert all(wait.where.startswith("operators/test_devices.py:") for wait in waits.every)


def test_what_the_host_draws_is_not_in_a_recording():
    weight = torch.ones(3, requires_grad=True)
    drawn = random.Random(0)

    class Examples:
        def __len__(self):
            return 2

        def held(self):
            return {}

        def reading(self, names):
            return {}

        def holding(self, tensors):
            return self

    steps = RepeatedSteps(lambda _: (weight * drawn.random()).sum(), [weight], on_cpu)
    told = [float(steps.take(Examples())) for _ in range(5)]
    assert len(set(told[:2])) == 2
    assert len(set(told[2:])) == 1  # why a method has to say that its steps repeat


@pytest.mark.parametrize("name", ["coop", "maple"])
def test_seeds_together_on_a_device_learn_bit_for_bit_what_they_learn_together_on_a_cpu(clip, name):
    on_device = runpy.run_path(str(ROOT / "benchmarks/waiting.py"))["on_device"]

    def fitted(backbone, seed):
        case = Case(name, METHODS[name], backbone)
        method, report = case.fit(case.few, epochs=2, batch_size=6, seed=seed)
        return {key: torch.tensor(x.tolist()) for key, x in method.learned().items()}, report.losses

    def there(backbone, seed):
        with pretending_here():
            return fitted(backbone, seed)

    alone = [fitted(clip, seed) for seed in (0, 1)]
    here = run_stacked([partial(fitted, clip, seed) for seed in (0, 1)])
    with pretending() as waits:
        device = on_device(clip)
        found = run_stacked([partial(there, device, seed) for seed in (0, 1)])
    assert waits.every  # so it was on the device
    for (learned, losses), (wanted, same), (apart, _) in zip(found, here, alone, strict=True):
        assert losses == same
        for key, value in wanted.items():
            assert torch.equal(learned[key], value)
            torch.testing.assert_close(value, apart[key], rtol=0, atol=1e-5)


def test_seeds_are_worth_tuning_together_on_a_gpu_while_the_host_is_slower():
    gpu = torch.device("cuda")
    assert [lanes_worth(gpu, 10, operations=n) for n in (1e6, 2e10, 1e11, 1e12)] == [LANES, 7, 1, 1]
    assert lanes_worth(gpu, 10) == 1  # where nobody knows what a step takes
