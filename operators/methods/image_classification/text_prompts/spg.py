"""SPG: a generator makes the words of the class prompts from each image, and from noise.

Source: Bai et al., "Soft Prompt Generation for Domain Generalization", ECCV 2024,
https://arxiv.org/abs/2404.19286. First CoOp is tuned on each domain of the training images by
itself; what it learned is the label of that domain. Then a conditional GAN learns to make prompts:
its critic is shown pairs of an image and the prompt of its domain, and pairs of an image and a
prompt that the generator made of it. A test image is classified with the prompt that is made of it.

As in the authors' code both nets are least-squares, a step moves the critic first, and the
gradient of each of their tensors is cut to a length that depends on its place and on the dataset.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.learned_context import LearnedContext
from operators.blocks.parts import PAIRS, in_parts
from operators.bounds import Bounds, Brief, Epochs
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.views import ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier, StaticClassifier
from operators.methods.image_classification.text_prompts.prompt_game import (
    Critic,
    Game,
    Generator,
    Lengths,
)
from operators.methods.material import Material
from operators.shapes import Float, Int
from operators.tuning import FitReport, Tuning, tune

WORDS = "a photo of a"
Length = Annotated[float, Bounds(0, 1e6, above=True)]  # that a gradient is cut to
PROMPTS = Tuning(lr=0.002, epochs=50, batch_size=32)  # of the first stage, as CoOp's


class DomainPrompt(StaticClassifier):
    """The prompt of one domain, tuned as CoOp's is; see `words`."""

    card = MethodCard(
        title="CoOp of one domain", family="text_prompts", tunes="the words of a domain", source=""
    )

    def __init__(self, backbone: DualEncoder, classes: Classes, generator: torch.Generator) -> None:
        """See `words`."""
        super().__init__(backbone, classes)
        self.prompt = words(backbone, classes, generator)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current words give."""
        return self.prompt.class_features()


def words(backbone: DualEncoder, classes: Classes, generator: torch.Generator) -> LearnedContext:
    """The prompts `a photo of a <class name>.`, of which the first four words are learned.

    Args:
        backbone: Frozen encoders.
        classes: That are chosen from.
        generator: Draws nothing, since the words start from themselves.
    """
    return LearnedContext(
        backbone, classes.names, generator=generator, n_context=4, words=WORDS, std=0.0
    )


class SPG(ImageClassifier):
    """Classifies each image with a prompt that is made of it.

    Dimensions: b images, k classes, m tokens a prompt of width w, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the generator, the critic and the seed of the noise.
        noise_width: Numbers of noise beside an image's feature.
        hidden: Width of the generator's first inner layer; three more follow, each twice as wide.
        critic_width: Of the critic's three inner layers.
        dropout: Share of what these hold that is dropped, but for the first.
        prompt_epochs: Epochs of CoOp on each domain.
        critic_weights: Longest gradient of a weight between the critic's first and last layer.
        critic_biases: Likewise, of an intercept.
        critic_ends: Likewise, of a weight or an intercept of its first and its last layer.
        generator_weights: Likewise, of a weight of the generator, those of norms included.
        generator_biases: Likewise, of an intercept.
        generator_ends: Likewise, of the intercepts of its last norm and its last layer.
    """

    card = MethodCard(
        title="SPG (Soft Prompt Generation)",
        family="text_prompts",
        tunes="a net that makes the words of the class prompts from an image and noise, after the "
        "words of each domain",
        source="Bai et al., ECCV 2024, https://arxiv.org/abs/2404.19286",
        cost="first all class prompts go through the text tower and back for each domain; then a "
        "step touches no tower; a test image takes all class prompts through the text tower",
        domains=True,
        views="fresh",
        views_source="SPG code, configs/trainers/SPG_CGAN/spg.yaml: random_resized_crop and "
        "random_flip",
        departures=(
            "the noise of an image follows from the trial's seed and the image's row, where the "
            "code draws it anew each time",
            "the prompts of domains have the trial's own seed, not seed 1",
            "the last step is kept, not the epoch that is best on validation (selection=val has "
            "it)",
            "each image of a batch has the prompt that is made of it, where the code has that of "
            "the first",
            "gradients are cut for all domains of PACS, where the code leaves that out for two",
            "words in float32, not float16",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=0.002,
        epochs=70,
        batch_size=32,
        weight_decay=1e-4,
        warmup_epochs=4,
        schedule="climb",
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        noise_width: Annotated[int, Bounds(1, 4096)] = 100,
        hidden: Annotated[int, Bounds(1, 4096), Brief(4)] = 128,
        critic_width: Annotated[int, Bounds(1, 8192), Brief(128)] = 512,
        dropout: Annotated[float, Bounds(0, 1, below=True), Brief(0.0)] = 0.4,
        prompt_epochs: Annotated[Epochs, Brief(2)] = 50,
        critic_weights: Length = 0.05,
        critic_biases: Length = 0.5,
        critic_ends: Length = 5.0,
        generator_weights: Length = 0.005,
        generator_biases: Length = 5e-8,
        generator_ends: Length = 1.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.layout = words(backbone, classes, generator).layout
        self.shape = (self.layout.slots.shape[1], backbone.token_width)
        self.noise_width = noise_width
        self.prompt = Generator(
            backbone.feature_width,
            noise_width,
            self.shape,
            hidden,
            generator=generator,
            device=backbone.device,
        )
        self.register_buffer("noise_seed", torch.randint(2**31, (), generator=generator))
        self.prompt_epochs = prompt_epochs
        self.critic = critic_width, dropout
        self.critic_lengths = Lengths(critic_weights, critic_biases, critic_ends)
        self.lengths = Lengths(generator_weights, generator_biases, generator_ends)

    noise_seed: Tensor

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Longer gradients on PACS. See `Method.recipe`."""
        if dataset != "pacs":
            return {}
        return {
            "critic_weights": 0.5,
            "generator_weights": 0.05,
            "generator_biases": 5e-7,
            "generator_ends": 5.0,
        }

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        if hyperparameters["batch_size"] < 2:
            raise ValueError(
                f"batch_size={hyperparameters['batch_size']}: the generator has batch norms, so "
                "give at least 2."
            )

    @classmethod
    def lacking(
        cls, hyperparameters: Mapping[str, Any], tuning: Tuning | None, material: Material
    ) -> str:
        """See `Method.lacking`."""
        return _lone_image(material.train, tuning) if tuning else ""

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """Those of the longer stage. See `Method.view_epochs`."""
        return max(hyperparameters["epochs"], hyperparameters["prompt_epochs"])

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """A step of the second stage looks at two draws. See `Method.encodings`."""
        if views.kind != "fresh":
            return 0, 0
        return 2 * hyperparameters["epochs"] + hyperparameters["prompt_epochs"], 0

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes the words of each domain, then generator and critic. See `Method.fit`.

        Raises:
            ValueError: The examples have no domains.
        """
        if tuning is None:
            return FitReport()
        if shots.domains is None:
            raise ValueError(
                "SPG learns a prompt for each domain, and the examples have none: choose a "
                "dataset with domains."
            )
        if reason := _lone_image(len(shots.train), tuning):
            raise ValueError(reason)
        there, domains = shots.domains.unique(return_inverse=True)
        labels = torch.stack(
            [self.words_of(shots, domains == place, generator) for place in range(len(there))]
        )
        tuning = tuning.over(len(shots.train))  # the critic follows the same schedule
        game = self.game(shots, labels, domains, tuning, generator)
        return tune(self, shots, tuning, generator, backward=game.step, epoch_end=game.end_epoch)

    def game(
        self,
        shots: FewShot,
        labels: Float[Tensor, "D m w"],
        domains: Int[Tensor, "n"],  # noqa: F821
        tuning: Tuning,
        generator: torch.Generator,
    ) -> Game:
        """What moves the generator, against a critic that starts with it.

        Args:
            shots: What is learned from.
            labels: Words of each domain.
            domains: Domain of each training image, from 0 to D - 1.
            tuning: Of both nets.
            generator: Draws the critic, then what the game draws.
        """
        critic = Critic(
            self.backbone.feature_width,
            self.shape,
            *self.critic,
            generator=generator,
            device=self.backbone.device,
        )
        nets, lengths = (self.prompt, critic.to(labels.dtype)), (self.lengths, self.critic_lengths)
        return Game(nets, shots, labels, domains, tuning, lengths, generator)

    def words_of(self, shots: FewShot, own: Tensor, generator: torch.Generator) -> Tensor:
        """(m, w) words that CoOp learns on the images of one domain.

        Args:
            shots: Of all domains.
            own: (n,) which training images are of it.
            generator: Draws the order of the images.
        """
        method = DomainPrompt(self.backbone, self.classes, generator)
        part = replace(shots, train=shots.train.select(own.nonzero()[:, 0]), domains=None)
        tune(method, part, replace(PROMPTS, epochs=self.prompt_epochs), generator)
        return method.prompt.context.detach()[0]

    def drawn_noise(self, rows: np.ndarray) -> Float[Tensor, "b z"]:
        """The noise of images that are asked about: always the same of a row."""
        seed, draws = int(self.noise_seed), torch.Generator()
        noise = [
            torch.randn(self.noise_width, generator=draws.manual_seed(seed ^ int(row) << 1))
            for row in rows.tolist()
        ]
        return torch.stack(noise).to(self.backbone.device, next(self.prompt.parameters()).dtype)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to the class vectors of its own prompt."""
        return in_parts(self.own_logits, batch, PAIRS // len(self.classes))

    def own_logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The logits of images at once."""
        images = unit(batch.features)
        context = self.prompt(self.drawn_noise(batch.rows), images)
        texts = unit(self.backbone.encode_prompts(self.layout, context[:, None]))
        return self.backbone.logit_scale * torch.einsum("bd,bkd->bk", images, texts)


def _lone_image(images: int, tuning: Tuning) -> str:
    """Why the generator cannot learn; empty where no batch holds one image."""
    if not tuning.leaves_one_alone(images):
        return ""
    return (
        f"{images} images in batches of {tuning.batch_size} leave one alone, and the generator has "
        "batch norms: take another batch_size, or drop_last=true."
    )
