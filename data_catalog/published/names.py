"""Class names of published datasets in label order, one a line, in `names/<dataset>.txt`."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "names"


def class_names(dataset: str) -> tuple[str, ...]:
    """The names of a dataset, as its published split has them."""
    return tuple((_FOLDER / f"{dataset}.txt").read_text("utf-8").splitlines())


def wordnet_names(dataset: str = "imagenet") -> dict[str, str]:
    """The names of ImageNet, or of a variant of it, by WordNet id, in label order.

    The names are those of CoOp's `classnames.txt` (md5 c7cdaa38), which are CLIP's of 2021; the
    200 ids of ImageNet-A and ImageNet-R are those of their authors' `eval.py`.
    """
    names = dict(zip(class_names("imagenet_wordnet"), class_names("imagenet"), strict=True))
    return {id_: names[id_] for id_ in class_names(f"{dataset}_wordnet")}
