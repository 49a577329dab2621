"""What backbones share whose images are read by a CNN, of which nothing is in reach."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones.dual.base import DualEncoder
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.prompts import DeepPrompts, PromptPlace
from operators.backbones.towers.transformer import Attention
from operators.engine.accounting import Flops, Pass, count
from operators.engine.transfer import onto
from operators.shapes import Float


class CnnBackbone(DualEncoder):
    """A backbone whose images have no tokens.

    Attributes:
        dtype: Of the frozen weights and of the arithmetic with them.
        cnn: Reads images; its weights lie channels-last in memory.
    """

    dtype: torch.dtype
    cnn: nn.Module

    @abstractmethod
    def pixel_features(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of images that are where the CNN is, in its precision and order of memory."""

    @torch.no_grad()
    def encode_images(
        self,
        pixels: Float[Tensor, "b 3 s s"],
        *,
        prompts: Float[Tensor, "*b m v"] | None = None,
        place: PromptPlace = "last",
        deep_prompts: DeepPrompts | None = None,
        attention: Mapping[int, Attention] | None = None,
        hooks: Hooks | None = None,
    ) -> Float[Tensor, "b d"]:
        """See `DualEncoder.encode_images`.

        Raises:
            ValueError: Something is to cut into the image tower.
        """
        if not (prompts is deep_prompts is attention is hooks is None):
            raise ValueError(self.no_tokens)
        features = self.pixel_features(
            onto(pixels, self.device).to(self.dtype, memory_format=torch.channels_last)
        )

        def made() -> Pass:
            images = [Flops(len(pixels) * self.image_flops)]
            return Pass(images, images)

        count(features, made)
        return features

    @property
    def image_flops(self) -> int:
        """See `DualEncoder.image_flops`."""
        return self._image_flops

    @cached_property
    def _image_flops(self) -> int:
        """Counted on a tensor without content."""
        nothing, count = FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False)
        with nothing, count, torch.no_grad():
            side = self.preprocess.size
            empty = torch.empty(1, 3, side, side, device=self.device, dtype=self.dtype)
            self.pixel_features(empty)
        return count.get_total_flops()
