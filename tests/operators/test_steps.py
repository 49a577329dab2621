"""A whole training step equals that of the published arithmetic, prompts, images and all."""

import runpy
from pathlib import Path

import pytest

from operators.backbones import reference

# Class names of EuroSAT, Oxford Pets, Caltech-101 and ImageNet by tokens of CLIP's vocabulary.
IMAGENET = {1: 246, 2: 508, 3: 154, 4: 50, 5: 22, 6: 10, 7: 8, 9: 1, 12: 1}
MEANS = {
    10: {1: 2, 2: 1, 3: 4, 5: 2, 6: 1},
    37: {1: 9, 2: 16, 3: 9, 4: 3},
    100: {1: 60, 2: 26, 3: 8, 4: 5, 5: 3},
    397: IMAGENET,
    1000: IMAGENET,
}
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


@pytest.mark.parametrize(
    ("method", "reads_features"),
    [("coop", True), ("cocoop", True), ("maple", False), ("ivlp", False), ("promptsrc", True)],
)
def test_loss_and_gradients_are_those_of_plain_arithmetic(
    benchmark, towers, method, reads_features
):
    found = benchmark["forms_of"](method, "tiny", *towers, classes=3)
    saved = {name: benchmark["saved_bytes"](f, found.weights) for name, f in found.forms.items()}
    assert 0 < 2 * saved["ours"] < saved["plain"]
    # What a bank of views costs is charged to those that read frozen features, and to no others.
    assert found.reads_features == reads_features


@pytest.mark.parametrize("classes", [10, 37, 100, 397, 1000])
def test_class_names_are_different_and_as_long_as_real_ones(benchmark, classes):
    from tokenizers import Tokenizer

    from operators.backbones.formats.clip_files import EMBEDDED

    names = benchmark["names"](classes)
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "mini_clip" / "tokenizer.json"))
    lengths = [len(t.ids) for t in tokenizer.encode_batch(list(names), add_special_tokens=False)]
    known = sum(length * count for length, count in MEANS[classes].items()) / sum(
        MEANS[classes].values()
    )
    assert len(set(names)) == classes
    assert sum(lengths) / classes == pytest.approx(known, rel=0.05)
