"""CSP: learn a word for each attribute and each object, and compose the words anew.

Source: Nayak et al., "Learning to Compose Soft Prompts for Compositional Zero-Shot Learning", ICLR
2023, https://arxiv.org/abs/2204.03574, section 4; models/csp.py and train.py of the authors' code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder, TextPrompts
from operators.bounds import Bounds, Brief
from operators.engine.transfer import onto
from operators.episodes.episode import Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.classifier import Classifier
from operators.methods.compositional.base import PairClassifier, read_pairs
from operators.shapes import Float
from operators.tuning import FitReport, Tuning

PROMPT = "a photo of X X"  # one token each for the attribute and the object; no full stop
Dropout = Annotated[float, Bounds(0, 1, below=True), Brief(0.0)]


class CSP(PairClassifier):
    """Classifies with the prompts `a photo of [attribute] [object]`, whose two words are learned.

    A word that has no embedding of its own, of a class that came later, has the one that it starts
    from, as in the paper's mixed vocabulary (section 5.4).

    Dimensions: k classes, v attributes and objects together, w width of a token embedding.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k pairs that are learned, with the whole vocabulary.
        generator: Not used: a word starts from the mean of its tokens.
        dropout: Share of the numbers of the table of words that a step does without.
    """

    card = MethodCard(
        title="CSP (Compositional Soft Prompting)",
        family="vocabulary",
        tunes="one token embedding for each attribute and each object",
        source="Nayak et al., ICLR 2023, https://arxiv.org/abs/2204.03574",
        cost="a step takes the prompts of all seen pairs through the text tower and back",
        views="fresh:perspective",
        views_source="CSP code, datasets/composition_dataset.py, transform_image",
        departures=(
            "a step of 128 images, where two of 64 with a dropout mask each are added up there",
            "embeddings and towers in float32, not float16",
            "the prompt is cut at its end, where the code trains with 8 tokens and tests with 16",
        ),
    )
    tuning = Tuning(
        optimizer="adam",
        lr=5e-5,
        epochs=20,
        batch_size=128,
        weight_decay=1e-5,
        warmup_epochs=0,
        schedule="constant",
        drop_last=False,
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        dropout: Dropout = 0.3,
    ) -> None:
        super().__init__(backbone, classes)
        self.dropout = dropout
        self.learned_words = self.vocabulary
        words = (*self.vocabulary.attributes, *self.vocabulary.objects)
        self.words = nn.Parameter(word_embeddings(backbone, words))
        self._noise: torch.Generator | None = None
        self._compose()

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Larger steps and less dropout on shoes. See `Method.recipe`."""
        return {"lr": 5e-4, "dropout": 0.2} if dataset == "ut_zappos" else {}

    def _compose(self) -> None:
        """Lays out a prompt for each class, and finds its words."""
        own, asked = self.learned_words, self.vocabulary
        places = {("attribute", word): place for place, word in enumerate(own.attributes)}
        start = len(own.attributes)
        places |= {("object", word): start + place for place, word in enumerate(own.objects)}
        unlearned: list[str] = []
        rows = []
        for pair in asked.pairs:
            words = ("attribute", asked.attributes[pair[0]]), ("object", asked.objects[pair[1]])
            for word in words:
                if word not in places:
                    places[word] = len(self.words) + len(unlearned)
                    unlearned.append(word[1])
            rows.append([places[word] for word in words])
        device = self.words.device
        width = self.words.shape[1]
        beyond = word_embeddings(self.backbone, unlearned) if unlearned else torch.empty(0, width)
        self.register_buffer("unlearned", beyond.to(self.words), persistent=False)
        self.register_buffer("places", torch.tensor(rows, device=device), persistent=False)
        tokens = self.backbone.tokenize([PROMPT])
        k, end = len(rows), tokens.end
        slots = torch.stack([end - 2, end - 1], dim=1)
        embeddings = self.backbone.embed(tokens.ids)
        self.layout = TextPrompts(
            tokens.ids.expand(k, -1),
            embeddings.expand(k, -1, -1),
            end.expand(k),
            slots.expand(k, -1),
        )

    places: Tensor
    unlearned: Tensor

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes the words, some of whose numbers each step does without. See `Method.fit`."""
        self._noise = generator
        try:
            return super().fit(shots, tuning=tuning, generator=generator)
        finally:
            self._noise = None

    def with_classes(self, classes: Classes) -> Classifier:
        """See `Classifier.with_classes`; words that were not learned are read as they are."""
        if classes.vocabulary is None:
            said = read_pairs(classes.names, self.learned_words)
            classes = replace(classes, vocabulary=said)
        learned = replace(self.classes, vocabulary=self.learned_words)
        twin: Any = super().with_classes(learned)
        twin.classes = classes
        twin._compose()
        return twin

    def class_features(self) -> Float[Tensor, "k d"]:
        """The features of the prompts that the words are composed to, of any length."""
        words = self.words
        if self.training and self._noise is not None and self.dropout:
            kept = onto(torch.rand(words.shape, generator=self._noise), words.device)
            kept = kept >= self.dropout
            words = words * kept / (1 - self.dropout)
        words = torch.cat([words, self.unlearned])
        return self.backbone.encode_prompts(self.layout, words[self.places])


@torch.no_grad()
def word_embeddings(backbone: DualEncoder, words: Sequence[str]) -> Float[Tensor, "v w"]:
    """The mean of the token embeddings of each word, which may be of several tokens.

    Args:
        backbone: Gives tokens and embeddings.
        words: v of them.
    """
    tokens = backbone.tokenize(list(words))
    place = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
    inside = (place >= backbone.text_start) & (place < tokens.end[:, None])
    embeddings = backbone.embed(tokens.ids) * inside[..., None]
    return embeddings.sum(dim=1) / inside.sum(dim=1, keepdim=True)
