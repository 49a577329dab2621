"""One step of pretraining, and everything that a later process needs to take the next one."""

import io
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from operators.backbones.formats.cleaning import clean
from operators.files import write_atomic
from operators.pretraining.export import write_clip
from operators.pretraining.model import LARGEST_SCALE, TrainableDualEncoder
from operators.pretraining.objective import contrast
from operators.pretraining.recipe import Recipe, learning_rate
from operators.shapes import Int, UInt8

ADAM_EPS = 1e-6
# A CPU is fastest where what a layer works on fits its cache, a GPU where it is one piece.
CPU_GROUP = 64
REMEMBERED_CAPTIONS = 1_000_000

TokenIds = tuple[int, ...]

_DAMAGED = (UnpicklingError, EOFError, RuntimeError, LookupError, TypeError, ValueError)


class PretrainingError(RuntimeError):
    """The loss is no number any more; the message says when and what to try."""


@dataclass(frozen=True)
class StepResult:
    """What one step gave.

    Attributes:
        loss: Before the step, in nats.
        scale: Factor from cosine similarity to logit, before the step.
        accuracy: Share of the images of the batch whose nearest caption is their own.
        learning_rate: That the step was taken with.
    """

    loss: float
    scale: float
    accuracy: float
    learning_rate: float


class Trainer:
    """Trains a `TrainableDualEncoder`, one batch of pairs at a time.

    Randomness comes from the seed of the recipe and the number of the step alone, so a
    trainer that was restored goes on exactly as the one that was saved, on the same device
    with the same number of threads.

    Args:
        recipe: Shape and schedule.
        tokenizer_folder: What `train_tokenizer` wrote.
        device: As torch names it.

    Raises:
        ValueError: The tokenizer does not fit the recipe.
    """

    def __init__(self, recipe: Recipe, tokenizer_folder: Path, device: str = "cpu") -> None:
        from transformers import AutoTokenizer  # seconds to import

        self.recipe = recipe
        self.device = torch.device(device)
        self.tokenizer_folder = tokenizer_folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder)
        if len(self.tokenizer) > recipe.vocabulary:
            raise ValueError(
                f"the tokenizer knows {len(self.tokenizer)} tokens, but vocabulary="
                f"{recipe.vocabulary}: train it with that vocabulary or raise it."
            )
        self.at = 0
        generator = torch.Generator().manual_seed(recipe.seed)
        self.model = TrainableDualEncoder(recipe, len(self.tokenizer), generator).to(self.device)
        self.optimizer = adamw(self.model, recipe)
        self._ids: dict[str, TokenIds] = {}

    def step(self, images: UInt8[Tensor, "b 3 s s"], texts: Sequence[str]) -> StepResult:
        """Takes one optimiser step on pairs; `texts[i]` describes `images[i]`.

        Texts are the same where their tokens are: "A cat" and "a  cat" are one caption.

        Args:
            images: Of the recipe's size s, in RGB.
            texts: One caption an image, cut at the recipe's context length.

        Raises:
            PretrainingError: The loss is infinite or no number.
            ValueError: The batch does not fit the recipe, or all steps are done.
        """
        self._check(images, texts)
        ids = self._tokenize(texts)
        place = {text: row for row, text in enumerate(dict.fromkeys(ids))}
        caption = torch.tensor([place[text] for text in ids]).to(self.device, non_blocking=True)
        images = images.to(self.device, non_blocking=True)
        kept = self._kept_patches(len(images))

        rate = learning_rate(self.recipe, self.at)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            image_features = self._encode_images(images, kept)
            text_features = self._encode_texts(list(place))
        scale = self.model.log_scale.exp()
        loss, accuracy = contrast(image_features, text_features, caption, scale)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        with torch.no_grad():
            self.model.log_scale.clamp_(max=LARGEST_SCALE)
        self.at += 1
        result = StepResult(float(loss.detach()), float(scale.detach()), float(accuracy), rate)
        if not math.isfinite(result.loss):
            raise PretrainingError(
                f"the loss became {result.loss} in step {self.at} of {self.recipe.steps} at "
                f"learning_rate={rate:.2g}: go back to a checkpoint with a smaller "
                "learning_rate, a longer warm-up or precision fp32."
            )
        return result

    def save(self, path: Path) -> None:
        """Writes weights, optimiser and step, whole or not at all."""
        content = io.BytesIO()
        state = {
            "recipe": self.recipe.as_mapping(),
            "at": self.at,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
        }
        torch.save(state, content)
        write_atomic(path, content.getvalue())

    def restore(self, path: Path) -> None:
        """Goes back to what `save` wrote.

        Raises:
            ValueError: It is damaged, or was written under another recipe or with another
                tokenizer.
        """
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            theirs, _ = dict(state["recipe"]), (state["model"], state["optimizer"], state["at"])
        except torch.OutOfMemoryError:
            raise
        except _DAMAGED as fault:
            raise ValueError(
                f"{path} is no whole checkpoint ({fault or type(fault).__name__}): remove it, and "
                "training goes on from the one before, or begins anew."
            ) from fault
        mine = self.recipe.as_mapping()
        if theirs != mine:
            moved = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
            raise ValueError(
                f"{path} was written under another recipe ({', '.join(moved)} differ): "
                "start anew, or give the recipe that it was written under."
            )
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.at = state["at"]

    def export(self, folder: Path) -> Path:
        """Writes the model as transformers' `CLIPModel`, in half precision, and returns `folder`.

        The folder may be there; files of the same names are replaced.
        """
        return write_clip(self.model, self.recipe, self.tokenizer_folder, self.tokenizer, folder)

    def _check(self, images: Tensor, texts: Sequence[str]) -> None:
        side = self.recipe.image_size
        if images.dtype != torch.uint8 or images.shape[1:] != (3, side, side):
            raise ValueError(
                f"images are {images.dtype} of shape {tuple(images.shape)}, but this recipe "
                f"reads torch.uint8 of shape (b, 3, {side}, {side}): resize them first."
            )
        if len(images) != len(texts) or len(texts) < 2:
            raise ValueError(
                f"{len(images)} images and {len(texts)} texts: a step needs pairs, two at least."
            )
        if self.at >= self.recipe.steps:
            raise ValueError(
                f"all steps={self.recipe.steps} are done: export the model, or train a recipe "
                "with more steps."
            )

    def _precision(self) -> ExitStack:
        wanted, on_cpu = self.recipe.precision, self.device.type == "cpu"
        stack = ExitStack()
        if wanted == "bf16" or (wanted == "auto" and not on_cpu):
            stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if on_cpu:  # torch's flash attention is several times slower there, backwards
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack

    def _kept_patches(self, images: int) -> Int[Tensor, "b m"] | None:
        """A random subset of the patches for each image; None where all are kept."""
        count = self.recipe.kept_patches(self.at)
        if count == self.recipe.patches:
            return None
        seed = np.random.SeedSequence((self.recipe.seed, self.at)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(seed))
        order = torch.rand(images, self.recipe.patches, generator=generator).argsort(dim=1)
        return order[:, :count].to(self.device, non_blocking=True)

    def _group(self, rows: int) -> int:
        return CPU_GROUP if self.device.type == "cpu" else rows

    def _encode_images(self, images: Tensor, kept: Tensor | None) -> Tensor:
        size = self._group(len(images))
        parts = images.split(size)
        subsets = [None] * len(parts) if kept is None else kept.split(size)
        return torch.cat(
            [self.model.encode_images(*part) for part in zip(parts, subsets, strict=True)]
        )

    def _encode_texts(self, texts: list[TokenIds]) -> Tensor:
        """Features in the order of `texts`; those of like length go through together."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        size = self._group(len(texts))
        parts = []
        for start in range(0, len(texts), size):
            batch = [torch.tensor(texts[row]) for row in order[start : start + size]]
            end = torch.tensor([len(row) - 1 for row in batch])
            padded = nn.utils.rnn.pad_sequence(
                batch, batch_first=True, padding_value=self.tokenizer.eos_token_id
            )
            padded, end = (x.to(self.device, non_blocking=True) for x in (padded, end))
            parts.append(self.model.encode_texts(padded, end))
        back = torch.tensor(order).argsort().to(self.device, non_blocking=True)
        return torch.cat(parts)[back]

    def _tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Token ids with start and end token, cut at the context length."""
        if len(self._ids) > REMEMBERED_CAPTIONS:
            self._ids.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if new:
            length = self.recipe.context_length
            read = [clean(text) for text in new]
            ids = self.tokenizer(read, truncation=True, max_length=length)["input_ids"]
            self._ids.update(zip(new, map(tuple, ids), strict=True))
        return [self._ids[text] for text in texts]


def adamw(model: TrainableDualEncoder, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays the matrices: not gains, biases, embeddings or the scale.

    Args:
        model: Its parameters are handed over by reference.
        recipe: Rate, betas and decay.
    """
    kept = ("class_token", "image_positions", "text_positions", "token_embedding.weight")
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        (free if parameter.ndim < 2 or name in kept else decayed).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=ADAM_EPS,
        fused=True,
    )
