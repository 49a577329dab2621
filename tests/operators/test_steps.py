"""A whole training step equals that of the published arithmetic, prompts, images and all."""

import runpy
from pathlib import Path

import pytest

from operators.backbones import reference

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "steps.py"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # as for any script: they share modules
        return runpy.run_path(str(BENCHMARK))


@pytest.fixture(scope="module")
def towers(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "clip"
    benchmark["save_clip"](benchmark["SHAPES"]["tiny"], folder)
    which = reference(str(folder))
    return which.load(which.describe()), benchmark["PlainClip"](folder)


@pytest.mark.parametrize("method", ["coop", "cocoop", "maple", "ivlp", "promptsrc"])
def test_loss_and_gradients_are_those_of_plain_arithmetic(benchmark, towers, method):
    forms, weights = benchmark["forms_of"](method, "tiny", *towers, classes=3)
    saved = {name: benchmark["saved_bytes"](form, weights) for name, form in forms.items()}
    assert 0 < 2 * saved["ours"] < saved["plain"]


def test_names_are_different_and_of_mixed_length(benchmark):
    names = benchmark["names"](1000)
    assert len(set(names)) == 1000
    assert {len(name.split()) for name in names[:10]} == {1, 2, 3}
