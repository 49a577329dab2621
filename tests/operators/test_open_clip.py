"""CLIPs in open_clip's format: as a ViT that is known, as a plain ResNet, and what is refused."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones import BACKBONES, FAMILIES, BackboneUnavailable, reference
from operators.backbones.dual.clip import Clip
from operators.backbones.dual.clip_resnet import ClipResNet
from operators.backbones.formats import open_clip
from operators.backbones.formats.clip_files import CLIP_MEAN, CLIP_STD, family_of, fetch
from operators.engine.accounting import counting
from operators.episodes.episode import Batch
from operators.images import Preprocessing
from operators.methods import METHODS

pytestmark = pytest.mark.bits

TEXTS = ["cat", "a photo of a very small orange boat.", "oak tree, 12!", "a"]
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def vit(open_clip_folder):
    """The tiny CLIP, read from open_clip's files."""
    found = reference(str(open_clip_folder))
    return found.load(found.describe())


@pytest.fixture
def twin(tmp_path):
    """Copies a folder, where a test may change it."""
    return lambda folder: shutil.copytree(folder, tmp_path / "twin")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def change(folder, section, **values):
    """Other values in the configuration of a folder; `section` is its place, in dots."""
    settings = json.loads((folder / CONFIG).read_text())
    place = settings
    for part in section.split("."):
        place = place[part]
    place.update(values)
    (folder / CONFIG).write_text(json.dumps(settings))


def rewrite(folder, edit):
    """Other weights in a folder."""
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS)


def load(folder):
    found = reference(str(folder))
    return found.load(found.describe())


def test_the_files_say_which_family_it_is(vit, clip_resnet, open_clip_folder, clip_resnet_folder):
    assert (vit.card.family, type(vit)) == ("clip", Clip)
    assert (clip_resnet.card.family, type(clip_resnet)) == ("clip-resnet", ClipResNet)
    assert family_of(str(open_clip_folder)) == "clip"
    assert family_of(str(clip_resnet_folder)) == "clip-resnet"
    assert vit.card.feature_width == vit.feature_width == 24
    assert clip_resnet.card.feature_width == clip_resnet.feature_width == 24


def test_known_resnets_are_of_this_family():
    known = {name: BACKBONES[name] for name in ("clip-rn50", "clip-rn101")}
    assert {FAMILIES[each.family] for each in known.values()} == {ClipResNet}


@torch.no_grad()
def test_a_vit_is_bit_by_bit_the_one_of_transformers(vit, clip, pixels):
    small = pixels[..., :32, :32]
    assert torch.equal(vit.encode_images(small), clip.encode_images(small))
    assert torch.equal(vit.text_features(TEXTS), clip.text_features(TEXTS))
    assert vit.card.capabilities == clip.card.capabilities
    assert (vit.logit_scale, vit.preprocess) == (clip.logit_scale, clip.preprocess)
    ours, theirs = (b.read_images(b.embed_images(small), layers=[1]) for b in (vit, clip))
    assert torch.equal(ours.patches, theirs.patches)


@torch.no_grad()
def test_without_quick_gelu_the_activation_is_gelu(open_clip_folder, clip_folder, twin, pixels):
    from transformers import CLIPModel

    folder = twin(open_clip_folder)
    change(folder, "model_cfg", quick_gelu=None)
    theirs = CLIPModel.from_pretrained(clip_folder).eval()
    for tower in (theirs.vision_model, theirs.text_model):
        for layer in tower.encoder.layers:
            layer.mlp.activation_fn = torch.nn.GELU()
    wanted = theirs.visual_projection(theirs.vision_model(pixels[..., :32, :32]).pooler_output)
    found = load(folder).encode_images(pixels[..., :32, :32])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_texts_of_a_resnet_clip_are_those_of_its_text_tower(clip_resnet, clip):
    assert torch.equal(clip_resnet.text_features(TEXTS), clip.text_features(TEXTS))
    tokens = clip_resnet.tokenize(TEXTS)
    plain = clip_resnet.encode_text(clip_resnet.embed(tokens.ids), tokens.end)
    torch.testing.assert_close(
        F.normalize(plain, dim=-1), clip.text_features(TEXTS), rtol=1e-5, atol=1e-5
    )
    assert clip_resnet.logit_scale == clip.logit_scale


@torch.no_grad()
def test_image_features_are_those_of_a_plain_resnet(clip_resnet, clip_resnet_folder, pixels):
    weights = {
        name.removeprefix("visual."): weight.double()
        for name, weight in load_file(clip_resnet_folder / WEIGHTS).items()
        if name.startswith("visual.")
    }
    wanted = plain_resnet(weights, pixels.double(), (1, 2, 1, 1), heads=8)
    assert float(wanted.std(dim=0).min()) > 0.01
    found = clip_resnet.encode_images(pixels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted[:, 0], rtol=1e-4, atol=1e-5)
    reading = clip_resnet.read_images(clip_resnet.embed_images(pixels))
    torch.testing.assert_close(reading.features, found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(reading.patches.double(), wanted[:, 1:], rtol=1e-4, atol=1e-5)


def plain_resnet(w, x, layers, heads):
    """CLIP's ResNet as sums: strides are averages, batch norm is written out, all places attend."""

    def convolved(x, name, **how):
        x = F.conv2d(x, w[f"{name}.weight"], **how)
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, shift = (w[f"{norm}.{part}"][:, None, None] for part in parts)
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def halved(x):
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    x = convolved(x, "conv1", stride=2, padding=1).relu()
    x = convolved(x, "conv2", padding=1).relu()
    x = halved(convolved(x, "conv3", padding=1).relu())
    for stage, blocks in enumerate(layers):
        for block in range(blocks):
            at, shrinks = f"layer{stage + 1}.{block}", stage > 0 and block == 0
            y = convolved(x, f"{at}.conv1").relu()
            y = convolved(y, f"{at}.conv2", padding=1).relu()
            y = convolved(halved(y) if shrinks else y, f"{at}.conv3")
            if f"{at}.downsample.0.weight" in w:
                x = convolved(halved(x) if shrinks else x, f"{at}.downsample.0")
            x = (x + y).relu()
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + w["attnpool.positional_embedding"]
    q, k, v = (
        F.linear(x, w[f"attnpool.{part}_proj.weight"], w[f"attnpool.{part}_proj.bias"])
        for part in "qkv"
    )
    width, read = x.shape[-1] // heads, []
    for start in range(0, x.shape[-1], width):
        part = slice(start, start + width)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / width**0.5
        read.append(scores.softmax(dim=-1) @ v[..., part])
    out = torch.cat(read, dim=-1)
    return F.linear(out, w["attnpool.c_proj.weight"], w["attnpool.c_proj.bias"])


def test_operations_are_those_that_torch_counts(clip_resnet, pixels):
    once = clip_resnet.image_flops
    with counting() as work, FlopCounterMode(display=False) as counter:
        clip_resnet.encode_images(pixels[:3])
    assert work.done == work.plain == 3 * once == counter.get_total_flops() > 0
    with counting() as work, FlopCounterMode(display=False) as counter:
        clip_resnet.read_images(clip_resnet.embed_images(pixels[:3]))
    assert work.done == work.plain == counter.get_total_flops() > 3 * once


def test_a_resnet_has_nothing_to_cut_into(clip_resnet, classes, pixels):
    assert clip_resnet.card.capabilities == {"patch-features"}
    assert clip_resnet.image_tokens == 0
    with pytest.raises(ValueError, match="tiny-clip-resnet has no tokens, so it takes no visual"):
        clip_resnet.encode_images(pixels, prompts=torch.zeros(1, 8))
    with pytest.raises(ValueError, match="tiny-clip-resnet has no tokens, so it takes no visual"):
        clip_resnet.read_images(clip_resnet.embed_images(pixels), layers=[0])
    with pytest.raises(ValueError, match="needs visual-prompts, which tiny-clip-resnet does not"):
        METHODS["vpt"](clip_resnet, classes, generator=torch.Generator().manual_seed(0))


def test_coop_learns_on_a_resnet(clip_resnet, classes, drawn_pictures):
    labels = [0, 1, 2, 3] * 2
    pictures = drawn_pictures(clip_resnet, labels)
    method = METHODS["coop"](clip_resnet, classes, generator=torch.Generator().manual_seed(0))
    batch = Batch(pictures, np.arange(8), torch.tensor(labels))
    before = method.loss(batch)
    [context] = [p for p in method.parameters() if p.requires_grad]
    [gradient] = torch.autograd.grad(before, [context])
    assert float(gradient.abs().max()) > 0
    with torch.no_grad():
        context -= 0.002 * gradient / gradient.norm()
    assert method.loss(batch).item() < before.item()


def test_weights_may_be_pickled_or_come_from_a_text_tower_apart(
    clip_resnet, clip_resnet_folder, twin, pixels
):
    folder = twin(clip_resnet_folder)
    weights = load_file(folder / WEIGHTS)
    apart = {
        name if name.startswith(("visual.", "logit")) else f"text.{name}": weight
        for name, weight in weights.items()
    }
    apart["logit_scale"] = apart["logit_scale"].reshape(1)
    torch.save(apart, folder / "open_clip_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    change(folder, "model_cfg", custom_text=True, nonscalar_logit_scale=True)
    found = load(folder)
    assert torch.equal(found.encode_images(pixels), clip_resnet.encode_images(pixels))
    assert torch.equal(found.text_features(TEXTS), clip_resnet.text_features(TEXTS))
    assert found.logit_scale == clip_resnet.logit_scale


def test_a_pickle_that_is_more_than_weights_is_not_run(clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    (folder / WEIGHTS).unlink()
    torch.save(torch.nn.Linear(1, 1), folder / "open_clip_pytorch_model.bin")
    with pytest.raises(BackboneUnavailable, match=r"holds more than weights, .* is not run: save"):
        load(folder)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_weights_that_are_cut_off_are_refused(clip_resnet_folder, twin, ending):
    folder = twin(clip_resnet_folder)
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    file = folder / f"open_clip_pytorch_model.{ending}"
    for content in (b"", weights[: len(weights) // 2]):
        file.write_bytes(content)
        with pytest.raises(BackboneUnavailable, match=f"{file.name} .*save"):
            load(folder)


def test_a_checkpoint_around_weights_is_refused(clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    (folder / WEIGHTS).unlink()
    checkpoint = {"epoch": 1, "state_dict": {"logit_scale": torch.zeros(())}}
    torch.save(checkpoint, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(BackboneUnavailable, match="holds epoch, state_dict, which are no weights"):
        load(folder)


def test_vocabulary_and_merges_do_for_a_tokenizer(clip_resnet, clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    ours, theirs = load(folder).tokenize(TEXTS), clip_resnet.tokenize(TEXTS)
    assert torch.equal(ours.ids, theirs.ids)
    assert torch.equal(ours.end, theirs.end)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, {}),
        ({"mean": None, "std": None, "interpolation": None}, {}),
        ({"mean": 0.5, "std": [0.1, 0.2, 0.3]}, {"mean": (0.5,) * 3, "std": (0.1, 0.2, 0.3)}),
        ({"mean": [0, 0, 0], "size": 999}, {"mean": (0.0, 0.0, 0.0)}),
        ({"resize_mode": "squash", "interpolation": "bilinear"}, {"squeeze": True}),
        ({"interpolation": "random", "fill_color": 7, "mode": "RGB"}, {}),
    ],
)
def test_preprocessing_is_what_the_file_says(clip_resnet_folder, twin, values, wanted):
    folder = twin(clip_resnet_folder)
    change(folder, "preprocess_cfg", **values)
    filter = "bilinear" if values.get("interpolation") == "bilinear" else "bicubic"
    usual = {"size": 64, "short_side": 64, "mean": CLIP_MEAN, "std": CLIP_STD, "filter": filter}
    assert load(folder).preprocess == Preprocessing(**{**usual, **wanted})


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("model_cfg", {"multimodal_cfg": {"width": 512}}, "'multimodal_cfg': .* it is a CoCa"),
        ("model_cfg", {"audio_cfg": {"width": 512}}, "'audio_cfg': .* it must be off in models"),
        ("model_cfg", {"init_logit_bias": -10}, "'init_logit_bias': -10 .* as SigLIPs are"),
        ("model_cfg", {"embed_dim": None}, "has no 'embed_dim' in its 'model_cfg'"),
        ("model_cfg", {"text_cfg": {}}, "has no 'text_cfg' in its 'model_cfg'"),
        (
            "model_cfg.vision_cfg",
            {"pool_type": "avg", "timm_model_name": "vit_base_patch16_siglip_224"},
            "'timm_model_name': \"vit_base.*own ViT and ResNet .* google/siglip-base-patch16-224",
        ),
        ("model_cfg.vision_cfg", {"pool_type": "avg"}, "'pool_type': \"avg\" .* it must be 'tok'"),
        ("model_cfg.vision_cfg", {"attentional_pool": True}, "'attentional_pool': true"),
        ("model_cfg.vision_cfg", {"no_ln_pre": True}, "'no_ln_pre': true"),
        ("model_cfg.vision_cfg", {"ls_init_value": 1e-5}, "'ls_init_value': 1e-05"),
        ("model_cfg.vision_cfg", {"qk_norm": True}, "'qk_norm': true"),
        ("model_cfg.vision_cfg", {"block_type": "custom"}, "'block_type': \"custom\""),
        ("model_cfg.vision_cfg", {"norm_kwargs": {"eps": 1e-6}}, "'norm_kwargs': {\"eps\""),
        ("model_cfg.vision_cfg", {"act_kwargs": {"approximate": "tanh"}}, "'act_kwargs': "),
        ("model_cfg.vision_cfg", {"a_new_key": 1}, "'a_new_key': 1 .* use a CLIP with OpenAI's"),
        ("model_cfg.vision_cfg", {"image_size": [32, 64]}, r"'image_size': \[32, 64\] .* squares"),
        ("model_cfg.vision_cfg", {"patch_size": [8, 4]}, r"'patch_size': \[8, 4\] .* squares"),
        (
            "model_cfg.text_cfg",
            {"hf_model_name": "xlm-roberta-base"},
            "'hf_model_name': .* its text tower is a model of transformers",
        ),
        ("model_cfg.text_cfg", {"text_arch": "modern"}, "'text_arch': .* must be 'clip'"),
        ("model_cfg.text_cfg", {"pool_type": "last"}, "'pool_type': .* it must be 'argmax'"),
        ("model_cfg.text_cfg", {"proj_type": "none"}, "'proj_type': .* it must be 'linear'"),
        ("model_cfg.text_cfg", {"proj_bias": True}, "'proj_bias': true"),
        ("model_cfg.text_cfg", {"no_causal_mask": True}, "'no_causal_mask': true"),
        ("model_cfg.text_cfg", {"embed_cls": True}, "'embed_cls': true"),
        ("model_cfg.text_cfg", {"tokenizer_kwargs": {"clean": "lower"}}, "'tokenizer_kwargs': "),
        (
            "preprocess_cfg",
            {"resize_mode": "longest"},
            "'resize_mode': \"longest\" in .* known is 'shortest' or 'squash'",
        ),
        ("preprocess_cfg", {"interpolation": "nearest"}, "known is 'bicubic' or 'bilinear' or"),
        ("preprocess_cfg", {"mode": "L"}, "'mode': \"L\" in .* known is 'RGB'"),
    ],
)
def test_what_would_be_another_model_is_refused(open_clip_folder, twin, section, values, message):
    folder = twin(open_clip_folder)
    change(folder, section, **values)
    with pytest.raises(BackboneUnavailable, match=message) as caught:
        reference(str(folder)).describe()
    assert "\n" not in str(caught.value)


def test_keys_of_which_no_feature_depends_are_read_over(vit, open_clip_folder, twin, pixels):
    folder = twin(open_clip_folder)
    change(folder, "model_cfg", init_logit_scale=2.6, output_dict=True, a_new_key=False)
    change(
        folder,
        "model_cfg.vision_cfg",
        image_size=[32, 32],
        patch_size=[8, 8],
        pool_type="tok",
        patch_dropout=0.5,
        output_tokens=True,
        pos_embed_type="sin_cos_2d",
        final_ln_after_pool=True,
        timm_model_name=None,
        act_kwargs={},
    )
    change(folder, "model_cfg.text_cfg", pool_type="argmax", pad_id=3, hf_tokenizer_name="timm/x")
    found = load(folder)
    small = pixels[..., :32, :32]
    assert torch.equal(found.encode_images(small), vit.encode_images(small))
    assert torch.equal(found.text_features(TEXTS), vit.text_features(TEXTS))


@pytest.mark.parametrize("name", ["open_clip_folder", "clip_resnet_folder"])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda w: w.pop("ln_final.bias"), r"final_layer_norm.bias there should be \(32,\), .* is"),
        (lambda w: w.pop("logit_scale"), r"of logit_scale there should be \(\), and there is none"),
        (lambda w: w.update(more=torch.zeros(2)), r"of more there should be none, .* is \(2,\)"),
        (
            lambda w: w.update({"visual.conv1.weight": torch.zeros(4, 1, 3, 3)}),
            r"there is \(4, 1, 3, 3\). Take both from the same place",
        ),
    ],
)
def test_weights_of_another_model_are_refused(request, twin, name, edit, message):
    folder = twin(request.getfixturevalue(name))
    rewrite(folder, edit)
    with pytest.raises(BackboneUnavailable, match=message):
        load(folder)


def test_a_tokenizer_that_ends_elsewhere_is_refused(clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    rewrite(
        folder,
        lambda w: w.update(
            {"token_embedding.weight": F.pad(w["token_embedding.weight"], (0, 0, 0, 1))}
        ),
    )
    words = len(load_file(folder / WEIGHTS)["token_embedding.weight"])
    change(folder, "model_cfg.text_cfg", vocab_size=words)
    with pytest.raises(BackboneUnavailable, match=f"ends texts with token {words - 2}, but .* at "):
        load(folder)


def test_a_tokenizer_that_is_missing_or_another_is_refused(clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({"tokenizer_class": "BertTokenizerFast"}))
    with pytest.raises(BackboneUnavailable, match="'tokenizer_class': 'BertTokenizerFast' in"):
        reference(str(folder)).describe()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BackboneUnavailable, match=r"holds no tokenizer .* of openai/clip-vit"):
        reference(str(folder)).describe()


def test_a_folder_without_weights_is_refused(clip_resnet_folder, twin):
    folder = twin(clip_resnet_folder)
    (folder / WEIGHTS).rename(folder / "model.safetensors")  # timm's name, of the image tower alone
    with pytest.raises(BackboneUnavailable, match=r"holds no weights .open_clip_model.safetensors"):
        reference(str(folder)).describe()


def test_openais_own_files_are_refused_and_say_where_the_others_are(tmp_path):
    (tmp_path / "RN50.pt").write_bytes(b"weights")
    for place in (tmp_path, tmp_path / "RN50.pt"):
        with pytest.raises(BackboneUnavailable, match=r"that one as timm/resnet50_clip\.openai"):
            reference(str(place)).describe()


def test_a_folder_in_both_formats_is_read_by_transformers(clip_folder, clip, twin):
    folder = twin(clip_folder)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"multimodal_cfg": {"width": 1}}}))
    found = reference(str(folder)).describe()
    assert found.family == "clip"
    assert found.fingerprint == clip.card.fingerprint


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, "tokenizer.json", "tokenizer_config.json"])
def test_the_fingerprint_moves_with_every_file_that_moves_a_feature(
    clip_resnet, clip_resnet_folder, twin, file
):
    folder = twin(clip_resnet_folder)
    (folder / "model.safetensors").write_bytes(b"of timm, and not read")
    (folder / "config.json").write_text('{"architecture": "resnet50_clip"}')
    describe = reference(str(folder)).describe
    assert describe().fingerprint == clip_resnet.card.fingerprint
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1] + b" " + content[-1:])
    assert describe().fingerprint != clip_resnet.card.fingerprint


def test_of_a_hub_repository_only_what_is_read_is_downloaded(
    clip_resnet_folder, clip_folder, tmp_path, monkeypatch
):
    there = {"timm/tiny": tmp_path / "there", "openai/tiny": clip_folder}
    shutil.copytree(clip_resnet_folder, there["timm/tiny"])
    for name in ("model.safetensors", "open_clip_pytorch_model.bin", "README.md"):
        (there["timm/tiny"] / name).write_bytes(b"not read")

    def snapshot_download(location, *, allow_patterns):
        here = tmp_path / location
        here.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            for file in there[location].glob(pattern):
                shutil.copy(file, here)
        return str(here)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    found = {file.name for file in fetch("timm/tiny").iterdir()}
    assert found == {WEIGHTS, CONFIG, *tokenizer}
    assert reference("timm/tiny").describe().source == "timm/tiny"
    (there["timm/tiny"] / WEIGHTS).unlink()
    shutil.rmtree(tmp_path / "timm" / "tiny")
    assert (fetch("timm/tiny") / open_clip.WEIGHTS[-1]).is_file()
    assert {file.name for file in fetch("openai/tiny").iterdir()} >= {"model.safetensors"}
