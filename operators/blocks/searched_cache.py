"""What methods with a cache declare alike: scale, templates, and the search of its scalars."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from operators.blocks.cache_head import grid
from operators.bounds import Bounds

# Images that scalars are tried on: the few of the episode, the whole validation split, or none.
SearchOn = Literal["shots", "split", "none"]
Scale = Annotated[float | None, Bounds(0, 1000, above=True)]
Templates = Literal["card", "imagenet"]


def published_search(
    dataset: str, *, start: int | float, largest_alpha: int | float, largest_beta: int | float
) -> dict[str, Any]:
    """Hyperparameters of a dataset that authors have settings for.

    The codes write the scale 100 out. On ImageNet, whose validation images are test images in
    CoOp's protocol, they search on all of them; here it is on the few of the episode, and a plan
    says so.

    Args:
        dataset: Its name.
        start: Of alpha.
        largest_alpha: That is tried, excluded.
        largest_beta: Likewise.
    """
    return {
        "alpha": float(start),
        "search_alpha": float(largest_alpha),
        "search_beta": float(largest_beta),
        "scale": 100.0,
        **({"templates": "imagenet"} if dataset == "imagenet" else {"search_on": "split"}),
    }


def searches(hyperparameters: Mapping[str, Any]) -> bool:
    """For `Method.chooses_on_validation`: whether anything is searched; it is where nobody asks."""
    return hyperparameters.get("search_on", "shots") != "none"


def searched_grid(search_on: str, largest: float, steps: int) -> list[float]:
    """Values of a scalar that a search tries; none where nothing is searched.

    Args:
        search_on: One of `SearchOn`.
        largest: Upper end, excluded.
        steps: How many values.
    """
    return [] if search_on == "none" else grid(largest, steps)


def idle_grid(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """For `Method.idle`: the grid, where nothing is searched."""
    if hyperparameters["search_on"] != "none":
        return {}
    tried = [name for name in hyperparameters if name.startswith("search_") and name != "search_on"]
    return dict.fromkeys(tried, "nothing is searched. Ask for search_on=shots as well.")


def idle_search(hyperparameters: Mapping[str, Any], scalars: tuple[str, ...]) -> dict[str, str]:
    """For `Method.idle`: the grid where nothing is searched, else where a search starts.

    Args:
        hyperparameters: All of the method.
        scalars: Those that are searched, and decide nothing before.
    """
    return idle_grid(hyperparameters) or {
        name: "it is searched on validation images. Ask for search_on=none as well, or for "
        f"another search_{name}, the largest {name} tried."
        for name in scalars
    }
