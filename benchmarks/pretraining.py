"""How fast pairs are drawn and learned from, and where the time goes.

    python benchmarks/pretraining.py [--pairs 2000] [--rounds 9] [--json FILE]

One thread. Rates are of CPU time, so that a busy machine tells nearly the same as an idle one;
variants of the step take turns in one process, and the median round is shown.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from data_catalog.world.captions import caption
from data_catalog.world.painting import paint
from data_catalog.world.scenes import random_scene
from data_catalog.world.source import World
from operators.pretraining import Recipe, Trainer, train_tokenizer
from tasks.computing.batches import PairWorker

# The step as a first version would take it, and what each choice of the recipe gives.
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped: bf16, gelu": {"precision": "bf16", "activation": "gelu"},
    "fp32": {"precision": "fp32", "activation": "gelu"},
    "fp32, quick_gelu": {"precision": "fp32", "activation": "quick_gelu"},
    "bf16, half of the patches": {"precision": "bf16", "activation": "gelu", "keep_patches": 0.5},
}


def drawing(count: int) -> dict[str, float]:
    """Microseconds of each part of a pair, and pairs a second."""
    world = World()
    for pair in range(count):  # fills the cache of forms, as the first minute of training does
        world.pair(pair)
    clock = time.thread_time
    spent = dict.fromkeys(("scene", "caption", "painting", "resizing"), 0.0)
    for number in range(count):
        start = clock()
        rng = random.Random(f"world/0/{number}")
        scene = random_scene(rng)
        drawn = clock()
        caption(scene, rng)
        told = clock()
        paint(scene)
        painted = clock()
        for part, seconds in zip(
            spent, (drawn - start, told - drawn, painted - told), strict=False
        ):
            spent[part] += seconds
    start = clock()
    PairWorker(world, count, 48).make(0)
    whole = clock() - start
    spent["resizing"] = max(0.0, whole - sum(spent.values()))
    each = {part: 1e6 * seconds / count for part, seconds in spent.items()}
    return {**each, "pairs/s": count / whole}


def training(rounds: int, batch_size: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a step and pairs a second, by variant."""
    world = World()
    batch = PairWorker(world, batch_size, 48).make(0)
    images, texts = torch.from_numpy(batch.images), batch.texts
    with tempfile.TemporaryDirectory() as folder:
        base = Recipe(batch_size=batch_size, steps=10_000)
        train_tokenizer(world.texts(5000), base.vocabulary, base.context_length, Path(folder))
        trainers = {
            name: Trainer(Recipe(**{**base.as_mapping(), **changes}), Path(folder))  # pyright: ignore[reportArgumentType]
            for name, changes in VARIANTS.items()
        }
        steps: dict[str, Callable[[], Any]] = {
            name: lambda trainer=trainer: trainer.step(images, texts)
            for name, trainer in trainers.items()
        }
        spent: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds + 1):
            for name, step in steps.items():
                start = time.process_time()
                step()
                spent[name].append(time.process_time() - start)
    middle = {name: median(times[1:]) for name, times in spent.items()}
    return {
        name: {"step ms": 1e3 * seconds, "pairs/s": batch_size / seconds}
        for name, seconds in middle.items()
    }


def main() -> None:
    """Prints the two tables, and writes them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)

    found = {
        "drawing": drawing(options.pairs),
        "training": training(options.rounds, options.batch_size),
    }
    print("drawing a pair, in microseconds")
    for part, value in found["drawing"].items():
        print(f"  {part:28}{value:9.0f}")
    print(f"a step on {options.batch_size} pairs, 48 pixels, 128 wide, 4 + 4 layers")
    for name, values in found["training"].items():
        print(f"  {name:28}{values['step ms']:8.0f} ms {values['pairs/s']:7.0f} pairs/s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
