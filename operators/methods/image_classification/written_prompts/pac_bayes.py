"""PAC-Bayes: a prompt that grows word by word, and a bound on how wrong it can be.

Source: Akinwande et al., "Understanding prompt engineering may not require rethinking
generalization", ICLR 2024, https://arxiv.org/abs/2310.03957, sections 3 and 4. No code is public;
the search is inferred from the paper's description of it: in each step the word of the vocabulary
is put behind the others with which the fewest labelled images are wrong, optionally less what the
text costs under the prior.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.kept_text import KeptText
from operators.blocks.prompt_bounds import DELTA, PRIORS, bound_of
from operators.blocks.template_scores import right_answers, template_vectors
from operators.bounds import Bounds, Brief, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.written_prompts.whole_words import whole_words
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class Scored(NamedTuple):
    """A template and how it did.

    Attributes:
        score: The greater the better.
        right: Labelled images that it classifies right.
        text: With one `{}`.
    """

    score: float
    right: int
    text: str


class PacBayes(StaticClassifier):
    """Classifies with a template that was grown greedily, and tells a bound on its error.

    Dimensions: k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used.
        search: `greedy` grows a prompt; `card` takes the templates of the dataset's card and keeps
            the best, as a person who tries a few does.
        words: Most words of a prompt that is grown.
        candidates: Words of the vocabulary that a step tries.
        penalty: What a nat under the prior costs, in images that are classified right.
        prior: Over templates; see `operators/blocks/prompt_bounds.py`.
        delta: In what share of all draws the bound may fail.
    """

    card = MethodCard(
        title="PAC-Bayes greedy prompts",
        family="written_prompts",
        tunes="the words of one template, grown greedily",
        source="Akinwande et al., ICLR 2024, https://arxiv.org/abs/2310.03957",
        cost="no step; a pass of all class prompts for each of 1,000 words and each place",
        departures=(
            "inferred: no code is public",
            "one prompt for all classes, whose names count as given",
            "1,000 words of the vocabulary a step, drawn anew, not all of its tokens",
            "of prompts that are as good on the way the shortest is kept",
            "the prior is uniform over tokens unless smollm2 is asked for, which is a smaller "
            "language model than the paper's",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        search: Literal["greedy", "card"] = "greedy",
        words: Annotated[int, Bounds(1, 60), Brief(1)] = 5,
        candidates: Annotated[int, Bounds(1, 1_000_000), Brief(4)] = 1000,
        penalty: Weight = 0.0,
        prior: Annotated[str, PRIORS] = "uniform",
        delta: Annotated[float, Bounds(0, 1, above=True, below=True)] = DELTA,
    ) -> None:
        super().__init__(backbone, classes)
        self.complexity: Callable[[str, DualEncoder], float] = PRIORS.find(prior)
        self.search, self.words, self.candidates = search, words, candidates
        self.penalty, self.prior, self.delta = penalty, prior, delta
        self.template = KeptText(backbone.device)

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["search"] == "greedy":
            return {}
        why = "no prompt is grown. Ask for search=greedy as well."
        return dict.fromkeys(("words", "candidates"), why)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Searches, then bounds the error. See `Method.fit`."""
        if self.search == "greedy":
            best, tried = self._grown(shots.train, generator)
        else:
            scored = self._scored((*self.classes.templates, *self.classes.ensemble), shots.train)
            best, tried = max(scored, key=lambda each: each.score), scored
        self.template.text = best.text
        self.train(False)
        images, nats = len(shots.train), self.complexity(best.text, self.backbone)
        told = {"template": best.text, "prior": self.prior, "delta": self.delta}
        return FitReport(
            found={
                **told,
                **bound_of(images - best.right, images, nats, self.delta),
                "tried": [{"template": t.text, "accuracy": t.right / images} for t in tried],
            }
        )

    def _grown(self, images: Batch, generator: torch.Generator) -> tuple[Scored, list[Scored]]:
        """The best prompt on the way, of equals the shortest, and all that were on it."""
        vocabulary = whole_words(self.backbone.tokenizer)
        way = self._scored(("{}.",), images)
        for _ in range(self.words):
            drawn = torch.randperm(len(vocabulary), generator=generator)[: self.candidates]
            before = way[-1].text.removesuffix("{}.")
            texts = [f"{before}{vocabulary[place]} {{}}." for place in drawn.tolist()]
            way.append(max(self._scored(texts, images), key=lambda each: each.score))
        return max(way, key=lambda each: each.score), way

    def _scored(self, templates: Sequence[str], images: Batch) -> list[Scored]:
        """How each of some templates does on labelled images."""
        right = right_answers(self.backbone, self.classes, templates, images).tolist()
        costs = [0.0] * len(templates)
        if self.penalty:
            costs = [self.penalty * self.complexity(text, self.backbone) for text in templates]
        return [
            Scored(number - cost, number, text)
            for number, cost, text in zip(right, costs, templates, strict=True)
        ]

    def class_features(self) -> Float[Tensor, "k d"]:
        """Those of the template that was found; before that, of the dataset's card."""
        text = self.template.text
        if not text:
            return self.hand_written
        return template_vectors(self.backbone, self.classes, (text,))[0]
