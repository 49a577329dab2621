"""Contextual calibration: what a prompt prefers before it has read anything is taken off.

Source: Zhao et al., "Calibrate Before Use: Improving Few-Shot Performance of Language Models", ICML
2021, https://arxiv.org/abs/2102.09690, section 5, and the authors' `run_classification.py`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from operators.shapes import Float

CONTENT_FREE = ("N/A", "", "[MASK]")  # the authors' three


@torch.no_grad()
def content_free_scores(
    ask: Callable[[Sequence[str]], Float[Tensor, "n k"]], texts: Sequence[str] = CONTENT_FREE
) -> Float[Tensor, "k"]:  # noqa: F821
    """Logarithm of the mean probability that each class has of texts without content.

    Taken off the logarithm of what a class has of a text, this is the authors' product with the
    inverse of the diagonal matrix of those means, up to a number that all classes share.

    Args:
        ask: From n texts to the log-probability of each of k answers.
        texts: Without content.
    """
    return ask(texts).logsumexp(dim=0) - math.log(len(texts))
