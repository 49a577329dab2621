"""CLIP with a ResNet: a local folder or hub id in open_clip's format.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
ICML 2021, https://arxiv.org/abs/2103.00020. Texts are read as those of every CLIP, images by
`ResNet`; features equal open_clip's up to rounding, which attends from all places of the last map
where one is read (docs/fidelity.md). Where patches are asked for, they are what all places read, as
in PLOT's code.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.backbones.base import BackboneCard, widened
from operators.backbones.dual.base import ImageReading, KeptTokens
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
from operators.backbones.towers.prompts import DeepPrompts, PromptPlace
from operators.backbones.towers.resnet import ResNet
from operators.backbones.towers.transformer import Attention
from operators.engine.accounting import Flops, Pass, count
from operators.engine.transfer import onto
from operators.shapes import Float


class ClipResNet(ClipTexts, CnnBackbone):
    """A CLIP with a ResNet, whose patches are the places of its last map. See `Clip`."""

    capabilities = frozenset({"patch-features"})
    cnn: ResNet

    def __init__(
        self, card: BackboneCard, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> None:
        config = read_config(folder)
        model, resnet = load_clip_resnet(folder, config)
        self.cnn = resnet  # pyright: ignore[reportIncompatibleVariableOverride]
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
            capabilities=ClipResNet.capabilities,
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

    @torch.no_grad()
    def embed_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n v"]:
        """See `DualEncoder.embed_images`; the places of the last map, for `read_images` alone."""
        pixels = onto(pixels, self.device).to(self.dtype, memory_format=torch.channels_last)
        return self.cnn.last_map(pixels)

    @torch.no_grad()
    def read_images(
        self,
        tokens: Float[Tensor, "b n v"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        layers: Collection[int] = (),
        keep: KeptTokens = "all",
    ) -> ImageReading:
        """See `DualEncoder.read_images`; nothing cuts in, and no layer has tokens.

        Raises:
            ValueError: Something is to cut in, or states of layers are asked for.
        """
        if not (prompts is deep_prompts is attention is None) or layers:
            raise ValueError(self.no_tokens)
        read = widened(self.cnn.attnpool(tokens, every=True))
        b, p, c = tokens.shape
        # `image_flops` has the map and what its mean asks; these are what p places ask, and read.
        asked = product(p, c, c) + 2 * product(p, p + 1, c) + product(p, c, self.feature_width)
        work = [Flops(b * (self.image_flops + asked))]
        count(read, lambda: Pass(work, work))
        return ImageReading(read[:, 0], read[:, 1:], {})

    @property
    def no_tokens(self) -> str:
        """See `DualEncoder.no_tokens`."""
        return (
            f"the image tower of {self.card.name} has no tokens, so it takes no visual prompts and "
            "no attention, and shows no layers: use a CLIP or SigLIP with a ViT."
        )

    def modules(self) -> Sequence[nn.Module]:
        """See `DualEncoder.modules`."""
        return (self.model, self.cnn)
