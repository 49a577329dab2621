"""The benchmark of all methods compares what is the same, and leaves the backbone as it was."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "methods.py"
CLASSES, SHOTS = 3, 2


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # as for any script: they share modules
        return runpy.run_path(str(BENCHMARK))


@pytest.fixture
def bench(benchmark, clip, tmp_path):
    return benchmark["Bench"](clip, CLASSES, SHOTS, tmp_path)


@pytest.fixture
def read(clip, monkeypatch):
    """How many images pass the image tower, and how long the texts are that are encoded alone."""
    found = {"images": 0, "lengths": set()}
    encode_images, encode_text = clip.encode_images, clip.encode_text

    def count_images(pixels, **how):
        found["images"] += len(pixels)
        return encode_images(pixels, **how)

    def note_length(embeddings, *others):
        found["lengths"].add(embeddings.shape[1])
        return encode_text(embeddings, *others)

    monkeypatch.setattr(clip, "encode_images", count_images)
    monkeypatch.setattr(clip, "encode_text", note_length)
    return found


@pytest.mark.parametrize("method", ["coop", "tip-adapter"])
def test_a_row_has_all_columns(benchmark, bench, method):
    row = benchmark["compare"](method, bench, rounds=1)
    assert row["flops"]["plain"] > row["flops"]["ours"] > 0
    assert row["saved_bytes"]["plain"] >= row["saved_bytes"]["ours"]
    assert set(row["cpu_seconds"]) == set(benchmark["FORMS"])
    shown = benchmark["line"](row)
    assert shown.startswith(method) and row["what"] in shown
    assert shown.count("x") == 3 + (row["saved_bytes"]["ours"] > 0) + row["what"].count("x")


@pytest.mark.parametrize("method", ["coop", "vpt", "zero-shot"])
def test_forms_that_differ_are_refused(benchmark, bench, method):
    measured = benchmark["case"](method, bench)
    benchmark["refuse_different"](measured)
    with torch.no_grad():
        for layers in bench.plain.layers:
            layers[-1].fc2.weight.mul_(1.5)
    with pytest.raises(AssertionError, match="not close"):
        benchmark["refuse_different"](measured)


def test_the_plain_form_pads_texts_and_encodes_images_in_each_step(benchmark, bench, clip, read):
    measured = benchmark["case"]("coop", bench)
    measured.fit("plain", steps=3)
    assert read == {"images": 3 * CLASSES * SHOTS, "lengths": {clip.context_length}}


def test_our_form_does_neither(benchmark, bench, read):
    measured = benchmark["case"]("coop", bench)
    measured.fit("ours", steps=3)
    assert read == {"images": 0, "lengths": set()}


def test_afterwards_the_backbone_is_what_it_was(bench, clip):
    before = {id(layer) for tower in bench.plain.towers for layer in tower.layers}
    with bench.form("plain"):
        assert clip.encode_prompts == bench.plain.encode_prompts
        assert not before & {id(layer) for tower in bench.plain.towers for layer in tower.layers}
    assert clip.encode_prompts.__func__ is type(clip).encode_prompts
    assert "forward_at" not in vars(clip.image_tower)
    assert before == {id(layer) for tower in bench.plain.towers for layer in tower.layers}


def test_one_command_writes_the_table_and_the_figures(
    benchmark, clip_folder, tmp_path, monkeypatch, capsys
):
    figures = tmp_path / "figures.json"
    asked = ["--methods", "zero-shot", "--backbone", str(clip_folder), "--classes", "3"]
    monkeypatch.setattr(sys, "argv", ["x", *asked, "--rounds", "1", "--json", str(figures)])
    threads = torch.get_num_threads()
    try:
        benchmark["main"]()
    finally:
        torch.set_num_threads(threads)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["method", "what"] and row.startswith("zero-shot")
    assert json.loads(figures.read_text())["rows"][0]["method"] == "zero-shot"
