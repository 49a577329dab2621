"""A GPU that runs out of memory: parts are halved, and the last of them fails with a sentence."""

import logging
import weakref

import numpy as np
import pytest
import torch

from operators.blocks.parts import in_parts
from operators.engine.room import NoRoom, in_room
from operators.episodes.episode import Batch
from operators.episodes.features import DatasetImages
from operators.methods import METHODS
from operators.methods.classifier import logits_of

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB."


class Small:
    """Memory for so many rows at a time."""

    def __init__(self, most):
        self.most = most
        self.asked = []

    def take(self, rows):
        self.asked.append(rows)
        if rows > self.most:
            raise torch.OutOfMemoryError(SAID)


def test_a_part_without_room_is_halved_and_those_behind_are_no_larger(caplog):
    memory = Small(3)

    def call(start, stop):
        memory.take(stop - start)
        return list(range(start, stop))

    with caplog.at_level(logging.WARNING):
        found = in_room(call, 20, 8, "images")
    assert [row for part in found for row in part] == list(range(20))
    assert memory.asked == [8, 4, *[2] * 10]
    assert caplog.messages == [
        "CUDA out of memory: goes on with 4 images at a time.",
        "CUDA out of memory: goes on with 2 images at a time.",
    ]


def test_where_one_row_has_no_room_there_is_a_sentence():
    with pytest.raises(NoRoom, match=r"no room for one of the images\. Give it more of a GPU with"):
        in_room(lambda start, stop: Small(0).take(stop - start), 5, 4, "images")


def test_what_a_part_had_in_memory_is_let_go_before_a_smaller_one_begins():
    held = []

    def call(start, stop):
        assert all(reference() is None for reference in held)
        taken = torch.ones(stop - start)
        held.append(weakref.ref(taken))
        Small(1).take(stop - start)
        return start

    assert in_room(call, 4, 4, "images") == [0, 1, 2, 3]


def test_what_else_goes_wrong_is_not_tried_again():
    calls = []

    def call(start, stop):
        calls.append(stop)
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        in_room(call, 4, 4, "images")
    assert calls == [4]


def test_nothing_is_asked_for_once():
    assert in_room(lambda start, stop: (start, stop), 0, 4, "images") == [(0, 0)]


@pytest.fixture
def pictures(clip, drawn_pictures):
    return drawn_pictures(clip, [0, 1, 2, 3] * 2)


def test_images_that_are_encoded_now_come_in_smaller_parts(clip, pictures, monkeypatch):
    rows = np.arange(8)
    source = DatasetImages(lambda _: [], clip)
    monkeypatch.setattr(source, "pixels", lambda part, _: pictures.pixels(part))
    whole = source.features(rows)
    memory, encode = Small(3), clip.encode_images

    def encoded(pixels, *rest, **how):
        memory.take(len(pixels))
        return encode(pixels, *rest, **how)

    monkeypatch.setattr(clip, "encode_images", encoded)
    torch.testing.assert_close(source.features(rows), whole, rtol=1e-4, atol=1e-5)
    assert memory.asked == [8, 4, 2, 2, 2, 2]
    with torch.no_grad():
        parts = in_parts(lambda b: encoded(b.pixels), Batch(pictures, rows, None), 8)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["zero-shot", "tda"])
def test_examples_are_classified_in_smaller_parts_unless_a_stream_would_see_some_twice(
    clip, classes, pictures, monkeypatch, name
):
    kind = METHODS[name]
    method = kind(clip, classes, generator=torch.Generator())
    batch = Batch(pictures, np.arange(8), None)
    whole = logits_of(method, batch)
    method.forget()
    memory, logits = Small(3), kind.logits

    def scored(self, part):
        memory.take(len(part))
        return logits(self, part)

    monkeypatch.setattr(kind, "logits", scored)
    if kind.card.stream:
        with pytest.raises(torch.OutOfMemoryError):
            logits_of(method, batch)
        assert memory.asked == [8]
        return
    torch.testing.assert_close(logits_of(method, batch), whole, rtol=1e-4, atol=1e-5)
    assert memory.asked == [8, 4, 2, 2, 2, 2]
