"""A tiny CLIP from scratch: it learns, stops and goes on exactly, and others read it."""

import io
import json
import math
import random

import pytest
import torch
from PIL import Image

from operators.backbones import reference
from operators.backbones.dual.clip import Clip
from operators.backbones.towers.transformer import Tower, TowerShape
from operators.pretraining import Recipe, Trainer, train_tokenizer
from operators.pretraining.export import clip_weights
from operators.pretraining.model import TrainableDualEncoder, unfold
from operators.pretraining.objective import contrast
from operators.pretraining.recipe import learning_rate
from operators.pretraining.trainer import adamw

CAPTIONS = [
    "a red square.",
    "two blue circles beside a tree",
    "cat",
    "a photo of a dog, sleeping",
    "the old harbour at night",
    "green apples",
    "a bridge",
    "an aeroplane over the sea!",
]
TINY = {
    "image_size": 16,
    "patch_size": 4,
    "vision_width": 48,
    "vision_layers": 3,
    "vision_heads": 3,
    "text_width": 32,
    "text_layers": 2,
    "text_heads": 4,
    "projection": 24,
    "context_length": 40,
    "vocabulary": 600,
    "steps": 60,
    "batch_size": 8,
    "warmup_steps": 5,
}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CAPTIONS, 600, 40, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def trainer(tokenizer_folder):
    """Makes a trainer of the tiny recipe; keywords replace fields."""

    def make(**fields) -> Trainer:
        return Trainer(Recipe.from_mapping({**TINY, **fields}), tokenizer_folder)

    return make


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=generator)


def losses(trainer: Trainer, images, steps: int) -> list[float]:
    return [trainer.step(images, CAPTIONS).loss for _ in range(steps)]


# The tokenizer


def test_a_text_begins_and_ends_with_clips_tokens(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("a Cat")["input_ids"])
    assert (tokens[0], tokens[-1]) == ("<|startoftext|>", "<|endoftext|>")
    assert "".join(tokens[1:-1]) == "a</w>cat</w>"
    assert tokenizer.model_max_length == 40


@pytest.mark.parametrize(
    "name", ["Ærøskøbing", "数据", "кошка", "naïve café", "🐱 emoji", "½ x", "عربي", "garçon"]
)
def test_any_class_name_can_be_spelled(tokenizer, name):
    ids = tokenizer(name)["input_ids"]
    assert tokenizer.eos_token_id not in ids[:-1]  # which stands for what is unknown, too
    assert tokenizer.decode(ids, skip_special_tokens=True) == name.lower()


def test_every_byte_is_a_token_within_a_word_and_at_its_end(tokenizer):
    known = tokenizer.get_vocab()
    assert len([token for token in known if len(token.removesuffix("</w>")) == 1]) == 512


def test_words_that_are_often_seen_are_one_token_and_the_vocabulary_is_not_exceeded(tmp_path):
    from transformers import AutoTokenizer

    train_tokenizer(["a harbour", "the harbour"] * 9 + ["xq zj"], 524, 40, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) <= 524
    assert len(tokenizer("harbour")["input_ids"]) == 3


def test_the_tokenizer_does_not_depend_on_the_order_of_the_texts(tokenizer_folder, tmp_path):
    shuffled = CAPTIONS.copy()
    random.Random(1).shuffle(shuffled)
    train_tokenizer(iter(shuffled), 600, 40, tmp_path)
    for file in tokenizer_folder.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_vocabulary_without_room_for_the_bytes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vocabulary=513: must be at least 514"):
        train_tokenizer(CAPTIONS, 513, 40, tmp_path)


# The recipe


def test_a_recipe_comes_back_from_its_mapping():
    recipe = Recipe.from_mapping(TINY)
    assert Recipe.from_mapping(recipe.as_mapping()) == recipe
    assert json.loads(json.dumps(recipe.as_mapping())) == recipe.as_mapping()


def test_an_unknown_field_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match=r"'batchsize'\. Did you mean batch_size"):
        Recipe.from_mapping({"batchsize": 8})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", "100", "steps='100' is a str, but must be a whole number"),
        ("steps", True, "steps=True is a bool, but must be a whole number"),
        ("batch_size", 2.5, "batch_size=2.5 is a float, but must be a whole number"),
        ("learning_rate", "1e-3", "learning_rate='1e-3' is a str, but must be a number"),
        ("precision", 16, "precision=16 is not one of auto, fp32, bf16"),
        ("learning_rate", 1e5, "learning_rate=100000.0: give above 0, up to 10"),
        ("batch_size", 1e9, "batch_size=1000000000: give 2 to 1000000"),
        ("steps", 0, "steps=0: give 1 to 1000000000"),
        ("batch_size", 1, "batch_size=1: give 2 to 1000000"),
        ("vocabulary", 500, "vocabulary=500: give 514 to 1000000"),
        ("context_length", 2, "context_length=2: give 3 to 4096"),
        ("seed", -1, "seed=-1: give 0 to 4294967295"),
        ("weight_decay", -0.1, "weight_decay=-0.1: give 0 to 10"),
        ("weight_decay", math.nan, "weight_decay=nan is no finite number"),
        ("learning_rate", 0.0, "learning_rate=0.0: give above 0, up to 10"),
        ("gradient_clip", math.inf, "gradient_clip=inf is no finite number"),
        ("beta2", 1.0, "beta2=1.0: give 0 or more, below 1"),
        ("keep_patches", 0.0, "keep_patches=0.0: give above 0, up to 1"),
        ("keep_patches", 1.5, "keep_patches=1.5: give above 0, up to 1"),
        ("precision", "fp8", "precision='fp8' is not one of auto, fp32, bf16"),
        ("activation", "relu", "activation='relu' is not one of quick_gelu, gelu"),
        ("patch_size", 7, "image_size=48 is no multiple of patch_size=7"),
        ("text_heads", 3, "text_width=128 is no multiple of text_heads=3"),
        ("warmup_steps", 5000, "warmup_steps=5000: must be at most steps=4000"),
        ("dense_steps", 5000, "dense_steps=5000: must be at most steps=4000"),
    ],
)
def test_a_value_that_cannot_work_is_refused(field, value, message):
    with pytest.raises(ValueError) as caught:
        Recipe.from_mapping({field: value})
    assert message in str(caught.value)


def test_a_whole_number_does_where_a_number_is_asked_for():
    assert Recipe.from_mapping({"gradient_clip": 1}) == Recipe(gradient_clip=1.0)
    assert isinstance(Recipe.from_mapping({"gradient_clip": 1}).gradient_clip, float)


def test_the_schedule_is_pinned():
    recipe = Recipe(steps=8, warmup_steps=4, learning_rate=1.0)
    wanted = [0.25, 0.5, 0.75, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert [learning_rate(recipe, step) for step in range(8)] == pytest.approx(wanted, abs=1e-6)
    assert learning_rate(recipe, 8) == pytest.approx(0)
    assert learning_rate(Recipe(steps=8, warmup_steps=0), 0) == 1e-3
    assert learning_rate(Recipe(steps=8, warmup_steps=8), 7) == 1e-3


# The model


def test_the_first_weights_have_the_deviations_of_clip():
    recipe = Recipe()
    model = TrainableDualEncoder(recipe, 2048, torch.Generator().manual_seed(0))
    layer = model.text_tower.layers[0]
    for weight, std in (
        (layer.qkv.weight, 128**-0.5),
        (layer.out.weight, 128**-0.5 * 8**-0.5),
        (layer.fc1.weight, 256**-0.5),
        (layer.fc2.weight, 128**-0.5 * 8**-0.5),
        (model.image_projection.weight, 128**-0.5),
        (model.token_embedding.weight, 0.02),
        (model.text_positions, 0.01),
    ):
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
    assert float(model.log_scale.detach().exp()) == pytest.approx(1 / 0.07)


def test_patches_lie_as_a_convolution_reads_them():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 12, 12, generator=generator)
    kernels = torch.randn(5, 3, 4, 4, generator=generator)
    wanted = torch.nn.functional.conv2d(pixels, kernels, stride=4).flatten(2).transpose(1, 2)
    found = unfold(pixels, 4) @ kernels.flatten(1).T
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_a_tower_at_one_position_gives_what_it_gives_at_all(causal):
    shape = TowerShape(24, 3, 2, 40, "gelu", 1e-5)
    torch.manual_seed(0)
    tower = Tower(shape, causal=causal).double()
    x = torch.randn(5, 7, 24, dtype=torch.float64, requires_grad=True)
    at = torch.tensor([0, 6, 3, 3, 1])
    parameters = [x, *tower.parameters()]

    wanted = tower(x)[torch.arange(5), at]
    found = tower.forward_at(x, at)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found.sin().sum(), parameters),
        torch.autograd.grad(wanted.sin().sum(), parameters),
    )


@torch.no_grad()
def test_all_patches_in_any_order_give_the_feature_of_the_image(trainer, images):
    model = trainer().model
    order = torch.rand(8, 16, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    wanted = model.encode_images(images)
    torch.testing.assert_close(model.encode_images(images, order), wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_patch_that_is_dropped_is_not_read(trainer, images):
    model = trainer().model
    changed = images.clone()
    changed[:, :, :4, 4:8] = 0  # patch 1
    kept = torch.tensor([[0, 2, 9]]).expand(8, -1)
    assert torch.equal(model.encode_images(images, kept), model.encode_images(changed, kept))
    assert not torch.equal(model.encode_images(images), model.encode_images(changed))


def test_patches_are_dropped_until_the_last_steps(trainer):
    this = trainer(keep_patches=0.5, steps=10, warmup_steps=0, dense_steps=3)
    counts = []
    for this.at in range(10):
        kept = this._kept_patches(8)
        counts.append(16 if kept is None else kept.shape[1])
        assert kept is None or all(len(set(row)) == 8 for row in kept.tolist())
    assert counts == [8] * 7 + [16] * 3


def test_the_patches_that_are_kept_depend_on_seed_step_and_image(trainer):
    one, two, other = (trainer(keep_patches=0.5, seed=seed) for seed in (0, 0, 1))
    first = one._kept_patches(8)
    assert torch.equal(first, two._kept_patches(8))
    assert not torch.equal(first, other._kept_patches(8))
    assert not torch.equal(first[0], first[1])
    one.at = 1
    assert not torch.equal(first, one._kept_patches(8))


# The objective


def features(rows: int, seed: int = 0):
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))


def test_pairs_that_all_differ_give_the_loss_of_clip():
    images, texts = features(4), features(4, seed=1)
    logits = 5 * torch.cosine_similarity(images[:, None], texts[None], dim=-1)
    rows = torch.arange(4)
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2
    found = contrast(images, texts, rows, torch.tensor(5.0))
    torch.testing.assert_close(found.loss, wanted)
    assert float(found.accuracy) == (logits.argmax(dim=1) == rows).float().mean()


def test_pairs_with_the_same_caption_are_not_each_others_negatives():
    texts, scale = torch.eye(6)[:2], torch.tensor(100.0)
    caption = torch.tensor([0, 0, 1])
    images = texts[caption].requires_grad_()
    found = contrast(images, texts, caption, scale)
    assert found.loss.item() == pytest.approx(2 / 3 * math.log(2), abs=1e-5)  # its least value
    found.loss.backward()
    assert images.grad.abs().max() < 1e-5
    assert float(found.accuracy) == 1


def test_captions_are_the_same_where_their_tokens_are(trainer, images):
    """In a batch of one caption and one image nothing is a negative."""
    result = trainer().step(images[:1].expand(8, -1, -1, -1), ["cat", "Cat", " cat  ", "CAT"] * 2)
    assert result.loss == pytest.approx(math.log(8), abs=1e-5)
    assert result.accuracy == 1


# The trainer


def test_a_few_pairs_are_learned(trainer, images):
    this = trainer(learning_rate=2e-3)
    results = [this.step(images, CAPTIONS) for _ in range(60)]
    assert results[0].loss == pytest.approx(math.log(8), abs=1)
    assert results[-1].loss < 0.2
    assert results[-1].accuracy == 1
    assert results[0].scale == pytest.approx(1 / 0.07)
    assert [r.learning_rate for r in results[:5]] == pytest.approx(
        [0.0004, 0.0008, 0.0012, 0.0016, 0.002]
    )
    assert this.at == 60


@pytest.mark.parametrize("fields", [{}, {"keep_patches": 0.5}, {"precision": "bf16"}])
def test_a_restored_trainer_goes_on_bit_for_bit(trainer, images, tmp_path, fields):
    whole = trainer(**fields)
    wanted = losses(whole, images, 8)
    stopped = trainer(**fields)
    assert losses(stopped, images, 4) == wanted[:4]
    stopped.save(tmp_path / "deep" / "state.pt")

    restored = trainer(**fields)
    restored.restore(tmp_path / "deep" / "state.pt")
    assert restored.at == 4
    assert losses(restored, images, 4) == wanted[4:]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(restored.model.state_dict()[name], weight), name
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state.pt"]


def test_a_state_of_another_recipe_is_refused(trainer, tmp_path):
    trainer().save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"another recipe \(beta2, seed differ\)"):
        trainer(seed=3, beta2=0.9).restore(tmp_path / "state.pt")


def test_another_seed_draws_other_weights(trainer, images):
    assert losses(trainer(), images, 1) == losses(trainer(), images, 1)
    assert losses(trainer(), images, 1) != losses(trainer(seed=1), images, 1)


@torch.no_grad()
def test_a_feature_does_not_depend_on_the_captions_beside_it(trainer):
    this = trainer()
    beside = this._encode_texts(this._tokenize(CAPTIONS))  # of many lengths, so they change places
    alone = torch.cat([this._encode_texts(this._tokenize([caption])) for caption in CAPTIONS])
    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_groups_do_not_change_a_feature(trainer, images, monkeypatch):
    this = trainer(keep_patches=0.5)
    kept = this._kept_patches(8)
    wanted = this._encode_texts(this._tokenize(CAPTIONS)), this._encode_images(images, kept)
    monkeypatch.setattr("operators.pretraining.trainer.CPU_GROUP", 3)
    found = this._encode_texts(this._tokenize(CAPTIONS)), this._encode_images(images, kept)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_long_caption_keeps_its_end_token(trainer):
    (ids,) = trainer()._tokenize(["harbour zebra " * 30])
    assert len(ids) == 40
    assert ids[-1] == trainer().tokenizer.eos_token_id


def test_only_matrices_decay(trainer):
    this = trainer()
    decayed, free = (group["params"] for group in adamw(this.model, this.recipe).param_groups)
    names = {id(parameter): name for name, parameter in this.model.named_parameters()}
    assert all(parameter.ndim == 2 for parameter in decayed)
    left = {names[id(p)] for p in free if not names[id(p)].endswith("bias")}
    assert {name for name in left if "norm" not in name} == {
        "class_token",
        "image_positions",
        "text_positions",
        "token_embedding.weight",
        "log_scale",
    }


def test_the_scale_stays_at_its_largest(trainer, images):
    this = trainer()
    with torch.no_grad():
        this.model.log_scale.fill_(20.0)
    this.step(images, CAPTIONS)
    assert this.step(images, CAPTIONS).scale == pytest.approx(100)


def test_a_loss_that_is_no_number_ends_the_training(trainer, images):
    from operators.pretraining import PretrainingError

    this = trainer()
    with torch.no_grad():
        this.model.text_norm.weight.fill_(math.nan)
    with pytest.raises(PretrainingError, match="loss became nan in step 1 of 60"):
        this.step(images, CAPTIONS)


def test_a_batch_that_does_not_fit_is_refused(trainer, images):
    this = trainer()
    with pytest.raises(ValueError, match=r"reads torch.uint8 of shape \(b, 3, 16, 16\)"):
        this.step(images[:, :, :8, :8], CAPTIONS)
    with pytest.raises(ValueError, match="8 images and 7 texts: a step needs pairs"):
        this.step(images, CAPTIONS[:7])
    this.at = 60
    with pytest.raises(ValueError, match="all steps=60 are done"):
        this.step(images, CAPTIONS)


def test_a_tokenizer_that_is_too_large_is_refused(tokenizer_folder):
    with pytest.raises(ValueError, match="vocabulary=520: train it with that vocabulary"):
        Trainer(Recipe.from_mapping({**TINY, "vocabulary": 520}), tokenizer_folder)


# The export


@pytest.fixture(scope="module", params=["gelu", "quick_gelu"])
def exported(request, tokenizer_folder, tmp_path_factory):
    """A trainer whose weights are all of half precision and none is zero, and its folder."""
    recipe = Recipe.from_mapping({**TINY, "activation": request.param})
    trainer = Trainer(recipe, tokenizer_folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if name != "log_scale":
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                weight.copy_(centre + 0.2 * torch.randn(weight.shape, generator=generator))
            weight.copy_(weight.half())
    return trainer, trainer.export(tmp_path_factory.mktemp("exported") / "small-clip")


@torch.no_grad()
def test_transformers_reads_the_same_features(exported, images):
    from transformers import AutoTokenizer, CLIPModel

    trainer, folder = exported
    theirs = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = (images.float() / 255 - trainer.model.mean) / trainer.model.std
    found = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
    wanted = trainer.model.encode_images(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)

    tokens = AutoTokenizer.from_pretrained(folder)(CAPTIONS, padding=True, return_tensors="pt")
    found = theirs.text_projection(theirs.text_model(**tokens).pooler_output)
    wanted = trainer._encode_texts(trainer._tokenize(CAPTIONS))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.logit_scale, trainer.model.log_scale)


@torch.no_grad()
def test_our_backbone_reads_the_same_features(exported, images):
    trainer, folder = exported
    found = reference(str(folder))
    clip = found.load(found.describe())
    encoded = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
        encoded.append(file.getvalue())
    wanted = trainer.model.encode_images(images)
    pixels = clip.preprocess(encoded)
    torch.testing.assert_close(clip.encode_images(pixels), wanted, rtol=1e-4, atol=1e-4)

    tokens = clip.tokenize(CAPTIONS)
    wanted = trainer._encode_texts(trainer._tokenize(CAPTIONS))
    read = clip.encode_text(clip.embed(tokens.ids), tokens.end)
    torch.testing.assert_close(read, wanted, rtol=1e-4, atol=1e-4)
    assert clip.logit_scale == pytest.approx(
        float(trainer.model.log_scale.detach().exp()), rel=1e-5
    )
    assert (clip.context_length, clip.feature_width) == (40, 24)


def test_the_export_names_all_weights_and_keeps_half_of_each(exported):
    from safetensors.torch import load_file

    trainer, folder = exported
    stored = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    wanted = clip_weights(trainer.model, trainer.recipe)
    assert stored.keys() == wanted.keys()
    assert all(torch.equal(weight.float(), wanted[name]) for name, weight in stored.items())


def test_the_export_holds_what_the_fingerprint_lists_and_nothing_else(exported):
    trainer, folder = exported
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    before = Clip.describe("x", str(folder)).fingerprint
    trainer.export(folder)  # over what is there
    assert Clip.describe("x", str(folder)).fingerprint == before
    assert len(list(folder.iterdir())) == 5


def test_the_image_processor_of_transformers_reads_the_preprocessing(exported):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(exported[1])
    image = Image.new("RGB", (40, 30), (10, 20, 30))
    assert processor(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 16, 16)
