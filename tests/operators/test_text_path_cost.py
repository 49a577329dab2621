"""What the packed text path saves, in numbers that repeat exactly: no clock here."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "text_path.py"


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(BENCHMARK))


@pytest.mark.parametrize(
    ("classes", "tokens", "linear_flops", "saved_bytes"), [(10, 11, 14, 12), (37, 16, 20, 15)]
)
def test_savings_stay(benchmark, classes, tokens, linear_flops, saved_bytes):
    row = benchmark["compare"](benchmark["SHAPES"]["tiny"], classes, context=16, rounds=0)
    assert row["tokens_ratio"] > tokens
    assert row["linear_flops_ratio"] > linear_flops
    assert row["saved_bytes_ratio"] > saved_bytes
