"""How much less work the packed text path does than the plain one, for a step of CoOp.

    python benchmarks/text_path.py                      # ViT-B/16's text tower, minutes
    python benchmarks/text_path.py --shape tiny         # seconds
    python benchmarks/text_path.py --rounds 0 --json -  # seconds; no clock, nothing is computed

The plain form is CLIP's own arithmetic as the published prompt-tuning codes run it: each class
padded to 77 tokens, all tokens through all layers, quick GELU as it is written. Both have the
same random weights, and the same frozen image features for the loss. Tokens, operations and
saved bytes follow from shapes and repeat exactly, so a test holds us to them; operations are
counted as trials report them (operators/engine/accounting.py). Times are CPU times of this
thread, both forms in turn.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from class_names import name_lengths
from measuring import markdown_table, seconds, times, times_in, write_json
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from operators.backbones.towers.flops import full_layers, packed_layers
from operators.backbones.towers.packed_text import PackedText
from operators.backbones.towers.prompts import TextPrompts
from operators.backbones.towers.transformer import (
    Layer,
    Tower,
    TowerShape,
    fold_quick_gelu,
    quick_gelu,
)
from operators.engine.accounting import Flops, backward, forward

SHAPES = {
    "vit-b16": TowerShape(512, 12, 8, 2048, "quick_gelu", 1e-5),
    "tiny": TowerShape(192, 4, 4, 768, "quick_gelu", 1e-5),
}
PLAIN_LENGTH = 77
IMAGES = 32
GOALS = {10: 7.5, 37: 15, 100: 20}


class PlainText(nn.Module):
    """CLIP's text transformer as published, with the weights of a tower."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        w, heads = tower.shape.width, tower.shape.heads
        self.blocks = nn.ModuleList()
        for layer in tower.layers:
            assert isinstance(layer, Layer)
            attention = nn.MultiheadAttention(w, heads)
            attention.in_proj_weight = nn.Parameter(layer.qkv.weight)  # the same memory
            attention.in_proj_bias = nn.Parameter(layer.qkv.bias)
            attention.out_proj.load_state_dict(layer.out.state_dict())
            parts = [layer.norm1, attention, layer.norm2, layer.fc1, layer.fc2]
            self.blocks.append(nn.ModuleList(parts))
        mask = torch.full((PLAIN_LENGTH, PLAIN_LENGTH), float("-inf")).triu(1)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, end: Tensor) -> Tensor:
        """States at the end tokens of (k, 77, w) embedded texts, positions added."""
        x = x.permute(1, 0, 2)
        for norm1, attention, norm2, fc1, fc2 in self.blocks:  # pyright: ignore[reportGeneralTypeIssues]
            states = norm1(x)
            x = x + attention(states, states, states, need_weights=False, attn_mask=self.mask)[0]
            x = x + fc2(quick_gelu(fc1(norm2(x))))
        x = x.permute(1, 0, 2)
        return x[torch.arange(len(x)), end]


def texts(classes: int, context: int, width: int) -> TextPrompts:
    """Start, context, a name of its own for each class, full stop, end, padded to 77."""
    lengths = name_lengths(classes)
    names = [[1000 + 16 * c + i for i in range(length)] for c, length in enumerate(lengths)]
    rows = [[0, *[1] * context, *name, 2, 3] for name in names]
    end = torch.tensor([len(row) - 1 for row in rows])
    ids = torch.tensor([row + [3] * (PLAIN_LENGTH - len(row)) for row in rows])
    table = torch.randn(int(ids.max()) + 1, width) * 0.02
    slots = torch.arange(1, 1 + context).expand(classes, -1)
    return TextPrompts(ids, table[ids], end, slots)


class Steps(NamedTuple):
    """Both forms of one step: text forward, loss, backward.

    Attributes:
        forms: By name; each gives the loss and the gradient of the context.
        tokens: That pass through each.
        layers: Operations of each.
        weights: The frozen weights of both, and other tensors that no step makes.
    """

    forms: dict[str, Callable[[], tuple[Tensor, Tensor]]]
    tokens: dict[str, int]
    layers: dict[str, list[Flops]]
    weights: list[Tensor]


def steps(shape: TowerShape, classes: int, context: int) -> Steps:
    """Makes the two forms."""
    torch.manual_seed(0)
    tower = Tower(shape, causal=True).requires_grad_(False)
    plain = PlainText(tower).requires_grad_(False)
    folded = Tower(shape, causal=True).requires_grad_(False)
    folded.load_state_dict(tower.state_dict())
    fold_quick_gelu(folded)
    positions = torch.randn(PLAIN_LENGTH, shape.width) * 0.01
    prompts = texts(classes, context, shape.width)
    start = 0.02 * torch.randn(1, context, shape.width)
    images = F.normalize(torch.randn(IMAGES, shape.width), dim=1)
    labels = torch.arange(IMAGES) % classes
    path = PackedText(folded, lambda x, at: x + positions[at], pool="end")

    def step(encode: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        learned = start.clone().requires_grad_()
        loss = F.cross_entropy(100 * images @ F.normalize(encode(learned), dim=1).T, labels)
        (gradient,) = torch.autograd.grad(loss, learned)
        return loss.detach(), gradient

    [piece] = path.pieces(prompts, 1, True)
    packed = packed_layers(shape, piece.plan, len(piece.slots), 1, at_ends=True)
    return Steps(
        forms={
            "plain": lambda: step(lambda x: plain(prompts.fill(x) + positions, prompts.end)),
            "packed": lambda: step(lambda x: path(prompts, x[None])[0]),
        },
        tokens={"plain": classes * PLAIN_LENGTH, "packed": piece.plan.tokens},
        layers={"plain": full_layers(shape, classes, PLAIN_LENGTH), "packed": packed},
        weights=[*plain.parameters(), *plain.buffers(), *folded.parameters()],
    )


def assert_equal(forms: dict[str, Callable[[], tuple[Tensor, Tensor]]]) -> None:
    """Sees that the losses and gradients of both forms are equal."""
    (loss, gradient), (found, ours) = (form() for form in forms.values())
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, gradient, rtol=0, atol=1e-3 * float(gradient.abs().max()))


def saved_bytes(form: Callable, weights: list[Tensor]) -> int:
    """Bytes that autograd keeps between forward and backward, weights not counted.

    The step is taken on tensors without content: their sizes are all that is wanted.
    """
    hollow = FakeTensorMode(allow_non_fake_inputs=True)
    kept: dict[int, Tensor] = {}  # by storage, and alive, so that no address comes twice

    def storage(x: Tensor) -> int:
        return x.untyped_storage()._cdata

    def pack(x: Tensor) -> Tensor:
        kept[storage(x)] = x
        return x

    frozen = [hollow.from_tensor(weight) for weight in weights]
    with hollow, torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        form()
    known = {storage(weight) for weight in frozen}
    return sum(x.untyped_storage().nbytes() for at, x in kept.items() if at not in known)


def compare(shape: TowerShape, classes: int, context: int, rounds: int) -> dict:
    """One row of the table."""
    forms, tokens, layers, weights = steps(shape, classes, context)
    row: dict = {"classes": classes, "tokens": tokens}
    row["flops"] = {name: forward(each) + backward(each) for name, each in layers.items()}
    row["saved_bytes"] = {name: saved_bytes(form, weights) for name, form in forms.items()}
    for key in ("tokens", "flops", "saved_bytes"):
        row[f"{key}_ratio"] = row[key]["plain"] / row[key]["packed"]
    if rounds:
        assert_equal(forms)
        times = seconds(forms, rounds)
        row["cpu_seconds"] = {n: statistics.median(t[n] for t in times) for n in forms}
        ratios = [t["plain"] / t["packed"] for t in times]
        row["time_ratio"] = statistics.median(ratios)
        row["time_ratio_range"] = [min(ratios), max(ratios)]
        row["goal"] = GOALS.get(classes)
    return row


def table(rows: list[dict]) -> str:
    """The rows as a person reads them."""
    lines = ["classes   tokens    operations  saved bytes  time [range]           goal"]
    for row in rows:
        time_of = "not measured"
        if "time_ratio" in row:
            low, high = row["time_ratio_range"]
            time_of = f"{row['time_ratio']:.1f}x [{low:.1f}-{high:.1f}]"
        lines.append(
            f"{row['classes']:>7} {row['tokens_ratio']:>7.1f}x {row['flops_ratio']:>12.1f}x "
            f"{row['saved_bytes_ratio']:>11.1f}x  {time_of:<22} {row.get('goal') or '':>4}"
        )
    return "\n".join(lines)


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    heads = {"Classes": ">", "Tokens": ">", "Operations": ">", "Saved activations": ">"}
    heads |= {"CPU time [range]": "<"}
    rows = [
        (
            row["classes"],
            *(times(row[f"{key}_ratio"]) for key in ("tokens", "flops", "saved_bytes")),
            times_in(row["time_ratio"], row["time_ratio_range"]),
        )
        for row in report["rows"]
    ]
    return markdown_table(heads, rows)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="vit-b16")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 37, 100])
    parser.add_argument("--context", type=int, default=16, help="learned tokens")
    parser.add_argument("--rounds", type=int, default=5, help="0 leaves the clock out")
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compare(SHAPES[given.shape], k, given.context, given.rounds) for k in given.classes]
    if given.json != "-":
        print(table(rows))
    report = {
        "benchmark": "text_path",
        "shape": given.shape,
        "context": given.context,
        "rows": rows,
    }
    write_json(report, given.json)


if __name__ == "__main__":
    main()
