"""What the host waits for in a step of each method, on a GPU that is pretended.

Prints a line of JSON for each method: the steps of two fits, what the second waited for beyond the
first, by file and line, and how many values the first read. A method that puts a tensor on the
wrong device says so instead. Of methods whose steps repeat it says whether a recording gives the
same.

    python benchmarks/waiting.py --dual FOLDER --language FOLDER [method ..]
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operators.backbones import DualEncoder, reference
from operators.backbones.towers.packed_text import PackedText
from operators.contract import Case
from operators.contract.case import LABELS
from operators.contract.device_rules import DEVICE
from operators.contract.pretended import place_module, placed, pretending
from operators.engine.graphs import RepeatedSteps, on_cpu
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.classifier import logits_of
from operators.tracks import TRACKS

CUDA = torch.device("cuda")  # as a worker says it; tensors say cuda:0


def on_device(backbone: Any) -> Any:
    """A copy of a backbone on the pretended device."""
    twin = copy.deepcopy(backbone)
    for module in twin.modules():
        place_module(module)
    for name, value in vars(twin).items():
        if isinstance(value, torch.Tensor):
            setattr(twin, name, placed(value))
    twin.device = CUDA
    if isinstance(twin, DualEncoder):
        twin.packed_text = PackedText(twin.text_tower, twin.text_inputs, twin.packed_text.pool)
    else:
        twin.reader.device = CUDA
    return twin


def waits_of(name: str, backbone: Any) -> dict[str, Any]:
    """Fits a method twice, with more steps the second time, and asks it of some examples.

    Args:
        name: Of the method.
        backbone: On the pretended device.
    """
    waited, steps = [], []
    with pretending() as waits:
        case = Case(name, METHODS[name], backbone)
        for size in (len(LABELS), len(LABELS) // 3):
            waits.every.clear()
            fitted, report = case.fit(case.few, epochs=2, batch_size=size)
            waited.append(waits.counted())
            steps.append(report.steps)
        fitted.forget()
        batch = Batch(case.few.train._source, np.arange(4), None, device=CUDA)
        scores = logits_of(fitted, batch)
    first, second = waited
    more = {wait: count - first.get(wait, 0) for wait, count in second.items()}
    return {
        "steps": steps,
        "reads": sum(count for wait, count in first.items() if wait.kind == "read"),
        "more": {" ".join(wait): count for wait, count in more.items() if count > 0},
        "answers": [str(scores.device == DEVICE and scores.device), list(scores.shape)],
    }


def same_from_a_recording(name: str, backbone: Any) -> bool:
    """Whether steps that are played back give losses and gradients of the plain ones, bit for bit.

    Args:
        name: Of the method.
        backbone: On the CPU.
    """
    case = Case(name, METHODS[name], backbone)
    method = case.build().train()
    learned = [p for p in method.parameters() if p.requires_grad]
    steps = RepeatedSteps(method.loss, learned, on_cpu)
    drawn = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0)).split(4)
    same = True
    for index in (*drawn, *drawn):
        plain = method.loss(case.few.train.select(index))
        expected = torch.autograd.grad(plain, learned)
        for parameter in learned:
            parameter.grad = None
        told = steps.take(case.few.train.select(index))
        pairs = zip((p.grad for p in learned), expected, strict=True)
        same &= torch.equal(told, plain) and all(torch.equal(*pair) for pair in pairs)
        with torch.no_grad():
            for parameter, gradient in zip(learned, expected, strict=True):
                parameter -= 0.01 * gradient
    return same and len(steps.recorded) == 1


def main() -> None:
    """Prints a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dual", type=Path, required=True, help="folder of a CLIP")
    parser.add_argument("--language", type=Path, required=True, help="folder of a causal model")
    parser.add_argument("methods", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    here: dict[bool, Any] = {}
    for dual, folder in ((True, asked.dual), (False, asked.language)):
        found = reference(str(folder))
        here[dual] = found.load(found.describe())
    there = {dual: on_device(backbone) for dual, backbone in here.items()}
    for name in asked.methods or METHODS:
        method = METHODS[name]
        dual = TRACKS[method.track].backbones is DualEncoder
        told: dict[str, Any] = {"method": name}
        try:
            told |= waits_of(name, there[dual])
            if method.repeats:
                told["recorded"] = same_from_a_recording(name, here[dual])
        except Exception as error:  # whatever a method raises
            told["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
