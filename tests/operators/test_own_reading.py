"""Folders are read without transformers, and to the last bit as transformers reads them."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from operators.backbones import reference
from operators.backbones.dual import effnet_minilm
from operators.backbones.formats import tokenizer as tokenizers
from operators.backbones.formats import weights
from operators.backbones.formats.clip_files import EMBEDDED

pytestmark = pytest.mark.bits

FOLDERS = ["clip_folder", "open_clip_folder", "clip_resnet_folder", "siglip_folder"]
TEXTS = ["a photo of a cat.", "dog", "a very small <|endoftext|> boat", "Café ½"]


def load(location):
    found = reference(str(location))
    return found.load(found.describe())


def through_transformers(monkeypatch, location):
    """The same with everything read by transformers."""

    def unknown(*_):
        raise KeyError("no file is known")

    with monkeypatch.context() as patched:
        patched.setattr(weights, "read", unknown)
        patched.setattr(tokenizers, "read_tokenizer", lambda *_: None)
        return load(location)


@torch.no_grad()
def features(backbone):
    side = backbone.preprocess.size
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    tokens = backbone.tokenize(TEXTS)
    yield tokens.ids
    yield tokens.end
    yield backbone.tokenize(["cat " * 200], cut=True).ids
    yield backbone.encode_text(backbone.embed(tokens.ids), tokens.end)
    yield backbone.encode_images(pixels)
    yield torch.tensor(backbone.logit_scale)


def assert_same(one, other):
    for found, wanted in zip(features(one), features(other), strict=True):
        assert torch.equal(found, wanted)
    for found, wanted in zip(one.modules(), other.modules(), strict=True):
        weights = found.state_dict(), wanted.state_dict()
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


@pytest.mark.parametrize("location", [*FOLDERS, "mini-clip", "effnet-minilm"])
def test_features_are_those_of_weights_and_tokens_that_transformers_reads(
    request, monkeypatch, location
):
    location = request.getfixturevalue(location) if location in FOLDERS else location
    ours, theirs = load(location), through_transformers(monkeypatch, location)
    assert isinstance(ours.tokenizer, tokenizers.TextTokenizer)
    assert not isinstance(theirs.tokenizer, tokenizers.TextTokenizer)
    assert_same(ours, theirs)


def as_bin(folder):
    from safetensors.torch import load_file

    held = load_file(folder / "model.safetensors")
    held["text_model.embeddings.position_ids"] = torch.arange(40)[None]  # as old files have it
    torch.save(held, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def in_halves(folder):
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {}
    for number, names in enumerate((sorted(held)[::2], sorted(held)[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: held[name] for name in names}, folder / file, {"format": "pt"})
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def in_half_precision(folder):
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    halves = {name: weight.half() for name, weight in held.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})


def with_a_second_configuration(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config_dict"], config["text_config"] = config["text_config"], {"hidden_size": 99}
    (folder / "config.json").write_text(json.dumps(config))


def under_a_prefix(folder):
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    named = {f"clip.{name}": weight for name, weight in held.items()}
    save_file(named, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    "change",
    [as_bin, in_halves, in_half_precision, with_a_second_configuration, under_a_prefix],
    ids=lambda change: change.__name__,
)
def test_weights_of_a_folder_that_is_written_otherwise_are_the_same(
    clip_folder, tmp_path, monkeypatch, change
):
    change(folder := shutil.copytree(clip_folder, tmp_path / "clip"))
    assert_same(load(folder), through_transformers(monkeypatch, folder))


START, END = "<|startoftext|>", "<|endoftext|>"
TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "special": True}
NORMALIZED = {"content": START, "normalized": True, **TOKEN}
WHOLE = {"content": END, "normalized": False, **TOKEN}
SETTINGS = {
    "none": {},
    "as CLIP's own": {
        "unk_token": {"content": END, "normalized": True, "__type": "AddedToken", **TOKEN},
        "bos_token": {"content": START, "normalized": True, "__type": "AddedToken", **TOKEN},
        "eos_token": {"content": END, "normalized": True, "__type": "AddedToken", **TOKEN},
        "pad_token": END,
        "errors": "replace",
        "do_lower_case": True,
        "name_or_path": "openai/clip-vit-base-patch32",
        "model_max_length": 77,
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
    },
    "with tokens": {"added_tokens_decoder": {"END": WHOLE, "START": NORMALIZED}},
    "with another padding": {"pad_token": "!", "tokenizer_class": "CLIPTokenizerFast"},
}
MAPS = {
    "no map": None,
    "a map": {
        "bos_token": {"content": START, "normalized": True, **TOKEN},
        "eos_token": {"content": END, "normalized": True, **TOKEN},
        "unk_token": END,
        "pad_token": "<|pad|>",
    },
}


@pytest.fixture
def odd_tokenizer(clip_folder, tmp_path):
    """Makes a folder with the tiny tokenizer, and chosen settings beside it."""

    def make(files, settings, more):
        folder = shutil.copytree(clip_folder, tmp_path / "clip")
        written = json.loads((folder / "tokenizer.json").read_text())
        vocabulary, merges = written["model"]["vocab"], written["model"]["merges"]
        ids = {"START": str(vocabulary[START]), "END": str(vocabulary[END])}
        if "added_tokens_decoder" in settings:
            tokens = settings["added_tokens_decoder"]
            settings = {"added_tokens_decoder": {ids[key]: tokens[key] for key in tokens}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        if more is not None:
            (folder / "special_tokens_map.json").write_text(json.dumps(more))
        if files == "two":
            (folder / "tokenizer.json").unlink()
            (folder / "vocab.json").write_text(json.dumps(vocabulary))
            lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
            (folder / "merges.txt").write_text("\n".join(lines))
        if files == "other rules":  # which are not read: a CLIP reads as every CLIP does
            written["normalizer"], written["added_tokens"] = None, [{"id": 0, **NORMALIZED}]
            written["added_tokens"][0]["id"] = vocabulary[START]
            (folder / "tokenizer.json").write_text(json.dumps(written))
        return folder

    return make


@pytest.mark.parametrize("more", MAPS)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("files", ["one", "two", "other rules"])
def test_a_tokenizer_of_clip_is_that_of_transformers_to_the_last_field(
    odd_tokenizer, files, settings, more
):
    from transformers import AutoTokenizer

    folder = odd_tokenizer(files, SETTINGS[settings], MAPS[more])
    assert_equal_tokenizers(
        tokenizers.load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    )


def assert_equal_tokenizers(ours, theirs):
    assert isinstance(ours, tokenizers.TextTokenizer)
    backend = theirs.backend_tokenizer
    backend.no_padding(), backend.no_truncation(), ours.own.no_truncation()
    assert json.loads(ours.own.to_str()) == json.loads(backend.to_str())
    for name in ("bos", "eos", "unk", "pad", "mask"):
        for what in ("token", "token_id"):
            assert getattr(ours, f"{name}_{what}") == getattr(theirs, f"{name}_{what}")
    assert sorted(ours.all_special_ids) == sorted(theirs.all_special_ids)
    for text in TEXTS:
        assert ours(text).input_ids == theirs(text).input_ids
        cut = {"truncation": True, "max_length": 5}
        assert ours(TEXTS, **cut).input_ids == theirs(TEXTS, **cut).input_ids
        offsets = theirs(text, return_offsets_mapping=True).offset_mapping
        assert ours(text).offset_mapping == offsets
        bare = {"add_special_tokens": False}
        assert ours(text, **bare).input_ids == theirs(text, **bare).input_ids


@pytest.mark.parametrize("folder", ["siglip", "sentences", "mini-clip"])
def test_other_tokenizers_are_those_of_transformers(siglip_folder, folder):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if folder == "siglip":
        theirs = PreTrainedTokenizerFast.from_pretrained(siglip_folder)
        ours = tokenizers.load_tokenizer(siglip_folder, "file")
    elif folder == "sentences":
        _, place = effnet_minilm.weights()
        theirs = AutoTokenizer.from_pretrained(place)
        ours = tokenizers.load_tokenizer(place, "file")
    else:
        place = EMBEDDED / "mini_clip"
        theirs, ours = AutoTokenizer.from_pretrained(place), tokenizers.load_tokenizer(place)
    assert_equal_tokenizers(ours, theirs)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["a.b", None]}}),
        ("tokenizer_config.json", {"split_special_tokens": True}),
        ("tokenizer_config.json", {"extra_special_tokens": ["<x>"]}),
        ("tokenizer_config.json", {"of_tomorrow": 1}),
        ("special_tokens_map.json", {"additional_special_tokens": ["<x>"]}),
        ("added_tokens.json", {"<x>": 5}),
    ],
)
def test_what_is_not_known_to_change_no_token_is_left_to_transformers(
    clip_folder, tmp_path, name, settings
):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    (folder / name).write_text(json.dumps(settings))
    if name != "tokenizer_config.json":
        (folder / "tokenizer_config.json").unlink()
    assert tokenizers.read_tokenizer(folder, tokenizers.rules_of(folder)) is None


HEAVY = ["transformers", "sympy", "pandas", "scipy", "torch._dynamo", "torch._inductor"]


def test_a_dual_encoder_is_loaded_and_asked_without_transformers(request):
    program = (
        "import sys, torch\nfrom operators.backbones import reference\n"
        "for name in sys.argv[2:]:\n"
        "    found = reference(name)\n"
        "    backbone = found.load(found.describe())\n"
        "    side = backbone.preprocess.size\n"
        "    backbone.encode_images(torch.zeros(1, 3, side, side))\n"
        "    backbone.text_features(['cat'])\n"
        "print([name for name in sys.argv[1].split(',') if name in sys.modules])\n"
    )
    locations = [str(request.getfixturevalue(folder)) for folder in FOLDERS]
    answer = subprocess.run(
        [sys.executable, "-c", program, ",".join(HEAVY), "mini-clip", "effnet-minilm", *locations],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "[]\n", answer.stdout + answer.stderr
