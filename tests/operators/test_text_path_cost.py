"""What the packed text path saves, in numbers that repeat exactly: no clock here."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "text_path.py"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # as for any script: they share modules
        return runpy.run_path(str(BENCHMARK))


@pytest.mark.parametrize(
    ("classes", "tokens", "flops", "saved_bytes"),
    [(10, 11, 9, 12), (37, 16, 12, 14.9), (100, 18, 16, 15)],
)
def test_savings_stay_on_the_tower_of_vit_b16(benchmark, classes, tokens, flops, saved_bytes):
    row = benchmark["compare"](benchmark["SHAPES"]["vit-b16"], classes, context=16, rounds=0)
    assert row["tokens_ratio"] >= tokens
    assert row["flops_ratio"] >= flops
    assert row["saved_bytes_ratio"] >= saved_bytes


def test_both_forms_give_the_same_loss_and_gradient(benchmark):
    forms = benchmark["steps"](benchmark["SHAPES"]["tiny"], 10, context=16).forms
    benchmark["assert_equal"](forms)
