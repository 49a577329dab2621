"""The folder of a CLIP in transformers' format: where it is, and what its small files say."""

import json
from pathlib import Path
from typing import Any

from operators.backbones.base import BackboneUnavailable, digest_files
from operators.images import Preprocessing

EMBEDDED = Path(__file__).parent  # weights that ship with Shotboard lie beside this file
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3  # Pillow's number, which `resample` has
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SETTINGS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors.index.json",
)


def fetch(location: str) -> Path:
    """The folder with a model's files: `location` itself, or the hub's copy of that id.

    Raises:
        BackboneUnavailable: See `Clip.describe`.
    """
    if Path(location).is_dir():
        return Path(location)
    if location.startswith((".", "/", "~")) or location.count("/") != 1:
        raise BackboneUnavailable(
            f"no folder at {location!r}. Give a folder that holds a CLIP in transformers' format "
            "(config.json, model.safetensors, tokenizer), or a hub id such as "
            "openai/clip-vit-base-patch16."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(location, allow_patterns=[*WEIGHTS, *TOKENIZER, *SETTINGS]))
    except Exception as error:  # the hub's errors share no narrower ancestor
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneUnavailable(
            f"backbone {location!r} is not on this machine and the model hub did not give it "
            f"({type(error).__name__}: {reason[:160]}). Download it where there is a network and "
            "pass the folder instead: --backbones PATH."
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a CLIP.

    Raises:
        BackboneUnavailable: The file is missing or is that of another kind of model.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise BackboneUnavailable(
            f"{folder} holds no config.json, so it is no model in transformers' format."
        )
    config = json.loads(path.read_text())
    if config.get("model_type") != "clip":
        raise BackboneUnavailable(
            f"{folder} holds a {config.get('model_type', 'nameless')!r} model; "
            "this family reads 'clip'."
        )
    return config


def read_license(folder: Path) -> str:
    """Licence from the header of the model's `README.md`, as the hub has it."""
    card = folder / "README.md"
    lines = card.read_text("utf-8").splitlines() if card.is_file() else []
    if lines and lines[0] == "---":
        for line in lines[1 : lines.index("---", 1) if "---" in lines[1:] else 1]:
            key, _, value = line.partition(":")
            if key == "license" and value.strip():
                return value.strip()
    return "see the model's own card"


def read_preprocessing(folder: Path, image_size: int) -> Preprocessing:
    """The preprocessing that a model was published with, CLIP's own where it does not say.

    Raises:
        BackboneUnavailable: It leaves out a step, or resizes in another way than bicubically by
            the short side.
    """
    settings: dict[str, Any] = {}
    if (folder / "preprocessor_config.json").is_file():
        settings = json.loads((folder / "preprocessor_config.json").read_text())
    elif (folder / "processor_config.json").is_file():  # where transformers 5 writes it
        settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
        if settings.get(step) is False:
            raise BackboneUnavailable(
                f"{folder} says {step!r}: false; this family resizes, crops, rescales and "
                "normalises every image."
            )
    filter_number = settings.get("resample")
    if filter_number not in (None, BICUBIC):
        raise BackboneUnavailable(
            f"{folder} resizes with filter {filter_number} ('resample'); this family resizes with "
            f"the bicubic one, {BICUBIC}."
        )
    size = settings.get("size", image_size)
    if isinstance(size, dict) and "shortest_edge" not in size:
        raise BackboneUnavailable(
            f"{folder} resizes images to {size}; this family resizes the 'shortest_edge' and crops."
        )
    crop = settings.get("crop_size", image_size)
    return Preprocessing(
        size=crop["height"] if isinstance(crop, dict) else crop,
        short_side=size["shortest_edge"] if isinstance(size, dict) else size,
        mean=tuple(settings.get("image_mean", CLIP_MEAN)),
        std=tuple(settings.get("image_std", CLIP_STD)),
    )


def fingerprint(folder: Path) -> str:
    """Digest of the bytes of weights, tokenizer and preprocessing, and of our arithmetic.

    Raises:
        BackboneUnavailable: The folder holds no weights.
    """
    files = {path for pattern in WEIGHTS for path in folder.glob(pattern)}
    if not files:
        raise BackboneUnavailable(f"{folder} holds no weights (*.safetensors or *.bin).")
    files |= {folder / name for name in (*TOKENIZER, *SETTINGS) if (folder / name).is_file()}
    return digest_files(sorted(files))


def place_of(folder: Path) -> str:
    """Where a folder's weights come from, for its card."""
    return "embedded" if folder.parent == EMBEDDED else "a local folder"
