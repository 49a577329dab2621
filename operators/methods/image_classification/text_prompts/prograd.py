"""ProGrad: CoOp that learns only where it does not contradict the hand-written prompts.

Source: Zhu et al., "Prompt-aligned Gradient for Prompt Tuning", ICCV 2023,
https://arxiv.org/abs/2205.14865, section 3. Departures from the authors' code: the context is
kept in float32; the hand-written prompts are those on the dataset's card, which the code words
otherwise ("a type of pet, a photo of a {}."), and a worded start takes the words before the
class name, or "a photo of a" where there are none.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.anchor_loss import kl_divergence
from operators.blocks.learned_context import LearnedContext
from operators.blocks.prompt_tokens import worded_context
from operators.blocks.training_length import coop_epochs
from operators.bounds import Deviation, Share, Temperature, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

WEAKER = ("flowers102", "dtd", "eurosat")  # lambda 0.8 for 8 and 16 shots
WORDS = "a photo of a"  # to start from where a template has no word before the class name


class ProGrad(StaticClassifier):
    """Tunes CoOp's context by the part of a gradient that agrees with a second one.

    The first gradient is that of cross-entropy, the second that of KL(p || q) to the logits p of
    the hand-written prompts. Where the first points against it, that component is taken out.

    Dimensions: k classes, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Source of a random initial context.
        n_context: m.
        worded: Start from the words of the card's template before the class name, as the
            last of the m tokens; the others start from 0. If not, from N(0, init_std^2).
        init_std: Standard deviation of a random start.
        weight: Share of the contradicting component that is taken out (lambda).
        temperature: T, of the softmax of both logits.
    """

    card = MethodCard(
        title="ProGrad (Prompt-aligned Gradient)",
        family="text_prompts",
        tunes="16 context vectors at the input of the text tower, never against hand-written ones",
        source="Zhu et al., ICCV 2023, https://arxiv.org/abs/2205.14865",
        cost="a step takes all class prompts through the text tower and twice back",
        views="fresh",
        views_source="ProGrad code, configs/trainers/ProGrad: random_resized_crop and random_flip",
        departures=(
            "context in float32, not float16",
            "the hand-written prompts are those of the dataset's card",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=200, batch_size=32)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 16,
        worded: bool = True,
        init_std: Deviation = 0.02,
        weight: Share = 1.0,
        temperature: Temperature = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        # Drawn even where words take its place: the order of images comes from the same generator.
        self.prompt = LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words="",
            std=init_std,
        )
        if worded:
            self.prompt.context.data = padded_words(backbone, classes.templates[0], n_context)
        self.weight = weight
        self.temperature = temperature

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Fewer epochs for fewer shots, 100 where new classes are asked for; its own lambda.

        See `Method.recipe`.
        """
        weight = {"weight": 0.8} if shots >= 8 and dataset in WEAKER else {}
        if protocol == "few_shot":
            return {"epochs": coop_epochs(shots, dataset), **weight}
        return {"epochs": 50 if dataset == "imagenet" else 100, **weight}

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if not hyperparameters["worded"]:
            return {}
        return {"init_std": "the context starts from words. Ask for worded=false as well."}

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current context gives."""
        return self.prompt.class_features()

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns with the projected gradient in place of the plain one. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        return tune(self, shots, tuning, generator, backward=self.backward)

    def backward(self, batch: Batch) -> Float[Tensor, ""]:
        """Gives the context its projected gradient; returns the cross-entropy."""
        logits = self.logits(batch)
        loss = F.cross_entropy(logits, batch.labels)
        frozen = self.compare(batch, self.hand_written)
        general = kl_divergence(logits, frozen, self.temperature).mean()
        # The text tower is gone through once on the way there, and twice on the way back.
        (kept,) = torch.autograd.grad(general, self.prompt.context, retain_graph=True)
        (gradient,) = torch.autograd.grad(loss, self.prompt.context)
        self.prompt.context.grad = projected(gradient, kept, self.weight)
        return loss.detach()


def projected(gradient: Tensor, kept: Tensor, weight: float = 1.0) -> Tensor:
    """`gradient` without its component along `kept`, where the two point apart.

    Args:
        gradient: Of the loss that is to fall.
        kept: Of the loss that is not to rise; of the same shape.
        weight: Share of the component that is taken out.

    Returns:
        g where g . h >= 0, or where h is 0; else g - weight (g . h) / (h . h) h.

    Source: Zhu et al., ICCV 2023, section 3.2.
    """
    direction = F.normalize(kept.flatten(), dim=0).view_as(kept)
    against = (gradient * direction).sum().clamp(max=0)
    return gradient - weight * against * direction


def padded_words(backbone: DualEncoder, template: str, n_context: int) -> Float[Tensor, "1 m w"]:
    """The embeddings of a template's words before the class name, after zeros.

    Args:
        backbone: Gives tokens and embeddings.
        template: With one `{}`.
        n_context: m.

    Raises:
        ValueError: The words have more tokens than m.
    """
    words = template.partition("{}")[0].strip() or WORDS
    context = worded_context(backbone, words)
    if context.shape[1] > n_context:
        raise ValueError(
            f"n_context={n_context}, but the worded start {words!r} has {context.shape[1]} "
            f"tokens: ask for n_context={context.shape[1]} or more, or worded=False."
        )
    return F.pad(context, (0, 0, n_context - context.shape[1], 0))
