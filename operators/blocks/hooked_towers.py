"""Block W, hooked towers: images and hand-written class prompts through towers with changed layers.

What changes a layer is a hook of the method (`operators/backbones/towers/hooks.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from operators.backbones import DualEncoder, TextPrompts
from operators.backbones.towers.hooks import Hooks
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.episodes.episode import Batch
from operators.shapes import Float


@torch.no_grad()
def laid_sentences(backbone: DualEncoder, sentences: Sequence[str]) -> TextPrompts:
    """Whole sentences without places for learned tokens, as towers take them in each step.

    Args:
        backbone: Gives tokens and embeddings.
        sentences: One a class.

    Raises:
        ValueError: One is longer than the text tower reads.
    """
    tokens = backbone.tokenize(sentences)
    return TextPrompts(tokens.ids, backbone.embed(tokens.ids), tokens.end, tokens.ids[:, :0])


def hooked_texts(
    backbone: DualEncoder, prompts: TextPrompts, hooks: Hooks | None
) -> Float[Tensor, "k d"]:
    """Features of whole sentences.

    Args:
        backbone: With the capability `layer-hooks`.
        prompts: As `laid_sentences` gives them.
        hooks: By layer of the text tower.
    """
    return backbone.encode_prompts(prompts, prompts.embeddings[:1, :0], hooks=hooks)


def hooked_images(backbone: DualEncoder, batch: Batch, hooks: Hooks | None) -> Float[Tensor, "b d"]:
    """Features of images.

    Args:
        backbone: With the capability `layer-hooks`.
        batch: The images; their pixels are read.
        hooks: By layer of the image tower.
    """

    def encode(part: Batch) -> Tensor:
        return backbone.encode_images(part.pixels, hooks=hooks)

    return in_parts(encode, batch, IMAGE_ROWS)


def last_layers(depth: int, layers: int) -> range:
    """The last `depth` layers of a tower, or all where it has fewer, from 0.

    Args:
        depth: How many are wanted; published numbers are those of towers of 12 layers.
        layers: Of the tower.
    """
    return range(max(0, layers - depth), layers)
