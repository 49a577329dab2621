"""APE: Tip-Adapter on the channels that tell classes apart, its rows weighted by what texts miss.

Source: Zhu et al., "Not All Features Matter: Enhancing Few-shot CLIP with Adaptive Prior
Refinement", ICCV 2023, https://arxiv.org/abs/2304.01195, section 3, and the authors' code (APE). On
the datasets of the authors' configurations grid, start, channels, templates and the scale 100 are
theirs, and the three scalars are searched on the whole validation split, as published. On any other
they are those of Caltech101, with the backbone's own scale and the episode's few validation images.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.cache_head import (
    CACHE_EPOCHS,
    CacheHead,
    CacheWeights,
    LargestTried,
    Scalar,
)
from operators.blocks.channel_choice import telling_channels
from operators.blocks.class_text import sentence_vectors, sentences_of, templates_of
from operators.blocks.searched_cache import (
    Scale,
    SearchOn,
    Templates,
    idle_search,
    searched_grid,
    searches,
)
from operators.bounds import Bounds, Share
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.feature_heads.ape_settings import (
    CHANNELS,
    DEPARTURES,
    PUBLISHED,
    Channels,
    Tried,
    published,
)
from operators.methods.image_classification.feature_heads.weighted_search import search_weighted
from operators.shapes import Float
from operators.tuning import FitReport, Tuning

NO_LOGARITHM_OF_ZERO = 1e-6  # added to probabilities, as in the authors' code


class APE(ImageClassifier):
    """Training-free: the cache holds the features of the labelled images as they are.

    Dimensions: b images, k classes, r cached images, d width of a feature, q chosen channels.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with descriptions.
        generator: Not used.
        alpha: Initial weight of the votes.
        beta: Initial sharpness of the votes.
        gamma: Initial weight of a row's divergence: it counts e to the power of both.
        search_alpha: Largest alpha tried on validation, excluded.
        search_beta: Largest beta tried on validation, excluded.
        search_gamma: Largest gamma tried on validation, excluded.
        search_steps_alpha: Values of alpha tried.
        search_steps_beta: Values of beta tried.
        search_steps_gamma: Values of gamma tried, the first of them 0.
        search_on: Images that they are tried on: `shots`, the few of the episode, `split`, the
            whole validation split, or `none`, which keeps what they start from.
        channel_share: q / d.
        similarity_share: How much a channel that classes share counts against it; the rest to 1 is
            how much it counts that class vectors differ in it.
        scale: Of the zero-shot logits; None for the backbone's own.
        templates: Averaged in with the sentences: `card`, or `imagenet` for the seven that were
            selected on ImageNet.
        augment_epochs: Epochs whose views the cache averages; 0 caches the centre crops.
    """

    card = MethodCard(
        title="APE (Adaptive Prior Refinement)",
        family="feature_heads",
        tunes="nothing by gradient; three scalars are searched on validation images",
        source="Zhu et al., ICCV 2023, https://arxiv.org/abs/2304.01195",
        cost="no step; 80,000 triples of scalars are compared on validation images in 200 passes",
        new_classes=False,
        external_knowledge=True,
        descriptions=True,
        views="fresh:crop-0.5",
        views_source="APE code, extract_features.py and datasets/imagenet.py: RandomResizedCrop "
        "with scale 0.5 to 1, and flip",
        departures=DEPARTURES,
    )
    block = "cache"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        alpha: Scalar = 1.0,
        beta: Scalar = 1.0,
        gamma: Scalar = 0.1,
        search_alpha: LargestTried = 7.0,
        search_beta: LargestTried = 7.0,
        search_gamma: Annotated[float, Bounds(0, 1000, above=True)] = 1.0,
        search_steps_alpha: Tried = 20,
        search_steps_beta: Tried = 200,
        search_steps_gamma: Tried = 20,
        search_on: SearchOn = "shots",
        channel_share: Channels = 800 / CHANNELS,
        similarity_share: Share = 0.5,
        scale: Scale = None,
        templates: Templates = "card",
        augment_epochs: Annotated[int, Bounds(0, 10_000)] = CACHE_EPOCHS,
    ) -> None:
        super().__init__(backbone, classes)
        self.augment_epochs, self.similarity_share = augment_epochs, similarity_share
        self.cache = CacheHead(
            sentence_vectors(backbone, sentences_of(classes, templates_of(classes, templates))),
            scale=backbone.logit_scale if scale is None else scale,
            start=CacheWeights(alpha, beta),
            alphas=searched_grid(search_on, search_alpha, search_steps_alpha),
            betas=searched_grid(search_on, search_beta, search_steps_beta),
        )
        self.gammas = [i * search_gamma / search_steps_gamma for i in range(search_steps_gamma)]
        self.register_buffer("gamma", torch.tensor(gamma, device=backbone.device))
        kept = max(1, round(channel_share * backbone.feature_width))
        self.register_buffer("channels", torch.arange(kept, device=backbone.device))

    gamma: Tensor
    channels: Tensor

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Grid, start and channels of each of the authors' datasets. See `Method.recipe`."""
        if dataset not in PUBLISHED:
            return {}
        theirs = PUBLISHED[dataset]
        return {
            **published(dataset),
            "search_gamma": float(theirs.gamma),
            "search_steps_gamma": theirs.gammas,
            "channel_share": theirs.channels / CHANNELS,
            "similarity_share": theirs.similarity,
        }

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_search(hyperparameters, ("alpha", "beta", "gamma"))

    @classmethod
    def chooses_on_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """See `Method.chooses_on_validation`."""
        return searches(hyperparameters)

    @classmethod
    def whole_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """See `Method.whole_validation`."""
        return hyperparameters.get("search_on") == "split"

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`; those that fill the cache."""
        return hyperparameters.get("augment_epochs", CACHE_EPOCHS)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Fills the cache, chooses channels, then searches. See `Method.fit`."""
        self.cache.fill(shots, self.augment_epochs)
        self.channels = telling_channels(
            self.cache.texts,
            self.cache.keys.data,
            shots.train.labels,
            count=len(self.channels),
            similarity_share=self.similarity_share,
        )
        return FitReport(selected=self.choose(shots.val) or None)

    def choose(self, images: Batch) -> dict[str, float]:
        """Searches the three scalars on labelled images; says which, or none without any."""
        if not self.cache.alphas or not len(images):
            return {}
        features = unit(images.features)
        chosen = search_weighted(
            self.cache.zero_shot(features),
            self.affinity(features),
            self.cache.values,
            self.divergence(),
            images.labels,
            alphas=self.cache.alphas,
            betas=self.cache.betas,
            gammas=self.gammas,
        )
        self.cache.scalars.copy_(torch.tensor(chosen[:2]))
        self.gamma.fill_(chosen.gamma)
        return chosen._asdict()

    def narrowed(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n q"]:
        """The chosen channels of some features, of unit norm."""
        return unit(features[:, self.channels])

    def affinity(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b r"]:
        """Cosine to the cached images over the chosen channels."""
        return self.narrowed(features) @ self.narrowed(self.cache.keys).T

    def divergence(self) -> Float[Tensor, "r"]:  # noqa: F821
        """KL(label ‖ softmax of the cosines to the class vectors) of each cached image, in bits."""
        said = self.narrowed(self.cache.keys) @ self.narrowed(self.cache.texts).T
        own = (said.softmax(dim=1) * self.cache.values).sum(dim=1)
        return torch.log2((1 + NO_LOGARITHM_OF_ZERO) / (own + NO_LOGARITHM_OF_ZERO))

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Zero-shot logits over all channels plus alpha times the weighted votes."""
        features = unit(batch.features)
        weights = (self.gamma * self.divergence()).exp()
        values = self.cache.values * weights[:, None]
        return self.cache.with_votes(
            self.cache.zero_shot(features), self.affinity(features), values
        )
