"""RESTORE: MaPLe whose text and image prompts must grow together, and adapters behind both towers.

Source: Yang et al., "RESTORE: Towards Feature Shift for Vision-Language Prompt Learning", 2024,
https://arxiv.org/abs/2403.06136, and the authors' code, which is followed where it differs. The
paper calls what prompts add to the output of a layer the feature shift, and holds the magnitudes
of the visual and the textual one together. The code computes no output without prompts: it takes
|P^T P| of the prompts P of a layer over what that was before tuning, which is how far attention
without a softmax would move any token, x (X^T X + P^T P) in place of x X^T X.

Departures from that code: prompts, maps and adapters are kept in float32, and towers with fewer
layers than `depth` are prompted in as many as they have.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.backbones.towers.transformer import quick_gelu
from operators.blocks.deep_prompts import CoupledPrompts
from operators.blocks.feature_head import mixed
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.prompt_tokens import refuse_few_words
from operators.bounds import Bounds, Layers, Share, Tokens, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class FeedForward(nn.Module):
    """f + V quick_gelu(W norm(f) + a) + b: a feed-forward part as a transformer's layer has it.

    Dimensions: n features, d their width; the inner layer is 4 d wide.

    Args:
        width: d.
        generator: Draws W, V, a and b as torch draws linear maps.
        device: Where they go.

    Source: Yang et al., "RESTORE", 2024, the "surgery" block; its shape is in the authors' code.
    """

    def __init__(self, width: int, *, generator: torch.Generator, device: torch.device) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, device=device)
        self.widen = drawn_linear(width, 4 * width, generator, device)
        self.narrow = drawn_linear(4 * width, width, generator, device)

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What it makes of each feature."""
        return features + self.narrow(quick_gelu(self.widen(self.norm(features))))


class Restore(StaticClassifier):
    """Classifies as MaPLe does, by features that a "surgery" block behind each tower has changed.

    After a third of the epochs the blocks count for more, the more so the larger the prompts.

    Dimensions: b images, k classes, m learned tokens a layer, J prompted layers, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts, maps and blocks.
        n_context: m.
        depth: J, the input included; shifts are those of the layers below it.
        context_init: Words whose first m tokens the prompt of the text input starts from;
            empty for N(0, init_std^2).
        init_std: Standard deviation of all other prompts, above 0.
        image_ratio: Share of what the block gives in the features of images, 0..1.
        text_ratio: The same in those of classes.
        image_growth: Times the mean magnitude of the image prompts, what is added to
            `image_ratio` after a third of the epochs.
        text_growth: The same for `text_ratio`.
        shift_weight: Weight of the difference between the shifts.
    """

    card = MethodCard(
        title="RESTORE",
        family="deep_prompts",
        tunes="MaPLe's tokens and maps, which shift both towers alike, and a block behind each",
        source="Yang et al., 2024, https://arxiv.org/abs/2403.06136",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="RESTORE code, configs/trainers/MaPLe_FSA: random_resized_crop and "
        "random_flip",
        departures=(
            "prompts, maps and blocks in float32, not float16",
            "depth 9 means every layer of towers that have fewer",
        ),
    )
    tuning = Tuning(lr=0.0035, epochs=10, batch_size=4)

    ratios: Tensor

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 2,
        depth: Layers = 9,
        context_init: str = "a photo of a",
        init_std: Annotated[float, Bounds(0, 10, above=True)] = 0.02,
        image_ratio: Share = 0.05,
        text_ratio: Share = 0.05,
        image_growth: Annotated[float, Bounds(0, 100)] = 0.005,
        text_growth: Annotated[float, Bounds(0, 100)] = 0.02,
        shift_weight: Weight = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = CoupledPrompts(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            depth=depth,
            words=context_init,
            std=init_std,
        )
        self.image_surgery, self.text_surgery = (
            FeedForward(backbone.feature_width, generator=generator, device=backbone.device)
            for _ in range(2)
        )
        self.growth = (image_growth, text_growth)
        self.shift_weight = shift_weight
        ratios = torch.tensor([image_ratio, text_ratio], device=backbone.device)
        self.register_buffer("ratios", ratios)  # they are part of what was learned

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Shorter where other datasets are asked about. See `Method.recipe`."""
        return {"epochs": 2} if protocol in ("cross_dataset", "domain_generalization") else {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def magnitudes(self) -> Float[Tensor, "two deep"]:
        """|P^T P| of the J - 1 image prompts and text prompts below the input."""
        prompts = (self.prompt.image, self.prompt.text)
        # The m x m products of the tokens have the same norm as the w x w ones, and fewer numbers.
        return torch.stack([(p[1:] @ p[1:].mT).norm(dim=(1, 2)) for p in prompts])

    @cached_property
    def start(self) -> Float[Tensor, "two deep"]:
        """The magnitudes before tuning, which asks for them first."""
        return self.magnitudes().detach()

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes, and raises the shares of the blocks after a third of the epochs.

        See `Method.fit`.
        """
        if tuning is None:
            return FitReport()
        third = tuning.over(len(shots.train)).epochs // 3

        @torch.no_grad()
        def grow(epoch: int) -> None:
            if epoch == third:
                sizes = self.magnitudes().sum(dim=1) / max(1, self.start.shape[1])
                self.ratios += sizes * sizes.new_tensor(self.growth)

        return tune(self, shots, tuning, generator, epoch_end=grow)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the text prompts give, after surgery."""
        return mixed(self.text_surgery, self.prompt.class_features(), self.ratios[1])

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them, after surgery."""
        return mixed(self.image_surgery, self.prompt.image_features(batch), self.ratios[0])

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy and the squared difference between the shifts, summed over layers."""
        images, texts = self.magnitudes() / self.start
        apart = (texts - images).square().sum()
        return F.cross_entropy(self.logits(batch), batch.labels) + self.shift_weight * apart
