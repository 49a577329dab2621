"""The benchmark of GPUs runs the same way on a CPU: every form is measured, and gives the same."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)
        yield runpy.run_path(str(BENCHMARK))


@pytest.fixture(scope="module")
def ended(benchmark, tmp_path_factory):
    """What it said and what it wrote, each form measured with two calls."""
    written = tmp_path_factory.mktemp("gpu") / "gpu.json"
    command = ["gpu.py", "--device", "cpu", "--tiny", "--precisions", "fp32"]
    command += ["--json", str(written)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        patch.setitem(benchmark["main"].__globals__, "WARM", 1)
        patch.setitem(benchmark["main"].__globals__, "ROUNDS", 1)
        benchmark["main"]()
    return json.loads(written.read_text())


def test_every_form_of_a_step_is_measured_and_gives_the_gradients_of_the_first(ended):
    rows = {(row["precision"], row["form"]): row for row in ended["steps"]}
    forms = ("ours", "plain", "2 seeds", "graph")
    assert set(rows) == {("fp32", form) for form in forms}
    for (_, form), row in rows.items():
        assert "left_out" not in row, row
        assert row["seconds"] > 0
        assert row["error"] < 1e-4
        assert (row.get("share") is None) == (form == "plain")
    assert rows["fp32", "graph"]["error"] == 0  # the same operations, played back
    assert rows["fp32", "ours"]["calls"] > 100


def test_trials_and_images_are_measured_beside_the_rate_of_the_card(ended):
    assert {row["precision"] for row in ended["encode"]} == set(ended["rates"])
    assert all(row["rate"] > 0 and row["share"] > 0 for row in ended["encode"])
    assert [row["classes"] for row in ended["trials"]] == [3, 5]
    for row in ended["trials"]:
        assert 0 < row["steps"] <= row["published_steps"]
        assert row["tune_seconds"] > 0
        assert row["share"] > 0  # below 1, but where others take the core meanwhile


def test_the_tables_follow_from_the_report_and_name_what_was_left_out(ended, benchmark):
    lost = {**ended["steps"][0], "left_out": "OutOfMemoryError: CUDA out of memory"}
    text = benchmark["markdown"]({**ended, "steps": [*ended["steps"][1:], lost]})
    assert text.count("| coop |") == len(ended["steps"]) - 1
    assert "- coop     3 classes fp32 ours left out: OutOfMemoryError" in text


def test_a_gpu_that_is_not_there_is_named(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cuda:7"])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SystemExit):
        benchmark["main"]()
    assert "--device cuda:7: torch sees 1 GPUs" in capsys.readouterr().err
