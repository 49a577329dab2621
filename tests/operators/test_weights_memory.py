"""Equal weights give equal bits, wherever they begin in their file and however they lie there.

Sums over memory that begins at another place are rounded otherwise, which no processor promises to
hide: `make test-portable` has these tests with several sets of instructions.
"""

import json
import os
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from operators.backbones import reference
from operators.backbones.dual import effnet_minilm
from operators.methods import METHODS

pytestmark = pytest.mark.bits

TEXTS = ["a photo of a cat.", "dog", "a very small orange boat"]  # one at a time and together
FOLDERS = ["clip_folder", "siglip_folder", "open_clip_folder", "clip_resnet_folder"]


def moved_by(path, shift):
    """Writes the tensors of a file `shift` bytes later, behind a longer header."""
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = whole[8 : 8 + length].rstrip(b" ")
    before = (8 + length) % 64
    blanks = next(n for n in range(128) if (8 + len(header) + n - before) % 64 == shift % 64)
    header += b" " * blanks
    path.write_bytes(struct.pack("<Q", len(header)) + header + whole[8 + length :])


def load(folder, precision="fp32"):
    found = reference(str(folder))._replace(precision=precision)
    return found.load(found.describe())


@torch.no_grad()
def features(backbone):
    """All that a backbone gives: images and texts, alone and together, and prompts among them."""
    side = backbone.preprocess.size
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    yield backbone.encode_images(pixels)
    yield backbone.encode_images(pixels[:1])
    yield backbone.text_features(TEXTS)
    yield backbone.text_features(TEXTS[:1])
    tokens = backbone.tokenize(TEXTS)
    yield backbone.encode_text(backbone.embed(tokens.ids), tokens.end)
    if backbone.image_tower is not None:
        prompts = torch.full((2, backbone.image_tower.shape.width), 0.1)
        yield backbone.encode_images(pixels, prompts=prompts)
        yield backbone.read_images(backbone.embed_images(pixels), layers=[1]).patches


def assert_equal_bits(one, other):
    for found, wanted in zip(features(one), features(other), strict=True):
        assert torch.equal(found, wanted)


@pytest.fixture
def twin(tmp_path):
    """Copies a folder of a backbone."""
    return lambda folder: shutil.copytree(folder, tmp_path / folder.name)


@pytest.mark.parametrize("shift", [1, 4, 36])
@pytest.mark.parametrize("folder", FOLDERS)
def test_features_do_not_depend_on_where_weights_begin(request, twin, folder, shift):
    folder = request.getfixturevalue(folder)
    other = twin(folder)
    (weights,) = other.glob("*.safetensors")
    moved_by(weights, shift)
    assert_equal_bits(load(other), load(folder))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_nor_do_they_in_half_precision(request, twin, folder, precision):
    folder = request.getfixturevalue(folder)
    other = twin(folder)
    (weights,) = other.glob("*.safetensors")
    half = {name: weight.to(torch.float16) for name, weight in load_file(weights).items()}
    save_file(half, weights, {"format": "pt"})
    plain = load(other, precision)
    moved_by(weights, 2)  # where numbers of two bytes may begin, and no others
    assert_equal_bits(load(other, precision), plain)


@pytest.mark.parametrize("folder", ["open_clip_folder", "clip_resnet_folder"])
def test_features_do_not_depend_on_how_a_pickle_lays_weights_out(request, twin, folder):
    folder = request.getfixturevalue(folder)
    other = twin(folder)
    (file,) = other.glob("*.safetensors")
    turned = {
        name: weight.transpose(0, -1).contiguous().transpose(0, -1) if weight.ndim > 1 else weight
        for name, weight in load_file(file).items()
    }
    assert any(not weight.is_contiguous() for weight in turned.values())
    file.unlink()
    torch.save(turned, other / "open_clip_pytorch_model.bin")
    assert_equal_bits(load(other), load(folder))


def test_features_of_the_embedded_pair_depend_on_no_layout(effnet, tmp_path, monkeypatch):
    cnn, sentences = effnet_minilm.weights()
    other = shutil.copytree(sentences, tmp_path / "sentences")
    moved_by(other / "model.safetensors", 4)
    turned = {
        name: weight.transpose(0, -1).contiguous().transpose(0, -1) if weight.ndim > 1 else weight
        for name, weight in torch.load(cnn, weights_only=True).items()
    }
    torch.save(turned, tmp_path / "cnn.pth")
    monkeypatch.setattr(effnet_minilm, "weights", lambda: (tmp_path / "cnn.pth", other))
    assert_equal_bits(load("effnet-minilm"), effnet)


@pytest.mark.parametrize("name", ["clip", "siglip", "clip_resnet", "effnet"])
def test_every_weight_has_aligned_memory_of_its_own(request, name):
    backbone = request.getfixturevalue(name)
    for module in backbone.modules():
        for weight in (*module.parameters(), *module.buffers()):
            assert weight.data_ptr() % 64 == 0
            order = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
            assert weight.is_contiguous() or weight.is_contiguous(memory_format=order)
            assert weight.untyped_storage().nbytes() == weight.nbytes


def test_a_weight_file_that_is_written_over_changes_nothing(twin, clip_folder, clip):
    other = twin(clip_folder)
    backbone = load(other)
    file = other / "model.safetensors"
    with file.open("r+b") as opened:  # in place: what is mapped sees it
        (length,) = struct.unpack("<Q", opened.read(8))
        opened.seek(8 + length)
        opened.write(bytes(file.stat().st_size - 8 - length))
    assert_equal_bits(backbone, clip)


@torch.no_grad()
@pytest.mark.parametrize("method", ["coop", "tip-adapter-f", "clip-adapter"])
def test_what_was_learned_gives_the_same_bits_from_any_file(
    method, clip, classes, few_shot, moved, tmp_path
):
    generator = torch.Generator().manual_seed(0)
    shots = few_shot(clip.feature_width, [0, 1, 2, 3] * 2)
    first = METHODS[method](clip, classes, generator=generator).eval()
    if method.startswith("tip"):
        first.fit(shots, tuning=None, generator=generator)
    moved(first)
    path = tmp_path / "prompt.safetensors"
    logits = []
    for shift in (0, 4, 24):
        save_file({k: v.contiguous() for k, v in first.learned().items()}, path)
        moved_by(path, shift)
        one = METHODS[method](clip, classes, generator=torch.Generator()).eval()
        one.load_state_dict(load_file(path))
        logits.append(one.logits(shots.train))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_instructions_are_off_where_they_are_switched_off():
    """Else `make test-portable` would show nothing."""
    wanted = os.environ.get("ATEN_CPU_CAPABILITY", torch.backends.cpu.get_cpu_capability())
    assert torch.backends.cpu.get_cpu_capability() == wanted.upper()


def test_a_longer_header_moves_the_tensors_of_a_file(tmp_path):
    """What these tests stand on."""
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(5.0)}, path)
    before = load_file(path)["a"].data_ptr() % 64
    moved_by(path, 4)
    assert load_file(path)["a"].equal(torch.arange(5.0))
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert json.loads(path.read_bytes()[8 : 8 + length])["a"]["shape"] == [5]
    assert load_file(path)["a"].data_ptr() % 64 == (before + 4) % 64
