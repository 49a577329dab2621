"""Everything that decides what a pretraining gives, apart from the pairs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_type_hints

from operators.bounds import Bounds, Decay, Seed, read
from operators.pretraining.tokenizer import SMALLEST_VOCABULARY

Side = Annotated[int, Bounds(1, 4096)]
Width = Annotated[int, Bounds(1, 16_384)]
Depth = Annotated[int, Bounds(1, 256)]
Steps = Annotated[int, Bounds(0, 1_000_000_000)]
Beta = Annotated[float, Bounds(0, 1, below=True)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The shape of a small CLIP and how it is trained.

    Attributes:
        image_size: Side of an image in pixels; a multiple of `patch_size`.
        patch_size: Side of a patch in pixels.
        vision_width: Size of a token in the image tower; a multiple of `vision_heads`.
        vision_layers: Layers of the image tower.
        vision_heads: Attention heads of the image tower.
        text_width: Size of a token in the text tower; a multiple of `text_heads`.
        text_layers: Layers of the text tower.
        text_heads: Attention heads of the text tower.
        mlp_ratio: Hidden size of a feed-forward part, in widths.
        projection: Size of a feature.
        context_length: Most tokens that a caption may have; a longer one loses its end.
        vocabulary: Most tokens that the tokenizer may know.
        activation: Key of `ACTIVATIONS`.
        steps: Optimiser steps.
        batch_size: Pairs a step.
        learning_rate: At the end of the warm-up.
        warmup_steps: Steps of linear warm-up; half a cosine to 0 follows.
        weight_decay: Of matrices; gains, biases, embeddings and the scale have none.
        beta1: Of AdamW.
        beta2: Of AdamW.
        gradient_clip: Largest norm of all gradients together.
        keep_patches: Share of the patches of an image that a step sees.
        dense_steps: Last steps, which see all patches.
        seed: Of the first weights and of the patches that are kept.
        precision: `bf16` computes the towers in bfloat16, `fp32` does not, and `auto` does on
            a GPU. Weights and loss are float32 always.
    """

    image_size: Side = 48
    patch_size: Side = 8
    vision_width: Width = 128
    vision_layers: Depth = 4
    vision_heads: Depth = 4
    text_width: Width = 128
    text_layers: Depth = 4
    text_heads: Depth = 4
    mlp_ratio: Annotated[int, Bounds(1, 64)] = 4
    projection: Width = 128
    context_length: Annotated[int, Bounds(3, 4096)] = 77
    vocabulary: Annotated[int, Bounds(SMALLEST_VOCABULARY, 1_000_000)] = 2048
    activation: Literal["quick_gelu", "gelu"] = "gelu"
    steps: Annotated[int, Bounds(1, 1_000_000_000)] = 4000
    batch_size: Annotated[int, Bounds(2, 1_000_000)] = 256
    learning_rate: Annotated[float, Bounds(0, 10, above=True)] = 1e-3
    warmup_steps: Steps = 200
    weight_decay: Decay = 0.1
    beta1: Beta = 0.9
    beta2: Beta = 0.98
    gradient_clip: Annotated[float, Bounds(0, 1e6, above=True)] = 1.0
    keep_patches: Annotated[float, Bounds(0, 1, above=True)] = 1.0
    dense_steps: Steps = 0
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            read(name, getattr(self, name), kind, getattr(Recipe, name))
        self._check_fits()

    def _check_fits(self) -> None:
        for part, whole in (
            ("patch_size", "image_size"),
            ("vision_heads", "vision_width"),
            ("text_heads", "text_width"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole}={getattr(self, whole)} is no multiple of "
                    f"{part}={getattr(self, part)}: change one of them."
                )
        for name in ("warmup_steps", "dense_steps"):
            if getattr(self, name) > self.steps:
                raise ValueError(
                    f"{name}={getattr(self, name)}: must be at most steps={self.steps}."
                )

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Recipe":
        """A recipe of `given` values and defaults.

        Raises:
            LookupError: A field is unknown; the nearest are offered.
            ValueError: A value has the wrong type or cannot work.
        """
        known = get_type_hints(cls, include_extras=True)
        for name in given:
            if name not in known:
                near = get_close_matches(str(name), known, cutoff=0.5) or sorted(known)
                raise LookupError(
                    f"no field of a pretraining recipe is called {name!r}. "
                    f"Did you mean {' or '.join(near)}?"
                )
        return cls(
            **{
                name: read(name, value, known[name], getattr(Recipe, name))
                for name, value in given.items()
            }
        )

    def as_mapping(self) -> dict[str, int | float | str]:
        """All fields as plain values; `from_mapping` takes them back."""
        return asdict(self)

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    def kept_patches(self, step: int) -> int:
        """Patches of an image that a step sees, at least one."""
        if step >= self.steps - self.dense_steps:
            return self.patches
        return max(1, round(self.keep_patches * self.patches))


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step: up in a line, so that step 0 moves, then down in half a cosine.

    Args:
        recipe: The schedule.
        step: From 0. The rate would be 0 at `recipe.steps`, the first step that is not done.
    """
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate / 2 * (1 + math.cos(math.pi * progress))
