"""The zoo. A new method is one file and one line in `METHODS`."""

from operators.methods.base import Method, MethodCard
from operators.methods.classifier import Classifier
from operators.methods.image_classification.base import StaticClassifier, Teacher
from operators.methods.image_classification.deep_prompts.coprompt import CoPrompt
from operators.methods.image_classification.deep_prompts.dpl_dec import DPL
from operators.methods.image_classification.deep_prompts.ivlp import IVLP
from operators.methods.image_classification.deep_prompts.maple import MaPLe
from operators.methods.image_classification.deep_prompts.promptkd import PromptKD
from operators.methods.image_classification.deep_prompts.promptsrc import PromptSRC
from operators.methods.image_classification.deep_prompts.restore import Restore
from operators.methods.image_classification.deep_prompts.vpt import VPT
from operators.methods.image_classification.feature_heads.clip_adapter import ClipAdapter
from operators.methods.image_classification.feature_heads.linear_probe import LinearProbe
from operators.methods.image_classification.feature_heads.tip_adapter import TipAdapter, TipAdapterF
from operators.methods.image_classification.hand_written.cupl import CuPL
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot, ZeroShotEnsemble
from operators.methods.image_classification.test_time.tpt import TPT
from operators.methods.image_classification.text_prompts.cocoop import CoCoOp
from operators.methods.image_classification.text_prompts.coop import CoOp
from operators.methods.image_classification.text_prompts.kapt import KAPT
from operators.methods.image_classification.text_prompts.kgcoop import KgCoOp
from operators.methods.image_classification.text_prompts.mocoop import MoCoOp
from operators.methods.image_classification.text_prompts.pre import PRE
from operators.methods.image_classification.text_prompts.prograd import ProGrad
from operators.methods.image_classification.text_prompts.tomml import TOMML
from operators.methods.text_classification.feature_heads.text_linear_probe import TextLinearProbe
from operators.methods.text_classification.hand_written.verbalizer import (
    CalibratedVerbalizer,
    Verbalizer,
)
from operators.methods.text_classification.in_context.in_context import InContext
from operators.methods.text_classification.soft_prompts.cpt import CPT
from operators.methods.text_classification.soft_prompts.dept import DePT
from operators.methods.text_classification.soft_prompts.soft_prompt import SoftPrompt

METHODS: dict[str, type[Method]] = {
    "zero-shot": ZeroShot,
    "zero-shot-ensemble": ZeroShotEnsemble,
    "cupl": CuPL,
    "tpt": TPT,
    "linear-probe": LinearProbe,
    "clip-adapter": ClipAdapter,
    "tip-adapter": TipAdapter,
    "tip-adapter-f": TipAdapterF,
    "coop": CoOp,
    "kgcoop": KgCoOp,
    "pre": PRE,
    "prograd": ProGrad,
    "mocoop": MoCoOp,
    "cocoop": CoCoOp,
    "tomml": TOMML,
    "kapt": KAPT,
    "ivlp": IVLP,
    "vpt": VPT,
    "maple": MaPLe,
    "promptsrc": PromptSRC,
    "promptkd": PromptKD,
    "coprompt": CoPrompt,
    "restore": Restore,
    "dpl-dec": DPL,
    "verbalizer": Verbalizer,
    "verbalizer-calibrated": CalibratedVerbalizer,
    "in-context": InContext,
    "soft-prompt": SoftPrompt,
    "dept": DePT,
    "cpt": CPT,
    "text-linear-probe": TextLinearProbe,
}


def methods_of(track: str) -> dict[str, type[Method]]:
    """The methods of a track, a key of `TRACKS`."""
    return {name: method for name, method in METHODS.items() if method.track == track}


__all__ = [
    "METHODS",
    "Classifier",
    "Method",
    "MethodCard",
    "StaticClassifier",
    "Teacher",
    "methods_of",
]
