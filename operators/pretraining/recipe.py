"""Everything that decides what a pretraining gives, apart from the pairs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from operators.backbones.transformer import ACTIVATIONS
from operators.pretraining.tokenizer import SMALLEST_VOCABULARY

PRECISIONS = ("auto", "fp32", "bf16")
ZERO_IS_FINE = ("warmup_steps", "weight_decay", "dense_steps", "seed")
TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text"}


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

    image_size: int = 48
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    text_width: int = 128
    text_layers: int = 4
    text_heads: int = 4
    mlp_ratio: int = 4
    projection: int = 128
    context_length: int = 77
    vocabulary: int = 2048
    activation: str = "gelu"
    steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.98
    gradient_clip: float = 1.0
    keep_patches: float = 1.0
    dense_steps: int = 0
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_fits()

    def _check_ranges(self) -> None:
        least = dict.fromkeys(
            (f.name for f in fields(self) if f.type is int and f.name not in ZERO_IS_FINE), 1
        )
        least |= {"batch_size": 2, "context_length": 3, "vocabulary": SMALLEST_VOCABULARY}
        least |= dict.fromkeys(ZERO_IS_FINE, 0)
        for name, bound in least.items():
            if not bound <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {bound}.")
        for name in ("learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0 and finite.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be in 0..1, 1 excluded.")
        if not 0 < self.keep_patches <= 1:
            raise ValueError(
                f"keep_patches={self.keep_patches}: is a share, above 0 and at most 1."
            )
        for name, choices in (("activation", tuple(ACTIVATIONS)), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is not one of {', '.join(choices)}."
                )

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
        known = {field.name: field.type for field in fields(cls)}
        for name in given:
            if name not in known:
                near = get_close_matches(str(name), known, cutoff=0.5) or sorted(known)
                raise LookupError(
                    f"no field of a pretraining recipe is called {name!r}. "
                    f"Did you mean {' or '.join(near)}?"
                )
        return cls(**{name: _read(name, value, known[name]) for name, value in given.items()})

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


def _read(name: str, value: Any, kind: Any) -> Any:
    """`value` as the field has it; a whole number does where a number is asked for."""
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise ValueError(
            f"{name}={value!r} is a {type(value).__name__}, but must be {TYPE_NAMES[kind]}."
        )
    return kind(value)
