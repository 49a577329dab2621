"""A pretraining in the store: what lies where, and how far it is.

    pretraining/<run_id>/
        recipe.json          what was asked for, and the data's signature
        tokenizer/           learned from the captions, written once
        losses.jsonl         loss, scale, accuracy in the batch and learning rate of every step
        evaluations.jsonl    zero-shot accuracy on validation rows, as it goes
        checkpoint-<n>.pt    weights and optimiser after n steps
        state.json           which checkpoint holds, and the time that it took to get there
        model/               the export with its card, put there by a rename when all is done
        mlflow.json          what is in MLflow

Whatever stops a training, the next one goes back to the checkpoint that `state.json` names, cuts
both lists to its step, and takes the same steps again. Batches follow from their step alone, so the
lists end up as if nothing had stopped it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data_catalog.json_text import load_json
from data_catalog.pairs import PairSource
from data_catalog.secrets import redacted
from operators.files import write_atomic
from operators.pretraining import Recipe
from operators.spec import digest
from tasks.planning.resolve import RequestError
from tasks.pretraining import heldout
from tasks.pretraining.recipe import Pretraining
from tasks.pretraining.track import Point, Tracked
from tasks.storage.store import Store

LOGGED_POINTS = 500  # steps that MLflow is told of, about
# What MLflow calls the columns of `losses.jsonl`.
LOGGED = {
    "loss": "loss",
    "scale": "scale",
    "in_batch_accuracy": "accuracy",
    "learning_rate": "learning_rate",
}


@dataclass(frozen=True)
class State:
    """How far a pretraining is, as its last checkpoint holds it.

    Attributes:
        step: Steps that were taken.
        checkpoint: Name of the file; empty before the first.
        train_seconds: In steps and in waiting for data; what a stop threw away is not counted.
        wait_seconds: Of those, waiting for data.
        evaluate_seconds: In evaluations.
        starts: Times that a process began or went on.
        skipped: Rows of the data that could not be read.
        threads: Cores that the sums were spread over: another number rounds differently.
        device: Kind of device.
        started_at: ISO 8601, UTC.
    """

    step: int = 0
    checkpoint: str = ""
    train_seconds: float = 0.0
    wait_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    starts: int = 0
    skipped: int = 0
    threads: int = 0
    device: str = ""
    started_at: str = ""


@dataclass(frozen=True)
class PretrainingRun:
    """One pretraining: what was asked for, and its folder.

    Attributes:
        store: The store.
        asked: The recipe file's content, after what the command line changed.
        source: Where the pairs come from.
        run_id: Follows from name, recipe and data.
    """

    store: Store
    asked: Pretraining
    source: PairSource
    run_id: str

    @classmethod
    def of(cls, store: Store, asked: Pretraining) -> "PretrainingRun":
        """The run of a recipe; touches nothing but the footers of its data.

        Raises:
            RequestError: The data is not there or malformed.
        """
        source = asked.source()
        return cls(store, asked, source, digest(_identity(asked, source)))

    @property
    def recipe(self) -> Recipe:
        """All that decides the weights, apart from the pairs."""
        return self.asked.recipe

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.store.pretraining / self.run_id

    @property
    def model(self) -> Path:
        """The export; it is there when all is done."""
        return self.folder / "model"

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer."""
        return self.folder / "tokenizer"

    @property
    def losses(self) -> Path:
        """One line a step."""
        return self.folder / "losses.jsonl"

    @property
    def evaluations(self) -> Path:
        """One line an evaluation."""
        return self.folder / "evaluations.jsonl"

    @property
    def receipt(self) -> Path:
        """What is in MLflow."""
        return self.folder / "mlflow.json"

    def state(self) -> State:
        """How far it is; the beginning where nothing is there."""
        try:
            return State(**load_json((self.folder / "state.json").read_bytes()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise RequestError(
                f"{self.folder / 'state.json'} is damaged ({error}). Remove {self.folder} to "
                "train anew."
            ) from error

    def write_state(self, state: State) -> None:
        """Says which checkpoint holds; it must be on disk."""
        write_atomic(self.folder / "state.json", json.dumps(asdict(state), indent=1).encode())

    def note_request(self) -> None:
        """Writes what was asked for, for people."""
        noted = {
            **_identity(self.asked, self.source),
            "describe": self.source.describe(),
            "asked": redacted(self.asked.model_dump()),
        }
        write_atomic(self.folder / "recipe.json", json.dumps(noted, indent=1).encode())

    def cut_lists(self, step: int) -> None:
        """Keeps the lines up to a step; what was being written when it stopped goes, too."""
        for path in (self.losses, self.evaluations):
            if path.is_file():
                _cut(path, step)

    def points(self) -> Iterator[Point]:
        """What MLflow is told, as far as the files of the run hold it."""
        every = self.log_every
        for line in _lines(self.losses):
            if line["step"] % every == 0 or line["step"] in (1, self.recipe.steps):
                yield from (Point(n, line["step"], line[k]) for n, k in LOGGED.items())
        for line in _lines(self.evaluations):
            for name, value in line["accuracy"].items():
                yield Point(f"val_accuracy/{name}", line["step"], value)
        if (self.model / heldout.RESULTS).is_file():
            for result in heldout.read_results(self.model)["results"]:
                yield Point(f"test_accuracy/{result.dataset}", self.recipe.steps, result.accuracy)

    @property
    def log_every(self) -> int:
        """Steps between two that MLflow is told of."""
        return max(1, self.recipe.steps // LOGGED_POINTS)

    def tracked(self, git_commit: str | None) -> Tracked:
        """What MLflow is told of it."""
        params = {**self.recipe.as_mapping(), "data": self.source.describe()}
        params["data_signature"] = self.source.signature()
        return Tracked(
            run_id=self.run_id, name=self.asked.name, params=params, git_commit=git_commit
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process out.

        Raises:
            RequestError: One is in.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise RequestError(
                f"another process trains run {self.run_id} of {self.asked.name} now. Wait for it, "
                "or stop it: the same command goes on from its checkpoint."
            ) from error


def _identity(asked: Pretraining, source: PairSource) -> dict[str, Any]:
    return {
        "name": asked.name,
        "recipe": asked.recipe.as_mapping(),
        "tokenizer_texts": asked.tokenizer_texts,
        "data": source.signature(),
    }


def _cut(path: Path, step: int) -> None:
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    write_atomic(path, b"".join(kept))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
