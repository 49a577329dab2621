"""The zoo. A new method is one file and one line in `METHODS`."""

from operators.methods.base import Method, MethodCard, StaticClassifier
from operators.methods.coop import CoOp
from operators.methods.linear_probe import LinearProbe
from operators.methods.tip_adapter import TipAdapter, TipAdapterF
from operators.methods.zero_shot import ZeroShot, ZeroShotEnsemble

METHODS: dict[str, type[Method]] = {
    "zero-shot": ZeroShot,
    "zero-shot-ensemble": ZeroShotEnsemble,
    "linear-probe": LinearProbe,
    "tip-adapter": TipAdapter,
    "tip-adapter-f": TipAdapterF,
    "coop": CoOp,
}

__all__ = ["METHODS", "Method", "MethodCard", "StaticClassifier"]
