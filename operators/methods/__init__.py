"""The zoo. A new method is one file and one line in `METHODS`."""

from operators.methods.base import Method, MethodCard, StaticClassifier
from operators.methods.clip_adapter import ClipAdapter
from operators.methods.cocoop import CoCoOp
from operators.methods.coop import CoOp
from operators.methods.ivlp import IVLP
from operators.methods.kgcoop import KgCoOp
from operators.methods.linear_probe import LinearProbe
from operators.methods.maple import MaPLe
from operators.methods.prograd import ProGrad
from operators.methods.promptsrc import PromptSRC
from operators.methods.tip_adapter import TipAdapter, TipAdapterF
from operators.methods.tpt import TPT
from operators.methods.vpt import VPT
from operators.methods.zero_shot import ZeroShot, ZeroShotEnsemble

METHODS: dict[str, type[Method]] = {
    "zero-shot": ZeroShot,
    "zero-shot-ensemble": ZeroShotEnsemble,
    "tpt": TPT,
    "linear-probe": LinearProbe,
    "clip-adapter": ClipAdapter,
    "tip-adapter": TipAdapter,
    "tip-adapter-f": TipAdapterF,
    "coop": CoOp,
    "kgcoop": KgCoOp,
    "prograd": ProGrad,
    "cocoop": CoCoOp,
    "ivlp": IVLP,
    "vpt": VPT,
    "maple": MaPLe,
    "promptsrc": PromptSRC,
}

__all__ = ["METHODS", "Method", "MethodCard", "StaticClassifier"]
