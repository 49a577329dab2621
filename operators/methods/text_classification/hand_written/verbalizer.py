"""Hand-written prompt with answer words, calibrated or not; nothing is learned.

Source: Schick and Schütze, "Exploiting Cloze Questions for Few Shot Text Classification and Natural
Language Inference", EACL 2021, https://arxiv.org/abs/2001.07676, section 3; the calibrated form
is that of Zhao et al., "Calibrate Before Use", ICML 2021, https://arxiv.org/abs/2102.09690.
"""

from functools import cached_property

import torch
from torch import Tensor

from operators.backbones.language import LanguageModel
from operators.blocks.calibration import content_free_scores
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import PromptClassifier
from operators.shapes import Float


class Verbalizer(PromptClassifier):
    """Asks the template of the dataset's card, and compares the words of the classes.

    Args:
        backbone: Causal or masked language model.
        classes: Their template and words.
        generator: Not used.
    """

    card = MethodCard(
        title="Hand-written prompt with answer words",
        family="hand_written",
        tunes="nothing",
        source="Schick and Schütze, EACL 2021, https://arxiv.org/abs/2001.07676, section 3",
        cost="a pass of the language model for each text",
        needs=frozenset({"answers"}),
        learns=False,
        features=False,
        departures=("an answer of several tokens has the sum of their log-probabilities",),
    )

    def __init__(
        self, backbone: LanguageModel, classes: Classes, *, generator: torch.Generator
    ) -> None:
        super().__init__(backbone, classes)


class CalibratedVerbalizer(PromptClassifier):
    """The same, less what the prompt prefers where the text says nothing.

    Args:
        backbone: Causal or masked language model.
        classes: Their template and words.
        generator: Not used.
    """

    card = MethodCard(
        title="Hand-written prompt, contextual calibration",
        family="hand_written",
        tunes="nothing; what three texts without content are answered is taken off",
        source="Zhao et al., ICML 2021, https://arxiv.org/abs/2102.09690",
        cost="a pass of the language model for each text, and three more",
        needs=frozenset({"answers"}),
        learns=False,
        features=False,
        departures=("an answer may have several tokens",),
    )

    def __init__(
        self, backbone: LanguageModel, classes: Classes, *, generator: torch.Generator
    ) -> None:
        super().__init__(backbone, classes)

    @cached_property
    def content_free(self) -> Float[Tensor, "k"]:  # noqa: F821
        """What is taken off; see `content_free_scores`."""
        return content_free_scores(self.ask)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Log-probability of each class's word, less that of texts without content."""
        return super().logits(batch) - self.content_free
