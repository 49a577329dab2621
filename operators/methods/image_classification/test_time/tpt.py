"""TPT: a prompt of its own for every test image, tuned on random views of that image alone.

Source: Shu et al., "Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language
Models", NeurIPS 2022, https://arxiv.org/abs/2209.07511, section 3. Departures from the authors'
code: everything is in float32, and the images of a block are tuned side by side, each with a prompt
and an optimiser state of its own, which gives what one after the other does.

As in that code, the views are random crops and mirror images by a bilinear filter, mixed by AugMix
on the ten fine-grained datasets and not on ImageNet and its variants. On other datasets, which it
was not published on, they are crops by the bicubic filter of the test images.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.prompt_per_image import PromptPerImage, most_confident, refuse_no_words
from operators.bounds import LATER, Bounds, Brief, Decay, Rate, Seed
from operators.episodes.episode import Batch, Classes
from operators.episodes.views import CROP, View, ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.test_time.view_rules import published_augmentation
from operators.shapes import Float


class TPT(ImageClassifier):
    """Classifies with the prompts `[v_1] ... [v_m] <class name>.`, where v starts anew each time.

    Of the views of an image, those with the most certain predictions are kept; a step on v
    then lowers the entropy of their mean prediction. Nothing is carried to the next image.

    Dimensions: b images, n views, k classes, m context tokens, w width of a token embedding, d
    of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used; views follow from the row ids and `view_seed`.
        context_init: The words that v starts from.
        views: n, the centre crop included.
        confident: Share of the views that is kept, rounded down.
        steps: Steps of AdamW an image.
        lr: Their learning rate.
        weight_decay: Of AdamW.
        view_seed: Another one gives other views.
        augmentation: What a view does to an image: `crop-bilinear` and `augmix` are the authors',
            on their datasets; `crop` is that of other methods; see operators/episodes/views.py.
    """

    card = MethodCard(
        title="TPT (Test-time Prompt Tuning)",
        family="test_time",
        tunes="4 context vectors at the input of the text tower, for each test image anew",
        source="Shu et al., NeurIPS 2022, https://arxiv.org/abs/2209.07511",
        cost="no training; a test image takes 64 views through the image tower, and all class "
        "prompts through the text tower, back, and through it again",
        learns=False,
        test_time=True,
        departures=(
            "float32, not mixed precision",
            "bicubic crops without AugMix on datasets that it was not published on",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        context_init: str = "a photo of a",
        views: Annotated[int, Bounds(1, 4096), Brief(10)] = 64,
        confident: Annotated[float, Bounds(0, 1, above=True)] = 0.1,
        steps: Annotated[int, Bounds(0, 1000)] = 1,
        lr: Rate = 0.005,
        weight_decay: Decay = 0.01,
        view_seed: Seed = 0,
        augmentation: Annotated[Literal["crop", "crop-bilinear", "augmix"], LATER] = "crop",
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = PromptPerImage(backbone, classes, context_init)
        drawn = CROP if augmentation == "crop" else augmentation
        self.views = [View(number, view_seed, drawn) for number in range(1, views)]
        self.kept = int(views * confident)
        self.steps, self.lr, self.weight_decay = steps, lr, weight_decay

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """AugMix on the fine-grained ones of the authors' datasets. See `Method.recipe`."""
        drawn = published_augmentation(dataset)
        return {"augmentation": drawn} if drawn else {}

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: every test image in its random views."""
        return 0, hyperparameters["views"] - 1

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["steps"]:
            return {}
        return dict.fromkeys(("lr", "weight_decay"), "no step is taken. Ask for steps=1 as well.")

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        views, share = hyperparameters["views"], hyperparameters["confident"]
        refuse_no_words(hyperparameters["context_init"])
        if int(views * share) < 1:
            raise ValueError(
                f"confident={share} of views={views} is less than one view: ask for more of either."
            )

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Those of the centre crops, each under the prompt that its own views have tuned."""
        return torch.cat([self.tuned(self.seen(block)) for block in self.prompt.blocks(batch)])

    def tuned(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b k"]:
        """Logits of the first view of each image after tuning on the most certain of all."""
        return self.prompt.tuned(
            features,
            partial(most_confident, kept=self.kept),
            steps=self.steps,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )

    @torch.no_grad()
    def seen(self, batch: Batch) -> Float[Tensor, "b n d"]:
        """Unit-norm features of the views of each image, the centre crop first."""
        views = [batch, *(batch.under(view) for view in self.views)]
        return unit(torch.stack([view.features for view in views], dim=1))
