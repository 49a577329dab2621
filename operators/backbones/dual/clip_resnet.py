"""CLIP with a ResNet: a local folder or hub id in open_clip's format.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
ICML 2021, https://arxiv.org/abs/2103.00020. Texts are read as those of every CLIP, images by
`ResNet`; features equal open_clip's up to rounding, which attends from all places of the last map
where one is read (docs/fidelity.md).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.backbones.base import BackboneCard, widened
from operators.backbones.dual.clip import ClipTexts
from operators.backbones.dual.cnn import CnnBackbone
from operators.backbones.formats import open_clip
from operators.backbones.formats.clip_files import (
    fetch,
    fingerprint,
    place_of,
    read_config,
    read_license,
    read_preprocessing,
)
from operators.backbones.formats.open_clip_weights import load_clip_resnet
from operators.backbones.towers.flops import product
from operators.shapes import Float


class ClipResNet(ClipTexts, CnnBackbone):
    """A CLIP with a ResNet image tower. See `Clip`."""

    def __init__(
        self, card: BackboneCard, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> None:
        config = read_config(folder)
        model, resnet = load_clip_resnet(folder, config)
        self.cnn = resnet
        self.dtype = dtype
        tokenizer = open_clip.load_tokenizer(folder, config)
        super().__init__(card, model, tokenizer, device, dtype, pool="end")
        # Convolutions over channels-last memory take a tenth of the time less on a CPU.
        resnet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.preprocess = read_preprocessing(folder, config["vision_config"]["image_size"])
        self.feature_width = config["projection_dim"]
        self.text_output_flops = product(1, self.token_width, self.feature_width)
        self.text_projection = model.text_projection

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card; see `Clip.describe`."""
        folder = fetch(location)
        config = read_config(folder)
        read_preprocessing(folder, config["vision_config"]["image_size"])
        return BackboneCard(
            name=name,
            family="clip-resnet",
            source=place_of(location, folder),
            license=read_license(folder),
            fingerprint=fingerprint(folder),
            feature_width=config["projection_dim"],
            cleans=True,
        )

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "ClipResNet":
        """Loads the weights that `card` describes. See `Clip.load`."""
        return cls(card, fetch(location), device, dtype)

    def pixel_features(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """See `CnnBackbone.pixel_features`."""
        return widened(self.cnn(pixels))

    def modules(self) -> Sequence[nn.Module]:
        """See `DualEncoder.modules`."""
        return (self.model, self.cnn)
