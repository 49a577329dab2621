"""How much memory of a GPU a trial takes, before it is run."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from operators.backbones import BackboneReference
from operators.backbones.towers.packed_text import TEXT_BUDGET
from operators.estimating.towers import FULL_LENGTH, known_or_read
from operators.estimating.work import Passes, Size, Work

# Numbers that autograd keeps of a token in a layer, in widths of the tower: 10 to 22 were counted,
# of five methods, two towers and 4 to 100 classes (`saved_bytes` of benchmarks/measuring.py).
KEPT = 20
FRESH = 8  # likewise, that are in memory at once where no gradient is needed
EVALUATED = 64  # images that are read at once then
SLACK = 1.5  # gradients on their way, workspace of libraries, memory in pieces too small to use
CONTEXT = 800 << 20  # bytes that CUDA and its libraries take of each process
BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}


class TowerSizes(NamedTuple):
    """What a backbone has in memory, in numbers.

    Attributes:
        text: Of a token of a text: layers times width.
        image: Of an image: tokens times layers times width.
        pixels: Of an image.
        parameters: Of both towers.
    """

    text: int
    image: int
    pixels: int
    parameters: int


# Source: the settings of each model; parameters from open_clip, `docs/model_profile.csv`. What
# ResNets and EfficientNet have in place of tokens is their activations, as if kept like those.
_KNOWN = {
    "clip-vit-b32": TowerSizes(6_144, 460_800, 150_528, 151_300_000),
    "clip-vit-b16": TowerSizes(6_144, 1_815_552, 150_528, 149_600_000),
    "clip-vit-l14": TowerSizes(9_216, 6_316_032, 150_528, 427_600_000),
    "clip-rn50": TowerSizes(6_144, 700_000, 150_528, 102_000_000),
    "clip-rn101": TowerSizes(6_144, 1_000_000, 150_528, 119_700_000),
    "siglip-vit-b16": TowerSizes(9_216, 1_806_336, 150_528, 203_200_000),
    "siglip2-vit-b16": TowerSizes(9_216, 1_806_336, 150_528, 375_200_000),
    "effnet-minilm": TowerSizes(2_304, 420_000, 150_528, 27_400_000),
}


def tower_sizes(reference: BackboneReference) -> TowerSizes | None:
    """What a backbone has in memory; None where nobody knows.

    Args:
        reference: A known name, or a folder in the format of transformers, whose settings say it.
    """
    return known_or_read(reference, _KNOWN, _sizes)


def _sizes(text: Mapping[str, Any], image: Mapping[str, Any]) -> TowerSizes:
    """See `tower_sizes`."""
    side = image["image_size"]
    tokens = (side // image["patch_size"]) ** 2 + 1
    parameters = text["vocab_size"] * text["hidden_size"]
    for tower in (text, image):
        width = tower["hidden_size"]
        layer = width * (4 * width + 2 * tower["intermediate_size"])
        parameters += tower["num_hidden_layers"] * layer
    return TowerSizes(
        text["num_hidden_layers"] * text["hidden_size"],
        tokens * image["num_hidden_layers"] * image["hidden_size"],
        3 * side**2,
        parameters,
    )


def kept_numbers(step: Passes, classes: int, images: int, sizes: TowerSizes) -> tuple[float, float]:
    """Numbers that autograd keeps of the texts and of the images of a step.

    A pass through a tower with its way back is three of forward operations, so a third of the
    passes of a step is what it keeps; passes without a way back are counted with them.

    Args:
        step: Passes of a step.
        classes: That are learned.
        images: Of a batch.
        sizes: Of the towers.
    """
    texts = max(0.0, step.texts + step.pairs * images) * classes * FULL_LENGTH * sizes.text
    seen = max(0.0, step.images) * images * sizes.image
    return KEPT * texts / 3, KEPT * seen / 3


def memory_of(
    work: Work,
    size: Size,
    hyperparameters: Mapping[str, Any],
    sizes: TowerSizes,
    precision: str,
    seeds: int = 1,
) -> int:
    """Bytes of a GPU that a trial takes, with the process that computes it.

    Args:
        work: What its method takes.
        size: Of the trial.
        hyperparameters: Of its method.
        sizes: Of its backbone.
        precision: Key of `PRECISIONS`.
        seeds: That are tuned together.
    """
    images = min(size.images, hyperparameters.get("batch_size", size.images))
    texts, seen = kept_numbers(work.step, size.classes, images, sizes)
    each = BYTES[precision]
    tuned = min(seeds * texts * each, TEXT_BUDGET)
    tuned += seeds * images * (max(0.0, seen) / max(images, 1) * each + sizes.pixels * 4)
    answered = EVALUATED * (FRESH * sizes.image / 12 * each + sizes.pixels * 4)
    return math.ceil(CONTEXT + sizes.parameters * each + SLACK * max(tuned, answered))
