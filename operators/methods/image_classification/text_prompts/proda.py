"""ProDA: a Gaussian over the class vectors that many learned contexts give.

Source: Lu et al., "Prompt Distribution Learning", CVPR 2022, https://arxiv.org/abs/2205.03340,
whose repository (bbbdylan/proda) holds no code. What is written here was read in a third party's
version, `trainers/proda.py` of LAMDASZ-ML/BMIPRS, which is secondary. That version computes the
penalty on contexts that are alike and never adds it to the loss; here it is added, with the weight
that another third party's configuration has (`TRAINER.PRODA.ALPHA`). `orthogonality_weight=0` is
what the former trains.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.learned_context import LearnedContexts
from operators.blocks.prompt_tokens import prompt_tokens
from operators.bounds import Bounds, Brief, Deviation, Tokens, Weight
from operators.engine.stacking import take_step
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import KeepsTexts
from operators.shapes import Float, Int
from operators.tuning import FitReport, Tuning, tune


class ProDA(KeepsTexts):
    """Compares an image to the mean class vector of p prompts; a step sees some of them.

    The class name stands in front of a quarter of the contexts, in the middle of a quarter and
    behind half of them. A step takes n contexts of a permutation of all, and the loss is an upper
    bound of the expected cross-entropy where class vectors are Gaussian with their mean and
    covariance, + orthogonality_weight * the mean absolute cosine between the p prompts without a
    class name.

    Dimensions: b images, k classes, p prompts, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the contexts.
        n_prompts: p.
        prompts_a_step: n.
        n_context: m.
        init_std: Standard deviation of the random start.
        orthogonality_weight: Of the penalty on contexts that are alike.
    """

    card = MethodCard(
        title="ProDA (Prompt Distribution Learning)",
        family="text_prompts",
        tunes="p sets of m context vectors at the input of the text tower, the class name in three "
        "places",
        source="Lu et al., CVPR 2022, https://arxiv.org/abs/2205.03340",
        cost="a step takes n prompts of each class through the text tower and back, and p without "
        "a name; a test image takes none",
        views="fresh",
        views_source="a third party's code, BMIPRS configs/trainers/ProDA: random_resized_crop and "
        "random_flip",
        departures=(
            "the authors published no code: a third party's was read, which is secondary",
            "the loop's settings are the third party's",
            "the penalty on contexts that are alike is part of the loss, which it is not in the "
            "third party's code",
            "contexts in float32, not float16",
        ),
    )
    tuning = Tuning(lr=0.001, epochs=100, batch_size=4, warmup_epochs=5)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_prompts: Annotated[int, Bounds(1, 256), Brief(4)] = 32,
        prompts_a_step: Annotated[int, Bounds(1, 256)] = 4,
        n_context: Tokens = 16,
        init_std: Deviation = 0.02,
        orthogonality_weight: Weight = 0.1,
    ) -> None:
        super().__init__(backbone, classes)
        self.orthogonality_weight = orthogonality_weight
        self.prompt = LearnedContexts(
            backbone,
            classes.names,
            generator=generator,
            count=n_prompts,
            n_context=n_context,
            std=init_std,
            positions=("end", "front", "end", "middle"),
        )
        self.nameless = prompt_tokens(backbone, [""], n_context=n_context, position="end")
        self.chosen: list[int] = list(range(prompts_a_step))  # of a step; `fit` moves on

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        p, n = hyperparameters["n_prompts"], hyperparameters["prompts_a_step"]
        if p % n:
            raise ValueError(
                f"prompts_a_step={n} does not divide n_prompts={p}: steps take the prompts in "
                "parts of equal size, so ask for a divisor."
            )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`; a single prompt has no other to be like."""
        if hyperparameters["n_prompts"] > 1:
            return {}
        return {"orthogonality_weight": "one prompt has no other. Ask for n_prompts=2 or more."}

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes with other contexts in every step, until all had their turn. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        turns = in_turns(len(self.prompt.context), len(self.chosen), generator)

        def backward(batch: Batch) -> Tensor:
            self.chosen = next(turns)
            return take_step(partial(self.loss, batch))

        return tune(self, shots, tuning, generator, backward=backward)

    def class_features(self) -> Float[Tensor, "p k d"]:
        """The class features of each prompt."""
        return self.prompt.class_features()

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled similarity of each image to the mean of each class, whose length stays."""
        mean = self.weights().mean(dim=0)
        return self.backbone.logit_scale * unit(batch.features) @ mean.T

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """The upper bound of the cross-entropy, and the penalty."""
        texts = unit(self.prompt.class_features(self.chosen))
        images = unit(batch.features)
        logits = bounding_logits(images, texts, batch.labels, self.backbone.logit_scale)
        loss = F.cross_entropy(logits, batch.labels)
        if not self.orthogonality_weight or len(self.prompt.context) == 1:
            return loss
        return loss + self.orthogonality_weight * self.likeness()

    def likeness(self) -> Float[Tensor, ""]:
        """Mean absolute cosine between different contexts, read without a class name."""
        texts = self.backbone.encode_prompts(self.nameless, self.prompt.context[:, None])
        texts = unit(texts[:, 0])
        p = len(texts)
        apart = 1 - torch.eye(p, device=texts.device)  # an index of booleans would be read
        return ((texts @ texts.T).abs() * apart).sum() / (p * (p - 1))


def in_turns(every: int, a_step: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Parts of permutations of 0 .. every - 1, without end.

    Args:
        every: How many there are.
        a_step: How many make a part; a divisor of `every`. All of them come in their own order.
        generator: Draws a permutation when the last one is used up, on the CPU.
    """
    while True:
        if a_step == every:
            yield list(range(every))
            continue
        order = torch.randperm(every, generator=generator).tolist()
        for start in range(0, every, a_step):
            yield order[start : start + a_step]


def bounding_logits(
    images: Float[Tensor, "b d"],
    texts: Float[Tensor, "n k d"],
    labels: Int[Tensor, "b"],  # noqa: F821
    scale: float,
) -> Float[Tensor, "b k"]:
    """Logits whose cross-entropy bounds the expected one, for Gaussian class vectors.

    s f . mean_c + s^2 / 2 * sum over channels of f^2 * the variance of t_y - t_c, where t are the
    class vectors, y is an image's own class and each channel has a variance of its own.

    Args:
        images: f, of unit norm.
        texts: t under each of n prompts, of unit norm.
        labels: y.
        scale: s.

    Source: Lu et al., CVPR 2022; the divisor n + 1 and one variance a channel are those of BMIPRS.
    The variance is expanded into squares and a product, so that no covariance of k times k classes
    is made.
    """
    mean = texts.mean(dim=0)
    apart = texts - mean
    squares = images.square()
    own = apart[:, labels]  # (n, b, d)
    spread = squares @ apart.square().sum(dim=0).T
    own_spread = torch.einsum("bd,nbd->b", squares, own.square())
    together = torch.einsum("nbd,nkd->bk", squares * own, apart)
    variance = (own_spread[:, None] + spread - 2 * together) / (len(texts) + 1)
    return scale * images @ mean.T + scale**2 / 2 * variance
