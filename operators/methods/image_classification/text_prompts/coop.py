"""CoOp: learn the context words of the class prompts; keep the encoders frozen.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022,
https://arxiv.org/abs/2109.01134, section 3. Few-shot runs learn 16 random tokens; the base-
to-new comparison of the CoCoOp paper starts CoOp from "a photo of a" and is reproduced here
by `recipe`. Departures from the authors' code: the context is kept in float32, and the
prompt is cut at its last token, which changes nothing a causal or masked tower can see.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.learned_context import LearnedContext
from operators.blocks.prompt_tokens import ClassPosition, refuse_other_length
from operators.blocks.training_length import coop_epochs
from operators.bounds import Deviation, Tokens
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.classifier import Classifier
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class CoOp(StaticClassifier):
    """Classifies with the prompts `[v_1] ... [v_m] <class name>.`, where v is learned.

    Dimensions: k classes, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Source of a random initial context.
        n_context: m; the length of `context_init` where that is given.
        per_class: Learn a context for each class (the paper's CSC), not one for all.
        class_position: Where the class name stands: `end`, `middle` or `front`.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
    """

    card = MethodCard(
        title="CoOp (Context Optimization)",
        family="text_prompts",
        tunes="m context vectors at the input of the text tower, shared or one set a class",
        source="Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134",
        cost="a step takes all class prompts through the text tower and back",
        views="fresh",
        views_source="CoOp code, configs/trainers/CoOp: random_resized_crop and random_flip",
        departures=("context in float32, not float16",),
    )
    tuning = Tuning(lr=0.002, epochs=200, batch_size=32)
    repeats = True

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 16,
        per_class: bool = False,
        class_position: ClassPosition = "end",
        context_init: str = "",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
            position=class_position,
            per_class=per_class,
        )

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Fewer epochs for fewer shots; worded context where new classes are asked for.

        See `Method.recipe`.
        """
        if protocol == "few_shot":
            return {"epochs": coop_epochs(shots, dataset)}
        worded = {"n_context": 4, "context_init": "a photo of a"}
        return {**worded, "epochs": 50} if dataset == "imagenet" else worded

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])
        if hyperparameters["per_class"] and protocol not in ("few_shot", "zero_shot"):
            raise ValueError(
                "per_class=True learns a context for each class and has none for another one: use "
                f"per_class=False in {protocol}."
            )

    def with_classes(self, classes: Classes) -> Classifier:
        """See `Classifier.with_classes`; a context of each class's own stays with its classes."""
        if self.hyperparameters.get("per_class") and classes.names != self.classes.names:
            raise ValueError(
                "CoOp with per_class=True learned a context for each of its own classes, so it "
                "cannot classify others: tune it with per_class=False."
            )
        return super().with_classes(classes)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current context gives."""
        return self.prompt.class_features()
