"""MVLPT: one prompt is learned on many datasets, and starts that of another one.

Source: Shen et al., "Multitask Vision-Language Prompt Tuning", WACV 2024,
https://arxiv.org/abs/2211.11720, section 3. The first stage is a trial of this method in the
protocol `multi_task`: one prompt for all classes of all source datasets together. The second
starts from it and goes on as usual on the target. The prompt is that of CoOp, of VPT or of UPT.

As in the published scripts each image of the first stage is scored against the classes of all
datasets. The code has a flag, which they leave off, that multiplies the logits of other datasets'
classes by 0, so that they stay in the softmax (`other_tasks=zeroed`); `left_out` is what a mask is
usually meant to do.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import class_vectors
from operators.blocks.deep_tokens import (
    image_tower,
    prompted_images,
    prompted_texts,
    uniform_image_tokens,
)
from operators.blocks.learned_context import LearnedContext
from operators.blocks.unified_prompts import Mixing, UnifiedPrompts
from operators.bounds import Bounds, Brief, Deviation
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.leaning import Starting
from operators.shapes import Float
from operators.tuning import Tuning

TEMPLATE = "a photo of a {}."  # where no words are learned
PUBLISHED_TOKENS = {"upt": 4, "coop": 16, "vpt": 16}
# The eleven of CoOp.
SOURCES = (
    "caltech101,dtd,eurosat,fgvc_aircraft,flowers102,food101,imagenet,oxford_pets,stanford_cars,"
    "sun397,ucf101"
)


class MVLPT(StaticClassifier):
    """Classifies with a prompt of one of three forms, which may have been learned elsewhere before.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, of one dataset or of several.
        generator: Draws the initial prompt.
        form: `coop`, words of the class prompts; `vpt`, tokens in all layers of the image tower;
            `upt`, both, which come out of one small layer over all of them.
        n_tokens: Learned tokens: words, and tokens in each image layer; 0 for as many as were
            published with the form, 4 of `upt` and 16 of the others.
        mixing: Whom a token of `upt` attends to in that layer; see `UnifiedPrompts`. As published
            it is itself alone.
        layer_width: Width of that layer.
        other_tasks: Logits of the classes of other datasets than an image's own, while several are
            learned: `scored` as they are, `zeroed` (0, and in the softmax), or `left_out` of it.
        init_std: Standard deviation of the initial words.
    """

    card = MethodCard(
        title="MVLPT (Multitask Vision-Language Prompt Tuning)",
        family="shared_starts",
        tunes="words of the class prompts, tokens in all layers of the image tower, or both "
        "through a layer that they share; started from what one prompt learned on other datasets",
        source="Shen et al., WACV 2024, https://arxiv.org/abs/2211.11720",
        cost="a step takes all class prompts, its images or both through the towers and back; "
        "before it, once a seed, a trial on the source datasets",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="MVLPT code, configs/trainers/MVLPT/vit_b16.yaml: random_resized_crop and "
        "random_flip",
        departures=(
            "the start is the source trial of the same seed, not the mean over those of seeds 1 to "
            "3",
            "the last step is kept, not the epoch that is best on validation (selection=val has "
            "it, on the validation rows of the draw)",
            "images have one class each",
            "words in float32, not float16",
            "the layer of upt lets each token attend to itself alone, as the published code does; "
            "the paper means all to attend to all, which mixing=all has",
        ),
    )
    form = "form"
    tuning = Tuning(lr=0.002, epochs=200, batch_size=32)
    starting = Starting(source_datasets=SOURCES, source_shots=20)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        form: Literal["upt", "coop", "vpt"] = "upt",
        n_tokens: Annotated[int, Bounds(0, 64)] = 0,
        mixing: Mixing = "alone",
        layer_width: Annotated[int, Bounds(1, 4096), Brief(16)] = 128,
        other_tasks: Literal["scored", "zeroed", "left_out"] = "scored",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        tokens = n_tokens or PUBLISHED_TOKENS[form]
        if form == "coop":
            self.prompt = LearnedContext(
                backbone,
                classes.names,
                generator=generator,
                n_context=tokens,
                words="",
                std=init_std,
                position="middle",
            )
        elif form == "vpt":
            self.prompt = nn.ParameterDict(
                {
                    "image": uniform_image_tokens(
                        backbone, tokens, image_tower(backbone).layers, generator
                    )
                }
            )
        else:
            self.prompt = UnifiedPrompts(
                backbone,
                classes.names,
                generator=generator,
                text_tokens=tokens,
                image_tokens=tokens,
                image_depth=image_tower(backbone).layers,
                width=layer_width,
                mixing=mixing,
                std=init_std,
                position="middle",
                always_map=False,
            )
        texts = class_vectors(backbone, classes, (TEMPLATE,)) if form == "vpt" else None
        self.register_buffer("texts", texts, persistent=False)
        tasks = torch.tensor(classes.tasks or (0,) * len(classes), device=backbone.device)
        self.register_buffer("tasks", tasks, persistent=False)
        self.other_tasks = other_tasks if classes.tasks else "scored"

    prompt: Any
    texts: Tensor
    tasks: Tensor

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Where several datasets are learned at once, nothing is learned before.

        See `Method.recipe`.
        """
        return {"source_datasets": ""} if protocol == "multi_task" else {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        asked = hyperparameters["other_tasks"]
        if asked != "scored" and protocol != "multi_task":
            raise ValueError(
                f"other_tasks={asked!r} is about several datasets that are learned at once, and "
                f"{protocol} learns one: say so of the trial that is started from, with "
                f"source_hyperparameters={{other_tasks: {asked}}}, or in multi_task."
            )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        form, found = hyperparameters["form"], {}
        if form != "upt":
            reason = f"{form} has no layer over its tokens. Ask for form=upt as well."
            found |= dict.fromkeys(("mixing", "layer_width"), reason)
        if form == "vpt":
            found["init_std"] = "no words are learned. Ask for form=upt or form=coop as well."
        return found

    @classmethod
    def source_settings(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The prompt has the same form and size. See `Method.source_settings`."""
        same = "form", "n_tokens", "mixing", "layer_width", "init_std"
        return {name: hyperparameters[name] for name in same}

    @classmethod
    def needs_of(cls, hyperparameters: Mapping[str, Any]) -> frozenset[str]:
        """See `Method.needs_of`: words alone ask for nothing."""
        return frozenset() if hyperparameters["form"] == "coop" else cls.card.needs

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current prompt gives."""
        return self.texts if self.texts is not None else self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the current prompt."""
        if isinstance(self.prompt, LearnedContext):
            return batch.features
        unified = isinstance(self.prompt, UnifiedPrompts)
        tokens = self.prompt.tokens()[1] if unified else self.prompt["image"]
        return prompted_images(self.backbone, batch, tokens, behind_norm=True)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity; in a step the layer of `upt` is passed once for both towers."""
        if not (self.training and isinstance(self.prompt, UnifiedPrompts)):
            return super().logits(batch)
        words, tokens = self.prompt.tokens()
        texts = prompted_texts(self.backbone, self.prompt.layout, words[None])
        images = prompted_images(self.backbone, batch, tokens, behind_norm=True)
        return self.backbone.logit_scale * unit(images) @ unit(texts).T

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy; of several datasets as `other_tasks` says."""
        logits = self.logits(batch)
        if self.other_tasks != "scored":
            other = self.tasks != self.tasks[batch.labels][:, None]
            logits = logits.masked_fill(other, 0.0 if self.other_tasks == "zeroed" else -torch.inf)
        return F.cross_entropy(logits, batch.labels)
