"""What the host knows of rows of tokens is what would be read of them, and gives the same bits."""

import random
from dataclasses import replace

import pytest
import torch

from operators.backbones.language.causal import tails_of
from operators.backbones.language.inputs import (
    Answers,
    Layout,
    common_prefix,
    padded,
)
from operators.contract import Case
from operators.methods import METHODS

CPU = torch.device("cpu")


def rows_of(drawn):
    """Some rows of few different tokens, so that they often begin alike."""
    count, alike = drawn.randint(1, 4), drawn.randint(0, 4)
    front = [drawn.randint(1, 2) for _ in range(alike)]
    return [front + [drawn.randint(1, 2) for _ in range(drawn.randint(1, 4))] for _ in range(count)]


def test_a_layout_says_what_would_be_read():
    drawn = random.Random(0)
    for _ in range(200):
        rows = rows_of(drawn)
        ids, end = padded(rows, CPU)
        layout = Layout.of(rows)
        assert layout.shared == common_prefix(ids, end)
        assert layout.full == bool((torch.arange(ids.shape[1]) <= end[:, None]).all())
        more = drawn.randint(1, 3)
        behind = [row + [drawn.randint(1, 2) for _ in range(more)] for row in rows]
        tails = [row[len(front) :] for row, front in zip(behind, rows, strict=True)]
        assert layout.followed(tails) == Layout.of(behind)


@pytest.mark.parametrize("counts", [(1, 1), (2, 2, 2), (1, 3, 2)])
def test_what_stands_behind_the_first_tokens_of_answers_is_what_would_be_read(counts):
    rows = tuple(tuple(range(10 * i + 1, 10 * i + 1 + n)) for i, n in enumerate(counts))
    ids, end = padded(list(map(list, rows)), CPU)
    lengths = end + 1
    answers = Answers(tuple("abc"[: len(counts)]), ids, lengths, rows)
    there = torch.arange(1, ids.shape[1] + 1) < lengths[:, None]
    answer, step = there.nonzero(as_tuple=True)
    found = tails_of(answers)
    if not len(answer):
        assert found is None
        return
    wanted = (answer, step, ids[answer, step], ids[answer, step + 1])
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=False))
    assert found.longest == int(step.max()) + 1


@pytest.mark.parametrize("name", ["soft-prompt", "dept", "cpt"])
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("words", [(), ("good", "a tea pot", "great", "a very old tree")])
def test_what_is_learned_does_not_depend_on_who_knows_the_lengths(
    name, size, words, tiny_causal, monkeypatch
):
    def fitted():
        case = Case(name, METHODS[name], tiny_causal)
        if words:
            case.classes = replace(case.classes, verbalizer=words)
        method, report = case.fit(case.few, epochs=2, batch_size=size)
        return report.losses, method.learned()

    losses, learned = fitted()
    embed = tiny_causal.embed_prompts
    unknown = []

    def without(tokens):
        unknown.append(tokens.layout is not None)
        return embed(tokens._replace(layout=None))

    monkeypatch.setattr(tiny_causal, "embed_prompts", without)
    again, others = fitted()
    assert any(unknown)
    assert again == losses
    assert all(torch.equal(learned[key], others[key]) for key in learned)
