"""PLOT++: several prompts of both towers, moved onto each other at least cost.

Source: the authors' code of Chen et al., "PLOT: Prompt Learning with Optimal Transport for
Vision-Language Models", ICLR 2023, https://arxiv.org/abs/2210.01253: its folder plot-pp, which is
the form for a CLIP with a ViT.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder, unit
from operators.blocks.deep_tokens import started_image_tokens
from operators.blocks.learned_context import LearnedContexts
from operators.blocks.optimal_transport import similarities, transported_similarity
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.blocks.prompt_tokens import refuse_few_words
from operators.blocks.training_length import coop_epochs
from operators.bounds import Bounds, Brief, Deviation, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import KeepsTexts
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

# `template_dict` of the authors' trainers/plotpp.py; as many tokens are learned as the first phrase
# has words.
PHOTOS = "a photo of a, this is a photo, this is picture of, one picture of a"
PHRASES: dict[str, tuple[int, str]] = {
    "dtd": (
        5,
        "a photo of a texture, this is a photo texture, this is a picture texture, "
        "one picture of a texture",
    ),
    "eurosat": (
        5,
        "a centered satellite photo of, a centered satellite picture of, "
        "this is centered satellite photo of, one centered satellite photo of a",
    ),
    "fgvc_aircraft": (
        5,
        "a photo of an aircraft, a picture of an aircraft, this is aircraft picture of, "
        "one picture of an aircraft",
    ),
    "food101": (
        5,
        "a photo of a food, this is a food photo, this is food picture of, one picture of a food",
    ),
    "flowers102": (
        5,
        "a photo of a flower, one picture of a flower, this is flower picture of, "
        "one picture of a flower",
    ),
    "oxford_pets": (
        5,
        "a photo of a pet, one picture of a pet, this is pet picture of, one picture of a pet",
    ),
    "ucf101": (
        6,
        "a photo of a person doing, this is a photo people doing, this is picture of people doing, "
        "one picture of a person doing",
    ),
}


class PLOTPlusPlus(KeepsTexts):
    """Compares n features of an image to n prompts of a class, each to those near to it.

    The features of an image are those of the image tower beside each of M sets of learned tokens.
    A first stage learns these sets alone, by the transported similarity and that of the mean
    feature and the mean prompt; the second learns sets and contexts by the former.

    Dimensions: b images, M visual sets of v tokens, n prompts of m tokens, k classes, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders, the image tower a ViT.
        classes: The k classes.
        generator: Draws the visual sets, and contexts that start at random.
        image_prompts: M.
        image_tokens: v.
        n_context: m.
        context_init: n phrases with commas between them. The first m tokens of each are learned,
            the others stay. Empty for as many random contexts as there are visual sets.
        init_std: Standard deviation of what starts at random.
        two_stages: Whether there is a first stage, of as many epochs as the second.
    """

    card = MethodCard(
        title="PLOT++",
        family="deep_prompts",
        tunes="M sets of tokens at the input of the image tower, alone at first, and n sets of "
        "context vectors at that of the text tower",
        source="Chen et al., ICLR 2023, https://arxiv.org/abs/2210.01253",
        cost="a step takes images through the image tower once for each visual set, and n prompts "
        "of each class through the text tower, and back; the first stage has fixed texts",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="PLOT code, plot-pp/configs/trainers/PLOTPP/vit.yaml: random_resized_crop and "
        "random_flip",
        departures=(
            "each seed has a first stage of its own, where the code gives all seeds that of seed 1",
            "ImageNet's third phrase, which has too few words in the code, is another of its lists",
            "each transport plan is iterated until it stands still, not until those of the batch "
            "do so in the mean",
            "prompts in float32, not float16",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=50, batch_size=32)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        image_prompts: Annotated[int, Bounds(1, 64)] = 4,
        image_tokens: Tokens = 2,
        n_context: Tokens = 4,
        context_init: str = PHOTOS,
        init_std: Deviation = 0.02,
        two_stages: Annotated[bool, Brief(False)] = True,
    ) -> None:
        super().__init__(backbone, classes)
        phrases = phrases_of(context_init)
        self.prompt = LearnedContexts(
            backbone,
            classes.names,
            generator=generator,
            count=len(phrases) or image_prompts,
            n_context=n_context,
            std=init_std,
            words=phrases,
        )
        every = image_prompts * image_tokens
        tokens = started_image_tokens(backbone, every, 1, init_std, generator)
        self.image = nn.Parameter(tokens[0].view(image_prompts, image_tokens, -1))
        self.two_stages = two_stages
        self.fixed: Tensor | None = None  # texts of the first stage, the mean prompt behind them

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """CoOp's epochs for few shots in both stages; phrases of a dataset. See `Method.recipe`."""
        found: dict[str, Any] = {"epochs": coop_epochs(shots, dataset)}
        if dataset in PHRASES:
            found["n_context"], found["context_init"] = PHRASES[dataset]
        return found

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        for phrase in phrases_of(hyperparameters["context_init"]):
            refuse_few_words(hyperparameters["n_context"], phrase)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes in two stages, which see the same views, as in the code. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        first = FitReport()
        if self.two_stages:
            with self.texts_fixed():
                first = tune(self, shots, replace(tuning, selection="last"), generator)
        report = tune(self, shots, tuning, generator)
        return replace(
            report, losses=first.losses + report.losses, steps=first.steps + report.steps
        )

    @contextmanager
    def texts_fixed(self) -> Iterator[None]:
        """Until the block ends texts stand still, and their mean is compared as well."""
        self.prompt.context.requires_grad_(False)
        with torch.no_grad():
            texts = self.class_features()
            self.fixed = unit(torch.cat([texts, texts.mean(dim=0, keepdim=True)]))
        try:
            yield
        finally:
            self.fixed = None
            self.prompt.context.requires_grad_(True)

    def class_features(self) -> Float[Tensor, "n k d"]:
        """The class features of each prompt."""
        return self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b M d"]:
        """The features of each image beside each visual set, of any length."""
        sets = len(self.image)

        def encode(part: Batch) -> Tensor:
            pixels = part.pixels.repeat(sets, 1, 1, 1)
            prompts = self.image.repeat_interleave(len(part), dim=0)
            features = self.backbone.encode_images(pixels, prompts=prompts)
            return features.unflatten(0, (sets, len(part))).transpose(0, 1)

        return in_parts(encode, batch, IMAGE_ROWS // sets)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled transported similarity, and in the first stage that of the means."""
        features = self.image_features(batch)
        images = unit(features)
        if self.fixed is None:
            logits = transported_similarity(similarities(images, self.weights()))
        else:
            whole = unit(features.mean(dim=1)) @ self.fixed[-1].T
            logits = transported_similarity(similarities(images, self.fixed[:-1])) + whole
        return self.backbone.logit_scale * logits


def phrases_of(text: str) -> tuple[str, ...]:
    """The phrases of `context_init`, without the commas between them."""
    return tuple(phrase.strip() for phrase in text.split(",") if phrase.strip())
