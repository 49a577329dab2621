"""Block V, views at test time: which of them are certain, and how certain they are together."""

import math

import torch
from torch import Tensor

from operators.shapes import Float, Int


def most_confident(logits: Float[Tensor, "b n k"], kept: int) -> Int[Tensor, "b kept"]:
    """Of the n views of each image, the `kept` whose predictions have the least entropy.

    Args:
        logits: Of k classes.
        kept: 1 to n.

    Returns:
        Positions among the views, the most certain first; the earlier of equals.

    Source: Shu et al., "Test-Time Prompt Tuning", NeurIPS 2022, section 3.2, confidence selection.
    """
    log = torch.log_softmax(logits, dim=2)
    entropy = -(log.exp() * log).sum(dim=2)
    return entropy.argsort(dim=1, stable=True)[:, :kept]


def entropy_of_mean(logits: Float[Tensor, "b n k"]) -> Float[Tensor, "b"]:  # noqa: F821
    """Entropy of the mean over n views of the predicted probabilities, in nats.

    Source: Shu et al., NeurIPS 2022, equations 2 and 3.
    """
    views = logits.shape[1]
    mean = torch.log_softmax(logits, dim=2).logsumexp(dim=1) - math.log(views)
    return -(mean.exp() * mean).sum(dim=1)
