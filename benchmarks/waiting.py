"""What the host waits for in a step of each method, on a GPU that is pretended.

Prints a line of JSON for each method as published, and one for each choice that it offers beside:
the steps of two fits, what the second waited for beyond the first, by file and line, and how many
values the first read. A method that puts a tensor on the wrong device says so instead. Of methods
whose steps repeat it says whether a recording gives the same. Of language models the answers are of
one token each, and of different numbers of them.

    python benchmarks/waiting.py --dual FOLDER --language FOLDER [method ..]
"""

import argparse
import copy
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import torch

from operators.backbones import DualEncoder, reference
from operators.backbones.towers.packed_text import PackedText
from operators.contract import Case
from operators.contract.case import LABELS
from operators.contract.device_rules import DEVICE
from operators.contract.drawn import DrawnPictures, drawn_pictures
from operators.contract.pretended import place_module, placed, pretending
from operators.engine.graphs import RepeatedSteps, on_cpu
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.classifier import logits_of
from operators.methods.hyperparameters import annotations, defaults
from operators.tracks import TRACKS
from operators.tuning import Tuning

UNEVEN = ("good", "a tea pot", "great", "a very old tree")  # answers of 1 to 15 tokens
OF_THE_LOOP = "clip-adapter"  # tries optimisers and schedules
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


def waits_of(
    name: str, backbone: Any, words: tuple[str, ...] = (), **choice: Any
) -> dict[str, Any]:
    """Fits a method twice, with more steps the second time, and asks it of some examples.

    Args:
        name: Of the method.
        backbone: On the pretended device.
        words: Answers of the classes; those of the contract where there are none.
        choice: Hyperparameters that are not as published.
    """
    waited, steps = [], []
    with pretending() as waits:
        case = Case(name, METHODS[name], backbone)
        own = {**defaults(case.method), **case.settings(**choice)}
        if isinstance(backbone, DualEncoder) and case.method.needs_of(own):
            case.draw = with_pixels  # which the choice needs, though the card asks for none
        if words:
            case.classes = replace(case.classes, verbalizer=words)
        for size in (len(LABELS), len(LABELS) // 3):
            waits.every.clear()
            fitted, report = case.fit(case.few, epochs=2, batch_size=size, **choice)
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


def with_pixels(_: Any, *drawn: Any, **seed: int) -> DrawnPictures:
    """What `drawn_images` gives for a method that needs pixels whatever is chosen."""
    return drawn_pictures(*drawn, **seed)


def choices_of(name: str) -> list[dict[str, Any]]:
    """What a user may choose of a method instead of what is published, one thing at a time.

    Choices that change nothing beside what is published, or cannot be, are left out. The loop is
    the same for all, so one method makes its choices for them.

    Args:
        name: Of the method.
    """
    method = METHODS[name]
    case = Case(name, method, None)
    kinds, usual = annotations(method), {**defaults(method), **case.settings()}
    if name != OF_THE_LOOP:
        kinds = {key: kind for key, kind in kinds.items() if key not in vars(Tuning())}
    found = []
    for key, kind in kinds.items():
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        values = (True, False) if kind is bool else get_args(kind)
        if get_origin(kind) is not Literal and kind is not bool:
            continue
        for value in values:
            if value != usual[key]:
                with suppress(ValueError):
                    case.settings(**{key: value})
                    found.append({key: value})
    return found


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
        asked_of: list[dict[str, Any]] = [{}, *choices_of(name)]
        if not dual:
            asked_of.append({"words": UNEVEN})
        for choice in asked_of:
            told: dict[str, Any] = {"method": name, "with": choice}
            try:
                told |= waits_of(name, there[dual], **choice)
                if method.repeats and not choice:
                    told["recorded"] = same_from_a_recording(name, here[dual])
            except Exception as error:  # whatever a method raises
                told["error"] = f"{type(error).__name__}: {error}"
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
