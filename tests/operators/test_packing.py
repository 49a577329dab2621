"""The layout of packed texts: who stands where, and who may read whom."""

import pytest
import torch

from operators.backbones.towers import packing
from operators.backbones.towers.packing import PADDING, SHARED, common_prefix, fill_rows, pack

pytestmark = pytest.mark.bits

START, END, CAT, DOG, BIG, DOT, X = range(7)
TEXTS = [
    [START, X, X, CAT, DOT, END, END],
    [START, X, X, BIG, CAT, DOT, END],
    [START, X, X, DOG, DOT, END, END],
]
ENDS = [5, 6, 5]
SLOTS = [[1, 2]] * 3


@pytest.fixture(autouse=True)
def short_rows(monkeypatch):
    """Lets a width of 1 make attention so dear that rows are short, whatever a prefix costs."""
    monkeypatch.setattr(packing, "PREFIX_COST", 0)


def plan_of(texts=TEXTS, ends=ENDS, slots=SLOTS, *, shared=True, causal=True, width=512):
    return pack(texts, ends, slots, shared_context=shared, causal=causal, width=width)


def test_a_shared_context_is_part_of_the_prefix():
    assert common_prefix(TEXTS, ENDS, SLOTS, shared_context=True) == 3


def test_contexts_of_each_class_share_the_start_token_alone():
    assert common_prefix(TEXTS, ENDS, SLOTS, shared_context=False) == 1


def test_words_after_the_context_extend_the_prefix():
    texts = [[START, X, BIG, CAT, END], [START, X, BIG, DOG, END]]
    assert common_prefix(texts, [4, 4], [[1], [1]], shared_context=True) == 3


def test_a_slot_is_no_word_even_where_the_placeholder_is():
    texts = [[START, X, CAT, END], [START, X, CAT, END]]
    assert common_prefix(texts, [3, 3], [[1], [2]], shared_context=True) == 1


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:1] * 3])
def test_the_end_token_is_never_shared(texts):
    assert (
        common_prefix(texts, ENDS[:1] * len(texts), SLOTS[: len(texts)], shared_context=True) == 5
    )


def test_no_padding_and_no_repetition_in_a_short_list():
    plan = plan_of()
    assert plan.tokens == 3 + 3 + 4 + 3
    assert (plan.rows, plan.prefix) == (1, 0)  # one row: the prefix stands at its head
    assert plan.text.tolist()[:3] == [SHARED] * 3
    assert not (plan.text == PADDING).any()


def test_every_token_of_every_text_is_there_once():
    plan = plan_of(width=1)
    assert plan.rows > 1
    places = sorted(zip(plan.text.tolist(), plan.position.tolist(), strict=True))
    wanted = [(SHARED, p) for p in range(3)]
    wanted += [(c, p) for c, end in enumerate(ENDS) for p in range(3, end + 1)]
    assert [place for place in places if place[0] != PADDING] == sorted(wanted)
    for c, end in enumerate(ENDS):
        assert (int(plan.text[plan.end[c]]), int(plan.position[plan.end[c]])) == (c, end)
        assert int(plan.row_ends.flatten()[plan.answer[c]]) == c


@pytest.mark.parametrize("width", [1, 512])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_a_token_reads_what_it_reads_in_its_own_text(width, causal, shared):
    plan = plan_of(width=width, causal=causal, shared=shared)
    marks = list(zip(plan.text.tolist(), plan.position.tolist(), strict=True))
    for row in range(plan.rows):
        base = plan.prefix + row * plan.row_length
        readable = [*range(plan.prefix), *range(base, base + plan.row_length)]
        for place in range(plan.row_length):
            text, position = marks[base + place]
            read = [marks[readable[i]] for i in plan.mask[row, place].nonzero()[:, 0].tolist()]
            if text >= 0:
                last = position if causal else ENDS[text]
                assert sorted(p for _, p in read) == list(range(last + 1))
                assert {t for t, _ in read} <= {text, SHARED}
            elif text == SHARED:
                assert read == [(SHARED, p) for p in range(position + 1)]
            else:
                assert len(read) == 1 + plan.prefix  # itself, so that no softmax is over nothing


def test_a_bidirectional_tower_shares_nothing():
    plan = plan_of(causal=False)
    assert plan.tokens == sum(end + 1 for end in ENDS)
    assert (plan.text >= 0).all()


def test_places_of_a_position_are_found_in_the_prefix_and_in_every_text():
    plan = plan_of(width=1)
    assert plan.at(1, 2).tolist() == [1, 2]
    assert len(plan.at(3, 1)) == 3
    assert torch.equal(plan.position[plan.at(2, 2)].unique(), torch.tensor([2, 3]))


def test_rows_are_filled_without_waste_where_that_is_possible():
    lengths = [7, 5, 3, 3, 2, 2, 1, 1]
    rows = fill_rows(lengths, 8)
    assert sorted(item for row in rows for item in row) == list(range(len(lengths)))
    assert [sum(lengths[item] for item in row) for row in rows] == [8, 8, 8]


def test_a_prefix_of_its_own_must_be_worth_it(monkeypatch):
    assert plan_of(width=1).prefix == 3
    monkeypatch.setattr(packing, "PREFIX_COST", 100)
    assert plan_of(width=1).prefix == 0


def test_a_thousand_classes_pass_almost_without_padding():
    generator = torch.Generator().manual_seed(0)
    sizes = (1 + torch.randint(1, 6, (1000,), generator=generator)).tolist()
    texts = [[START, *[X] * 16, *range(10, 10 + size), END, *[END] * (8 - size)] for size in sizes]
    ends = [17 + size for size in sizes]
    plan = pack(
        texts, ends, [list(range(1, 17))] * 1000, shared_context=True, causal=True, width=512
    )
    assert plan.tokens < 1.02 * (17 + sum(size + 1 for size in sizes))


@pytest.mark.parametrize("width", [1, 512])
@pytest.mark.parametrize("causal", [True, False])
def test_texts_are_found_side_by_side_again(width, causal):
    plan = plan_of(width=width, causal=causal)
    assert plan.rows > 1 or width == 512
    places, back = plan.apart
    assert places.shape == (3, 7)
    for c, end in enumerate(ENDS):
        found = [(int(plan.text[t]), int(plan.position[t])) for t in places[c, : end + 1]]
        assert [position for _, position in found] == list(range(end + 1))
        assert {text for text, _ in found} <= {c, SHARED}
    for t, (text, position) in enumerate(zip(plan.text, plan.position, strict=True)):
        if text != PADDING:
            assert int(back[t]) == max(int(text), 0) * 7 + int(position)
    own = plan.text >= 0
    assert torch.equal(places.flatten()[back[own]], own.nonzero()[:, 0])
