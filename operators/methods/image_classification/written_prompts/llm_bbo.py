"""LLM-BBO: a language model rewrites the template, told only how well others did.

Source: Liu et al., "Language Models as Black-Box Optimizers for Vision-Language Models", CVPR 2024,
https://arxiv.org/abs/2309.05950, section 3, and the authors' code. A pool of templates is scored by
the labelled images that each classifies right. The best and the worst are shown to somebody who
writes, what is written joins the pool, and so on; the best of the pool is kept. No gradient, no
feature and no score of a single class leaves the model.

Whoever writes is a function here (`proposers.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.kept_text import KeptText
from operators.blocks.prompt_bounds import DELTA, bound_of, uniform_prior
from operators.blocks.template_scores import right_answers, template_vectors
from operators.bounds import Bounds, Brief
from operators.episodes.episode import Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.written_prompts.proposers import (
    PROPOSERS,
    drawn_templates,
    is_template,
)
from operators.shapes import Float
from operators.tuning import FitReport, Tuning

TRIES = 15  # of the code, at an answer that holds a template


class LLMBlackBox(StaticClassifier):
    """Classifies with the best template of a pool that somebody else has written.

    Dimensions: k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used.
        proposer: Who writes templates; see `proposers.py`.
        starts: Templates that the pool begins with.
        calls: Of the proposer: the budget.
        proposals: Templates that a call is asked for.
        shown: Best templates, and worst ones, that a call is shown.
    """

    card = MethodCard(
        title="LLM-BBO (Language models as black-box optimizers)",
        family="written_prompts",
        tunes="the words of one template, by search",
        source="Liu et al., CVPR 2024, https://arxiv.org/abs/2309.05950",
        cost="no step; a pass of all class prompts for each of 90 templates",
        external_knowledge=True,
        departures=(
            "templates are mutated, not written by a chat model, unless a function is given for it",
            "the pool begins with prompts of CLIP's authors, where the paper has captions of "
            "LAION-COCO that are not published",
            "a call that 15 answers without a template leave empty brings nothing, where the code "
            "breaks off",
            "of equals the one that was scored first wins, which the code leaves to a dictionary",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        proposer: Annotated[str, PROPOSERS] = "mutation",
        starts: Annotated[int, Bounds(1, 10_000), Brief(4)] = 80,
        calls: Annotated[int, Bounds(0, 100_000), Brief(2)] = 10,
        proposals: Annotated[int, Bounds(1, 1000)] = 1,
        shown: Annotated[int, Bounds(1, 1000)] = 3,
    ) -> None:
        super().__init__(backbone, classes)
        self.propose: Callable[..., Sequence[str]] = PROPOSERS.find(proposer)
        self.starts, self.calls = starts, calls
        self.proposals, self.shown = proposals, shown
        self.template = KeptText(backbone.device)

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["calls"]:
            return {}
        names = ("proposer", "proposals", "shown")
        return dict.fromkeys(names, "nobody is called. Ask for calls=10 as well.")

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Scores the pool, then has it grow. See `Method.fit`."""
        pool: dict[str, int] = {}  # right answers by template, in the order scored

        def score(templates: Sequence[str]) -> None:
            fresh = [text for text in dict.fromkeys(templates) if text not in pool]
            if fresh:
                right = right_answers(self.backbone, self.classes, fresh, shots.train)
                pool.update(zip(fresh, right.tolist(), strict=True))

        score(drawn_templates(self.starts, generator))
        for _ in range(self.calls):
            ranked = sorted(pool, key=lambda text: -pool[text])  # stable: of equals the first
            shown = ranked[: self.shown], ranked[: -self.shown - 1 : -1]
            score(self._asked(*shown, generator))
        best = max(pool, key=lambda text: pool[text])
        self.template.text = best
        self.train(False)
        images = len(shots.train)
        tried = [{"template": text, "accuracy": right / images} for text, right in pool.items()]
        bound = bound_of(images - pool[best], images, uniform_prior(best, self.backbone))
        return FitReport(
            found={"template": best, "prior": "uniform", "delta": DELTA, **bound, "tried": tried}
        )

    def _asked(
        self, best: Sequence[str], worst: Sequence[str], generator: torch.Generator
    ) -> list[str]:
        """Templates of one call; none where no answer holds any."""
        for _ in range(TRIES):
            answer = self.propose(best, worst, self.proposals, generator)
            if templates := [text for text in answer if is_template(text)]:
                return templates
        return []

    def class_features(self) -> Float[Tensor, "k d"]:
        """Those of the template that was found; before that, of the dataset's card."""
        text = self.template.text
        if not text:
            return self.hand_written
        return template_vectors(self.backbone, self.classes, (text,))[0]
