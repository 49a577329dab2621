"""Block H, attention over patches: a learned head that adds what an image's patches show.

The patches are outputs of a frozen tower, so an image passes it once for as long as they are kept.
"""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.kept_readings import KeptReadings
from operators.blocks.linear_maps import draw_uniform
from operators.blocks.parts import IMAGE_ROWS
from operators.episodes.episode import Batch
from operators.shapes import Float

PATCHES_KEPT = 1 << 30  # bytes; 16 shots of 160 classes of ViT-B/16 with 512 numbers a patch


class Patched(NamedTuple):
    """What a frozen image tower gives of some images; any length.

    Attributes:
        features: (b, d).
        patches: (b, p, d), in the same space.
    """

    features: Float[Tensor, "b d"]
    patches: Float[Tensor, "b p d"]


class PatchReader:
    """Reads features and patches of images; while `keeping`, each image and view once.

    Args:
        backbone: With the capability `patch-features`.
        budget: Bytes that are kept; what comes after is read every time.
    """

    def __init__(self, backbone: DualEncoder, budget: int = PATCHES_KEPT) -> None:
        self.backbone = backbone
        self._readings = KeptReadings(self._encoded, budget=budget, at_once=IMAGE_ROWS)

    def keeping(self) -> AbstractContextManager[None]:
        """Keeps what is read of one dataset until the block ends."""
        return self._readings.keeping()

    def read(self, batch: Batch) -> Patched:
        """Features and patches of a batch."""
        both = self._readings.read(batch)
        return Patched(both[:, 0], both[:, 1:])

    def _encoded(self, batch: Batch) -> Float[Tensor, "b n d"]:
        """The feature of each image in front of its n - 1 patches."""
        reading = self.backbone.read_images(self.backbone.embed_images(batch.pixels))
        return torch.cat([reading.features[:, None], reading.patches], dim=1)


class PatchQuery(nn.Module):
    """A(f, X) = sum over patches x of softmax(Q f · K x / sqrt(h)) x, without intercepts.

    Dimensions: b images, q queries of each (any number of dimensions), p patches, d width of a
    feature, h = d / reduction width of the heads inside.

    Args:
        width: d.
        reduction: h is at least 1, whatever it is.
        generator: Draws Q and K as torch draws linear maps.
        device: Where they go.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1.
    """

    def __init__(
        self, width: int, reduction: int, *, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__()
        self.inner = max(1, width // reduction)

        def drawn() -> nn.Parameter:
            numbers = draw_uniform(torch.empty(self.inner, width), width, generator)
            return nn.Parameter(numbers.to(device))

        self.query, self.key = drawn(), drawn()

    def attention(
        self, features: Float[Tensor, "#b *q d"], patches: Float[Tensor, "b p d"]
    ) -> Float[Tensor, "b *q p"]:
        """How much of each patch is looked at; sums to 1.

        Args:
            features: What asks; those of one image where all images are asked the same.
            patches: What is looked at.
        """
        query, keys = F.linear(features, self.query), F.linear(patches, self.key)
        scores = torch.einsum("b...h,bph->b...p", query, keys) * self.inner**-0.5
        return scores.softmax(dim=-1)

    def forward(
        self, features: Float[Tensor, "#b *q d"], patches: Float[Tensor, "b p d"]
    ) -> Float[Tensor, "b *q d"]:
        """The mean patch that each query looks at. See `PatchQuery.attention`."""
        return torch.einsum("b...p,bpd->b...d", self.attention(features, patches), patches)


class PatchAttention(PatchQuery):
    """H(f, X) = O V A(f, X), see `PatchQuery`, without intercepts.

    O starts at zero, and so does what the head adds.

    Args:
        width: d.
        reduction: h is at least 1, whatever it is.
        generator: Draws Q, K and V as torch draws linear maps.
        device: Where they go.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1.
    """

    def __init__(
        self, width: int, reduction: int, *, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__(width, reduction, generator=generator, device=device)
        value = draw_uniform(torch.empty(self.inner, width), width, generator)
        self.value = nn.Parameter(value.to(device))
        self.out = nn.Parameter(torch.zeros(width, self.inner, device=device))

    def forward(
        self, features: Float[Tensor, "#b *q d"], patches: Float[Tensor, "b p d"]
    ) -> Float[Tensor, "b *q d"]:
        """What the head adds to each feature. See `PatchQuery.attention`."""
        return F.linear(F.linear(super().forward(features, patches), self.value), self.out)
