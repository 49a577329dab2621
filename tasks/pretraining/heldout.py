"""Zero-shot accuracy of a pretrained folder on ingested datasets.

Used during training, for the card, and when anybody asks whether the card is right. It is the
method `zero-shot` of the board on the same rows, so the board gives the same number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_catalog import Dataset
from data_catalog.json_text import load_json
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

if TYPE_CHECKING:
    from operators.backbones import Backbone, BackboneReference

RESULTS = "results.json"
FORMAT = 1
TOLERANCE = 0.002  # share of the rows that rounding on another machine may turn over
Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Zero-shot accuracy on some rows of a dataset.

    Attributes:
        dataset: Its name.
        dataset_fingerprint: Of the ingested dataset.
        split: `val` or `test`.
        template: Prompt that the classes were put into.
        correct: Rows that were classified right.
        n: Rows.
        accuracy: Their share.
        ci95_low: Lower end of Wilson's 95 % interval.
        ci95_high: Upper end.
    """

    dataset: str
    dataset_fingerprint: str
    split: str
    template: str
    correct: int
    n: int
    accuracy: float
    ci95_low: float
    ci95_high: float


def evaluate(
    folder: Path, datasets: Sequence[Dataset], split: str, device: str = "cpu"
) -> list[Accuracy]:
    """Classifies the rows of one split of each dataset with the card's prompt.

    Args:
        folder: A CLIP in transformers' format.
        datasets: Ingested ones.
        split: `val` while training goes on, `test` once it is over.
        device: As torch names it.
    """
    from operators.backbones import reference

    which = reference(str(folder))
    return evaluate_backbone(which.load(which.describe(), device), datasets, split)


def evaluate_backbone(
    backbone: "Backbone", datasets: Sequence[Dataset], split: str
) -> list[Accuracy]:
    """As `evaluate`, for a backbone that is loaded."""
    return [_accuracy(backbone, dataset, split) for dataset in datasets]


def _accuracy(backbone: "Backbone", dataset: Dataset, split: str) -> Accuracy:
    import torch

    from operators.backbones import DualEncoder
    from operators.episodes.episode import batch_of
    from operators.episodes.features import DatasetImages
    from operators.episodes.protocols import PROTOCOLS
    from operators.episodes.table import Setup
    from operators.methods.classifier import logits_of
    from operators.methods.image_classification.hand_written.zero_shot import ZeroShot
    from tasks.planning.data import TrialData

    if not isinstance(backbone, DualEncoder):
        raise RequestError(f"{backbone.card.name} is a {backbone.title}, no dual encoder.")
    data = TrialData(dataset)
    every = tuple(range(len(dataset.classes)))
    if split == "test":  # the very rows of the protocol on the board
        setup = Setup(table=data.table, shots=0, seed=0)
        (evaluation,) = PROTOCOLS["zero_shot"].episode(setup).evaluations
        rows = evaluation.rows
    else:
        rows = data.table.rows(split)
    if not len(rows):
        raise RequestError(
            f"{dataset.name} has no {split} rows, so nothing can be evaluated on them. Leave it "
            "out of `evaluate`, or give it such rows."
        )
    method = ZeroShot(backbone, data.all_classes, generator=torch.Generator())
    images = DatasetImages(dataset.images, backbone)
    batch = batch_of(images, rows, dataset.labels, every, backbone.device)
    predicted = logits_of(method, batch).argmax(dim=1)
    correct = int((predicted == batch.labels).sum())
    low, high = wilson(correct, len(rows))
    return Accuracy(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        split=split,
        template=dataset.template,
        correct=correct,
        n=len(rows),
        accuracy=correct / len(rows),
        ci95_low=low,
        ci95_high=high,
    )


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22, 1927.
    """
    share, z2 = correct / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def results_of(
    accuracies: Sequence[Accuracy], fingerprint: str | None, more: Mapping[str, Any]
) -> dict[str, Any]:
    """What `results.json` holds.

    Args:
        accuracies: On test rows.
        fingerprint: Of the weights, tokenizer and preprocessing that gave them.
        more: How the model was made.
    """
    return {
        "format": FORMAT,
        "backbone_fingerprint": fingerprint,
        "method": "zero-shot",
        "results": [asdict(accuracy) for accuracy in accuracies],
        **more,
    }


def read_results(folder: Path) -> dict[str, Any]:
    """The figures that a model was published with.

    Raises:
        RequestError: There are none, or the file is damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise RequestError(
            f"{folder} has no {RESULTS}, so there are no figures to verify. `shotboard pretrain` "
            "writes one beside the weights."
        )
    try:
        values = load_json(path.read_bytes())
        found = [Accuracy(**entry) for entry in values["results"]]
    except (ValueError, LookupError, TypeError) as error:
        raise RequestError(f"{path} is damaged ({error!r}): fetch the model again.") from error
    if values.get("format") != FORMAT:
        raise RequestError(f"{path} has format {values.get('format')!r}, not {FORMAT}.")
    return {**values, "results": found}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A figure of the card beside what came out now.

    Attributes:
        dataset: Its name.
        stated: Accuracy on the card.
        found: Accuracy now; None where it could not be had.
        n: Test rows now.
        agrees: Whether both are the same up to rounding.
        remark: Why not, where it can be said; else empty.
    """

    dataset: str
    stated: float
    found: float | None
    n: int
    agrees: bool
    remark: str = ""


def verify(
    which: "BackboneReference", folder: Path, datasets: Mapping[str, Dataset], device: str = "cpu"
) -> list[Comparison]:
    """Computes every figure of `results.json` again.

    A few rows may turn over on another machine, since sums are rounded differently there: up to
    `TOLERANCE` of the rows, and one row always, count as the same.

    Args:
        which: The backbone.
        folder: Where its files are.
        datasets: Ingested, by name; a missing one is said to disagree.
        device: As torch names it.
    """
    values = read_results(folder)
    card = which.describe()
    same_weights = values["backbone_fingerprint"] == card.fingerprint
    backbone = which.load(card, device)
    found = []
    for stated in values["results"]:
        dataset = datasets.get(stated.dataset)
        if dataset is None:
            found.append(
                Comparison(
                    dataset=stated.dataset,
                    stated=stated.accuracy,
                    found=None,
                    n=0,
                    agrees=False,
                    remark="no dataset of this name is here",
                )
            )
            continue
        (now,) = evaluate_backbone(backbone, [dataset], stated.split)
        turned = abs(now.correct - stated.correct)
        remarks = []
        if not same_weights:
            remarks.append("the files of the model are not those of the card")
        if now.dataset_fingerprint != stated.dataset_fingerprint:
            remarks.append("the dataset here is not the one of the card")
        found.append(
            Comparison(
                dataset=stated.dataset,
                stated=stated.accuracy,
                found=now.accuracy,
                n=now.n,
                agrees=now.n == stated.n and turned <= max(1, TOLERANCE * now.n),
                remark="; ".join(remarks),
            )
        )
    return found


def verify_figures(store: Store, name: str, device: str = "cpu") -> list[Comparison]:
    """Computes the figures on a backbone's card again; datasets are ingested where they are not.

    Args:
        store: Where the datasets are.
        name: Of the backbone: a known name, a folder or a hub id.
        device: As torch names it.

    Raises:
        RequestError: No such backbone, or it has no figures.
        BackboneUnavailable: Its weights cannot be had here.
    """
    from operators.backbones.formats.clip_files import fetch
    from tasks.ingestion.ingest import ingest_dataset
    from tasks.planning import resolve
    from tasks.planning.own_backbones import find_backbone

    which = find_backbone(name)
    if which.family not in ("", "clip"):  # of a folder or a hub id it is not known yet
        raise RequestError(
            f"{name} is of family {which.family}: only models that `shotboard pretrain` has "
            "exported have figures to verify."
        )
    folder = fetch(which.location)
    known = resolve.dataset_cards(store)
    asked = [one.dataset for one in read_results(folder)["results"]]
    datasets = {each: ingest_dataset(each, store) for each in asked if each in known}
    return verify(which, folder, datasets, device)
