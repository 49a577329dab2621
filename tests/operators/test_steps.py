"""A whole training step equals that of the published arithmetic, prompts, images and all."""

import json
import runpy
from pathlib import Path

import pytest

from operators.backbones import reference
from operators.estimating.memory import kept_numbers, tower_sizes
from operators.estimating.work import known_work

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
def folder(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "clip"
    benchmark["save_clip"](benchmark["SHAPES"]["tiny"], folder)
    return folder


@pytest.fixture(scope="module")
def towers(benchmark, folder):
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


@pytest.mark.parametrize(("method", "classes"), [("coop", 10), ("cocoop", 10), ("maple", 3)])
def test_what_autograd_keeps_is_what_the_estimate_of_memory_says(
    benchmark, towers, folder, method, classes
):
    found = benchmark["forms_of"](method, "tiny", *towers, classes=classes)
    saved = benchmark["saved_bytes"](found.forms["ours"], found.weights)
    numbers = kept_numbers(
        known_work()[method].step,
        classes,
        benchmark["BATCH"][method],
        tower_sizes(reference(str(folder))),
    )
    assert saved / 2 < 4 * sum(numbers) < 3 * saved


def test_sizes_of_known_backbones_are_those_that_follow_from_their_settings(tmp_path):
    layer = {"num_hidden_layers": 12, "intermediate_size": 2048, "hidden_size": 512}
    image = {"num_hidden_layers": 12, "intermediate_size": 3072, "hidden_size": 768}
    text = {**layer, "vocab_size": 49408}
    for name, patch in (("clip-vit-b16", 16), ("clip-vit-b32", 32)):
        settings = {"text_config": text, "vision_config": {**image, "image_size": 224}}
        settings["vision_config"]["patch_size"] = patch
        (tmp_path / "config.json").write_text(json.dumps(settings))
        known, found = tower_sizes(reference(name)), tower_sizes(reference(str(tmp_path)))
        assert found[:3] == known[:3]
        assert found.parameters == pytest.approx(known.parameters, rel=0.03)
    assert tower_sizes(reference("nobody/knows")) is None


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
