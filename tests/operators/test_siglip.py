"""The tiny SigLIP against transformers' own, and what its folder is asked for."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones import BackboneUnavailable, DeepPrompts, reference, unit
from operators.backbones.dual.siglip import HALF, Siglip
from operators.backbones.formats.clip_files import read_preprocessing
from operators.backbones.towers import packing
from operators.blocks.prompt_tokens import prompt_tokens, worded_context
from operators.engine.accounting import counting
from operators.images import Preprocessing

pytestmark = pytest.mark.bits

TEXTS = ["cat", "a photo of a very small orange boat.", "Oak TREE, 12!", "a"]
NAMES = ("cat", "a very small orange boat", "dog")


@pytest.fixture(scope="module")
def theirs(siglip_folder):
    """The same folder as transformers loads it."""
    from transformers import SiglipModel

    return SiglipModel.from_pretrained(siglip_folder).eval()


@pytest.fixture(scope="module")
def their_ids(siglip_folder):
    """The texts as transformers' documentation tokenizes them: no mask, the full length."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(siglip_folder)
    return tokenizer(TEXTS, padding="max_length", return_tensors="pt").input_ids


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_configuration_says_which_family_it_is(siglip, siglip_folder):
    found = reference(str(siglip_folder))
    assert found.family == ""
    assert found.describe().family == siglip.card.family == "siglip"
    assert isinstance(siglip, Siglip)


@torch.no_grad()
def test_image_features_are_those_of_transformers(siglip, theirs, pixels):
    wanted = theirs.get_image_features(pixels).pooler_output
    assert wanted.shape == (5, siglip.feature_width) == (5, siglip.card.feature_width)
    torch.testing.assert_close(siglip.encode_images(pixels), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_text_features_are_those_of_transformers(siglip, theirs, their_ids):
    wanted = theirs.get_text_features(their_ids).pooler_output
    tokens = siglip.tokenize(TEXTS)
    assert torch.equal(tokens.ids, their_ids)
    found = siglip.encode_text(siglip.embed(tokens.ids), tokens.end)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(siglip.text_features(TEXTS), unit(wanted), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_bias_of_the_logits_cancels_in_a_softmax_over_classes(
    siglip, theirs, their_ids, pixels
):
    logits = theirs(input_ids=their_ids, pixel_values=pixels).logits_per_image
    assert float(theirs.logit_bias) < -10
    images = unit(siglip.encode_images(pixels))
    found = siglip.logit_scale * images @ siglip.text_features(TEXTS).T
    assert not torch.allclose(found, logits, atol=1)
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=1e-5, atol=1e-5)


def test_padding_is_read_as_in_training(siglip):
    tokens = siglip.tokenize(["cat", "a photo of a dog"])
    assert tokens.ids.shape == (2, 40)
    assert tokens.end.tolist() == [1, 5]
    embedded = siglip.embed(tokens.ids)
    other = embedded.clone()
    other[:, 8:39] = embedded[0, 0]
    plain, moved = (siglip.encode_text(e, tokens.end) for e in (embedded, other))
    assert not torch.allclose(plain, moved, atol=1e-3)


def test_texts_of_another_length_are_refused(siglip):
    embedded = siglip.embed(siglip.tokenize(["cat"]).ids)[:, :12]
    with pytest.raises(ValueError, match=r"texts of 12 tokens: .* padded to 40"):
        siglip.encode_text(embedded, torch.tensor([1]))


def test_a_text_that_is_too_long_is_named(siglip):
    with pytest.raises(ValueError, match=r"'zebra zebra .* 40\. Shorten the class name"):
        siglip.tokenize(["cat", "zebra " * 10])


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_context_begins_where_the_text_does(siglip, position):
    prompts = prompt_tokens(siglip, NAMES, n_context=2, position=position)
    placeholder = int(siglip.tokenize(["x"]).ids[0, 0])
    for row, places in zip(prompts.ids, prompts.slots, strict=True):
        assert row[places].tolist() == [placeholder] * 2
        assert int((row == placeholder).sum()) == 2
    if position == "end":
        assert prompts.slots.tolist() == [[0, 1]] * 3
    words = siglip.tokenize(["a photo of a"]).ids[:, :4]
    assert torch.equal(worded_context(siglip, "a photo of a"), siglip.embed(words))


def test_rows_of_the_packed_path_are_whole_texts(siglip, monkeypatch):
    monkeypatch.setattr(packing, "PREFIX_COST", 0)
    prompts = prompt_tokens(siglip, NAMES, n_context=2, position="end")
    [piece] = siglip.packed_text.pieces(prompts, 1, True)
    assert piece.plan.prefix == 0
    assert piece.plan.tokens == 3 * 40


@torch.no_grad()
@pytest.mark.parametrize(("place", "start"), [("last", -2), ("second", 0)])
def test_prompts_stand_before_or_after_the_patches(siglip, theirs, pixels, place, start):
    generator = torch.Generator().manual_seed(2)
    first, deep = torch.randn(2, 48, generator=generator), torch.randn(2, 2, 48)
    x = siglip.patches(pixels).flatten(2).transpose(1, 2) + siglip.image_positions
    many = first.expand(len(x), -1, -1)
    x = torch.cat([x, many] if place == "last" else [many, x], dim=1)
    places = slice(-2, None) if place == "last" else slice(0, 2)
    for index, layer in enumerate(siglip.image_tower.layers):
        if index > 0:
            x = x.clone()
            x[:, places] = deep[index - 1]
        x = layer(x, None, False)
    wanted = theirs.vision_model.head(siglip.image_norm_out(x))
    keywords = {"prompts": first, "place": place, "deep_prompts": DeepPrompts(deep, start)}
    found = siglip.encode_images(pixels, **keywords)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    reading = siglip.read_images(siglip.embed_images(pixels), **keywords, layers=[2])
    torch.testing.assert_close(reading.features, found)
    patches = reading.states[2][:, :16] if place == "last" else reading.states[2][:, 2:]
    alone = siglip.image_norm_out(patches[:, 3:4])
    wanted = theirs.vision_model.head(alone)
    torch.testing.assert_close(reading.patches[:, 3], wanted, rtol=1e-4, atol=1e-5)
    assert reading.patches.shape == (5, 16, 48)


def test_a_class_token_that_is_not_there_cannot_be_kept(siglip, pixels):
    tokens = siglip.embed_images(pixels)
    assert "class-token" not in siglip.card.capabilities
    with pytest.raises(ValueError, match="tiny-siglip has no class token"):
        siglip.read_images(tokens, layers=[1], keep="class")


def encoded(height, width):
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 255, (7, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "png")
    return image, file.getvalue()


@pytest.mark.parametrize(("resample", "name"), [(2, "BILINEAR"), (3, "BICUBIC")])
@pytest.mark.parametrize(("height", "width"), [(90, 50), (33, 70), (20, 32)])
def test_images_are_squeezed_into_the_square_as_pillow_does(
    siglip_folder, tmp_path, resample, name, height, width
):
    settings = json.loads((siglip_folder / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**settings, "resample": resample})
    )
    preprocess = read_preprocessing(tmp_path, 32, mean=HALF, std=HALF, crops=False)
    image, file = encoded(height, width)
    wanted = np.asarray(image.resize((32, 32), Image.Resampling[name])).astype(np.float32)
    levels = (preprocess([file])[0] * 0.5 + 0.5) * 255
    assert float((levels.permute(1, 2, 0) - torch.from_numpy(wanted)).abs().max()) < 2.01


def test_preprocessing_is_siglips_own_where_nothing_is_said(tmp_path):
    found = read_preprocessing(tmp_path, 32, mean=HALF, std=HALF, crops=False)
    assert found == Preprocessing(size=32, short_side=32, mean=HALF, std=HALF, squeeze=True)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {"model_type": "siglip2"}, "'siglip2' model; it reads images of any shape"),
        ("config.json", {"vision_config": {"vision_use_head": False}}, "'vision_use_head': false"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 32}}, "'size': .* is cropped"),
        ("preprocessor_config.json", {"size": {"height": 8, "width": 8}}, "tower reads 32 pixels"),
        ("tokenizer.json", None, "holds no tokenizer.json"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_before_its_weights(
    siglip_folder, tmp_path, file, content, message
):
    twin = tmp_path / "tiny-siglip"
    shutil.copytree(siglip_folder, twin)
    if content is None:
        (twin / file).unlink()
    else:
        settings = json.loads((twin / file).read_text())
        for key, value in content.items():
            both = isinstance(value, dict) and key.endswith("_config")
            settings[key] = {**settings[key], **value} if both else value
        (twin / file).write_text(json.dumps(settings))
    with pytest.raises(BackboneUnavailable, match=message):
        reference(str(twin)).describe()


@torch.no_grad()
@pytest.mark.parametrize("images", [1, 5])
def test_operations_are_those_that_torch_counts(siglip, pixels, images):
    apart = sdpa_kernel(SDPBackend.MATH)  # of the fused one torch counts nothing on a CPU
    with apart, FlopCounterMode(display=False) as torchs, counting() as work:
        siglip.encode_images(pixels[:images])
    assert work.done == work.plain == torchs.get_total_flops()
    if images == 1:
        assert work.done == siglip.image_flops
