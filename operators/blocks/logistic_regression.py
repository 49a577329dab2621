"""Logistic regression on frozen features, and the search for its regularisation.

Source: CoOp's `lpclip/linear_probe.py`: the inverse regularisation C is the best of seven powers of
ten on validation, refined by bisections. The objective is scikit-learn's, C times the summed
cross-entropy plus half the squared weights, solved to its optimum in float64.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.episodes.episode import FewShot
from operators.shapes import Float, Int
from operators.tuning import FitReport


class Linear(NamedTuple):
    """Weights (k, d) and intercepts (k,) of a linear classifier."""

    weight: Tensor
    bias: Tensor


class Fitted(NamedTuple):
    """What a search came to.

    Attributes:
        linear: The classifier.
        c: The C that was chosen.
        iterations: Of L-BFGS, over every C that was tried.
    """

    linear: Linear
    c: float
    iterations: int


def searched_regression(
    shots: FewShot, classes: int, *, max_iterations: int, search_steps: int
) -> Fitted:
    """The regression whose C validation prefers; C is 1 where there are no validation rows.

    Args:
        shots: Features and labels to learn and to choose on.
        classes: k.
        max_iterations: Of L-BFGS, for each C.
        search_steps: Bisections of C after the coarse search.
    """
    search = _Search(shots, classes, max_iterations)
    c = search.coarse() if len(shots.val) else 1.0
    if len(shots.val):
        c = search.refine(c, search_steps)
    return Fitted(search.solve(c), c, search.iterations)


class RegressionHead(nn.Module):
    """Linear scores of frozen features, from a regression whose C validation prefers.

    Dimensions: b examples, k classes, d width of a feature.

    Args:
        width: d.
        classes: k.
        device: Of the features.
        max_iterations: Of L-BFGS, for each C.
        search_steps: Bisections of C after the coarse search.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        device: torch.device,
        max_iterations: int,
        search_steps: int,
    ) -> None:
        super().__init__()
        self.max_iterations = max_iterations
        self.search_steps = search_steps
        self.weight = nn.Parameter(torch.zeros(classes, width, device=device))
        self.bias = nn.Parameter(torch.zeros(classes, device=device))

    def learn(self, shots: FewShot) -> FitReport:
        """Solves for each C that is tried and keeps the one validation prefers."""
        found = searched_regression(
            shots,
            len(self.bias),
            max_iterations=self.max_iterations,
            search_steps=self.search_steps,
        )
        with torch.no_grad():
            self.weight.copy_(found.linear.weight)
            self.bias.copy_(found.linear.bias)
        return FitReport(steps=found.iterations, selected={"C": found.c})

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Linear scores of features as they are, not normalised."""
        return F.linear(features, self.weight, self.bias)


class _Search:
    """The search for C; every solution is kept, since the bisection meets some again."""

    def __init__(self, shots: FewShot, classes: int, max_iterations: int) -> None:
        self.shots = shots
        self.classes = classes
        self.max_iterations = max_iterations
        self.solved: dict[float, Linear] = {}
        self.iterations = 0

    def solve(self, c: float) -> Linear:
        if c not in self.solved:
            train = self.shots.train
            fitted, iterations = logistic_regression(
                train.features, train.labels, self.classes, c=c, max_iterations=self.max_iterations
            )
            self.solved[c] = fitted
            self.iterations += iterations
        return self.solved[c]

    def accuracy(self, c: float) -> float:
        fitted = self.solve(c)
        scores = F.linear(self.shots.val.features.double(), fitted.weight, fitted.bias)
        return float((scores.argmax(dim=1) == self.shots.val.labels).double().mean())

    def coarse(self) -> float:
        candidates: Sequence[float] = [1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6]
        return max(candidates, key=self.accuracy)

    def refine(self, peak: float, steps: int) -> float:
        left, right, chosen = math.log10(peak) - 1, math.log10(peak) + 1, peak
        for _ in range(steps):
            middle = 0.5 * (left + right)
            if self.accuracy(10**left) < self.accuracy(10**right):
                chosen, left = 10**right, middle
            else:
                chosen, right = 10**left, middle
        return chosen


def logistic_regression(
    features: Float[Tensor, "b d"],
    labels: Int[Tensor, "b"],  # noqa: F821
    classes: int,
    *,
    c: float,
    max_iterations: int = 1000,
    tolerance: float = 1e-4,
) -> tuple[Linear, int]:
    """Multinomial logistic regression with an L2 penalty on the weights, by L-BFGS.

    Minimises c * sum_i CE(W x_i + b, y_i) + ||W||^2 / 2 in float64; the intercepts b are not
    penalised. The penalty makes the optimum unique but for a shift of all intercepts.

    Args:
        features: As they are, not normalised.
        labels: 0..classes-1.
        classes: k.
        c: Inverse strength of the penalty, above 0.
        max_iterations: Of L-BFGS.
        tolerance: Largest gradient entry, over c times the rows, at which it stops.

    Returns:
        The classifier and the iterations taken.
    """
    x, rows = features.double(), len(features)
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, device=x.device)
    bias = torch.zeros(classes, dtype=torch.float64, device=x.device)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer: Any = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iterations,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        # Divided by c times the rows, so that one tolerance serves every c.
        loss = F.cross_entropy(F.linear(x, weight, bias), labels)
        loss = loss + weight.square().sum() / (2 * c * rows)
        loss.backward()
        return loss

    optimizer.step(closure)
    iterations = optimizer.state[weight]["n_iter"]
    return Linear(weight.detach(), bias.detach()), iterations
