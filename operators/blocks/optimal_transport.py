"""Block M, matching: how similar two sets of vectors are, each moved onto the other at least cost.

Many small problems are solved at once, each as if it were alone.
"""

import torch
from torch import Tensor

from operators.shapes import Float

ENTROPY = 0.1  # of PLOT's code, as are both below
ITERATIONS = 100
TOLERANCE = 1e-2


@torch.no_grad()
def transport_plan(
    similarity: Float[Tensor, "*b m n"],
    *,
    entropy: float = ENTROPY,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Float[Tensor, "*b m n"]:
    """How much of each of m vectors goes to each of n others, where both sets weigh 1 in all.

    Sinkhorn's iteration scales the rows of K = exp(-(1 - similarity) / entropy) by r and its
    columns by c, in turn, until r moves by less than the tolerance in the mean. A problem that is
    there stays as it is while others go on, so the plan of an image depends on no other image.

    Args:
        similarity: Cosines; the cost is 1 - similarity.
        entropy: Weight of the plan's entropy beside its cost; above 0.
        iterations: At most; each scales rows, then columns.
        tolerance: Of the mean change of r, which is about 1 / m / K.

    Returns:
        Plans whose columns sum to 1 / n, and rows to nearly 1 / m; no gradient goes through them.

    Source: Cuturi, "Sinkhorn Distances", NeurIPS 2013, algorithm 1; entropy, tolerance and number
    of iterations are those of PLOT's code, which stops all problems of a batch at the same time.
    """
    m, n = similarity.shape[-2:]
    kernel = ((similarity - 1) / entropy).exp()
    rows = torch.ones_like(kernel[..., :, :1])
    columns = torch.ones_like(kernel[..., :1, :])
    moving = torch.ones_like(kernel[..., :1, :1], dtype=torch.bool)
    # To know that all are there, one number is read. A GPU would be waited for at every iteration,
    # and those that change nothing are cheaper there.
    looks = similarity.device.type == "cpu"
    for _ in range(iterations):
        scaled = 1 / m / (kernel @ columns.mT)
        change = (scaled - rows).abs().mean(dim=-2, keepdim=True)
        rows = torch.where(moving, scaled, rows)
        columns = torch.where(moving, 1 / n / (rows.mT @ kernel), columns)
        moving = moving & (change >= tolerance)
        if looks and not moving.any():
            break
    return rows * kernel * columns


def transported_similarity(similarity: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    """Sum of similarity * plan, with the gradient of a plan that stands still.

    Args:
        similarity: Cosines of each of m vectors and each of n others.

    Source: Chen et al., "PLOT: Prompt Learning with Optimal Transport for Vision-Language Models",
    ICLR 2023; that no gradient goes through the plan is in the authors' code.
    """
    return (transport_plan(similarity) * similarity).sum(dim=(-2, -1))


def similarities(
    images: Float[Tensor, "b m d"], texts: Float[Tensor, "n k d"]
) -> Float[Tensor, "b k m n"]:
    """Dot products of m vectors of each image and n of each class.

    Args:
        images: Patches of each image, or its features under several prompts.
        texts: The features of each of n prompts of a class.
    """
    n, k, _ = texts.shape
    found = images @ texts.flatten(0, 1).T  # (b, m, n k): one product
    return found.unflatten(-1, (n, k)).permute(0, 3, 1, 2)
