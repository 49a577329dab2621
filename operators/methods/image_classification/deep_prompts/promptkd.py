"""PromptKD: an image tower learns from a tuned teacher, on images without labels.

Source: Li et al., "PromptKD: Unsupervised Prompt Distillation for Vision-Language Models", CVPR
2024, https://arxiv.org/abs/2403.02781, section 3. The first stage tunes a teacher with the
few-shot labels; it is a trial of its own. In the second its class vectors are the student's too:
a projector brings the student's image features into the teacher's space, and deep prompts and
projector are tuned until the logits agree with the teacher's. The student has no text tower.

As in the authors' code the images are the whole train split. Under the setting `paper` they are of
all classes, base and new, and so are the names in the logits that are compared; under `clean` of
the learned classes alone. Departures from that code: the last step is kept, where it keeps the
epoch that is best on the base test set; the teacher is PromptSRC as published for ViT-B/16 and on
the student's own backbone unless `teacher_backbone` names a larger one, where the authors' teacher
is a ViT-L/14 tuned with lr 0.005 and batches of 8; prompts and projector are kept in float32; and a
tower with fewer layers than `image_depth` is prompted in all it has.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.anchor_loss import logit_gap
from operators.blocks.deep_tokens import (
    prompted_images,
    started_image_tokens,
)
from operators.blocks.linear_maps import drawn_linear
from operators.bounds import Bounds, Brief, Deviation, Layers, Temperature, Tokens
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.kept_pixels import KeptRows
from operators.methods.base import Method, MethodCard
from operators.methods.image_classification.base import StaticClassifier, Teacher
from operators.methods.leaning import Teaching
from operators.methods.material import Material
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

LOGITS_KEPT = 256 << 20  # bytes; 60,000 images of 1,000 classes are 240 million
LIGHTER = ("fgvc_aircraft", "flowers102", "dtd")  # datasets with a smaller weight


class Projector(nn.Module):
    """P(f) = V relu(norm(W f + u)) + v, from one space of features to another.

    `norm` is a batch norm: while training it has mean and variance of the batch, which therefore
    needs two images; afterwards those that it has seen, weighed towards the last ones.

    Dimensions: b features, d width of what comes in, o of what goes out and of the inner layer.

    Args:
        inputs: d.
        outputs: o.
        generator: Draws W, u, V and v as torch draws linear maps.
        device: Where they go.

    Source: Li et al., "PromptKD", CVPR 2024, section 3; layers and norm are in the authors'
    code.
    """

    def __init__(
        self, inputs: int, outputs: int, *, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__()
        self.first = drawn_linear(inputs, outputs, generator, device)
        self.norm = nn.BatchNorm1d(outputs, device=device)
        self.last = drawn_linear(outputs, outputs, generator, device)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b o"]:
        """The features in the other space."""
        return self.last(self.norm(self.first(features)).relu())


class TeacherLogits:
    """The logits of a teacher, computed once for each image and view that is not fresh.

    Args:
        teacher: Of the classes that are compared.
        budget: Bytes of logits that are kept; what comes after is computed every time.
    """

    def __init__(self, teacher: Teacher, budget: int = LOGITS_KEPT) -> None:
        self.teacher = teacher
        self.kept = KeptRows(budget)

    @property
    def class_vectors(self) -> Float[Tensor, "k t"]:
        """Unit-norm class vectors, which teacher and student share."""
        return self.teacher.class_vectors

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """What the teacher says of some images."""

        def ask(places: np.ndarray) -> Tensor:
            return self.teacher.logits(batch.select(torch.from_numpy(places)))

        return self.kept.read(batch.rows, batch.view, ask)


class PromptKD(StaticClassifier):
    """Classifies projected features of prompted images by the class vectors of its teacher.

    Dimensions: k classes, n learned image tokens, d width of a feature, t of a teacher's feature.

    Args:
        backbone: Frozen encoders; the text tower is not used.
        classes: The k classes.
        generator: Draws the initial prompts and projector.
        teacher: A tuned model that has one vector a class.
        image_tokens: n.
        image_depth: Image layers that are prompted, the input included.
        init_std: Standard deviation of the initial prompts.
        temperature: Divides the logits of teacher and student before they are compared.
        kd_weight: Factor of the loss, which is a mean over images and classes.
    """

    card = MethodCard(
        title="PromptKD (Unsupervised Prompt Distillation)",
        family="deep_prompts",
        tunes="tokens in several layers of the image tower and a projector to the teacher's space",
        source="Li et al., CVPR 2024, https://arxiv.org/abs/2403.02781",
        cost="a step takes unlabelled images through the image tower and back; the teacher sees "
        "each image once, or once a view",
        needs=frozenset({"visual-prompts"}),
        transductive=True,
        teacher=True,
        unlabelled=True,
        unsupervised=True,
        views="fresh",
        views_source="PromptKD code, configs/trainers/PromptKD: random_resized_crop and "
        "random_flip",
        departures=(
            "the last step is kept, not the epoch that is best on the base test set",
            "the teacher is tuned as PromptSRC publishes for ViT-B/16, on the student's own "
            "backbone unless teacher_backbone names another",
            "prompts and projector in float32, not float16",
            "depth 9 means every layer of a tower that has fewer",
            "without any label (unsupervised) the teacher is zero-shot, which is not published",
        ),
    )
    tuning = Tuning(lr=0.005, epochs=20, batch_size=8)
    teaching = Teaching(teacher="promptsrc")

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        teacher: Teacher,
        image_tokens: Tokens = 4,
        image_depth: Layers = 9,
        init_std: Deviation = 0.02,
        temperature: Temperature = 1.0,
        kd_weight: Annotated[float, Bounds(0, 1e6, above=True), Brief(1.0)] = 1000.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.image = nn.Parameter(
            started_image_tokens(backbone, image_tokens, image_depth, init_std, generator)
        )
        self.teacher = teacher.over(classes)
        self.projector = Projector(
            backbone.feature_width,
            self.teacher.method.backbone.feature_width,
            generator=generator,
            device=backbone.device,
        )
        self.teacher_logits = TeacherLogits(self.teacher)
        self.temperature = temperature
        self.kd_weight = kd_weight

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Shallower prompts where other datasets are asked about; a smaller weight on some.

        Where no label may be seen, the teacher is one that reads none.

        See `Method.recipe`.
        """
        weight = {"kd_weight": 200.0} if dataset in LIGHTER else {}
        if protocol in ("cross_dataset", "domain_generalization"):
            return {"image_depth": 3, **weight}
        if protocol == "unsupervised":
            return {"teacher": "zero-shot", **weight}
        return weight

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        if hyperparameters["batch_size"] < 2:
            raise ValueError(
                f"batch_size={hyperparameters['batch_size']}: the projector has a batch norm, so "
                "give at least 2."
            )

    @classmethod
    def lacking(
        cls, hyperparameters: Mapping[str, Any], tuning: Tuning | None, material: Material
    ) -> str:
        """See `Method.lacking`."""
        return lone_image(material.unlabelled, tuning) if tuning else ""

    @classmethod
    def check_teacher(cls, teacher: type[Method]) -> None:
        """See `Method.check_teacher`."""
        if not issubclass(teacher, StaticClassifier):
            raise ValueError(
                f"{teacher.card.title} has no class vectors that are the same for every image, "
                "which teacher and student share: choose another teacher, such as promptsrc."
            )

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes prompts and projector on the unlabelled images. See `Method.fit`.

        Raises:
            ValueError: There are none, or one of them would be a batch of its own.
        """
        images, unlabelled = shots.without_labels(), shots.unlabelled
        if tuning is None or unlabelled is None:
            return FitReport()
        if reason := lone_image(len(unlabelled.images), tuning):
            raise ValueError(reason)
        self.teacher_logits = TeacherLogits(self.teacher.over(unlabelled.classes))
        return tune(self, images, tuning, generator)

    @cached_property
    def shared(self) -> Float[Tensor, "k t"]:
        """The teacher's class vectors."""
        return self.teacher.class_vectors

    def class_features(self) -> Float[Tensor, "k t"]:
        """See `shared`."""
        return self.shared

    def image_features(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The images as the prompted tower reads them, in the teacher's space."""
        return self.projector(prompted_images(self.backbone, batch, self.image))

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Divergence of the student's logits from the teacher's; labels are not read."""
        found = self.compare(batch, self.teacher_logits.class_vectors)
        return self.kd_weight * logit_gap(
            found, self.teacher_logits.logits(batch), self.temperature
        )


def lone_image(images: int, tuning: Tuning) -> str:
    """Why the projector cannot learn; empty where no batch holds one image.

    Args:
        images: How many are learned from.
        tuning: Says how large a batch is, and whether the last, smaller one is dropped.
    """
    if not tuning.leaves_one_alone(images):
        return ""
    return (
        f"{images} unlabelled images in batches of {tuning.batch_size} leave one alone, and "
        "the projector has a batch norm: choose another batch_size, or drop_last=true."
    )
