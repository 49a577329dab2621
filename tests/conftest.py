"""Tiny real backbones and drawn episodes; nothing here needs a network or a GPU.

Shapes are checked in modules that are imported after this file, which imports none of operators/
but in fixtures.
"""

import gc
import json
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

# Both are read once, when the libraries that know them are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other slow small sums

# A check of a call takes some 20 microseconds, so modules that say no shapes go without: pyright
# has read their types.
OPERATORS = Path(__file__).resolve().parents[1] / "operators"
SHAPED = [
    ".".join(path.relative_to(OPERATORS.parent).with_suffix("").parts)
    for path in OPERATORS.rglob("*.py")
    if "from operators.shapes import" in path.read_text(encoding="utf-8")
]
jaxtyping.install_import_hook(SHAPED, "beartype.beartype")

gc.disable()  # thousands of tests are collected, and none of them is garbage


def pytest_collection_finish() -> None:
    """What was imported and collected stays; nobody needs to look whether it is garbage."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item) -> None:
    """Shapes are checked where operators are looked at by themselves, and of methods on one tower.

    Beneath tasks and flows, and where the contract asks about another tower, the same calls go
    unchecked: checks are nearly half of the time of a fit.
    """
    by_itself = item.path.is_relative_to(Path(__file__).parent / "operators")
    again = any(f" on {tower}: " in item.nodeid for tower in ("siglip", "effnet", "tiny_masked"))
    jaxtyping.config.update("jaxtyping_disable", not by_itself or again)


def pytest_unconfigure() -> None:
    """At the end of a process libraries count what of theirs is left."""
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config) -> None:
    """What Hypothesis draws is the same at every run, and little of it.

    `--hypothesis-profile=long` draws much more, and something else each time.
    """
    if not config.pluginmanager.hasplugin("hypothesispytest"):
        return
    from hypothesis import HealthCheck, settings

    slow = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture)
    drawn = {"deadline": None, "database": None, "suppress_health_check": slow}
    settings.register_profile("short", max_examples=20, derandomize=True, **drawn)
    settings.register_profile("long", max_examples=1000, print_blob=True, **drawn)
    settings.load_profile("short")


def pytest_collection_modifyitems(items) -> None:
    """Files that start servers come first, since they wait more than they compute; then large ones.

    Whole files are handed out in this order: `--dist loadfile --no-loadscope-reorder`.
    """
    sizes = Counter(item.path for item in items)
    waiting = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in waiting, -sizes[item.path], item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files go to one process, but a contract that is checked on many things in parts.

    The id of such a test begins with what it is about, as `coop on clip: ..`: tests about the same
    method share what was fitted for them, and those about another may run elsewhere.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFileAndSubject(LoadFileScheduling):
        def _split_scope(self, nodeid):
            path, _, rest = nodeid.partition("::")
            subject, on, _ = rest.partition("[")[2].partition(" on ")
            return f"{path}[{subject}]" if on else path

    return ByFileAndSubject(config, log)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A random CLIP in transformers' format whose widths all differ and no weight is zero."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("backbones") / "tiny-clip"
    vocabulary, merges = _byte_pairs(["cat", "dog", "boat", "photo", "tree", "of", "a"])
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=40)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 40,
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 56,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=24,
    )
    model = CLIPModel(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "logit_scale":
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                weight.copy_(centre + 0.2 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def _byte_pairs(words: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary that spells any word in bytes and knows `words` as one token each."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = ["".join(parts[:2])]
    merges = list(dict.fromkeys(merges))
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(m) for m in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


@pytest.fixture(scope="session")
def open_clip_folder(tmp_path_factory, clip_folder) -> Path:
    """The same CLIP in open_clip's format, beside a `config.json` as timm writes it."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny-open-clip"
    vision = {
        "layers": 3,
        "width": 48,
        "head_width": 16,
        "mlp_ratio": 56 / 48 + 1e-6,
        "image_size": 32,
        "patch_size": 8,
    }
    _save_open_clip(folder, clip_folder, vision, _open_clip_weights(clip_folder))
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_tiny_clip_32"}))
    return folder


@pytest.fixture(scope="session")
def clip_resnet_folder(tmp_path_factory, clip_folder) -> Path:
    """A random CLIP with a ResNet in open_clip's format; its texts are those of the tiny CLIP."""
    import torch

    folder = tmp_path_factory.mktemp("backbones") / "tiny-clip-resnet"
    vision = {"layers": [1, 2, 1, 1], "width": 8, "head_width": 32, "image_size": 64}
    shapes = {"attnpool.positional_embedding": (5, 256)}
    convolutions = {"conv1": (4, 3, 3), "conv2": (4, 4, 3), "conv3": (8, 4, 3)}
    blocks = {"layer1.0": (8, 8), "layer2.0": (32, 16), "layer2.1": (64, 16)}
    blocks |= {"layer3.0": (64, 32), "layer4.0": (128, 64)}
    for block, (entering, width) in blocks.items():
        convolutions[f"{block}.conv1"] = (width, entering, 1)
        convolutions[f"{block}.conv2"] = (width, width, 3)
        convolutions[f"{block}.conv3"] = (4 * width, width, 1)
        if block != "layer2.1":
            convolutions[f"{block}.downsample.0"] = (4 * width, entering, 1)
    for name, (out, entering, side) in convolutions.items():
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        shapes[f"{name}.weight"] = (out, entering, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (out,)
    for part, out in (("q", 256), ("k", 256), ("v", 256), ("c", 24)):
        shapes[f"attnpool.{part}_proj.weight"] = (out, 256)
        shapes[f"attnpool.{part}_proj.bias"] = (out,)
    texts = _open_clip_weights(clip_folder)
    weights = {name: w for name, w in texts.items() if not name.startswith("visual.")}
    generator = torch.Generator().manual_seed(1)
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            drawn *= (2 / (drawn.numel() / shape[0])) ** 0.5
        elif name.endswith(".weight") or name.endswith("running_var"):
            drawn = 1 + 0.2 * drawn.tanh()
        else:
            drawn *= 0.2
        weights[f"visual.{name}"] = drawn
    weights["visual.bn1.num_batches_tracked"] = torch.tensor(7)
    _save_open_clip(folder, clip_folder, vision, weights)
    return folder


def _save_open_clip(folder: Path, clip_folder: Path, vision: dict, weights: dict) -> None:
    """A folder as open_clip publishes it, with the tokenizer and text tower of the tiny CLIP."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(weights, folder / "open_clip_model.safetensors")
    for file in clip_folder.glob("tokenizer*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    text = {"context_length": 40, "width": 32, "heads": 4, "layers": 3, "mlp_ratio": 1.25}
    text["vocab_size"] = len(weights["token_embedding.weight"])
    model = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    images = {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    settings = {"model_cfg": model, "preprocess_cfg": images}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))


def _open_clip_weights(clip_folder: Path) -> dict:
    """The weights of the tiny CLIP under open_clip's names."""
    import torch
    from safetensors.torch import load_file

    theirs = load_file(clip_folder / "model.safetensors")
    vision, text = "vision_model", "text_model"
    ours = {
        "logit_scale": theirs["logit_scale"],
        "token_embedding.weight": theirs[f"{text}.embeddings.token_embedding.weight"],
        "positional_embedding": theirs[f"{text}.embeddings.position_embedding.weight"],
        "text_projection": theirs["text_projection.weight"].T.contiguous(),
        "visual.class_embedding": theirs[f"{vision}.embeddings.class_embedding"],
        "visual.conv1.weight": theirs[f"{vision}.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": theirs[f"{vision}.embeddings.position_embedding.weight"],
        "visual.proj": theirs["visual_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        ours[f"ln_final.{kind}"] = theirs[f"{text}.final_layer_norm.{kind}"]
        ours[f"visual.ln_pre.{kind}"] = theirs[f"{vision}.pre_layrnorm.{kind}"]
        ours[f"visual.ln_post.{kind}"] = theirs[f"{vision}.post_layernorm.{kind}"]
        for model, prefix in ((text, ""), (vision, "visual.")):
            for layer in range(3):
                old = f"{model}.encoder.layers.{layer}"
                new = f"{prefix}transformer.resblocks.{layer}"
                heads = [theirs[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                ours[f"{new}.attn.in_proj_{kind}"] = torch.cat(heads)
                ours[f"{new}.attn.out_proj.{kind}"] = theirs[f"{old}.self_attn.out_proj.{kind}"]
                ours[f"{new}.ln_1.{kind}"] = theirs[f"{old}.layer_norm1.{kind}"]
                ours[f"{new}.ln_2.{kind}"] = theirs[f"{old}.layer_norm2.{kind}"]
                ours[f"{new}.mlp.c_fc.{kind}"] = theirs[f"{old}.mlp.fc1.{kind}"]
                ours[f"{new}.mlp.c_proj.{kind}"] = theirs[f"{old}.mlp.fc2.{kind}"]
    return ours


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory) -> Path:
    """A random SigLIP in transformers' format; its files are named as on the hub."""
    import torch
    from transformers import SiglipConfig, SiglipModel

    folder = tmp_path_factory.mktemp("backbones") / "tiny-siglip"
    words = ["cat", "dog", "boat", "photo", "tree", "of", "a", "x", "small", "orange"]
    tokenizer = _pieces(words, length=40)
    tokenizer.save_pretrained(folder)
    named = json.loads((folder / "tokenizer_config.json").read_text())
    named["tokenizer_class"] = "SiglipTokenizer"  # which needs a package that reads other files
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    config = SiglipConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 40,
            "projection_size": 48,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 56,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "image_size": 32,
            "patch_size": 8,
        },
    )
    model = SiglipModel(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape, generator=generator))
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-12.9)
    model.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "SiglipImageProcessor",
        "do_convert_rgb": None,
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def _pieces(words: list[str], length: int):
    """A tokenizer that spells any word in letters, knows `words`, and ends texts with `</s>`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), *((f"▁{word}", -1.0) for word in words)]
    pieces += [(chr(code), -4.0) for code in range(33, 127)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    )


@pytest.fixture(scope="session")
def siglip(siglip_folder):
    """The tiny SigLIP as a backbone: a bidirectional text tower without a start token."""
    from operators.backbones import reference

    found = reference(str(siglip_folder))
    return found.load(found.describe())


@pytest.fixture(scope="session")
def clip(clip_folder):
    """The tiny CLIP as a backbone: a causal text tower and a ViT."""
    from operators.backbones import reference

    found = reference(str(clip_folder))
    return found.load(found.describe())


@pytest.fixture(scope="session")
def clip_resnet(clip_resnet_folder):
    """The tiny CLIP with a ResNet as a backbone: a causal text tower and a CNN."""
    from operators.backbones import reference

    found = reference(str(clip_resnet_folder))
    return found.load(found.describe())


@pytest.fixture(scope="session")
def effnet():
    """The embedded default, real weights: a bidirectional text tower and a CNN."""
    from operators.backbones import reference

    found = reference("effnet-minilm")
    return found.load(found.describe())


@pytest.fixture(scope="session", params=["clip", "effnet"])
def backbone(request):
    """One backbone of each kind of text tower."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def precise():
    """Makes a copy of a backbone with three layers of text tower, in another precision."""
    from operators.contract import in_precision

    return in_precision


@pytest.fixture(scope="session")
def classes():
    """Four classes whose names have very different lengths, as have their descriptions."""
    from operators.contract import CLASSES

    return CLASSES


@pytest.fixture(scope="session")
def drawn_images():
    """Makes a source of features that lie around a direction of their own for each label."""
    from operators.contract import drawn_features

    return drawn_features


@pytest.fixture(scope="session")
def drawn_pictures():
    """Makes a source of pictures for a backbone; those of a label resemble each other."""
    from operators.contract import drawn_pictures

    return drawn_pictures


@pytest.fixture(scope="module")
def few_shot(drawn_images):
    """Makes what `fit` is given, of the labels of its train and validation images."""
    import torch

    from operators.episodes.episode import FewShot, batch_of

    def make(width: int, train, val=(), *, seed: int = 0) -> FewShot:
        labels = np.array([*train, *val], dtype=np.int64)
        images = drawn_images(labels, width, seed=seed)
        rows = np.arange(len(labels))
        every = tuple(range(int(labels.max()) + 1))
        parts = [
            batch_of(images, part, labels, every, torch.device("cpu"))
            for part in (rows[: len(train)], rows[len(train) :])
        ]
        return FewShot(int(np.bincount(labels[: len(train)]).max()), *parts)

    return make


@pytest.fixture
def taught():
    """Gives what a method learns from beside labels: `teacher` for its constructor, and shots.

    The teacher is zero-shot classification with the student's backbone.
    """
    from dataclasses import replace

    import torch

    from operators.episodes.episode import Batch, Unlabelled
    from operators.methods import METHODS, Teacher

    class Taught:
        def by(self, method, backbone, classes):
            if not method.card.teacher:
                return {}
            teacher = METHODS["zero-shot"](backbone, classes, generator=torch.Generator())
            return {"teacher": Teacher(teacher.eval())}

        def on(self, method, shots, classes):
            if not method.card.unlabelled:
                return shots
            images = Batch(shots.train._source, shots.train.rows, None)
            return replace(shots, unlabelled=Unlabelled(images, classes))

    return Taught()


@pytest.fixture(scope="session")
def moved():
    """Moves all that a method learns away from where it started, and returns the method."""
    import torch

    def move(method):
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in method.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        return method

    return move


@pytest.fixture
def spec():
    """Makes the specification of a trial; keywords replace fields."""
    from operators.spec import TrialSpec

    def make(**fields) -> TrialSpec:
        values = {
            "method": "coop",
            "method_revision": 1,
            "hyperparameters": {"lr": 0.002},
            "backbone": "tiny-clip",
            "backbone_fingerprint": "0" * 16,
            "dataset": "pets",
            "dataset_fingerprint": "1" * 16,
            "protocol": "few_shot",
            "shots": 4,
            "seed": 1,
        }
        return TrialSpec(**{**values, **fields})

    return make


@pytest.fixture
def real_data():
    """The folder of the real data sets."""
    folder = Path(os.environ.get("SHOTBOARD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; SHOTBOARD_DATA names another folder")
    return folder


WORDS = ("good", "bad", "great", "movie", "film", "a", "it", "was", "review", "feeling", "not")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def drawn_weights(model, seed=0):
    """The model with weights none of which is zero; norms stay near one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if ("norm" in name.lower() or "ln_" in name) and "weight" in name else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def byte_pair_tokenizer():
    """A byte-level vocabulary in which the common words are one token each, behind a space too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    merges = []
    for word in WORDS:
        parts = list(word)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = ["".join(parts[:2])]
    merges = list(dict.fromkeys([*merges, *(("Ġ", word) for word in WORDS)]))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<end>", *letters, *dict.fromkeys("".join(pair) for pair in merges)]
    own = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>")


@pytest.fixture(scope="session")
def word_piece_tokenizer():
    """A vocabulary of BERT's kind: whole words, and pieces of the others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"
    tokens = [*BERT_TOKENS, *letters, *(f"##{letter}" for letter in letters), "##ness"]
    tokens += [word for word in WORDS if word not in tokens]
    own = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    own.normalizer = normalizers.BertNormalizer(lowercase=True)
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokens.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    named = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in named}
    return PreTrainedTokenizerFast(tokenizer_object=own, **special)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory):
    """Writes a model of transformers with drawn weights beside its tokenizer; gives the folder."""

    def write(kind, config, tokenizer):
        folder = tmp_path_factory.mktemp("language") / f"tiny-{config.model_type}"
        drawn_weights(kind(config)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def causal_folder(language_folder, byte_pair_tokenizer):
    """A Llama with grouped heads, three layers and 64 places."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(byte_pair_tokenizer),
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return language_folder(LlamaForCausalLM, config, byte_pair_tokenizer)


@pytest.fixture(scope="session")
def masked_folder(language_folder, word_piece_tokenizer):
    """A BERT with three layers and 64 places."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(word_piece_tokenizer),
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    return language_folder(BertForMaskedLM, config, word_piece_tokenizer)


def _loaded(kind, folder):
    import torch

    card = kind.describe(folder.name, str(folder))
    return kind.load(card, str(folder), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def tiny_causal(causal_folder):
    """A random causal language model; "good" and "bad" are one token each, most words several."""
    from operators.backbones.language import CausalLM

    return _loaded(CausalLM, causal_folder)


@pytest.fixture(scope="session")
def tiny_masked(masked_folder):
    """A random masked language model; "goodness" is two tokens."""
    from operators.backbones.language import MaskedLM

    return _loaded(MaskedLM, masked_folder)


@pytest.fixture(scope="session")
def drawn_board(tmp_path_factory):
    """A store whose trials nobody computed, with its board: what pages and plots are tried on.

    Two tracks, three protocols, a gap (`prograd` lacks the second data set), two settings of one
    method, a failed trial, names that are markup, and two runs in which one method moved.
    """
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    from operators.board.variants import Chosen
    from operators.metrics import METRICS, scores_of
    from operators.metrics.predictions import PREDICTIONS
    from operators.spec import TrialSpec
    from operators.trials.results import Cost, Provenance, TrialResult
    from tasks.pages import board
    from tasks.pages.known import backbone_rows, method_rows
    from tasks.storage.store import Store

    store = Store(tmp_path_factory.mktemp("drawn") / "store")
    odd = "<b>odd</b> & 'co'"
    grid = [
        ("few_shot", dataset, method, shots, seed, values)
        for dataset in ("digits", odd)
        for method, values in (("coop", {}), ("maple", {}), ("kgcoop", {}), ("prograd", {}))
        for shots in (1, 4)
        for seed in (1, 2, 3)
        if (method, dataset) != ("prograd", odd)
    ]
    grid += [("few_shot", "digits", "coop", 4, seed, {"lr": 0.5}) for seed in (1, 2, 3)]
    grid += [("few_shot", d, m, 0, 0, {}) for d in ("digits", odd) for m in ("zero-shot", "cupl")]
    grid += [("base_to_new", "digits", m, 16, s, {}) for m in ("coop", "maple") for s in (1, 2, 3)]
    grid += [("text_few_shot", "reviews", "soft-prompt", 4, s, {}) for s in (1, 2)]
    skill = {"maple": 0.8, "kgcoop": 0.75, "coop": 0.65, "prograd": 0.6, "zero-shot": 0.2}
    suites: dict[str, list[str]] = {}
    for protocol, dataset, method, shots, seed, values in grid:
        spec = TrialSpec(
            method=method,
            method_revision=1,
            hyperparameters=values,
            backbone="mini-clip",
            backbone_fingerprint="b0",
            dataset=dataset,
            dataset_fingerprint="d0",
            protocol=protocol,
            shots=shots,
            seed=seed,
        )
        splits = ("base", "new") if protocol == "base_to_new" else ("all",)
        generator = np.random.default_rng([len(method), shots, seed, len(dataset)])
        tables = []
        for split in splits:
            labels = np.arange(40, dtype=np.int32) % 4
            right = generator.random(40) < skill.get(method, 0.4) + shots / 80
            columns = {
                "split": [split] * 40,
                "row_id": np.arange(40),
                "label": labels,
                "predicted": np.where(right, labels, (labels + 1) % 4).astype(np.int32),
                "confidence": generator.random(40).astype(np.float32),
            }
            tables.append(pa.table(columns, schema=PREDICTIONS))
        result = TrialResult(
            spec=spec,
            metrics=tuple(scores_of(pa.concat_tables(tables), METRICS)),
            cost=Cost(
                tune_seconds=1.5 * shots,
                evaluate_seconds=0.5,
                peak_memory_bytes=10**9,
                trainable_parameters=8192,
                steps=100,
            ),
            provenance=Provenance(
                started_at=f"2026-01-01T00:00:{seed:02}+00:00",
                device="cpu",
                torch_version="2",
                git_commit="0123456789abcdef",
            ),
            episode_fingerprint=hashlib.sha256(
                f"{protocol}{dataset}{shots}{seed}".encode()
            ).hexdigest()[:16],
            losses=(1.0, 0.5, 0.25),
        )
        folder = store.trial(spec.trial_id)
        folder.mkdir(parents=True)
        pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet")
        (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
        (folder / "trial.json").write_text(json.dumps(result.to_json()))
        suites.setdefault(protocol, []).append(spec.trial_id)
    store.runs.mkdir(parents=True)
    for day, left_out in ((1, 3), (2, 0)):
        for suite, members in suites.items():
            manifest = {
                "run_id": f"{suite}-{day}",
                "suite": suite,
                "started_at": f"2026-01-0{day}T00:00:00+00:00",
                "finished_at": f"2026-01-0{day}T01:00:00+00:00",
                "flow_run_id": None,
                "git_commit": "0123456789abcdef",
                "partial": False,
                "trial_ids": members[left_out:],
            }
            (store.runs / f"{suite}-{day}.json").write_text(json.dumps(manifest))
    board.rebuild(
        store,
        methods=method_rows(),
        backbones=backbone_rows(),
        chosen=lambda spec: Chosen(
            marks=" ".join(f"{k}={v}" for k, v in spec.hyperparameters.items())
        ),
    )
    return store


class Web(ThreadingHTTPServer):
    """Files over HTTP, with the faults that are asked for.

    `faults` has for each path what its next requests meet: a status, a status with headers, or a
    number of bytes after which the connection ends.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = {}, {}, []
        self.ranges, self.tag, self.tell = True, '"1"', 0

    def handle_error(self, request, client_address):
        """A client that goes before all is read is none of a test's business."""

    def __call__(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        web, path = self.server, self.path.lstrip("/")
        web.asked.append((path, self.headers.get("Range")))
        fault = web.faults[path].pop(0) if web.faults.get(path) else None
        if isinstance(fault, tuple):
            self.answer(fault[0], b"no", **fault[1])
            return
        content = web.files.get(path)
        if content is None:
            self.answer(404, b"nothing here")
            return
        start, status, told = 0, 200, {}
        asked = self.headers.get("Range")
        if asked and web.ranges and self.headers.get("If-Range", web.tag) == web.tag:
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(content):
                self.answer(416, b"", Content_Range=f"bytes */{len(content)}")
                return
            told["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if web.tag:
            told["ETag"] = web.tag
        body = content[start:]
        self.answer(status, body, cut=fault, **told)

    def answer(self, status, body, cut=None, **headers):
        self.send_response(status)
        headers.setdefault("Content_Type", "application/octet-stream")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) + self.server.tell))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or self.server.tell:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """A server of files that are put into `files`, at `web(path)`."""
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def published():
    """Makes a published dataset, `pets`, of some downloads; its reader is never asked."""
    from data_catalog.published import PublishedDataset, Reading, TemplateSet

    def make(*downloads, **fields) -> PublishedDataset:
        usual = dict.fromkeys(
            ("description", "license", "citation", "homepage", "trouble", "split_rule", "layout"),
            "told elsewhere",
        )
        usual |= {"by_hand": "Ask the authors of pets", "counts": {}, "title": "Pets"}
        usual |= {"template_sets": {"coop": TemplateSet("a photo of a {}.")}, "name": "pets"}
        usual |= {"reader": lambda _: Reading([], "", "none")}
        return PublishedDataset(**{**usual, **fields}, downloads=downloads)

    return make
