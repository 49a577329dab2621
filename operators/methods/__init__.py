"""The zoo. A new method is one file and one line in `METHODS`."""

from operators.methods.base import Method, MethodCard
from operators.methods.classifier import Classifier
from operators.methods.compositional.vocabulary.csp import CSP
from operators.methods.image_classification.base import StaticClassifier, Teacher
from operators.methods.image_classification.deep_prompts.coprompt import CoPrompt
from operators.methods.image_classification.deep_prompts.dpl_dec import DPL
from operators.methods.image_classification.deep_prompts.ivlp import IVLP
from operators.methods.image_classification.deep_prompts.maple import MaPLe
from operators.methods.image_classification.deep_prompts.mmrl import MMRL
from operators.methods.image_classification.deep_prompts.plot_plus_plus import PLOTPlusPlus
from operators.methods.image_classification.deep_prompts.prompt_cam import PromptCAM
from operators.methods.image_classification.deep_prompts.promptkd import PromptKD
from operators.methods.image_classification.deep_prompts.promptsrc import PromptSRC
from operators.methods.image_classification.deep_prompts.restore import Restore
from operators.methods.image_classification.deep_prompts.vpt import VPT
from operators.methods.image_classification.feature_heads.ape import APE
from operators.methods.image_classification.feature_heads.ape_t import APET
from operators.methods.image_classification.feature_heads.clap import CLAP
from operators.methods.image_classification.feature_heads.clip_adapter import ClipAdapter
from operators.methods.image_classification.feature_heads.cones import ConES
from operators.methods.image_classification.feature_heads.cross_modal import CrossModal
from operators.methods.image_classification.feature_heads.linear_probe import LinearProbe
from operators.methods.image_classification.feature_heads.lp_plus_plus import LPPlusPlus
from operators.methods.image_classification.feature_heads.taskres import TaskRes
from operators.methods.image_classification.feature_heads.tfup import TFUP
from operators.methods.image_classification.feature_heads.tfup_t import TFUPT
from operators.methods.image_classification.feature_heads.tip_adapter import TipAdapter, TipAdapterF
from operators.methods.image_classification.feature_heads.zs_lp import ZSLP
from operators.methods.image_classification.hand_written.cupl import CuPL
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot, ZeroShotEnsemble
from operators.methods.image_classification.shared_starts.gram import GRAM
from operators.methods.image_classification.shared_starts.mvlpt import MVLPT
from operators.methods.image_classification.shared_starts.pvp import PVP
from operators.methods.image_classification.test_time.difftpt import DiffTPT
from operators.methods.image_classification.test_time.tda import TDA
from operators.methods.image_classification.test_time.tpt import TPT
from operators.methods.image_classification.text_prompts.atprompt import ATPrompt
from operators.methods.image_classification.text_prompts.cocoop import CoCoOp
from operators.methods.image_classification.text_prompts.coop import CoOp
from operators.methods.image_classification.text_prompts.dept_clip import DePTClip
from operators.methods.image_classification.text_prompts.gopro import GOPro
from operators.methods.image_classification.text_prompts.grip import GRIP
from operators.methods.image_classification.text_prompts.kapt import KAPT
from operators.methods.image_classification.text_prompts.kgcoop import KgCoOp
from operators.methods.image_classification.text_prompts.mocoop import MoCoOp
from operators.methods.image_classification.text_prompts.plot import PLOT
from operators.methods.image_classification.text_prompts.pre import PRE
from operators.methods.image_classification.text_prompts.proda import ProDA
from operators.methods.image_classification.text_prompts.prograd import ProGrad
from operators.methods.image_classification.text_prompts.spg import SPG
from operators.methods.image_classification.text_prompts.tcp import TCP
from operators.methods.image_classification.text_prompts.tomml import TOMML
from operators.methods.image_classification.tower_adapters.apt_approx import ApproximatedPrompts
from operators.methods.image_classification.tower_adapters.clip_lora import ClipLora
from operators.methods.image_classification.tower_adapters.mma import MMA
from operators.methods.image_classification.written_prompts.llm_bbo import LLMBlackBox
from operators.methods.image_classification.written_prompts.pac_bayes import PacBayes
from operators.methods.image_classification.written_prompts.promptcap import PromptCap
from operators.methods.text_classification.feature_heads.text_linear_probe import TextLinearProbe
from operators.methods.text_classification.hand_written.verbalizer import (
    CalibratedVerbalizer,
    Verbalizer,
)
from operators.methods.text_classification.in_context.in_context import InContext
from operators.methods.text_classification.soft_prompts.cpt import CPT
from operators.methods.text_classification.soft_prompts.dept import DePT
from operators.methods.text_classification.soft_prompts.soft_prompt import SoftPrompt
from operators.spec import TrialSpec

METHODS: dict[str, type[Method]] = {
    "zero-shot": ZeroShot,
    "zero-shot-ensemble": ZeroShotEnsemble,
    "cupl": CuPL,
    "llm-bbo": LLMBlackBox,
    "pac-bayes": PacBayes,
    "promptcap": PromptCap,
    "tpt": TPT,
    "difftpt": DiffTPT,
    "tda": TDA,
    "linear-probe": LinearProbe,
    "zs-lp": ZSLP,
    "clap": CLAP,
    "taskres": TaskRes,
    "lp-plus-plus": LPPlusPlus,
    "cross-modal": CrossModal,
    "cones": ConES,
    "clip-adapter": ClipAdapter,
    "tip-adapter": TipAdapter,
    "tip-adapter-f": TipAdapterF,
    "ape": APE,
    "ape-t": APET,
    "tfup": TFUP,
    "tfup-t": TFUPT,
    "coop": CoOp,
    "kgcoop": KgCoOp,
    "tcp": TCP,
    "pre": PRE,
    "prograd": ProGrad,
    "mocoop": MoCoOp,
    "proda": ProDA,
    "plot": PLOT,
    "cocoop": CoCoOp,
    "spg": SPG,
    "dept-clip": DePTClip,
    "gopro": GOPro,
    "atprompt": ATPrompt,
    "tomml": TOMML,
    "kapt": KAPT,
    "grip": GRIP,
    "ivlp": IVLP,
    "vpt": VPT,
    "prompt-cam": PromptCAM,
    "maple": MaPLe,
    "mmrl": MMRL,
    "plot-plus-plus": PLOTPlusPlus,
    "promptsrc": PromptSRC,
    "promptkd": PromptKD,
    "coprompt": CoPrompt,
    "mvlpt": MVLPT,
    "pvp": PVP,
    "gram": GRAM,
    "restore": Restore,
    "dpl-dec": DPL,
    "clip-lora": ClipLora,
    "mma": MMA,
    "apt-approx": ApproximatedPrompts,
    "csp": CSP,
    "verbalizer": Verbalizer,
    "verbalizer-calibrated": CalibratedVerbalizer,
    "in-context": InContext,
    "soft-prompt": SoftPrompt,
    "dept": DePT,
    "cpt": CPT,
    "text-linear-probe": TextLinearProbe,
}


# Users' own: by name, then by the digest of their source, the one that was loaded last at the end.
_OWN: dict[str, dict[str, type[Method]]] = {}


def add_own(name: str, method: type[Method]) -> None:
    """Makes a user's own method known to this process, beside other sources of the same name.

    Args:
        name: As on the board; no key of `METHODS`.
        method: Its class; `source_digest` tells sources apart.

    Raises:
        ValueError: The name is that of a shipped method.
    """
    if name in METHODS:
        raise ValueError(f"{name} is the name of a method of Shotboard: choose another.")
    known = _OWN.setdefault(name, {})
    known.pop(method.source_digest, None)
    known[method.source_digest] = method


def find_method(name: str, source: str = "") -> type[Method] | None:
    """A shipped method, or a user's own that was loaded; None where there is none.

    Args:
        name: As on the board.
        source: Digest of its source; of a user's own the one loaded last where it is empty.
    """
    own = _OWN.get(name, {})
    if source:
        return own.get(source)
    return METHODS.get(name) or next(reversed(own.values()), None)


def known_method(spec: TrialSpec) -> type[Method] | None:
    """The method of a trial; None where its code is not here."""
    return find_method(spec.method, str(spec.aids.get("method_source", "")))


def method_for(spec: TrialSpec) -> type[Method]:
    """The method of a trial.

    Raises:
        LookupError: Its code is not here.
    """
    method = known_method(spec)
    if method is None:
        raise LookupError(
            f"trial {spec.trial_id} is of the method {spec.method}, whose code is not loaded here."
        )
    return method


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
    "add_own",
    "find_method",
    "known_method",
    "method_for",
    "methods_of",
]
