"""Numbers that are none: refused where they arise, so that no score is ever made of them."""

from torch import Tensor, nn

from operators.shapes import Float
from operators.tuning import TuningError


def refuse_diverged(method: nn.Module) -> None:
    """Raises where something that was learned is no number, whatever the logits say.

    The tuning loop looks at the end of each epoch. Methods that take no gradient steps do not
    come through it, some change what is learned when it is over, and not every learned number
    reaches the logits of every split.

    Raises:
        TuningError: Names the tensor and how many of its numbers are lost.
    """
    for name, value in method.state_dict().items():
        lost = int((~value.isfinite()).sum())
        if lost:
            raise TuningError(
                f"{lost} of the {value.numel()} learned numbers of {name} are infinite or nan: try "
                "a smaller lr or precision fp32; or data or backbone are damaged."
            )


def refuse_nonsense(what: str, scores: Float[Tensor, "b k"]) -> None:
    """Raises where no metric can be had from logits.

    Args:
        what: The rows that they are of, such as `split 'all'`.
        scores: The logits.

    Raises:
        ValueError: There are none, or one is infinite or no number.
    """
    if not len(scores):
        raise ValueError(f"{what} has no test rows.")
    lost = int((~scores.isfinite()).any(dim=1).sum())
    if lost:
        raise ValueError(
            f"the logits of {lost} of the {len(scores)} rows of {what} are infinite or nan: what "
            "was learned is too large (try a smaller lr or precision fp32), or data or backbone "
            "are damaged (`shotboard datasets verify` tells of data)."
        )
