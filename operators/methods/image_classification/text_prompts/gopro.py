"""GOPro: a context that each image shifts by the style and content of all layers of its tower.

Source: Singha, Jha and Banerjee, "GOPro: Generate and Optimize Prompts in CLIP using Self-
Supervised Learning", BMVC 2023, https://arxiv.org/abs/2308.11605, and the authors' code. Its
contrast of two views trains a head that nothing else reads: the image features below it are frozen,
so no logit depends on it, in the code as here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.deep_prompts import LayerMaps
from operators.blocks.learned_context import LearnedContext
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.parts import PAIRS, in_parts
from operators.blocks.prompt_tokens import idle_start, refuse_other_length
from operators.bounds import Deviation, Tokens, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.views import View, ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.text_prompts.layer_statistics import (
    LayerStatistics,
    StatisticsReader,
)
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

CONTRAST_WEIGHT = 0.1  # beside cross-entropy; no logit depends on it
TEMPERATURE = 0.1  # of the contrast
OTHERS = ("mocov3", "augmix")  # views beside the one that is classified


class GOPro(ImageClassifier):
    """Classifies an image x with the prompts `[v_1 + h(x)] ... [v_m + h(x)] <class name>.`.

    h(x) = sum over layers l of r_l (W_l s_l + U_l c_l) / 2, with biases, where c_l is the mean of
    the tokens after layer l and s_l the mean of c_l and their deviation. The loss is cross-entropy
    + view_weight * the mean squared differences of the class features of an image and those of two
    other views of it + 0.1 * the contrast of one of these.

    Dimensions: b images, k classes, m context tokens, L layers, v width of the image tower, w of
    a token embedding, d of a feature.

    Args:
        backbone: Frozen image and text encoders, the image tower a ViT.
        classes: The k classes.
        generator: Draws the maps and the head, and the context where it starts at random.
        n_context: m; the length of `context_init` where that is given.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
        view_weight: Of the differences between views.
    """

    card = MethodCard(
        title="GOPro (Generate and Optimize Prompts)",
        family="text_prompts",
        tunes="m context vectors, two linear maps for each layer of the image tower that shift "
        "them for each image, and a head that compares views of images, which nothing else reads",
        source="Singha et al., BMVC 2023, https://arxiv.org/abs/2308.11605",
        cost="a step takes all class prompts through the text tower and back for each of three "
        "views of each image; a test image takes them through it once more",
        needs=frozenset({"layer-states"}),
        seconds_per_image=180.0,
        views="fresh",
        views_source="GOPro code, configs/trainers/GOPro/vit_b16.yaml: random_resized_crop and "
        "random_flip; beside them views by MoCo v3 and AugMix, as in trainers/gopro.py",
        departures=(
            "views by MoCo v3 and AugMix are of each image itself, where the code reads "
            "standardised numbers as bytes and takes AugMix's from the first image of a batch",
            "the last epoch is kept, not the one that is best on the test images",
            "a network that the code builds and does not use is left out",
            "in float32, not float16",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=50, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        view_weight: Weight = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
        )
        self.statistics = StatisticsReader(backbone)
        tower, d, device = self.statistics.tower, backbone.feature_width, backbone.device
        self.style, self.content = (
            LayerMaps(
                tower.layers,
                tower.width,
                backbone.token_width,
                generator=generator,
                device=device,
                alike=False,
            )
            for _ in range(2)
        )
        self.layers = drawn_linear(tower.layers, 1, generator, device)
        self.head = drawn_linear(d, d, generator, device)
        self.head_scale = nn.Parameter(torch.ones(d, device=device))
        self.head_shift = nn.Parameter(torch.zeros(d, device=device))
        self.view_weight = view_weight
        self.others: tuple[View | None, ...] = (None, None)  # `fit` moves on

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: two or three views an epoch, but for those of a bank."""
        epochs = cls.view_epochs(hyperparameters)
        fresh = [v for v in views.further(0, OTHERS, epochs=epochs, seed=0) if not v.kept]
        return epochs * (len(fresh) + (views.kind == "fresh")), 0

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes with two more views of each image in every epoch. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        epochs = tuning.over(len(shots.train)).epochs

        def show(epoch: int) -> None:
            self.others = shots.views.further(epoch, OTHERS, epochs=epochs, seed=shots.seed)

        show(0)
        with self.statistics.keeping():
            return tune(self, shots, tuning, generator, epoch_end=lambda epoch: show(epoch + 1))

    def shifts(self, seen: LayerStatistics) -> Float[Tensor, "b w"]:
        """H of each image."""
        style = self.style(((seen.means + seen.deviations) / 2).transpose(0, 1))
        content = self.content(seen.means.transpose(0, 1))
        return self.layers(((style + content) / 2).permute(1, 2, 0))[..., 0]

    def texts(self, shifts: Float[Tensor, "b w"]) -> Float[Tensor, "b k d"]:
        """Unit-norm class features under the context of each image."""
        contexts = self.prompt.context + shifts[:, None, None]
        return unit(self.backbone.encode_prompts(self.prompt.layout, contexts))

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to the class vectors of its own context."""
        return in_parts(self.own_logits, batch, PAIRS // len(self.classes))

    def own_logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The logits of images at once."""
        seen = self.statistics.read(batch)
        return self.compared(seen, self.texts(self.shifts(seen)))

    def compared(
        self, seen: LayerStatistics, texts: Float[Tensor, "b k d"]
    ) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity.

        Args:
            seen: Of b images.
            texts: Unit-norm class features of each.
        """
        products = torch.einsum("bd,bkd->bk", unit(seen.features), texts)
        return self.backbone.logit_scale * products

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy, the differences between views, and the contrast of two."""
        seen = [self.statistics.read(batch.under(v)) for v in (batch.view, *self.others)]
        # All views pass the text tower together.
        texts = self.texts(torch.cat([self.shifts(each) for each in seen]))
        own, *others = texts.split(len(batch))
        loss = F.cross_entropy(self.compared(seen[0], own), batch.labels)
        if self.view_weight:
            loss = loss + self.view_weight * sum(F.mse_loss(own, other) for other in others)
        if len(batch) == 1:  # nothing to be told from
            return loss
        one, other = (self.projected(unit(each.features)) for each in seen[:2])
        return loss + CONTRAST_WEIGHT * view_contrast(one, other, TEMPERATURE)

    def projected(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """What the head makes of a batch: a linear map, and each number scaled over the batch."""
        return F.batch_norm(
            self.head(features), None, None, self.head_scale, self.head_shift, training=True
        )


def view_contrast(
    one: Float[Tensor, "b d"], other: Float[Tensor, "b d"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of finding the other view of an image among all other vectors of both.

    Args:
        one: A vector of each image.
        other: One of another view of it.
        temperature: Of the cosines.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    ICML 2020, algorithm 1.
    """
    vectors = unit(torch.cat([one, other]))
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(len(vectors), device=vectors.device).roll(len(one))
    return F.cross_entropy(logits, partners)
