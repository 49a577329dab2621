"""The folder of a CLIP or SigLIP: where it is, what its files say.

They are in transformers' format or in open_clip's, which `open_clip.py` reads.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from operators.backbones.base import BackboneUnavailable, digest_files
from operators.backbones.formats import open_clip
from operators.backbones.formats.model_files import read_settings
from operators.images import Filter, Preprocessing

EMBEDDED = Path(__file__).parents[1]  # weights that ship with Shotboard lie beside this file
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3  # Pillow's number, which `resample` has
FILTERS: dict[int, Filter] = {2: "bilinear", BICUBIC: "bicubic"}
MODEL_TYPES = ("clip", "siglip")  # `model_type` of `config.json`, which is the family too
OPENAI = (
    "OpenAI's own files, such as RN50.pt, are not read: the hub has them in open_clip's format, "
    "that one as timm/resnet50_clip.openai."
)
UNREADABLE = {
    "siglip2": "it reads images of any shape (NaFlex), and backbones read squares: use the "
    "SigLIP 2 of one resolution, such as google/siglip2-base-patch16-224.",
}
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SENTENCES = ("sentence_bert_config.json", "1_Pooling/config.json")  # of encoders of sentences
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
    if Path(location).is_file():
        raise BackboneUnavailable(
            f"{location} is a file. Give a folder that holds a CLIP, SigLIP or language model in "
            f"transformers' format, or a CLIP in open_clip's. {OPENAI}"
        )
    if location.startswith((".", "/", "~")) or location.count("/") != 1:
        raise BackboneUnavailable(
            f"no folder at {location!r}. Give a folder that holds a CLIP, SigLIP or language model "
            "in transformers' format, or a CLIP in open_clip's, or a hub id such as "
            "openai/clip-vit-base-patch16."
        )
    try:
        return download(location)
    except Exception as error:  # the hub's errors share no narrower ancestor
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneUnavailable(
            f"backbone {location!r} is not on this machine and the model hub did not give it "
            f"({type(error).__name__}: {reason[:160]}). Download it where there is a network and "
            "pass the folder instead: --backbones PATH."
        ) from error


def download(location: str) -> Path:
    """The hub's copy of a model: of several files with the same weights only what is read."""
    from huggingface_hub import snapshot_download

    small = [*TOKENIZER, *SETTINGS, *SENTENCES, open_clip.CONFIG]
    folder = Path(snapshot_download(location, allow_patterns=small))
    if not in_open_clip(folder):
        return Path(snapshot_download(location, allow_patterns=[*small, *WEIGHTS]))
    for name in open_clip.WEIGHTS:
        folder = Path(snapshot_download(location, allow_patterns=[*small, name]))
        if (folder / name).is_file():
            break
    return folder


def in_open_clip(folder: Path) -> bool:
    """Whether open_clip's files say what a folder holds, since no file of transformers does."""
    return (folder / open_clip.CONFIG).is_file() and model_type(folder) not in MODEL_TYPES


def model_type(folder: Path) -> str | None:
    """What `config.json` calls a model of transformers; None where it is none of those."""
    path = folder / "config.json"
    kind = read_settings(path).get("model_type") if path.is_file() else None
    return kind if isinstance(kind, str) else None


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a CLIP or SigLIP, as transformers has it.

    Raises:
        BackboneUnavailable: There is none, or it is that of another kind of model.
    """
    if in_open_clip(folder):
        return open_clip.read_config(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise BackboneUnavailable(
            f"{folder} holds no config.json and no {open_clip.CONFIG}, so it is no model in "
            f"transformers' or open_clip's format. {OPENAI}"
        )
    if (kind := model_type(folder)) in MODEL_TYPES:
        return read_settings(path)
    why = UNREADABLE.get(
        kind or "", f"read are {', '.join(map(repr, MODEL_TYPES))} and language models."
    )
    raise BackboneUnavailable(f"{folder} holds a {kind or 'nameless'!r} model; {why}")


def family_of(location: str) -> str:
    """The family of the model at a folder or hub id.

    Raises:
        BackboneUnavailable: It cannot be had here, or is of no family that is known.
    """
    return read_config(fetch(location))["model_type"]


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


def read_preprocessing(
    folder: Path,
    image_size: int,
    *,
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
    crops: bool = True,
) -> Preprocessing:
    """The preprocessing that a model was published with, its family's own where it does not say.

    Args:
        folder: Of the model.
        image_size: Side in pixels of the images that its tower reads.
        mean: The family's.
        std: The family's.
        crops: The family cuts the centre out, and does not squeeze images into a square.

    Raises:
        BackboneUnavailable: It leaves out a step, has one that is not known here, or gives images
            of another size; names the key.
    """
    settings = preprocessing_settings(folder)

    def refuse(key: str, rule: str) -> NoReturn:
        value = json.dumps(settings.get(key))
        raise BackboneUnavailable(f"{folder} preprocesses images with {key!r}: {value}; {rule}")

    for step in ("do_resize", "do_rescale", "do_normalize"):
        if settings.get(step) is False:
            refuse(step, "backbones resize, rescale and normalise every image.")
    if settings.get("resample", BICUBIC) not in FILTERS:
        refuse("resample", "known are the filters 2 (bilinear) and 3 (bicubic).")
    if abs(settings.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        refuse("rescale_factor", "pixels are divided by 255.")
    crops = settings.get("do_center_crop", crops)
    short_side, squeeze = resize_of(settings, image_size, crops, refuse)
    crop = settings.get("crop_size", image_size) if crops else short_side
    side = crop["height"] if isinstance(crop, dict) else crop
    if squeeze and side != short_side:
        refuse("crop_size", "what is squeezed into a square is not cropped after it.")
    if side != image_size:
        refuse("crop_size" if crops else "size", f"the image tower reads {image_size} pixels.")
    return Preprocessing(
        size=side,
        short_side=short_side,
        mean=tuple(settings.get("image_mean", mean)),
        std=tuple(settings.get("image_std", std)),
        squeeze=squeeze,
        filter=FILTERS[settings.get("resample", BICUBIC)],
    )


def resize_of(
    settings: Mapping[str, Any],
    image_size: int,
    crops: bool,
    refuse: Callable[[str, str], NoReturn],
) -> tuple[int, bool]:
    """Length of the short side after the resize, and whether that of the long side is the same.

    Args:
        settings: Of the image processor.
        image_size: What an image is resized to where they do not say.
        crops: A square is cut out of what is resized.
        refuse: Raises, naming a key and a rule.
    """
    square = {"height": image_size, "width": image_size}
    size: Any = settings.get("size", {"shortest_edge": image_size} if crops else square)
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if "shortest_edge" in size:
        if not crops:
            key = "do_center_crop" if "do_center_crop" in settings else "size"
            refuse(key, "what is resized by its short side is cropped to a square.")
        return size["shortest_edge"], False
    if size.get("height") is None or size.get("height") != size.get("width"):
        refuse("size", "known are 'shortest_edge', and 'height' and 'width' that are equal.")
    return size["height"], True


def preprocessing_settings(folder: Path) -> dict[str, Any]:
    """What a model's image processor was saved with, less what it leaves open; may be empty."""
    if in_open_clip(folder):
        return open_clip.read_processor(folder)
    settings: dict[str, Any] = {}
    if (folder / "preprocessor_config.json").is_file():
        settings = read_settings(folder / "preprocessor_config.json")
    elif (folder / "processor_config.json").is_file():  # where transformers 5 writes it
        settings = read_settings(folder / "processor_config.json")["image_processor"]
    return {key: value for key, value in settings.items() if value is not None}


def fingerprint(folder: Path) -> str:
    """Digest of the bytes of weights, tokenizer and preprocessing, and of our arithmetic.

    Raises:
        BackboneUnavailable: The folder holds no weights.
    """
    if in_open_clip(folder):
        files, settings = {open_clip.weights_file(folder)}, [open_clip.CONFIG]
    else:
        files, settings = {path for pattern in WEIGHTS for path in folder.glob(pattern)}, SETTINGS
        if not files:
            raise BackboneUnavailable(f"{folder} holds no weights (*.safetensors or *.bin).")
    files |= {folder / name for name in (*TOKENIZER, *settings) if (folder / name).is_file()}
    return digest_files(sorted(files))


def place_of(location: str, folder: Path) -> str:
    """Where weights come from, for their card: the hub id, or what kind of folder it is.

    Args:
        location: As it was asked for.
        folder: What `fetch` gave for it.
    """
    if not Path(location).exists():
        return location
    return "embedded" if folder.parent == EMBEDDED else "a local folder"
