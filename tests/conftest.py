"""Tiny real backbones and drawn episodes; nothing here needs a network or a GPU.

Operators are imported inside the fixtures: this file is read before the shape checks are
installed, and only modules that are imported after that are checked.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

# Both are read once, when the libraries that know them are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other slow small sums

NAMES = ("cat", "a very small orange boat", "dog", "oak tree")


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
def clip(clip_folder):
    """The tiny CLIP as a backbone: a causal text tower and a ViT."""
    from operators.backbones import reference

    found = reference(str(clip_folder))
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


@pytest.fixture
def classes():
    """Four classes whose names have very different lengths."""
    from operators.episode import Classes

    return Classes(NAMES, ("a photo of a {}.",))


class Drawn:
    """Features and pixels in memory, one row each; remembers which rows were read."""

    def __init__(self, features) -> None:
        self.values = features
        self.read: list[int] = []

    def features(self, rows: np.ndarray):
        self.read += rows.tolist()
        return self.values[rows]

    def pixels(self, rows: np.ndarray):
        raise AssertionError("pixels were asked for, where frozen features do")


@pytest.fixture
def drawn_images():
    """Makes a source of features that lie around a direction of their own for each label."""
    import torch

    def make(labels, width: int, *, seed: int = 0, noise: float = 0.5) -> Drawn:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        centres = torch.randn(int(labels.max()) + 1, width, generator=generator)
        spread = noise * torch.randn(len(labels), width, generator=generator)
        return Drawn(centres[labels] + spread)

    return make


@pytest.fixture
def few_shot(drawn_images):
    """Makes what `fit` is given, of the labels of its train and validation images."""
    import torch

    from operators.episode import FewShot, batch_of

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
