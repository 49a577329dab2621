"""The methods side by side: on the same episode no two of them learn the same function."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes, FewShot, batch_of
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import own_of, resolve, tuning_of
from operators.tuning import Tuning

LABELS = [0, 1, 2, 3] * 3


def test_no_two_methods_are_the_same_function(clip, classes, drawn_pictures, taught):
    source = drawn_pictures(clip, LABELS)
    rows, cpu = np.arange(len(LABELS)), torch.device("cpu")
    train = batch_of(source, rows, np.array(LABELS), range(4), cpu)
    shots = FewShot(3, train, train.select(torch.arange(0)))
    found = {}
    for name, method in methods_of("image-classification").items():
        values = resolve(name, method, {}, protocol="base_to_new", shots=1)
        generator = torch.Generator().manual_seed(0)
        given = {**taught.by(method, clip, classes), **own_of(method, values)}
        built = method(clip, classes, generator=generator, **given)
        tuning = tuning_of(method, values)
        steps = {"epochs": 2, "total_steps": 0, "batch_size": 6, "warmup_epochs": 0}
        tuning = tuning and replace(tuning, **steps, selection="last")
        given = taught.on(method, shots, classes)
        if method.card.domains:
            given = replace(given, domains=torch.arange(len(LABELS)) % 2)
        built.fit(given, tuning=tuning, generator=generator)
        with torch.no_grad():
            found[name] = built.eval().logits(train).softmax(dim=1)
    for one, other in combinations(found, 2):
        apart = float((found[one] - found[other]).abs().max())
        assert apart > 1e-4, f"{one} and {other} differ by {apart}"


@pytest.mark.parametrize("name", ["cocoop", "ivlp", "vpt", "maple", "promptsrc"])
def test_prompts_are_learned_in_towers_without_start_and_class_token(siglip, drawn_pictures, name):
    classes = Classes(("cat", "dog", "boat", "tree"), ("a photo of a {}.",))
    source = drawn_pictures(siglip, LABELS)
    train = batch_of(source, np.arange(12), np.array(LABELS), range(4), torch.device("cpu"))
    shots = FewShot(3, train, train.select(torch.arange(0)))
    method = METHODS[name]
    built = method(siglip, classes, generator=torch.Generator().manual_seed(0))
    tuning = Tuning(lr=0.001, epochs=4, batch_size=12, warmup_epochs=0)
    report = built.fit(shots, tuning=tuning, generator=torch.Generator())
    assert report.losses[-1] < report.losses[0]
    assert built.eval().logits(train).isfinite().all()
