"""The two towers that are trained, and how their weights are drawn.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, sec. 2.4 and the released `CLIP.initialize_parameters`; patch dropping
is that of Li et al., "Scaling Language-Image Pre-training via Masking", CVPR 2023. The
towers are those that frozen backbones use, so training and serving share one arithmetic.
Departure: both towers are drawn by the rule that the released code has for the text tower.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from operators.backbones.formats.clip_files import CLIP_MEAN, CLIP_STD
from operators.backbones.towers.transformer import Layer, Tower, TowerShape
from operators.pretraining.recipe import Recipe
from operators.shapes import Float, Int, UInt8

NORM_EPS = 1e-5
FIRST_SCALE = math.log(1 / 0.07)  # logarithm of the factor from cosine similarity to logit
LARGEST_SCALE = math.log(100.0)


class TrainableDualEncoder(nn.Module):
    """A ViT and a causal text transformer that meet in one feature space.

    Dimensions: b images of s x s pixels, p patches an image, m of them kept, k texts of at
    most n tokens, d width of a feature.

    Args:
        recipe: Its shape.
        vocabulary: Tokens that the tokenizer knows.
        generator: Draws the first weights, on the CPU.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()
        vision, text = recipe.vision_width, recipe.text_width
        self.patch_size = recipe.patch_size
        self.patches = nn.Linear(3 * recipe.patch_size**2, vision, bias=False)
        self.class_token = nn.Parameter(torch.empty(vision))
        self.image_positions = nn.Parameter(torch.empty(1 + recipe.patches, vision))
        self.image_norm_in = nn.LayerNorm(vision, eps=NORM_EPS)
        self.image_tower = Tower(tower_shape(recipe, "vision"))
        self.image_norm_out = nn.LayerNorm(vision, eps=NORM_EPS)
        self.image_projection = nn.Linear(vision, recipe.projection, bias=False)

        self.token_embedding = nn.Embedding(vocabulary, text)
        self.text_positions = nn.Parameter(torch.empty(recipe.context_length, text))
        self.text_tower = Tower(tower_shape(recipe, "text"), causal=True)
        self.text_norm = nn.LayerNorm(text, eps=NORM_EPS)
        self.text_projection = nn.Linear(text, recipe.projection, bias=False)

        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD).view(3, 1, 1), persistent=False)
        draw_weights(self, generator)

    def encode_images(
        self,
        images: UInt8[Tensor, "b 3 s s"],
        kept: Int[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b d"]:
        """Features of images, not normalised.

        Args:
            images: Square, of the size that the tower reads.
            kept: Patches of each image that are read, row by row from the top left one; all
                of them where it is not given.
        """
        pixels = (images.float() / 255 - self.mean) / self.std
        patches, positions = unfold(pixels, self.patch_size), self.image_positions[1:]
        if kept is not None:
            patches = patches.gather(1, kept[:, :, None].expand(-1, -1, patches.shape[-1]))
            positions = positions[kept]
        first = (self.class_token + self.image_positions[0]).expand(len(images), 1, -1)
        x = torch.cat([first, self.patches(patches) + positions], dim=1)
        at = torch.zeros(len(images), dtype=torch.long, device=images.device)
        x = self.image_tower.forward_at(self.image_norm_in(x), at)
        return self.image_projection(self.image_norm_out(x))

    def encode_texts(
        self,
        ids: Int[Tensor, "k n"],
        end: Int[Tensor, "k"],  # noqa: F821
    ) -> Float[Tensor, "k d"]:
        """Features of texts, read at their end token; not normalised.

        Args:
            ids: Padded at the end; what is there changes nothing, for the tower is causal.
            end: Position of each text's end token.
        """
        x = self.token_embedding(ids) + self.text_positions[: ids.shape[1]]
        x = self.text_tower.forward_at(x, end)
        return self.text_projection(self.text_norm(x))


def tower_shape(recipe: Recipe, kind: str) -> TowerShape:
    """The shape of the `vision` or the `text` tower.

    Args:
        recipe: Widths, depths, heads and the activation.
        kind: `vision` or `text`.
    """
    width = getattr(recipe, f"{kind}_width")
    return TowerShape(
        width=width,
        layers=getattr(recipe, f"{kind}_layers"),
        heads=getattr(recipe, f"{kind}_heads"),
        mlp_width=recipe.mlp_ratio * width,
        activation=recipe.activation,
        norm_eps=NORM_EPS,
    )


def unfold(pixels: Float[Tensor, "b 3 s s"], side: int) -> Float[Tensor, "b p q"]:
    """Patches as rows, in the order in which a convolution reads and writes them.

    Args:
        pixels: s is a multiple of `side`.
        side: q = 3 * side^2 numbers a patch, p = (s / side)^2 patches.
    """
    b, channels, height, width = pixels.shape
    grid = pixels.view(b, channels, height // side, side, width // side, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, channels * side * side)


@torch.no_grad()
def draw_weights(model: TrainableDualEncoder, generator: torch.Generator) -> None:
    """Draws all weights from normal distributions; biases start at 0 and gains at 1.

    Args:
        model: Written in place.
        generator: On the device of the weights; draws them in a fixed order.
    """

    def draw(weight: Tensor, std: float) -> None:
        weight.normal_(std=std, generator=generator)

    for tower in (model.image_tower, model.text_tower):
        width, depth = tower.shape.width, tower.shape.layers
        for layer in cast(list[Layer], list(tower.layers)):
            draw(layer.qkv.weight, width**-0.5)
            draw(layer.out.weight, (2 * width * depth) ** -0.5)
            draw(layer.fc1.weight, (2 * width) ** -0.5)
            draw(layer.fc2.weight, (2 * width * depth) ** -0.5)
            for linear in (layer.qkv, layer.out, layer.fc1, layer.fc2):
                linear.bias.zero_()
    vision, text = model.image_tower.shape.width, model.text_tower.shape.width
    draw(model.patches.weight, model.patches.in_features**-0.5)
    draw(model.class_token, vision**-0.5)
    draw(model.image_positions, vision**-0.5)
    draw(model.image_projection.weight, vision**-0.5)
    draw(model.token_embedding.weight, 0.02)
    draw(model.text_positions, 0.01)
    draw(model.text_projection.weight, text**-0.5)
