"""Block D, distillation: what a teacher says of images, asked for once."""

import numpy as np
import torch
from torch import Tensor

from operators.episodes.episode import Batch
from operators.episodes.kept_pixels import KeptRows
from operators.methods.image_classification.base import Teacher
from operators.shapes import Float

LOGITS_KEPT = 256 << 20  # bytes; 60,000 images of 1,000 classes are 240 million


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
            index = torch.from_numpy(places).to(batch.device)
            return self.teacher.logits(batch.select(index))

        return self.kept.read(batch.rows, batch.view, ask)
