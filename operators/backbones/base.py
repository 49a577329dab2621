"""What every backbone is: frozen weights with a card."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from operators.images import TRANSFORM_VERSION
from operators.shapes import Int
from operators.spec import ID_LENGTH

# What a method may ask for beyond frozen features and text prompts.
CAPABILITIES = {
    "visual-prompts": "learned tokens in the ViT: at its input, or from any later layer on",
    "image-attention": "another attention in chosen layers of the ViT",
    "layer-states": "tokens after chosen layers of the ViT",
    "layer-hooks": "low-rank maps and adapters in chosen layers of both towers",
    "class-token": "a class token among them",
    "patch-features": "features of single patches, in the space of the texts",
}
VIT = frozenset(CAPABILITIES) - {"class-token"}  # what every ViT has

# Of frozen weights, in memory. `tf32` is how a GPU multiplies float32, see engine/arithmetic.py.
PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class BackboneUnavailable(ValueError):
    """The weights of a backbone cannot be had here; the message says why and what to do."""


class Tokens(NamedTuple):
    """Token ids of k texts, padded to the longest.

    Attributes:
        ids: (k, n).
        end: (k,) position of each text's last token, padding apart.
    """

    ids: Int[Tensor, "k n"]
    end: Int[Tensor, "k"]  # noqa: F821


@dataclass(frozen=True, kw_only=True)
class BackboneCard:
    """What is known of a backbone without loading its weights.

    Attributes:
        name: As it stands on the board.
        family: Key of `FAMILIES`, or what stands for a class of a user's own.
        source: Where the weights come from, as a person would look for them.
        license: Of the weights.
        fingerprint: Digest of weights, tokenizer and preprocessing; None until they are here.
        feature_width: d, size of an image or class feature.
        capabilities: Keys of `CAPABILITIES`.
        note: What a user should know before reading its numbers.
        cleans: Texts are cleaned as CLIP's tokenizer does; see `cleaning.py`.
    """

    name: str
    family: str
    source: str
    license: str
    fingerprint: str | None = None
    feature_width: int | None = None
    capabilities: frozenset[str] = field(default_factory=frozenset)
    note: str = ""
    cleans: bool = False


class Backbone(ABC):
    """Frozen weights that methods adapt without moving them.

    `DualEncoder` and `LanguageModel` are the two kinds; what a method needs of one is what its
    track's contract says.

    Not a module on purpose: a method holds a backbone without owning its parameters, so
    that they are in no optimizer, no checkpoint and no count.

    Attributes:
        title: What it is called in a sentence.
        card: What is known of it.
        device: Where its weights are.
        capabilities: Of all backbones of its family; a card may have others.
    """

    title: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    card: BackboneCard
    device: torch.device

    @property
    def merges_calls(self) -> bool:
        """Whether trials that are tuned together share its passes; see engine/stacking.py."""
        return False

    @property
    def counts_operations(self) -> bool:
        """Whether its passes are counted; see engine/accounting.py."""
        return False

    @property
    def image_tokens(self) -> int:
        """Tokens of one image in its image tower, without prompts; 0 where it has none."""
        return 0

    @property
    def image_flops(self) -> int:
        """Operations of one image without prompts through its whole image tower, forward."""
        return 0

    @abstractmethod
    def modules(self) -> Sequence[nn.Module]:
        """The frozen modules, for tests that nothing moves them."""


def unit(x: Tensor) -> Tensor:
    """`x` with the last dimension scaled to length 1."""
    return x / x.norm(dim=-1, keepdim=True)


def widened(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision, as it leaves a tower."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@torch.no_grad()
def freeze(
    modules: Iterable[nn.Module],
    device: torch.device,
    dtype: torch.dtype,
    *,
    buffers: torch.dtype | None = None,
) -> None:
    """Turns gradients and training behaviour off for good, and gives weights memory of their own.

    Weights that are mapped from a file begin wherever they stand in it, and sums over memory that
    begins elsewhere are rounded otherwise. Copies begin where all memory of torch does, so equal
    weights give equal bits however their file is laid out, and who writes that file changes none.

    Args:
        modules: Of a backbone.
        device: Where the weights go.
        dtype: Of floating-point weights.
        buffers: Of floating-point buffers, where that is another: angles of rotary positions are
            multiplied by positions, and rounding them to bf16 turns far tokens by radians.
    """
    for module in modules:
        module.eval().requires_grad_(False)
        for held, wanted in ((module.parameters(), dtype), (module.buffers(), buffers or dtype)):
            for weight in held:
                kind = wanted if weight.is_floating_point() else weight.dtype
                weight.data = torch.empty(weight.shape, dtype=kind, device=device).copy_(weight)


def digest_files(files: Sequence[Path], reading: str = f"transform {TRANSFORM_VERSION}") -> str:
    """Digest of files by name and content, and of how they are read.

    Args:
        files: Weights and settings.
        reading: Version of what no file says of their reading; by default of the preprocessing.
    """
    total = hashlib.sha256(reading.encode())
    for path in files:
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:ID_LENGTH]
