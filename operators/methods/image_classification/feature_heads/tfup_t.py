"""TFUP-T: a text residual and an image adapter, tuned on what TFUP says of unlabelled images.

Source: Long et al., "Training-Free Unsupervised Prompt for Vision-Language Models", 2024,
https://arxiv.org/abs/2404.16339, and the authors' code (TFUP_T). Of the paper the summary was read;
equations and settings are those of the code.

In the first epochs the images that stand for each class are learned under the labels that TFUP
gives them. Then all images are: each under a random view, with the class that its centre crop is
given, where that is sure. To that comes the entropy of the mean prediction, which is to be large.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.cache_head import CacheHead, CacheWeights, Scalar, semantic_affinity
from operators.blocks.central_images import fill_central, images_a_class, most_central
from operators.blocks.class_text import plain_sentence_vectors, sentences_of
from operators.blocks.feature_head import Adapter, mixed
from operators.bounds import Bounds, Brief, Reduction, Share, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float, Int
from operators.tuning import FitReport, Tuning, tune

NO_LOGARITHM_OF_ZERO = 1e-6  # added to the mean prediction, as in the authors' code


@dataclass(frozen=True)
class FirstTheChosen(FewShot):
    """Some images with labels that were made for them, then all without.

    Attributes:
        every: All of them, in their epochs.
        chosen: With labels.
        chosen_epochs: The first so many are theirs.
    """

    every: FewShot | None = None
    chosen: Batch | None = None
    chosen_epochs: int = 0

    def in_epoch(self, epoch: int) -> Batch:
        """See `FewShot.in_epoch`."""
        if self.every is None or self.chosen is None:
            return super().in_epoch(epoch)
        if epoch < self.chosen_epochs:
            return replace(self.every, train=self.chosen).in_epoch(epoch)
        return self.every.in_epoch(epoch)


class TFUPT(StaticClassifier):
    """Compares a A(f) + (1 - a) f to the unit of b R_c + (1 - b) t_c.

    A is a bottleneck network, R starts at 0, and f and t are features as the towers give them.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with descriptions.
        generator: Draws A.
        text_share: b, the share of R.
        image_share: a, the share of A.
        reduction: A's inner layer is d / reduction wide, at least 1.
        alpha: Weight of the votes of the cache, which make the labels and are in no answer.
        beta: Sharpness of the votes.
        cache_share: Of the images of a class that are cached, between 9 and 16.
        sharpness: As for TFUP.
        chosen_share: Of the images of a class that are learned first, at least 9.
        chosen_epochs: In which these alone are learned.
        confidence: Probability that a class needs to be learned as a label, without.
        entropy_weight: Of the entropy of the mean prediction.
    """

    card = MethodCard(
        title="TFUP-T",
        family="feature_heads",
        tower_steps=False,
        tunes="a residual of each class vector, and a network of two layers on the image features",
        source="Long et al., 2024, https://arxiv.org/abs/2404.16339",
        cost="a step takes the network there and back on features, and compares centre crops to "
        "the cached images; no tower",
        learns=False,
        new_classes=False,
        transductive=True,
        external_knowledge=True,
        descriptions=True,
        unlabelled=True,
        unsupervised=True,
        views="fresh",
        views_source="TFUP code, configs/*.yaml: random_resized_crop and random_flip",
        departures=(
            "the last step is kept, not the epoch that is best on the test images",
            "the learning rate falls to 0 with the last epoch; theirs passes its end and rises",
            "whatever sentences the dataset comes with; the authors' are GPT-3.5's, and on VisDA "
            "one prompt",
            "everything in float32, not float16",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=0.012,
        eps=0.003,
        weight_decay=0.1,
        epochs=30,
        batch_size=256,
        warmup_epochs=0,
        schedule="step",
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        text_share: Share = 0.5,
        image_share: Share = 0.2,
        reduction: Reduction = 4,
        alpha: Scalar = 0.3,
        beta: Scalar = 1.0,
        cache_share: Share = 0.3,
        sharpness: Annotated[float, Bounds(0, 1000, above=True)] = 10.0,
        chosen_share: Share = 0.75,
        chosen_epochs: Annotated[int, Bounds(0, 10_000), Brief(0)] = 5,
        # An image that becomes sure comes with a loss of its own, so few of them tell of no fall.
        confidence: Annotated[float, Bounds(0, 1), Brief(0.0)] = 0.9,
        entropy_weight: Weight = 0.3,
    ) -> None:
        super().__init__(backbone, classes)
        texts = plain_sentence_vectors(backbone, sentences_of(classes))
        self.register_buffer("texts", texts, persistent=False)
        self.residual = nn.Parameter(torch.zeros_like(texts))
        self.adapter = Adapter(
            texts.shape[1], reduction, generator=generator, device=backbone.device
        )
        self.text_share, self.image_share = text_share, image_share
        self.start, self.sharpness = CacheWeights(alpha, beta), sharpness
        self.cache_share, self.chosen_share = cache_share, chosen_share
        self.chosen_epochs = chosen_epochs
        self.confidence, self.entropy_weight = confidence, entropy_weight
        # In a list, since what answers need is saved, and they need no cache.
        self.cache: list[CacheHead] = []

    texts: Tensor

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        found = {}
        if not hyperparameters["chosen_epochs"]:
            found["chosen_share"] = "none are learned first. Ask for chosen_epochs=5 as well."
        if not hyperparameters["alpha"]:
            idle = "the votes do not count. Ask for alpha=0.3 as well."
            found |= dict.fromkeys(("beta", "cache_share"), idle)
        return found

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Fills the cache, and tunes on what it says of the images. See `Method.fit`.

        Raises:
            ValueError: There are no images without labels.
        """
        every = shots.without_labels()
        if tuning is None:
            return FitReport()
        cache, chosen = self.choose(every.train)
        self.cache = [cache] if self.chosen_epochs == 0 else []
        order = FirstTheChosen(
            every.n_shots,
            every.train,
            every.val,
            every=every,
            chosen=chosen,
            chosen_epochs=self.chosen_epochs,
        )

        def epoch_end(epoch: int) -> None:
            if epoch + 1 == self.chosen_epochs:
                self.cache = [cache]

        return tune(self, order, tuning, generator, epoch_end=epoch_end)

    @torch.no_grad()
    def choose(self, images: Batch) -> tuple[CacheHead, Batch]:
        """A filled cache, and the images that are learned first, with the labels it gives them."""
        cache = CacheHead(
            unit(self.texts),
            scale=self.backbone.logit_scale,
            start=self.start,
            semantic=self.sharpness,
        )
        fill_central(cache, images, self.cache_share, self.sharpness)
        count = images_a_class(len(images), len(self.texts), self.chosen_share)
        central = most_central(unit(images.features), cache.texts, self.sharpness, count)
        chosen = images.select(central.flatten())
        return cache, chosen.labelled(cache.in_blocks(chosen.features).argmax(dim=1))

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors with their residuals, of any length."""
        return self.text_share * self.residual + (1 - self.text_share) * self.texts

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The features with what the network makes of them, of any length."""
        return mixed(self.adapter, batch.features, self.image_share)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy with the labels that were made; later also the entropy of the mean."""
        texts = self.weights()
        logits = self.compare(batch, texts)
        if not self.cache:
            return F.cross_entropy(logits, batch.labels)
        labels, sure = self.told(batch.under(None), texts)
        missed = F.cross_entropy(logits, labels, reduction="none") * sure
        mean = logits.softmax(dim=1).mean(dim=0)
        negative_entropy = (mean * (mean + NO_LOGARITHM_OF_ZERO).log()).sum()
        return missed.sum() / sure.sum().clamp_min(1) + self.entropy_weight * negative_entropy

    @torch.no_grad()
    def told(
        self, batch: Batch, texts: Float[Tensor, "k d"]
    ) -> tuple[Int[Tensor, "b"], Float[Tensor, "b"]]:  # noqa: F821
        """The class of each centre crop, votes included, and 1 where it is sure, else 0.

        Args:
            batch: b centre crops.
            texts: Class vectors as they are now, of unit norm.
        """
        (cache,) = self.cache
        features = unit(self.image_features(batch))
        affinity = semantic_affinity(features, cache.keys, texts, self.sharpness)
        base = self.backbone.logit_scale * features @ texts.T
        probabilities = cache.with_votes(base, affinity, cache.values).softmax(dim=1)
        most, labels = probabilities.max(dim=1)
        return labels, (most > self.confidence).to(features.dtype)
