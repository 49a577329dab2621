"""How much less work the packed text path does than the plain one, for a step of CoOp.

    python benchmarks/text_path.py                      # ViT-B/16's text tower, minutes
    python benchmarks/text_path.py --shape tiny         # seconds
    python benchmarks/text_path.py --rounds 0 --json -  # no clock: what a test can hold us to

The plain form is CLIP's own arithmetic as the published prompt-tuning codes run it: each class
padded to 77 tokens, all tokens through all layers, quick GELU as it is written. Both have the
same random weights, and the same frozen image features for the loss. Linear FLOPs, tokens and
saved bytes repeat exactly; times are CPU times of this thread, both forms in turn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones.packed_text import PackedText
from operators.backbones.prompts import TextPrompts
from operators.backbones.transformer import Layer, Tower, TowerShape, fold_quick_gelu, quick_gelu

SHAPES = {
    "vit-b16": TowerShape(512, 12, 8, 2048, "quick_gelu", 1e-5),
    "tiny": TowerShape(192, 4, 4, 768, "quick_gelu", 1e-5),
}
PLAIN_LENGTH = 77
IMAGES = 32
# Tokens of class names: about those of EuroSAT, and of Pets and Caltech-101 in the mean.
NAME_LENGTHS = {10: (3, 1, 6, 3, 2, 4, 5, 2, 1, 4), 37: (2, 1, 3, 2, 4, 1, 2), 100: (1, 2, 1, 3)}
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
    lengths = islice(cycle(NAME_LENGTHS.get(classes, NAME_LENGTHS[100])), classes)
    names = [[1000 + 10 * c + i for i in range(length)] for c, length in enumerate(lengths)]
    rows = [[0, *[1] * context, *name, 2, 3] for name in names]
    end = torch.tensor([len(row) - 1 for row in rows])
    ids = torch.tensor([row + [3] * (PLAIN_LENGTH - len(row)) for row in rows])
    table = torch.randn(int(ids.max()) + 1, width) * 0.02
    slots = torch.arange(1, 1 + context).expand(classes, -1)
    return TextPrompts(ids, table[ids], end, slots)


class Steps(NamedTuple):
    """Both forms of one step: text forward, loss, backward.

    Attributes:
        forms: By name.
        tokens: That pass through the packed one.
        weights: Where the frozen weights of both lie in memory.
    """

    forms: dict[str, Callable]
    tokens: int
    weights: set[int]


def steps(shape: TowerShape, classes: int, context: int) -> Steps:
    """Makes the two forms, and sees that their losses and gradients are equal."""
    torch.manual_seed(0)
    tower = Tower(shape, causal=True).requires_grad_(False)
    plain = PlainText(tower).requires_grad_(False)
    folded = Tower(shape, causal=True).requires_grad_(False)
    folded.load_state_dict(tower.state_dict())
    fold_quick_gelu(folded)
    positions = torch.randn(PLAIN_LENGTH, shape.width) * 0.01
    prompts = texts(classes, context, shape.width)
    learned = (0.02 * torch.randn(1, context, shape.width)).requires_grad_()
    images = F.normalize(torch.randn(IMAGES, shape.width), dim=1)
    labels = torch.arange(IMAGES) % classes
    path = PackedText(folded, lambda x, at: x + positions[at])

    def step(encode: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        learned.grad = None
        loss = F.cross_entropy(100 * images @ F.normalize(encode(), dim=1).T, labels)
        loss.backward()
        assert learned.grad is not None
        return loss.detach(), learned.grad

    forms = {
        "plain": lambda: step(lambda: plain(prompts.fill(learned) + positions, prompts.end)),
        "packed": lambda: step(lambda: path(prompts, learned[None])[0]),
    }
    (loss, gradient), (found, ours) = (form() for form in forms.values())
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, gradient, rtol=0, atol=1e-3 * float(gradient.abs().max()))
    weights = [*plain.parameters(), *plain.buffers(), *folded.parameters()]
    at = {weight.untyped_storage().data_ptr() for weight in weights}
    return Steps(forms, sum(p.plan.tokens for p in path.pieces(prompts, 1, True)), at)


def saved_bytes(form: Callable, weights: set[int]) -> int:
    """Bytes that autograd keeps between forward and backward, weights not counted."""
    kept: dict[int, Tensor] = {}  # by storage, and alive, so that no address comes twice

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        form()
    return sum(x.untyped_storage().nbytes() for at, x in kept.items() if at not in weights)


def linear_flops(form: Callable) -> int:
    """Floating point operations in matrix products, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        form()
    attention = ("attention", "flash")
    counts = counter.get_flop_counts()["Global"]
    return sum(n for op, n in counts.items() if not any(word in str(op) for word in attention))


def seconds(forms: dict[str, Callable], rounds: int) -> list[dict[str, float]]:
    """CPU seconds of this thread, all forms in each round."""
    measured = []
    for _ in range(rounds):
        row = {}
        for name, form in forms.items():
            start = time.thread_time()
            form()
            row[name] = time.thread_time() - start
        measured.append(row)
    return measured


def compare(shape: TowerShape, classes: int, context: int, rounds: int) -> dict:
    """One row of the table."""
    forms, tokens, weights = steps(shape, classes, context)
    row: dict = {"classes": classes, "tokens": {"plain": classes * PLAIN_LENGTH, "packed": tokens}}
    row["linear_flops"] = {name: linear_flops(form) for name, form in forms.items()}
    row["saved_bytes"] = {name: saved_bytes(form, weights) for name, form in forms.items()}
    for key in ("tokens", "linear_flops", "saved_bytes"):
        row[f"{key}_ratio"] = row[key]["plain"] / row[key]["packed"]
    if rounds:
        times = seconds(forms, rounds)
        row["cpu_seconds"] = {n: statistics.median(t[n] for t in times) for n in forms}
        ratios = [t["plain"] / t["packed"] for t in times]
        row["time_ratio"] = statistics.median(ratios)
        row["time_ratio_range"] = [min(ratios), max(ratios)]
        row["goal"] = GOALS.get(classes)
    return row


def table(rows: list[dict]) -> str:
    """The rows as a person reads them."""
    lines = ["classes   tokens  linear FLOPs  saved bytes  time [range]           goal"]
    for row in rows:
        time_of = "not measured"
        if "time_ratio" in row:
            low, high = row["time_ratio_range"]
            time_of = f"{row['time_ratio']:.1f}x [{low:.1f}-{high:.1f}]"
        lines.append(
            f"{row['classes']:>7} {row['tokens_ratio']:>7.1f}x {row['linear_flops_ratio']:>12.1f}x "
            f"{row['saved_bytes_ratio']:>11.1f}x  {time_of:<22} {row.get('goal') or '':>4}"
        )
    return "\n".join(lines)


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
    report = json.dumps({"shape": given.shape, "context": given.context, "rows": rows}, indent=2)
    if given.json == "-":
        print(report)
        return
    print(table(rows))
    if given.json:
        Path(given.json).write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
