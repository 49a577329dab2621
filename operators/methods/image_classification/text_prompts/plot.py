"""PLOT: several prompts a class, moved onto the patches of an image at least cost.

Source: Chen et al., "PLOT: Prompt Learning with Optimal Transport for Vision-Language Models", ICLR
2023, https://arxiv.org/abs/2210.01253, and the authors' code, plot-coop. It was published with a
CLIP that has a ResNet, whose 49 places each give a local feature when they ask its attention
pooling; of a ViT they are its patches.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.learned_context import LearnedContexts
from operators.blocks.optimal_transport import similarities, transported_similarity
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.blocks.patch_attention import PatchReader
from operators.blocks.training_length import coop_epochs
from operators.bounds import Bounds, Deviation, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import KeepsTexts
from operators.shapes import Float
from operators.tuning import FitReport, Tuning

NUMBERS = 1 << 24  # cosines of images, classes, patches and prompts that are in memory at a time
PATCHES = 256  # of an image, of which no tower here has many more
SMALL_BATCHES = ("flowers102", "fgvc_aircraft", "stanford_cars")  # train.py of the authors' code


class PLOT(KeepsTexts):
    """Compares the patches of an image to n prompts of a class, each patch to those near to it.

    Dimensions: b images, p patches, n prompts, k classes, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders; the image tower shows its patches.
        classes: The k classes.
        generator: Draws the contexts.
        n_prompts: n, contexts that are learned.
        n_context: m.
        init_std: Standard deviation of the random start.
        global_logits: Add those of the whole image and the mean prompt of each class.
    """

    card = MethodCard(
        title="PLOT (Prompt Learning with Optimal Transport)",
        family="text_prompts",
        tunes="n sets of m context vectors at the input of the text tower",
        source="Chen et al., ICLR 2023, https://arxiv.org/abs/2210.01253",
        cost="a step takes n prompts of each class through the text tower and back, and moves them "
        "onto the patches of each image; an image passes the image tower once, and its patches are "
        "kept",
        needs=frozenset({"patch-features"}),
        views="fresh",
        views_source="PLOT code, plot-coop/configs/trainers/PLOT/rn50.yaml: random_resized_crop "
        "and random_flip",
        departures=(
            "each transport plan is iterated until it stands still, not until those of the batch "
            "do so in the mean",
            "contexts in float32, not float16",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=50, batch_size=128)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_prompts: Annotated[int, Bounds(1, 64)] = 4,
        n_context: Tokens = 16,
        init_std: Deviation = 0.02,
        global_logits: bool = False,
    ) -> None:
        super().__init__(backbone, classes)
        self.global_logits = global_logits
        self.prompt = LearnedContexts(
            backbone,
            classes.names,
            generator=generator,
            count=n_prompts,
            n_context=n_context,
            std=init_std,
        )
        self.patches = PatchReader(backbone)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """CoOp's epochs for few shots; smaller batches for some datasets. See `Method.recipe`."""
        found: dict[str, Any] = {"epochs": coop_epochs(shots, dataset)}
        if dataset in SMALL_BATCHES:
            found["batch_size"] = 32
        return {**found, "global_logits": True} if dataset == "imagenet" else found

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes as all methods, and reads the patches of each image once. See `Method.fit`."""
        with self.patches.keeping():
            return super().fit(shots, tuning=tuning, generator=generator)

    def class_features(self) -> Float[Tensor, "n2 k d"]:
        """The class features of each prompt, and behind them their mean, if it is compared."""
        features = self.prompt.class_features()
        if not self.global_logits:
            return features
        return torch.cat([features, features.mean(dim=0, keepdim=True)])

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled similarity of the patches of each image to the prompts of each class."""
        texts = self.weights()
        rows = min(IMAGE_ROWS, NUMBERS // (PATCHES * len(texts) * texts.shape[1]))
        return in_parts(lambda part: self.compare(part, texts), batch, rows)

    def compare(self, batch: Batch, texts: Float[Tensor, "n2 k d"]) -> Float[Tensor, "b k"]:
        """The logits of images at once.

        Args:
            batch: b images.
            texts: What `class_features` gives, of unit norm.
        """
        seen = self.patches.read(batch)
        local = texts[:-1] if self.global_logits else texts
        logits = transported_similarity(similarities(unit(seen.patches), local))
        if self.global_logits:
            logits = logits + unit(seen.features) @ texts[-1].T
        return self.backbone.logit_scale * logits
