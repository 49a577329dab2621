"""Block P, unified prompts (UPT): learned tokens of both towers, and a small layer over them.

U = [text tokens; image tokens] go through a linear map each to a common width, through one layer
of a transformer, and through a linear map each back to the width of their tower. What is learned is
U, the maps and the layer.

In the paper every token attends to every other. Public code calls a layer that reads sequences in
the first dimension and copies in the second with the two the other way round, so that of MVLPT
attends to nothing (`alone`), and that of GRIP from text token j to image token j and back
(`pairs`). All three are here, since numbers were published with each of them.

Source: Zang et al., "Unified Vision and Language Prompt Learning", 2022,
https://arxiv.org/abs/2210.07225; the authors' code has no method in it. Numbers that are in no
paper (the start of the tokens, the layer's norms and activation, which are CLIP's) are those of
Shen et al., "Multitask Vision-Language Prompt Tuning", WACV 2024, trainers/mvlpt.py.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.backbones.towers.transformer import Layer, TowerShape
from operators.blocks.deep_tokens import (
    image_tower,
    prompted_images,
    prompted_texts,
    uniform_image_tokens,
)
from operators.blocks.linear_maps import draw_uniform, drawn_linear
from operators.blocks.prompt_tokens import ClassPosition, prompt_tokens, random_context
from operators.episodes.episode import Batch
from operators.shapes import Float

Mixing = Literal["all", "pairs", "alone"]


class UnifiedPrompts(nn.Module):
    """Tokens of both towers that come out of one layer.

    Dimensions: b images, k classes, m learned text tokens, n learned image tokens a layer, J
    prompted image layers, w and v width of the text and the image tower, u of the layer, d of a
    feature.

    Args:
        backbone: Frozen encoders, with the capability `visual-prompts`.
        names: The k class names.
        generator: Draws text tokens, image tokens, maps and layer, in this order.
        text_tokens: m, at the input of the text tower.
        image_tokens: n.
        image_depth: J, the input included; all layers where there are fewer.
        width: u.
        mixing: Who attends to whom: `all` to all; `pairs`, text token j to the image tokens j of
            all layers; `alone`, each to itself. `pairs` needs m = n.
        std: Standard deviation of the text tokens at the start.
        position: Where the class name stands among the text tokens.
        ending: What follows the prompts of the classes.
        always_map: Whether tokens that are u wide already are mapped too.

    Attributes:
        layout: The prompts of the classes, with places for m tokens.
        text: (m, w), before the layer.
        image: (J, n, v), before the layer.
        mixer: From these to what the towers read.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        text_tokens: int,
        image_tokens: int,
        image_depth: int,
        width: int,
        mixing: Mixing,
        std: float = 0.02,
        position: ClassPosition = "end",
        ending: str = ".",
        always_map: bool = True,
    ) -> None:
        super().__init__()
        refuse_unpaired(text_tokens, image_tokens, mixing)
        self.backbone = backbone
        self.layout = prompt_tokens(
            backbone, names, n_context=text_tokens, position=position, ending=ending
        )
        shape = (text_tokens, backbone.token_width)
        like = self.layout.embeddings
        self.text = nn.Parameter(random_context(shape, std, generator, like=like))
        self.image = nn.Parameter(
            uniform_image_tokens(backbone, image_tokens, image_depth, generator)
        )
        self.mixer = TokenMixer(
            backbone.token_width,
            image_tower(backbone).width,
            width,
            mixing=mixing,
            always_map=always_map,
            generator=generator,
            device=backbone.device,
        )

    def tokens(self) -> tuple[Float[Tensor, "m w"], Float[Tensor, "J n v"]]:
        """What enters the text tower, and each prompted layer of the image tower."""
        return self.mixer(self.text, self.image)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text tokens give, of any length."""
        return prompted_texts(self.backbone, self.layout, self.tokens()[0][None])

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the image tokens, of any length."""
        return prompted_images(self.backbone, batch, self.tokens()[1])


class TokenMixer(nn.Module):
    """One pre-norm layer of a transformer, with one head, between tokens of two widths.

    Dimensions: m text tokens of width w, n image tokens of width v in each of J layers, u width of
    the layer.

    Args:
        text_width: w.
        image_width: v.
        width: u.
        mixing: Who attends to whom; see `UnifiedPrompts`.
        always_map: Whether tokens that are u wide already are mapped too.
        generator: Draws maps and layer, on the CPU, as torch starts linear maps and attention.
        device: Where they go then.
    """

    def __init__(
        self,
        text_width: int,
        image_width: int,
        width: int,
        *,
        mixing: Mixing,
        always_map: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.mixing = mixing

        def between(inputs: int, outputs: int) -> nn.Module:
            if inputs == outputs and not always_map:
                return nn.Identity()
            return drawn_linear(inputs, outputs, generator, device)

        self.text_in, self.text_out = between(text_width, width), between(width, text_width)
        self.image_in, self.image_out = between(image_width, width), between(width, image_width)
        self.layer = drawn_layer(width, generator, device)

    def forward(
        self, text: Float[Tensor, "m w"], image: Float[Tensor, "J n v"]
    ) -> tuple[Float[Tensor, "m w"], Float[Tensor, "J n v"]]:
        """The tokens as they leave the layer, in the widths that they came in.

        Args:
            text: Of the text tower's input.
            image: Of each prompted layer of the image tower.
        """
        texts, images = self.text_in(text), self.image_in(image)
        if self.mixing == "pairs":  # m = n sequences of 1 + J tokens
            mixed = self.read(torch.cat([texts[None], images]).transpose(0, 1)).transpose(0, 1)
            return self.text_out(mixed[0]), self.image_out(mixed[1:])
        every = torch.cat([texts, images.flatten(0, 1)])
        # One sequence of all tokens, or as many sequences of one.
        at = 0 if self.mixing == "all" else 1
        mixed = self.read(every.unsqueeze(at)).squeeze(at)
        texts, images = mixed.split([len(texts), len(mixed) - len(texts)])
        return self.text_out(texts), self.image_out(images).view(image.shape)

    def read(self, sequences: Float[Tensor, "s t u"]) -> Float[Tensor, "s t u"]:
        """What the layer makes of some sequences of tokens, whose order it cannot tell."""
        return self.layer(sequences, None, False)


def drawn_layer(width: int, generator: torch.Generator, device: torch.device) -> Layer:
    """A layer of CLIP's kind with one head, as torch starts its attention and its linear maps.

    Args:
        width: Of its tokens; the inner one of its feed-forward part is four times that.
        generator: Draws what is random in it, on the CPU.
        device: Where it goes then.
    """
    shape = TowerShape(
        width, layers=1, heads=1, mlp_width=4 * width, activation="quick_gelu", norm_eps=1e-5
    )
    with torch.device("meta"):  # nothing is drawn but from the generator
        layer = Layer(shape)
    layer.norm1, layer.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
    # Queries, keys and values start from one draw over all of them, which Glorot's rule bounds.
    weight = torch.empty(3 * width, width)
    layer.qkv.weight = nn.Parameter(draw_uniform(weight, 4 * width / 6, generator))
    layer.qkv.bias = nn.Parameter(torch.zeros(3 * width))
    layer.out.weight = nn.Parameter(draw_uniform(torch.empty(width, width), width, generator))
    layer.out.bias = nn.Parameter(torch.zeros(width))
    layer.fc1 = drawn_linear(width, 4 * width, generator, device)
    layer.fc2 = drawn_linear(4 * width, width, generator, device)
    return layer.to(device)


def refuse_unpaired(text_tokens: int, image_tokens: int, mixing: Mixing) -> None:
    """Raises where tokens are to attend in pairs and there are not as many of both kinds.

    Args:
        text_tokens: m.
        image_tokens: n.
        mixing: Who attends to whom.

    Raises:
        ValueError: Names both numbers and the ways out.
    """
    if mixing == "pairs" and text_tokens != image_tokens:
        raise ValueError(
            f"mixing=pairs has a text token attend to the image token of its number, and there "
            f"are {text_tokens} and {image_tokens}: ask for as many of both, or mixing=all."
        )
