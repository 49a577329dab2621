"""Low-rank changes of the weights that queries, keys and values are made with."""

import torch
from torch import Tensor, nn

from operators.backbones.towers.hooks import QKV, LayerHook, Part, Seats
from operators.backbones.towers.transformer import TowerShape
from operators.blocks.linear_maps import draw_uniform
from operators.shapes import Float


class LowRankMaps(nn.Module):
    """B A for queries, keys and values of each layer of a tower; B starts at zero.

    Dimensions: L layers, r rank, w width of the tower.

    Args:
        tower: Whose layers are changed.
        rank: r.
        scale: Factor of B A.
        generator: Draws A as torch draws a linear map.
        device: Where they go.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.1.
    """

    def __init__(
        self,
        tower: TowerShape,
        rank: int,
        scale: float,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        shape = tower.layers, len(QKV), rank, tower.width
        down = draw_uniform(torch.empty(shape), tower.width, generator)
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros_like(down.mT, device=device).contiguous())
        self.scale = scale

    def hooks(self, dropout: float = 0.0, seed: int | None = None) -> dict[int, "LowRankHook"]:
        """What changes the layers.

        Args:
            dropout: Share of the numbers that each A does not see.
            seed: Of which; None to show it all.
        """
        dropped = dropout if seed is not None else 0.0
        parts = zip(self.down, self.scale * self.up, strict=True)
        return {
            layer: LowRankHook(down, up, dropped, (seed or 0) + len(QKV) * layer)
            for layer, (down, up) in enumerate(parts)
        }


class LowRankHook(LayerHook):
    """(W + B A) x in place of W x, for queries, keys and values; A sees x through dropout.

    Args:
        down: A of each of the three.
        up: B of each, scaled.
        dropout: Share of the numbers of x that A does not see; what it sees is scaled up.
        seed: Of what each of the three does not see.
    """

    def __init__(
        self,
        down: Float[Tensor, "3 r w"],
        up: Float[Tensor, "3 w r"],
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.down = down
        self.up = up
        self.dropout = dropout
        self.seed = seed

    @property
    def noisy(self) -> bool:
        """See `LayerHook.noisy`: with dropout, each token is shown in part."""
        return self.dropout > 0

    def project(
        self,
        made: Float[Tensor, "*t p"],
        normed: Float[Tensor, "*t w"],
        parts: tuple[Part, ...],
        seats: Seats,
    ) -> Float[Tensor, "*t p"]:
        """See `LayerHook.project`."""
        down, up = self.down.to(normed.dtype), self.up.to(normed.dtype)
        changes = []
        for part in parts:
            which = QKV.index(part)
            seen = self.dropped(normed, which, seats) if self.noisy else normed
            changes.append((seen @ down[which].T) @ up[which].T)
        return made + torch.cat(changes, dim=-1)

    def dropped(self, x: Float[Tensor, "*t w"], which: int, seats: Seats) -> Float[Tensor, "*t w"]:
        """What A sees of the tokens.

        Args:
            x: The tokens.
            which: Of queries, keys and values the one that A is for.
            seats: Where the tokens stand: the same token is shown alike in any layout.
        """
        width = x.shape[-1]
        generator = torch.Generator(x.device).manual_seed(self.seed + which)
        shape = seats.sequences * seats.length, width
        drawn = torch.rand(shape, generator=generator, device=x.device)
        kept = (drawn >= self.dropout).to(x.dtype) / (1 - self.dropout)
        return x * seats.look_up(kept)

    def operations(self, tokens: int, read: int) -> int:
        """See `LayerHook.operations`."""
        _, rank, width = self.down.shape
        return 2 * 2 * rank * width * (read + 2 * tokens)
