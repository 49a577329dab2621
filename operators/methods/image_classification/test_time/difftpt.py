"""DiffTPT: TPT on images that a generative model makes of the test image as well.

Source: Feng et al., "Diverse Data Augmentation with Diffusions for Effective Test-time Prompt
Tuning", ICCV 2023, https://arxiv.org/abs/2308.06038, section 3, and the authors' code. Views are
random crops, as of TPT, and variations of the image by a diffusion model. Of them those are kept
whose predictions resemble that of the image itself, then the most certain; four steps lower the
entropy of their mean prediction.

As in that code, what resembles is the vector of logits, where the paper has image features; and the
views that are chosen before the first step stay chosen.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.prompt_per_image import PromptPerImage, most_confident, refuse_no_words
from operators.bounds import Bounds, Brief, Decay, Rate, Seed
from operators.episodes.episode import Batch, Classes
from operators.episodes.views import CROP, GENERATORS, View, ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.test_time.view_rules import published_augmentation
from operators.shapes import Float, Int


class DiffTPT(ImageClassifier):
    """Classifies with prompts that start anew for each image, tuned on crops and variations of it.

    Dimensions: b images, n views, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used; views follow from the row ids and `view_seed`.
        context_init: The words that v starts from.
        crops: Random crops beside the image itself.
        generated: Variations that `maker` makes of it.
        maker: Who makes them; see `GENERATORS`. Their features are kept for all trials.
        similar: Share of all views that is kept for its similarity, rounded down.
        confident: Share of these and the image itself that is kept for its certainty.
        steps: Steps of AdamW an image.
        lr: Their learning rate.
        weight_decay: Of AdamW.
        view_seed: Another one gives other crops.
        augmentation: What a crop does to an image; see `TPT`.
    """

    card = MethodCard(
        title="DiffTPT",
        family="test_time",
        tunes="4 context vectors at the input of the text tower, for each test image anew",
        source="Feng et al., ICCV 2023, https://arxiv.org/abs/2308.06038",
        cost="no training; a test image takes 128 views through the image tower, of which 63 are "
        "made once for all trials, and all class prompts four times through the text tower, back",
        learns=False,
        test_time=True,
        external_knowledge=True,
        departures=(
            "variations are changes of colour, sharpness and shape, not those of a diffusion "
            "model, unless a function is given for it",
            "views that resemble are told by their logits, as in the code; the paper has features",
            "float32, not mixed precision",
            "bicubic crops without AugMix on datasets that TPT was not published on",
        ),
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        context_init: str = "a photo of a",
        crops: Annotated[int, Bounds(0, 4096), Brief(6)] = 64,
        generated: Annotated[int, Bounds(0, 1024), Brief(6)] = 63,
        maker: Annotated[str, GENERATORS] = "jitter",
        similar: Annotated[float, Bounds(0, 1, above=True)] = 0.8,
        confident: Annotated[float, Bounds(0, 1, above=True)] = 0.3,
        steps: Annotated[int, Bounds(0, 1000)] = 4,
        lr: Rate = 0.005,
        weight_decay: Decay = 0.01,
        view_seed: Seed = 0,
        augmentation: Literal["crop", "crop-bilinear", "augmix"] = "crop",
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = PromptPerImage(backbone, classes, context_init)
        drawn = CROP if augmentation == "crop" else augmentation
        self.views = [View(number, view_seed, drawn) for number in range(1, crops + 1)]
        self.views += made_views(generated, maker)
        self.similar = int(len(self.views) * similar)
        self.confident = int((1 + self.similar) * confident)
        self.steps, self.lr, self.weight_decay = steps, lr, weight_decay

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The crops of TPT's code, on which this one builds. See `Method.recipe`."""
        drawn = published_augmentation(dataset)
        return {"augmentation": drawn} if drawn else {}

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: every test image in its random crops."""
        return 0, hyperparameters["crops"]

    @classmethod
    def views_of_tested(cls, hyperparameters: Mapping[str, Any]) -> tuple[View, ...]:
        """See `Method.views_of_tested`: what is made of each test image."""
        return made_views(hyperparameters["generated"], hyperparameters["maker"])

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        found = {}
        if not hyperparameters["steps"]:
            names = ("lr", "weight_decay", "similar", "confident")
            found |= dict.fromkeys(names, "no step is taken. Ask for steps=4 as well.")
        if not hyperparameters["generated"]:
            found["maker"] = "nothing is made. Ask for generated=63 as well."
        if not hyperparameters["crops"]:
            names = ("augmentation", "view_seed")
            found |= dict.fromkeys(names, "nothing is cropped. Ask for crops=64 as well.")
        return found

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_words(hyperparameters["context_init"])
        views = hyperparameters["crops"] + hyperparameters["generated"]
        similar = int(views * hyperparameters["similar"])
        if int((1 + similar) * hyperparameters["confident"]) < 1:
            raise ValueError(
                f"confident={hyperparameters['confident']} of the image and {similar} views that "
                "resemble it is less than one: ask for more crops, or a larger share."
            )

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Those of the centre crops, each under the prompt that its own views have tuned."""
        return torch.cat([self._tuned(block) for block in self.prompt.blocks(batch)])

    def _tuned(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Logits of some images that are tuned side by side."""
        with torch.no_grad():
            seen = [batch, *(batch.under(view) for view in self.views)]
            features = unit(torch.stack([view.features for view in seen], dim=1))
        return self.prompt.tuned(
            features, self.chosen, steps=self.steps, lr=self.lr, weight_decay=self.weight_decay
        )

    def chosen(self, logits: Float[Tensor, "b n k"]) -> Int[Tensor, "b kept"]:
        """Views that resemble the first one, which is the image itself, and are certain.

        Args:
            logits: Of n views of b images.

        Source: `select_confident_samples_cosine` of the authors' code.
        """
        whole = unit(logits)
        alike = (whole[:, 1:] @ whole[:, :1].mT)[..., 0]
        near = 1 + alike.argsort(dim=1, descending=True, stable=True)[:, : self.similar]
        kept = torch.cat([torch.zeros_like(near[:, :1]), near], dim=1)
        among = logits.gather(1, kept[..., None].expand(-1, -1, logits.shape[2]))
        return kept.gather(1, most_confident(among, self.confident))


def made_views(count: int, maker: str) -> tuple[View, ...]:
    """Views that a generator makes, kept for all trials.

    Args:
        count: How many.
        maker: One of `GENERATORS`.
    """
    return tuple(View(number, augmentation=maker) for number in range(count))
