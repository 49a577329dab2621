"""What CLIP and SigLIP have in common: a ViT beside the text tower, every layer in reach."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones.base import BackboneCard, widened
from operators.backbones.dual.base import ImageReading, KeptTokens
from operators.backbones.dual.merged_calls import ImageCall
from operators.backbones.dual.text_tower import TextTowerBackbone
from operators.backbones.towers.flops import full_layers, gradient_since, product
from operators.backbones.towers.hooks import Hooks
from operators.backbones.towers.packed_text import Pool
from operators.backbones.towers.prompts import DeepPrompts, PromptPlace
from operators.backbones.towers.transformer import Attention, Tower, fold_quick_gelu
from operators.engine.accounting import Flops, Pass, count, forward
from operators.engine.stacking import merged
from operators.engine.transfer import onto
from operators.shapes import Float


class ViTBackbone(TextTowerBackbone):
    """A text tower and a ViT.

    Args:
        card: What is known of it.
        model: `ClipModel` or `SiglipModel` of parts.py, filled.
        tokenizer: As `load_tokenizer` gives it.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
        pool: What is read of a text; see `PackedText`.
    """

    image_tower: Tower  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        card: BackboneCard,
        model: Any,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
        *,
        pool: Pool,
    ) -> None:
        image = model.image
        self.image_tower = image.tower  # pyright: ignore[reportIncompatibleVariableOverride]
        fold_quick_gelu(self.image_tower)
        super().__init__(card, model, tokenizer, device, dtype, pool=pool)
        self.patches = image.patches
        self.image_positions = image.positions
        self.image_norm_out = image.norm_out

    def embed_images(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n v"]:
        """See `DualEncoder.embed_images`."""
        pixels = onto(pixels, self.device).to(self.patches.weight.dtype)
        tokens = self.placed(self.patches(pixels).flatten(2).transpose(1, 2))
        cut = [Flops(len(tokens) * self.patch_flops)]
        count(tokens, lambda: Pass(cut, cut))
        return tokens

    @abstractmethod
    def placed(self, patches: Float[Tensor, "b p v"]) -> Float[Tensor, "b n v"]:
        """What enters the image tower, from embedded patches: positions added."""

    @abstractmethod
    def image_prompts(self, prompts: Float[Tensor, "*b m v"]) -> Float[Tensor, "*b m v"]:
        """What learned tokens become before they stand among those of `embed_images`."""

    @abstractmethod
    def pooled(self, states: Float[Tensor, "b n v"]) -> Float[Tensor, "b d"]:
        """Features of images from all tokens after the last layer."""

    @abstractmethod
    def dense(self, states: Float[Tensor, "b p v"]) -> Float[Tensor, "b p d"]:
        """Features of single patches after the last layer, in the space of the texts."""

    @abstractmethod
    def encode_tokens(
        self,
        tokens: Float[Tensor, "b n v"],
        deep_prompts: DeepPrompts | None,
        attention: Mapping[int, Attention] | None,
        hooks: Hooks | None,
    ) -> Float[Tensor, "b d"]:
        """Features of images from what enters the tower, with no work that they do not need.

        Args:
            tokens: n tokens an image of the tower's width v, positions and shallow prompts
                included.
            deep_prompts: Tokens that replace others before later layers.
            attention: By layer, what attends there instead of the usual softmax.
            hooks: By layer, what changes it.
        """

    def prompted(
        self,
        tokens: Float[Tensor, "b n v"],
        prompts: Float[Tensor, "*b m v"] | None,
        place: PromptPlace,
    ) -> Float[Tensor, "b n2 v"]:
        """Embedded images with prompts among their tokens; prompts have no position.

        Args:
            tokens: As `embed_images` gives them.
            prompts: m tokens for all images alike, or (b, m, v); none leaves the images as they
                are.
            place: `last` behind the patches, `second` before them; see `DualEncoder.encode_images`.
        """
        if prompts is None:
            return tokens
        added = self.image_prompts(prompts.to(tokens.dtype)).expand(len(tokens), -1, -1)
        at = self.image_start if place == "second" else tokens.shape[1]
        return torch.cat([tokens[:, :at], added, tokens[:, at:]], dim=1)

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
        """See `DualEncoder.encode_images`."""
        if attention is None and hooks is None:
            call = ImageCall(self, pixels, prompts, place, deep_prompts)
            if (together := merged(call)) is not None:
                return together
        self.refuse_inserted(deep_prompts)
        tokens = self.prompted(self.embed_images(pixels), prompts, place)
        return self.encode_tokens(tokens, deep_prompts, attention, hooks)

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
        """See `DualEncoder.read_images`."""
        self.refuse_inserted(deep_prompts)
        self.refuse_layers(layers, keep)
        shown = x = self.prompted(tokens, prompts, place)
        states: dict[int, Tensor] = {}
        tower = self.image_tower.states(x, deep_prompts=deep_prompts, attention=attention)
        for index, state in enumerate(tower):
            x = state
            if index in layers:
                states[index] = widened(state if keep == "all" else state[:, 0].clone())
        before = self.image_start
        if prompts is not None and place == "second":
            before += prompts.shape[-2]
        if deep_prompts is not None and deep_prompts.insert and deep_prompts.start >= 0:
            before += deep_prompts.width
        patches = self.dense(x[:, before : before + tokens.shape[1] - self.image_start])

        def made() -> Pass:
            b, n, _ = x.shape
            outputs = [self.output_flops(b, n), self.output_flops(b * patches.shape[1], 1)]
            shape, entered = self.image_tower.shape, shown.shape[1]
            layers = [*full_layers(shape, b, entered, deep_prompts), *outputs]
            return Pass(layers, layers, gradient_since(shown, deep_prompts))

        count(x, made)
        return ImageReading(self.pooled(x), patches, states)

    def normed_states(self, states: Float[Tensor, "*b v"]) -> Float[Tensor, "*b v"]:
        """See `DualEncoder.normed_states`."""
        return widened(self.image_norm_out(states.to(self.patches.weight.dtype)))

    def refuse_inserted(self, deep: DeepPrompts | None) -> None:
        """Raises where prompts would be inserted among the patches, which then are no rows.

        Raises:
            ValueError: Names the two places that there are.
        """
        if deep is not None and deep.insert and deep.start not in (self.image_start, -deep.width):
            raise ValueError(
                f"{deep.width} tokens are to be inserted at position {deep.start} of an image: "
                f"start={self.image_start} puts them before the patches, start={-deep.width} "
                "behind them."
            )

    def refuse_layers(self, layers: Collection[int], keep: KeptTokens) -> None:
        """Raises where states are asked for that are not there.

        Args:
            layers: After which states are asked for, from 0.
            keep: Which tokens of those states; see `DualEncoder.read_images`.

        Raises:
            ValueError: Names the layer, or the token.
        """
        count = len(self.image_tower.layers)
        for layer in layers:
            if not 0 <= layer < count:
                raise ValueError(
                    f"states after layer {layer} of a tower of {count} layers: they are 0 to "
                    f"{count - 1}."
                )
        if keep == "class" and not self.image_start:
            raise ValueError(
                f"the ViT of {self.card.name} has no class token whose states could be kept: "
                "use keep='all', or a CLIP."
            )

    @property
    def patch_flops(self) -> int:
        """Operations of cutting one image into embedded patches."""
        weight = self.patches.weight
        patches = len(self.image_positions) - self.image_start
        return product(patches, weight[0].numel(), len(weight))

    @abstractmethod
    def output_flops(self, images: int, tokens: int) -> Flops:
        """Operations from so many tokens of so many images after the last layer to features.

        Args:
            images: How many images.
            tokens: Of each image, prompts included.
        """

    @property
    def image_tokens(self) -> int:
        """See `DualEncoder.image_tokens`."""
        return len(self.image_positions)

    @property
    def image_flops(self) -> int:
        """See `DualEncoder.image_flops`."""
        tokens = self.image_tokens
        layers = [*full_layers(self.image_tower.shape, 1, tokens), self.output_flops(1, tokens)]
        return self.patch_flops + forward(layers)

    def modules(self) -> Sequence[nn.Module]:
        """See `DualEncoder.modules`."""
        return (self.model,)
