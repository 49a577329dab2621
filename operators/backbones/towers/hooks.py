"""What a method does inside of the layers of a frozen tower, to each token alone.

A hook cuts in at three places of a layer: where queries, keys and values are made (a low-rank
change of their weights), behind attention, and beside the whole block. In all of them it is shown
what the layer makes queries of, its normalised input, one token apart from the others. So the fast
paths hold with it: tokens that texts share, and tokens that nobody reads, are computed once or not
at all.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from operators.shapes import Float, Int

Part = Literal["q", "k", "v"]
QKV: tuple[Part, ...] = ("q", "k", "v")


class Seats(NamedTuple):
    """Where some tokens stand in the table of all that a call encodes.

    What is drawn at random is drawn for the table, position by position, so it depends neither on
    which tokens are computed together nor on how far texts are padded.

    Attributes:
        sequences: Texts or images of the call.
        length: Tokens of each, padding included.
        rows: (t,) position times sequences plus sequence, of each token; None where the tokens
            are all there, (sequences, length).
    """

    sequences: int
    length: int
    rows: Int[Tensor, "t"] | None = None  # noqa: F821

    def at(self, places: Int[Tensor, "p"]) -> "Seats":  # noqa: F821
        """The seats of some of the tokens."""
        rows = places if self.rows is None else self.rows[places]
        return Seats(self.sequences, self.length, rows)

    def look_up(self, table: Float[Tensor, "t w"]) -> Float[Tensor, "*t w"]:
        """What a table with a row for each seat has for the tokens."""
        if self.rows is not None:
            return table[self.rows]
        return table.view(self.length, self.sequences, -1).transpose(0, 1)


class LayerHook:
    """Changes one layer of a tower; as it stands here, nothing.

    What it learns it holds as tensors, in float32 whatever the precision of the tower is.
    """

    @property
    def noisy(self) -> bool:
        """Whether equal tokens of two texts may become different, so that none can be shared."""
        return False

    def project(
        self,
        made: Float[Tensor, "*t p"],
        normed: Float[Tensor, "*t w"],
        parts: tuple[Part, ...],
        seats: Seats,
    ) -> Float[Tensor, "*t p"]:
        """Some of queries, keys and values.

        Args:
            made: What the frozen weights make of `normed`, side by side.
            normed: The tokens as the layer makes queries of them.
            parts: Which of the three they are.
            seats: Where the tokens stand.
        """
        return made

    def after_attention(
        self, mixed: Float[Tensor, "*t w"], normed: Float[Tensor, "*t w"]
    ) -> Float[Tensor, "*t w"]:
        """What is added to the tokens behind attention.

        Args:
            mixed: What the heads read, mixed by the layer's output weights.
            normed: As for `project`.
        """
        return mixed

    def after_block(
        self, states: Float[Tensor, "*t w"], normed: Float[Tensor, "*t w"]
    ) -> Float[Tensor, "*t w"]:
        """What leaves the layer.

        Args:
            states: What would leave it.
            normed: As for `project`.
        """
        return states

    def operations(self, tokens: int, read: int) -> int:
        """Operations of its matrix products with what is learned, forward.

        Args:
            tokens: Whose keys and values the layer makes.
            read: Whose queries it makes, and what comes behind attention.
        """
        return 0


Hooks = Mapping[int, LayerHook]  # by layer, from 0


def refuse_hooks_outside(hooks: Hooks | None, layers: int) -> None:
    """Raises where a hook has no layer.

    Args:
        hooks: By layer, from 0.
        layers: Of the tower.

    Raises:
        ValueError: Names the layer and those that there are.
    """
    for layer in hooks or ():
        if not 0 <= layer < layers:
            raise ValueError(
                f"a hook for layer {layer} of a tower of {layers} layers: they are 0 to "
                f"{layers - 1}."
            )


def draws_noise(hooks: Hooks | None) -> bool:
    """Whether any hook lets equal tokens become different."""
    return any(hook.noisy for hook in (hooks or {}).values())
