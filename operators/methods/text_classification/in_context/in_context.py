"""In-context learning: labelled examples stand in front of every question; nothing is learned.

Source: Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020,
https://arxiv.org/abs/2005.14165, section 2. Which examples are shown and in which order follows
from the seed, as in Zhao et al., ICML 2021, https://arxiv.org/abs/2102.09690, who calibrate the
answers.
The tokens of the examples are the same for all texts, so a causal model reads them once a batch.
"""

from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones.language import LanguageModel
from operators.backbones.language.template import demonstrations
from operators.blocks.calibration import content_free_scores
from operators.blocks.demonstrations import chosen_examples, fitting_examples
from operators.bounds import Bounds, Brief
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import PromptClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class InContext(PromptClassifier):
    """Shows drawn examples with their answers, and asks.

    Args:
        backbone: Causal or masked language model.
        classes: Their template and words.
        generator: Not used.
        n_examples: Examples that are shown at most, the classes in turn; fewer where they would
            take more than half of what the model reads.
        calibrated: Take off what texts without content are answered behind the same examples.
    """

    card = MethodCard(
        title="In-context examples",
        family="in_context",
        tunes="nothing; labelled examples are shown in front of every question",
        source="Brown et al., NeurIPS 2020, https://arxiv.org/abs/2005.14165",
        cost="a pass of the language model for each text, and one for the examples each 32 texts",
        needs=frozenset({"answers"}),
        features=False,
        departures=("the classes take turns among the examples, which were drawn from all rows",),
    )

    def __init__(
        self,
        backbone: LanguageModel,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_examples: Annotated[int, Bounds(1, 1024), Brief(2)] = 16,
        calibrated: bool = False,
    ) -> None:
        super().__init__(backbone, classes)
        self.n_examples = n_examples
        self.calibrated = calibrated
        # As UTF-8, since a prompt file holds numbers.
        self.register_buffer("examples", torch.empty(0, dtype=torch.uint8))

    examples: Tensor

    @property
    def shown(self) -> str:
        """The examples as text."""
        return bytes(self.examples.tolist()).decode()

    @cached_property
    def content_free(self) -> Float[Tensor, "k"]:  # noqa: F821
        """What is taken off; see `content_free_scores`."""
        return content_free_scores(self.ask)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Draws examples and their order. See `Method.fit`."""
        labels, texts = shots.train.labels.tolist(), shots.train.texts
        order = chosen_examples(labels, generator)
        texts = [texts[row] for row in order]
        words = [self.classes.words[labels[row]] for row in order]
        shown = fitting_examples(self.backbone, self.template, texts, words, self.n_examples)
        texts, words = ([values[place] for place in shown] for values in (texts, words))
        self.show(demonstrations(self.template, texts, words))
        return FitReport()

    def show(self, examples: str) -> None:
        """Puts a text in front of every question."""
        self.examples = torch.tensor(list(examples.encode()), dtype=torch.uint8)
        vars(self).pop("content_free", None)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Log-probability of each class's word, calibrated where that was asked for."""
        found = super().logits(batch)
        return found - self.content_free if self.calibrated else found

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Takes the length of the examples from the file."""
        self.show(bytes(state_dict["examples"].tolist()).decode())
        return super().load_state_dict(state_dict, *args, **kwargs)
