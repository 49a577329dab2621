"""GRAM: a prompt's start and what regulates its gradients are meta-learned on captioned images.

Source: Li et al., "Gradient-Regulated Meta-Prompt Learning for Generalizable Vision-Language
Models", ICCV 2023, https://arxiv.org/abs/2303.06571. No code was released; what follows is inferred
from its description and from the code of the same authors' method for language models, SUPMER
(Pan et al., EMNLP 2023 Findings, https://aclanthology.org/2023.findings-emnlp.75/). The first stage
is a trial of this method with `stage=meta` on image-text pairs. Tasks are pairs of clusters of
captions: the prompt takes one regulated gradient step on images of one cluster, and the loss that
it then has on images of the other is what the start and the regulator are learned by. The second
stage is CoOp from that start, with each gradient regulated before the optimiser's step.

Inferred: what a gradient step is taken by is the cross-entropy of images to the captions of their
task; the gate of the regulator reads the mean feature of the images. The gradient of the support
images counts as a constant in the outer step (first order), as in SUPMER's code. There, the outer
loss is of mixtures of two query sets, mixed more as learning goes on, which is SUPMER's own and is
not here.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, TextPrompts, unit
from operators.blocks.learned_context import LearnedContext
from operators.blocks.prompt_tokens import refuse_other_length
from operators.blocks.training_length import coop_epochs
from operators.bounds import Bounds, Deviation, Rate, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.views import CENTRE
from operators.methods.base import MethodCard, Starting
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.shared_starts.caption_tasks import (
    CaptionTasks,
    caption_tasks,
    few_captions,
)
from operators.methods.image_classification.shared_starts.gradient_regulator import (
    GradientRegulator,
)
from operators.methods.material import Material
from operators.shapes import Float, Int
from operators.tuning import FitReport, Tuning, tune

LONGEST_GRADIENT = 1.0  # of the start and of the regulator, in an outer step


class GRAM(StaticClassifier):
    """Tunes CoOp's context by gradients that a learned regulator turns.

    Dimensions: k classes, m context tokens, w width of a token, d of a feature, t tasks of an outer
    step, n images of a task to learn from and as many to ask about.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes; with `stage=meta` their names are the captions.
        generator: Draws a random context, then the regulator.
        stage: `tune` learns the context; `meta` its start and the regulator, of which a step has
            as many tasks as fill its batch.
        n_context: m; the length of `context_init` where that is given.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
        rank: Of the regulator's two layers.
        last_relu: Whether the regulator cuts off negative numbers behind its last layer, too, as
            SUPMER's code does: M(g) then has none.
        captions: n, at most; clusters of captions have about as many.
        inner_lr: Learning rate of the step that a task takes.
        regulator_lr: Of the regulator; `lr` is that of the start.
    """

    card = MethodCard(
        title="GRAM (Gradient-RegulAted Meta-prompt learning)",
        family="shared_starts",
        tunes="context vectors at the input of the text tower, from a start and by a regulator of "
        "gradients that were meta-learned on captioned images",
        source="Li et al., ICCV 2023, https://arxiv.org/abs/2303.06571",
        cost="a step takes all class prompts through the text tower and back; before it, once a "
        "seed, a trial on the captioned images, each step of which takes two passes",
        views="fresh",
        views_source="not published; as CoOp code, configs/trainers/CoOp: random_resized_crop and "
        "random_flip",
        departures=(
            "no code was released: both stages are inferred from the paper's description and from "
            "the code of the same authors' SUPMER, for language models",
            "the captioned images are a labelled dataset whose class names are the captions, seen "
            "as centre crops; published are unlabelled pairs of images and texts",
            "clusters are even and of the features of captions; published is a hierarchy of "
            "clusters of images and texts",
            "queries are not mixed with those of other tasks, as SUPMER's are",
            "the regulator's last layer has no ReLU, with which it would have no negative number "
            "(last_relu=true has SUPMER's); its rank is 32, SUPMER's is as large as its width",
            "the second stage has CoOp's settings, and does not clip gradients as SUPMER's does",
            "of the forms text, image and both that the prompt may have, text alone is here",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=200, batch_size=32)
    starting = Starting(
        source_datasets="world-pairs",
        source_shots=-1,
        source_hyperparameters={
            "optimizer": "adam",
            "epochs": 100,
            "batch_size": 128,
            "weight_decay": 0.0,
            "warmup_epochs": 0,
            "schedule": "linear",
        },
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        stage: Literal["tune", "meta"] = "tune",
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        rank: Annotated[int, Bounds(1, 4096)] = 32,
        last_relu: bool = False,
        captions: Annotated[int, Bounds(2, 1024)] = 16,
        inner_lr: Rate = 0.1,
        regulator_lr: Rate = 1e-4,
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
        self.regulator = GradientRegulator(
            backbone.token_width,
            backbone.feature_width,
            rank=rank,
            last_relu=last_relu,
            generator=generator,
            device=backbone.device,
        ).requires_grad_(stage == "meta")
        self.stage = stage
        self.captions = captions
        self.inner_lr, self.regulator_lr = inner_lr, regulator_lr

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """CoOp's epochs. See `Method.recipe`."""
        if protocol == "few_shot":
            return {"epochs": coop_epochs(shots, dataset)}
        return {"epochs": 50} if dataset == "imagenet" else {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])
        sources = hyperparameters["source_datasets"]
        if hyperparameters["stage"] == "meta" and sources:
            raise ValueError(
                f"stage='meta' learns a start and has none itself, but source_datasets={sources!r}:"
                " say source_datasets='' as well, or leave stage out."
            )

    @classmethod
    def lacking(
        cls, hyperparameters: Mapping[str, Any], tuning: Tuning | None, material: Material
    ) -> str:
        """A start takes some captions. See `Method.lacking`."""
        return few_captions(material.present) if hyperparameters["stage"] == "meta" else ""

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        found = {}
        if hyperparameters["context_init"]:
            found["init_std"] = "the context starts from words. Ask for context_init='' as well."
        if hyperparameters["stage"] == "tune":
            reason = (
                "it is about the start: say so of the trial that learns it, in "
                "source_hyperparameters."
            )
            found |= dict.fromkeys(("captions", "inner_lr", "regulator_lr"), reason)
        return found

    @classmethod
    def source_settings(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same prompt and regulator, meta-learned. See `Method.source_settings`."""
        same = "n_context", "context_init", "init_std", "rank", "last_relu"
        return {**{name: hyperparameters[name] for name in same}, "stage": "meta"}

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """A start is learned on centre crops. See `Method.view_epochs`."""
        return 0 if hyperparameters["stage"] == "meta" else super().view_epochs(hyperparameters)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current context gives."""
        return self.prompt.class_features()

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns the context, or its start and the regulator. See `Method.fit`.

        Raises:
            ValueError: The images of a start have too few different captions.
        """
        if tuning is None:
            return FitReport()
        if self.stage == "tune":
            return tune(self, shots, tuning, generator, backward=self.regulated_step)
        tasks = caption_tasks(self.hand_written, shots.train.labels, self.captions, generator)
        names = dict(self.regulator.named_parameters(prefix="regulator"))
        return tune(
            self,
            replace(shots, views=CENTRE),
            tuning,
            generator,
            backward=partial(self.outer_step, tasks),
            rates=dict.fromkeys(names, self.regulator_lr / tuning.lr),
            draw=tasks.draw,
        )

    def regulated_step(self, batch: Batch) -> Float[Tensor, ""]:
        """Gives the context its regulated gradient; returns the cross-entropy."""
        loss = self.loss(batch)
        (gradient,) = torch.autograd.grad(loss, self.prompt.context)
        with torch.no_grad():
            regulated, _ = self.regulator(gradient, unit(batch.features).mean(0, keepdim=True))
        self.prompt.context.grad = regulated
        return loss.detach()

    def outer_step(self, tasks: CaptionTasks, batch: Batch) -> Float[Tensor, ""]:
        """Gives the start and the regulator their gradients of first order.

        Args:
            tasks: Drew the batch.
            batch: The images of t tasks, of each those to learn from and those to ask about.

        Returns:
            Mean loss of the queries after the steps of their tasks.
        """
        labels = batch.labels.view(-1, 2, tasks.captions)
        images = unit(batch.features).view(*labels.shape, -1)
        start = self.prompt.context.detach().repeat(len(labels), 1, 1).requires_grad_()
        support = self._losses(images[:, 0], labels[:, 0], start)
        (gradients,) = torch.autograd.grad(support.sum(), start)

        regulated, gates = self.regulator(gradients, images[:, 0].mean(1))
        adapted = self.prompt.context - self.inner_lr * regulated
        moved = adapted.detach().requires_grad_()
        queries = self._losses(images[:, 1], labels[:, 1], moved)
        (pulls,) = torch.autograd.grad(queries.sum(), moved)

        # The more alike the two sides of a task, the more of the plain gradient is to pass.
        alike = (1 + F.cosine_similarity(pulls, regulated.detach(), dim=-1).mean(-1)) / 2
        wanted = (tasks.nearness(labels) + alike) / 2
        penalty = (wanted - gates.flatten()).square().mean()
        # The text tower has been gone back through: the rest of the chain rule is this product.
        ((pulls * adapted).sum() / len(labels) + penalty).backward()
        for part in (self.prompt, self.regulator):
            torch.nn.utils.clip_grad_norm_(part.parameters(), LONGEST_GRADIENT)
        return queries.detach().mean()

    def _losses(
        self,
        images: Float[Tensor, "t n d"],
        labels: Int[Tensor, "t n"],
        contexts: Float[Tensor, "t m w"],
    ) -> Float[Tensor, "t"]:  # noqa: F821
        """Cross-entropy of the images of each task among their own captions.

        Args:
            images: Unit norm.
            labels: Their captions, each once in a task.
            contexts: One a task.
        """
        count, captions = labels.shape
        laid, chosen = self.prompt.layout, labels.flatten()
        prompts = TextPrompts(
            laid.ids[chosen], laid.embeddings[chosen], laid.end[chosen], laid.slots[chosen]
        )
        own = contexts.repeat_interleave(captions, dim=0)
        texts = unit(self.backbone.encode_prompts(prompts, own)).view(count, captions, -1)
        logits = self.backbone.logit_scale * images @ texts.mT
        right = torch.arange(captions, device=logits.device).expand(count, -1)
        return F.cross_entropy(logits.mT, right, reduction="none").mean(1)
