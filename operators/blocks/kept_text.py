"""A text that is learned, kept in a file of tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class KeptText(nn.Module):
    """A text as the bytes of its UTF-8; empty until one is put in.

    A method that finds words by search learns a text. Its file of tensors then holds it, of
    whatever length it is, and `bytes(tensor).decode()` reads it.

    Attributes:
        content: (n,) bytes.
    """

    content: Tensor

    def __init__(self, device: torch.device) -> None:
        """Begins with no text.

        Args:
            device: Of the buffer.
        """
        super().__init__()
        self.register_buffer("content", torch.empty(0, dtype=torch.uint8, device=device))

    @property
    def text(self) -> str:
        """What was put in."""
        return bytes(self.content.tolist()).decode()

    @text.setter
    def text(self, text: str) -> None:
        encoded = torch.tensor(list(text.encode()), dtype=torch.uint8)
        self.content = encoded.to(self.content.device)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        found = state_dict.get(f"{prefix}content")
        if found is not None:  # a text of another length is no fault
            self.content = torch.empty_like(found, device=self.content.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # pyright: ignore
