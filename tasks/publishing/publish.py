"""Trial folders -> MLflow, which is only imported when there is news.

An experiment is a suite, a run below it one flow run that computed something, its children are the
cells it completed; see `mlflow_cell.py` for what they hold. What is in MLflow is a projection, and
a receipt says what is there already.

A trial of each method, backbone, dataset and protocol is a version of a registered model, alias
`best`; `choosing.py` says which, and `mlflow.pyfunc.load_model("models:/<name>@best")` loads it.
"""

import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from data_catalog.wording import plural
from operators.spec import TrialSpec
from tasks.pages.known import protocol_rows
from tasks.progress import reporter
from tasks.publishing import receipts
from tasks.publishing.cell_metrics import Trial, differences
from tasks.publishing.choosing import Candidate, candidate
from tasks.publishing.mlflow_cell import (
    PARENT,
    RANKED_BY,
    has_layout,
    is_candidate,
    trials_of,
    write_cell,
)
from tasks.publishing.mlflow_client import connect
from tasks.publishing.registering import register
from tasks.publishing.session import Session, settle_killed
from tasks.storage.leases import Leases
from tasks.storage.moving import settle
from tasks.storage.store import Store

PROMPT = "prompt.safetensors"
LOOK_SECONDS = 1.0  # between two looks for cells that are complete, while trials run


@dataclass(frozen=True)
class PublishReport:
    """What was done.

    Attributes:
        tracking_uri: Where MLflow is.
        experiment: Its experiment, the name of the suite.
        parent_run_id: Run of this flow run; None when nothing was new.
        published: Cells that were created or completed.
        skipped: Cells that were complete.
        models: Registered models that got a better prompt.
        seconds: Wall time of `finish`.
    """

    tracking_uri: str
    experiment: str
    parent_run_id: str | None
    published: int
    skipped: int
    models: int
    seconds: float


class Publication:
    """What one run of a suite brings to MLflow, as its cells complete or all at once.

    A cell whose receipt covers its trials is not looked up in MLflow; when another one is
    written, runs that were deleted by hand are noticed and written again.

    Args:
        store: Where the trials are.
        trial_ids: All trials of the run, new or not, completed or not.
        suite: Name of the experiment.
        run_id: Shotboard's id of the run; a repetition writes under the same parent.
        flow_run_id: Prefect's id of the run.
        git_commit: Commit of the code, where no trial recorded one.
        leases: Of the run, which keep other runs out of MLflow while a cell is written; without
            them nobody else may write.
    """

    def __init__(
        self,
        store: Store,
        trial_ids: Iterable[str],
        *,
        suite: str,
        run_id: str,
        flow_run_id: str | None = None,
        git_commit: str | None = None,
        leases: Leases | None = None,
    ) -> None:
        with suppress(sqlite3.Error, OSError):  # tried again, and told, by the session
            settle(store)
        self.store = store
        self.leases = leases
        self.trial_ids = frozenset(trial_ids)
        self.suite = suite
        self.run_id = run_id
        self.git_commit = git_commit
        self.uri = store.mlflow_uri
        self.tags = {"shotboard.run_id": run_id, "shotboard.flow_run_id": flow_run_id or ""}
        self.receipts = receipts.read(store, self.uri, suite)
        self.written: set[str] = set()
        self._best: dict[str, Candidate] = {}
        self._primary = {row["protocol"]: row["primary_metric"] for row in protocol_rows()}
        self._session: Session | None = None

    def write(self, trial_ids: Iterable[str]) -> int:
        """Writes every cell in which there is news; returns how many cells the trials have.

        Args:
            trial_ids: Completed trials: of each of their cells, all that are to be in it.
        """
        cells: dict[str, dict[str, Trial]] = defaultdict(dict)
        for trial_id in trial_ids:
            trial = self.store.result(trial_id)
            cells[trial["cell_id"]][trial_id] = trial
            self._offer(trial)
        if self._session is None:
            with self._alone():
                self._session = self._opened()
        for cell_id, trials in sorted(cells.items()):
            if not self._complete(cell_id, trials):
                with self._alone() as inherited:
                    if inherited:  # from a run that died, perhaps in the middle of this very cell
                        self._session = self._opened(self._session)
                    self._look_again(self._session, cell_id)
                    if not self._complete(cell_id, trials):
                        self._write_cell(self._session, cell_id, trials)
        return len(cells)

    def finish(self) -> PublishReport:
        """Writes whatever is completed and not in MLflow yet, and moves the alias `best`."""
        started = time.perf_counter()
        done = sorted(self.trial_ids & self.store.done())
        if self._session is None and self._all_held(done):
            known = sum(not r.trial_ids.isdisjoint(done) for r in self.receipts.values())
            seconds = time.perf_counter() - started
            return PublishReport(self.uri, self.suite, None, 0, known, 0, seconds)
        cells = self.write(done)
        assert self._session is not None
        with self._alone():
            models = self._register_best(self._session.client)
        self._session.close(trials=len(done), cells=cells)
        receipts.finish(self.store, self.suite, self.run_id)
        return PublishReport(
            self.uri,
            self.suite,
            self._session.parent,
            len(self.written),
            cells - len(self.written),
            models,
            time.perf_counter() - started,
        )

    def reopen(self) -> None:
        """Looks MLflow up anew before it writes on: a cell may have been half written."""
        self._session = None

    def give_up(self) -> None:
        """Ends the run of this flow run, as one that was killed."""
        if self._session is not None:
            self._session.close(status="KILLED")

    def _alone(self) -> AbstractContextManager[bool]:
        """Keeps other runs out; gives whether one died that kept us out."""
        return nullcontext(False) if self.leases is None else self.leases.alone("mlflow")

    def _opened(self, before: Session | None = None) -> Session:
        """A session that knows what is in MLflow now; nobody else may write meanwhile."""
        receipts.begin(self.store, self.suite, self.run_id)
        session = Session(self.store, self.suite, self.tags, self.git_commit)
        session.parent = before.parent if before else None
        settle_killed(session.client, self.store)
        return session

    def _look_again(self, session: Session, cell_id: str) -> None:
        """Takes notice of a run of a cell that another run has written meanwhile."""
        receipt = receipts.read_cell(self.store, self.uri, self.suite, cell_id)
        if receipt is not None and receipt != self.receipts.get(cell_id):
            self.receipts[cell_id] = receipt
            session.look_up(cell_id, receipt.mlflow_run_id)

    def _write_cell(self, session: Session, cell_id: str, trials: dict[str, Trial]) -> None:
        run, receipt = session.cells.get(cell_id), self.receipts.get(cell_id)
        before = trials_of(run) if run else []
        for trial_id in before:
            if trial_id not in trials:
                with suppress(ValueError):  # it is gone, or damaged: its own suite will say so
                    trials = trials | {trial_id: self.store.result(trial_id)}
        written = write_cell(
            session.client,
            session.experiment_id,
            self.store,
            cell_id,
            trials,
            run=run,
            there={i for i in before if receipt and receipt.holds(self.store, i)},
            tags={} if run else {**self.tags, PARENT: session.parent_made()},
            primary=self._ranking(trials),
            git_commit=self.git_commit,
        )
        session.alive.add(written.info.run_id)
        self.receipts[cell_id] = receipts.write(
            self.store, self.uri, self.suite, cell_id, written.info.run_id, trials
        )
        self.written.add(cell_id)

    def _ranking(self, trials: Mapping[str, Trial]) -> str:
        """The metric by which rows of the cell's protocol are ranked."""
        return self._primary[next(iter(trials.values()))["spec"]["protocol"]]

    def _complete(self, cell_id: str, trials: Iterable[str]) -> bool:
        """Whether the run of a cell is there and holds these trials."""
        receipt = self.receipts.get(cell_id)
        return (
            receipt is not None
            and (self._session is None or receipt.mlflow_run_id in self._session.alive)
            and all(receipt.holds(self.store, trial_id) for trial_id in trials)
        )

    def _all_held(self, trial_ids: Iterable[str]) -> bool:
        """Whether all of these trials are there and their models moved; no trial is read."""
        if not receipts.finished(self.store, self.suite) or receipts.killed(self.store):
            return False
        held = {i for r in self.receipts.values() for i in r.trial_ids if r.holds(self.store, i)}
        return held.issuperset(trial_ids)

    def _offer(self, trial: Trial) -> None:
        """Remembers a trial if it is to be preferred to those of its model so far."""
        if is_candidate(trial["spec"]):  # the trial of the same fit with test rows may be it
            return
        if (self.store.trial(trial["trial_id"]) / PROMPT).exists():
            found = candidate(trial)
            if found.name not in self._best or found.rank > self._best[found.name].rank:
                self._best[found.name] = found

    def _register_best(self, client: Any) -> int:
        """Moves the alias `best` of each model to which a better trial came; says how many."""
        runs = {cell_id: receipt.mlflow_run_id for cell_id, receipt in self.receipts.items()}
        found = register(client, self.store, self.suite, self._best, runs)
        for name, trouble in found.refused.items():
            reporter().say(f"MLflow: {name} is not registered: {trouble}")
        return found.moved


@contextmanager
def published_along(
    publication: Publication,
    specs: Iterable[TrialSpec],
    missing: Iterable[TrialSpec],
    every: float = LOOK_SECONDS,
) -> Iterator[None]:
    """Writes each cell to MLflow as soon as its last trial is in the store, in a thread.

    MLflow mostly waits for the disk, so that costs the trials little. If it fails, what is
    missing is left to `Publication.finish`, which says why it fails.

    Args:
        publication: Nothing else may use it meanwhile.
        specs: All trials of the run.
        missing: Those that are being computed.
        every: Seconds between two looks.
    """
    cells = {spec.cell_id for spec in missing}
    waiting: dict[str, set[str]] = defaultdict(set)
    for spec in specs:
        if spec.cell_id in cells:
            waiting[spec.cell_id].add(spec.trial_id)
    over = threading.Event()

    def follow() -> None:
        try:
            while waiting and not over.wait(every):
                done = publication.store.done()
                for cell in [cell for cell, ids in waiting.items() if ids <= done]:
                    publication.write(waiting.pop(cell))
                    if over.is_set():
                        return
        except Exception:  # whatever MLflow raises
            publication.reopen()

    thread = threading.Thread(target=follow, name="publish", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        over.set()
        thread.join()
        if not isinstance(error, Exception):  # nobody will finish what is interrupted
            with suppress(Exception):
                publication.give_up()
        raise
    over.set()
    thread.join()


def verify(store: Store) -> list[str]:
    """Returns a sentence for every receipt whose run is gone or whose numbers are not ours."""
    noted = [content for _, content in receipts.contents(store)]
    if not noted:
        return []
    from mlflow.exceptions import MlflowException

    troubles = []
    older: Counter[str] = Counter()
    done = store.done()
    for receipt in noted:
        client = connect(receipts.uri_of(store, receipt))
        for experiment, entry in receipt["experiments"].items():
            run_id = entry["mlflow_run_id"]
            place = f"cell {receipt['cell_id']}, run {run_id} of {experiment}"
            try:
                run = client.get_run(run_id)
            except MlflowException as error:
                troubles.append(f"{place}: {error.message}")
                continue
            if run.info.lifecycle_stage != "active":
                troubles.append(f"{place}: the run was deleted.")
                continue
            if not has_layout(run):
                older[experiment] += 1
                continue
            trials = []
            for trial_id in sorted(done.intersection(entry["trial_ids"])):
                try:
                    trials.append(store.result(trial_id))
                except ValueError as error:
                    troubles.append(f"{place}: {error}")
            there = run.data.metrics
            primary = run.data.tags[RANKED_BY]
            troubles += [f"{place}: {text}" for text in differences(there, trials, primary)]
    return troubles + [
        f"{plural(count, 'run')} of {experiment}: laid out by an older Shotboard. The next run of "
        "that suite writes them anew."
        for experiment, count in older.items()
    ]
