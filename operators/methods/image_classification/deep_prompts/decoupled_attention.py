"""Block N, decoupled attention: prompts and instance read each other in four processes.

Softmax over the prompts P and the tokens X of an instance is a mixture of two softmaxes, one over
each, by the share that each has of the sum of exponentials (He et al., "Towards a Unified View of
Parameter-Efficient Transfer Learning", ICLR 2022, section 3.1). So self-attention falls into four
processes: prompts read prompts, prompts read the instance, the instance reads prompts, and the
instance reads itself. A process that is strengthened by s has s times its sum in the mixture, which
is the softmax with log s added to the scores of its pairs.

Source: Xu et al., "DPL: Decoupled Prompt Learning for Vision-Language Models", 2023,
https://arxiv.org/abs/2308.10061. It has no code: that strengths are factors of the sums, and what
prompts read of a text that a causal tower hides from them, are our reading of its summary.
"""

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, TextPrompts
from operators.backbones.towers.packed_attention import merge_heads, split_heads
from operators.backbones.towers.transformer import Layer
from operators.shapes import Float


@dataclass(frozen=True)
class Strengths:
    """Of the four processes, all above 0; for one reader the ratio of its two alone matters.

    Attributes:
        prompt_to_prompt: Prompts read prompts.
        prompt_to_instance: Prompts read the instance.
        instance_to_prompt: The instance reads prompts.
        instance_to_instance: The instance reads itself.
    """

    prompt_to_prompt: float = 1.0
    prompt_to_instance: float = 1.0
    instance_to_prompt: float = 1.0
    instance_to_instance: float = 1.0

    @property
    def change_nothing(self) -> bool:
        """Whether this is the usual softmax."""
        return (
            self.prompt_to_prompt == self.prompt_to_instance
            and self.instance_to_prompt == self.instance_to_instance
        )


class DecoupledAttention:
    """What a layer attends by in place of the usual softmax; see `transformer.Attention`.

    Args:
        start: Position of the first prompt; negative counts from the end.
        width: Number of prompts.
        strengths: Of the four processes.
    """

    def __init__(self, start: int, width: int, strengths: Strengths) -> None:
        self.start = start
        self.width = width
        self.strengths = strengths
        self.logarithms = [math.log(strength) for strength in astuple(strengths)]

    def __call__(
        self,
        q: Float[Tensor, "b h n c"],
        k: Float[Tensor, "b h n c"],
        v: Float[Tensor, "b h n c"],
        mask: Tensor | None,
    ) -> Float[Tensor, "b h n c"]:
        """What each head reads; the mask is true where a token may be attended to."""
        bias = self.bias(q)
        if mask is not None:
            bias = bias.masked_fill(~mask, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def bias(self, q: Float[Tensor, "b h n c"]) -> Float[Tensor, "n n"]:
        """The logarithm of the strength of each pair of reader and read."""
        n = q.shape[2]
        instance = torch.ones(n, dtype=torch.long, device=q.device)
        start = self.start % n
        instance[start : start + self.width] = 0
        return q.new_tensor(self.logarithms)[2 * instance[:, None] + instance]


class SentenceReading:
    """What prompts read of whole texts by the first layer of the text tower, nothing hidden.

    That is the process prompt to instance alone. In a causal tower prompts that stand before the
    words of a text never see them; here they do, and so become those of each class.

    Dimensions: k texts, n tokens a text, m prompts, w width of a token.

    Args:
        backbone: Gives the frozen layer.
        prompts: The texts; their slots are the places of the prompts.
    """

    @torch.no_grad()
    def __init__(self, backbone: DualEncoder, prompts: TextPrompts) -> None:
        tower, inputs = backbone.packed_text.tower, backbone.packed_text.inputs
        self.layer: Layer = tower.layers[0]  # pyright: ignore[reportAttributeAccessIssue]
        self.inputs, self.slots = inputs, prompts.slots
        n = prompts.ids.shape[1]
        positions = torch.arange(n, device=prompts.ids.device)
        words = self.layer.normed(inputs(prompts.embeddings, positions))
        both = self.layer.keys_values(words).split(tower.shape.width, dim=-1)
        self.keys, self.values = (split_heads(part, self.layer.heads) for part in both)
        words_alone = (positions <= prompts.end[:, None]).scatter(1, prompts.slots, False)
        self.mask = words_alone[:, None, None]

    def __call__(self, prompts: Float[Tensor, "m w"]) -> Float[Tensor, "k m w"]:
        """The prompts, each with what it has read of each text added to it."""
        states = self.layer.normed(self.inputs(prompts[None], self.slots[0]))
        queries = split_heads(self.layer.queries(states), self.layer.heads)
        queries = queries.expand(len(self.keys), -1, -1, -1)
        heads = F.scaled_dot_product_attention(queries, self.keys, self.values, attn_mask=self.mask)
        read = self.layer.out(merge_heads(heads, len(self.keys)))
        return prompts + read.to(prompts.dtype)
