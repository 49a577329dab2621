"""The tiny CLIP against transformers' own, and what its folder is asked for."""

import json
import os
import shutil

import pytest
import torch

from operators.backbones import BackboneUnavailable, reference
from operators.backbones.dual.clip import Clip
from operators.backbones.formats.clip_files import CLIP_MEAN, CLIP_STD, read_preprocessing
from operators.backbones.towers.prompts import DeepPrompts
from operators.images import Preprocessing

pytestmark = pytest.mark.bits

TEXTS = ["cat", "a photo of a very small orange boat.", "oak tree, 12!", "a"]


@pytest.fixture(scope="module")
def theirs(clip_folder):
    """The same folder as transformers loads it."""
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(clip_folder).eval()


@pytest.fixture(scope="module")
def their_tokenizer(clip_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(clip_folder)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_image_features_are_those_of_transformers(clip, theirs, pixels):
    wanted = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
    torch.testing.assert_close(clip.encode_images(pixels), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_text_features_of_texts_of_any_length_are_those_of_transformers(
    clip, theirs, their_tokenizer
):
    tokens = their_tokenizer(TEXTS, padding=True, return_tensors="pt")
    wanted = theirs.text_projection(theirs.text_model(**tokens).pooler_output)
    ours = clip.tokenize(TEXTS)
    found = clip.encode_text(clip.embed(ours.ids), ours.end)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_logits_are_those_of_transformers(clip, theirs, their_tokenizer, pixels):
    tokens = their_tokenizer(TEXTS, padding=True, return_tensors="pt")
    wanted = theirs(**tokens, pixel_values=pixels).logits_per_image
    images = clip.encode_images(pixels)
    images = images / images.norm(dim=1, keepdim=True)
    found = clip.logit_scale * images @ clip.text_features(TEXTS).T
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)


def test_a_text_has_the_same_feature_alone_and_beside_longer_ones(clip):
    alone = clip.text_features(TEXTS[:1])
    torch.testing.assert_close(clip.text_features(TEXTS)[:1], alone, rtol=1e-5, atol=1e-6)


def test_a_text_that_is_too_long_is_named(clip):
    with pytest.raises(ValueError, match=r"'zebra zebra .* 40\. Shorten the class name"):
        clip.tokenize(["cat", "zebra " * 10])


def test_preprocessing_is_read_where_transformers_5_writes_it(clip_folder, tmp_path):
    settings = json.loads((clip_folder / "preprocessor_config.json").read_text())
    settings["image_mean"] = [0.1, 0.2, 0.3]
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert read_preprocessing(tmp_path, 32) == Preprocessing(
        size=32, short_side=32, mean=(0.1, 0.2, 0.3), std=CLIP_STD
    )


def test_preprocessing_is_clips_own_where_nothing_is_said(tmp_path):
    assert read_preprocessing(tmp_path, 48) == Preprocessing(
        size=48, short_side=48, mean=CLIP_MEAN, std=CLIP_STD
    )


@pytest.mark.parametrize("crops", [{"do_center_crop": False}, {"crop_size": 32}])
def test_a_clip_whose_images_are_squeezed_is_read_so(tmp_path, crops):
    settings = {"size": {"height": 32, "width": 32}, "resample": 2, **crops}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    found = read_preprocessing(tmp_path, 32)
    assert (found.size, found.squeeze, found.filter) == (32, True, "bilinear")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"do_resize": False}, "'do_resize': false; backbones resize, rescale and normalise"),
        ({"do_center_crop": False, "size": 32}, "'do_center_crop': false; what is resized"),
        ({"do_center_crop": False, "size": {"height": 40, "width": 40}}, "'size': .*reads 32"),
        ({"size": {"height": 40, "width": 40}}, "squeezed into a square is not cropped"),
        ({"size": {"height": 32, "width": 48}}, "'size': .* known are 'shortest_edge', and"),
        ({"size": {"longest_edge": 32}}, "'size': .* known are 'shortest_edge', and"),
        ({"crop_size": 48}, "'crop_size': 48; the image tower reads 32 pixels"),
        ({"resample": 1}, r"'resample': 1; known are the filters 2 \(bilinear\) and 3"),
        ({"rescale_factor": 0.5}, "'rescale_factor': 0.5; pixels are divided by 255"),
    ],
)
def test_preprocessing_in_another_way_is_refused(tmp_path, setting, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(setting))
    with pytest.raises(BackboneUnavailable, match=message):
        read_preprocessing(tmp_path, 32)


@torch.no_grad()
def test_deep_prompts_replace_tokens_before_every_later_layer(clip):
    generator = torch.Generator().manual_seed(2)
    prompts = torch.randn(2, 3, 32, generator=generator)
    tokens = clip.tokenize(TEXTS)
    embedded = clip.embed(tokens.ids)

    x = embedded + clip.text_positions[: embedded.shape[1]]
    causal = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
    x = plain_tower(clip.text_tower, x, causal, prompts, slice(1, 4))
    last = x[torch.arange(len(x)), tokens.end]
    wanted = clip.text_projection(clip.text_norm(last))

    found = clip.encode_text(embedded, tokens.end, DeepPrompts(prompts, start=1))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, clip.encode_text(embedded, tokens.end), atol=1e-2)


@torch.no_grad()
def test_deep_prompts_at_the_end_of_an_image_tower_replace_the_last_tokens(clip):
    generator = torch.Generator().manual_seed(2)
    prompts, x = (torch.randn(2, n, 48, generator=generator) for n in (2, 19))
    wanted = plain_tower(clip.image_tower, x, 0, prompts, slice(-2, None))
    found = clip.image_tower(x, deep_prompts=DeepPrompts(prompts, start=-2))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def plain_tower(tower, x, mask, prompts, places):
    """Pre-norm layers, the quick GELU folded; prompts take `places` before all but the first."""
    for index, layer in enumerate(tower.layers):
        if index > 0:
            x = x.clone()
            x[:, places] = prompts[index - 1]
        x = x + plain_attention(layer, layer.norm1(x), mask)
        hidden = layer.fc1(layer.norm2(x))
        x = x + layer.fc2(hidden * torch.sigmoid(hidden))
    return x


def plain_attention(layer, x, mask):
    """Multi-head attention, one head and one sequence at a time."""
    width = x.shape[-1] // layer.heads
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    heads = []
    for start in range(0, x.shape[-1], width):
        part = slice(start, start + width)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / width**0.5
        heads.append((scores + mask).softmax(dim=-1) @ v[..., part])
    return layer.out(torch.cat(heads, dim=-1))


def test_the_first_layer_and_those_without_prompts_read_what_comes():
    prompts, x = DeepPrompts(torch.ones(1, 2, 48), start=-2), torch.zeros(3, 19, 48)
    assert torch.equal(prompts.put(0, x), x)
    assert torch.equal(prompts.put(2, x), x)
    assert not torch.equal(prompts.put(1, x), x)


def test_more_deep_prompts_than_layers_are_refused(clip):
    tokens = clip.tokenize(["cat dog tree"])
    with pytest.raises(ValueError, match="3 deep prompts for a tower of 3 layers"):
        clip.encode_text(
            clip.embed(tokens.ids), tokens.end, DeepPrompts(torch.zeros(3, 1, 32), start=1)
        )


def test_nothing_of_a_backbone_takes_a_gradient(clip):
    assert not any(p.requires_grad for module in clip.modules() for p in module.parameters())


def test_a_hub_id_out_of_reach_gives_one_sentence_that_names_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneUnavailable, match="pass the folder instead") as caught:
        reference("nobody/no-such-clip").describe()
    assert "'nobody/no-such-clip' is not on this machine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(BackboneUnavailable, match="no folder at '/no/such/folder'"):
        reference("/no/such/folder").describe()


def test_a_folder_of_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(BackboneUnavailable, match="'t5' model; read are 'clip', 'siglip' and"):
        reference(str(tmp_path)).describe()


def test_a_file_is_refused_and_says_what_is_read(tmp_path):
    file = tmp_path / "RN50.pt"
    file.write_bytes(b"weights")
    with pytest.raises(BackboneUnavailable, match=r"RN50\.pt is a file\. Give a folder that holds"):
        reference(str(file)).describe()


def test_a_folder_without_weights_is_refused(tmp_path, clip_folder):
    shutil.copy(clip_folder / "config.json", tmp_path)
    with pytest.raises(BackboneUnavailable, match="holds no weights"):
        reference(str(tmp_path)).describe()


def test_a_folder_is_called_by_its_own_name(clip_folder, clip):
    assert reference(str(clip_folder)).name == clip.card.name == "tiny-clip"
    assert clip.card.feature_width == clip.feature_width == 24


def test_an_unknown_name_is_no_backbone():
    with pytest.raises(LookupError, match="no backbone is called 'clip-b16'"):
        reference("clip-b16")


def test_the_fingerprint_knows_neither_the_folders_name_nor_its_time(clip, clip_folder, tmp_path):
    twin = tmp_path / "another-name"
    shutil.copytree(clip_folder, twin)
    for file in twin.iterdir():
        os.utime(file, (0, 0))
    assert Clip.describe("x", str(twin)).fingerprint == clip.card.fingerprint


@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"],
)
def test_the_fingerprint_moves_with_every_file_that_moves_a_feature(
    file, clip, clip_folder, tmp_path
):
    twin = tmp_path / "tiny-clip"
    shutil.copytree(clip_folder, twin)
    content = bytearray((twin / file).read_bytes())
    content[-3] ^= 1
    (twin / file).write_bytes(content)
    assert Clip.describe("x", str(twin)).fingerprint != clip.card.fingerprint
