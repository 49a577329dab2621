"""Shapes are checked while tests run, in every module that says some."""

import pytest
import torch
from jaxtyping import TypeCheckError

from operators.blocks.anchor_loss import cosine_distance


def test_a_call_with_rows_that_do_not_fit_is_an_error():
    one, two = torch.ones(2, 3), torch.ones(4, 3)
    assert cosine_distance(one, one).shape == ()
    with pytest.raises(TypeCheckError, match="frozen"):
        cosine_distance(one, two)
