"""The zoo. A new method is one file and one line in `METHODS`."""

from operators.methods.base import Method, MethodCard, StaticClassifier, Teacher
from operators.methods.clip_adapter import ClipAdapter
from operators.methods.cocoop import CoCoOp
from operators.methods.coop import CoOp
from operators.methods.coprompt import CoPrompt
from operators.methods.cupl import CuPL
from operators.methods.dpl_dec import DPL
from operators.methods.ivlp import IVLP
from operators.methods.kapt import KAPT
from operators.methods.kgcoop import KgCoOp
from operators.methods.linear_probe import LinearProbe
from operators.methods.maple import MaPLe
from operators.methods.mocoop import MoCoOp
from operators.methods.pre import PRE
from operators.methods.prograd import ProGrad
from operators.methods.promptkd import PromptKD
from operators.methods.promptsrc import PromptSRC
from operators.methods.restore import Restore
from operators.methods.tip_adapter import TipAdapter, TipAdapterF
from operators.methods.tomml import TOMML
from operators.methods.tpt import TPT
from operators.methods.vpt import VPT
from operators.methods.zero_shot import ZeroShot, ZeroShotEnsemble

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
}

__all__ = ["METHODS", "Method", "MethodCard", "StaticClassifier", "Teacher"]
