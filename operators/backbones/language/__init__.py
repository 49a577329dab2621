"""Language models: causal, masked, and encoders of sentences."""

from operators.backbones.language.base import CAPABILITIES, LanguageModel
from operators.backbones.language.causal import CausalLM
from operators.backbones.language.inputs import Answers, PromptEmbeddings, PromptTokens
from operators.backbones.language.masked import MaskedLM, SentenceEncoder
from operators.backbones.language.minilm import MiniLM
from operators.backbones.language.smollm2 import SmolLM2
from operators.backbones.language.template import FilledTemplate, Row, Template, demonstrations

__all__ = [
    "CAPABILITIES",
    "Answers",
    "CausalLM",
    "FilledTemplate",
    "LanguageModel",
    "MaskedLM",
    "MiniLM",
    "PromptEmbeddings",
    "PromptTokens",
    "Row",
    "SentenceEncoder",
    "SmolLM2",
    "Template",
    "demonstrations",
]
