"""What a flow run does in MLflow between its first cell and its end."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tasks.publishing import receipts
from tasks.publishing.mlflow_cell import note_of_flow_run
from tasks.publishing.mlflow_client import NOTE, commit_tags, connect, end_run, open_experiment
from tasks.storage import runs
from tasks.storage.moving import settle
from tasks.storage.store import Store

MOST_RUNNING = 1000  # runs that are settled at once; a killed run leaves two at most


class Session:
    """A connection to MLflow, the runs of the experiment's cells, and the run above them.

    Attributes:
        client: MLflow's.
        experiment_id: The experiment of the suite.
        cells: Runs that were there before, by cell.
        alive: Ids of the runs of cells.
        parent: Id of the run of this flow run; None while no new run is below it.

    Args:
        store: Says where MLflow is.
        suite: Name of the experiment.
        tags: Of this flow run; `shotboard.run_id` tells it from others.
        git_commit: Commit of the code.
    """

    def __init__(
        self, store: Store, suite: str, tags: Mapping[str, str], git_commit: str | None
    ) -> None:
        settle(store)
        self.client = connect(store.mlflow_uri)
        self._suite, self._tags = suite, {**tags, **commit_tags(git_commit)}
        note = f"Suite **{suite}** of Shotboard: a run for each cell that it asks for."
        self.experiment_id, is_new = open_experiment(self.client, store, suite, note)
        self.cells = {} if is_new else self._runs_of_cells()
        self.alive = {run.info.run_id for run in self.cells.values()}
        self.parent: str | None = None
        self._counted = False

    def parent_made(self) -> str:
        """The run of this flow run: one that computed nothing new has none."""
        if self.parent is not None:
            return self.parent
        run = self._found_or_created()
        self._counted = bool(run.data.params)
        self.parent = found = str(run.info.run_id)
        return found

    def look_up(self, cell_id: str, run_id: str) -> None:
        """Takes notice of the run of a cell that another flow run has written; it may be gone."""
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):
            run = self.client.get_run(run_id)
            if run.info.lifecycle_stage == "active":
                self.cells[cell_id] = run
                self.alive.add(run_id)

    def close(self, status: str | None = None, **counts: int) -> None:
        """Ends the parent run, which keeps the counts of its first end.

        Args:
            status: Of MLflow, where it did not finish.
            counts: Of this flow run.
        """
        from mlflow.entities import Param

        if self.parent is None:
            return
        if not self._counted and counts:
            params = [Param(name, str(count)) for name, count in counts.items()]
            self.client.log_batch(self.parent, params=params)
        end_run(self.client, self.parent, status)

    def _runs_of_cells(self) -> dict[str, Any]:
        runs: dict[str, Any] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            runs |= {run.data.tags["cell_id"]: run for run in page if "cell_id" in run.data.tags}
            token = page.token
            if not token:
                return runs

    def _found_or_created(self) -> Any:
        """The run with the tag of this flow run, else a new one."""
        quoted = self._tags["shotboard.run_id"].replace("'", "")
        query = f"tags.`shotboard.run_id` = '{quoted}' and tags.`shotboard.kind` = 'suite'"
        found = self.client.search_runs([self.experiment_id], query, max_results=1)
        if found:
            return found[0]
        note = note_of_flow_run(self._suite, self._tags)
        return self.client.create_run(
            self.experiment_id,
            tags={**self._tags, "shotboard.kind": "suite", NOTE: note},
            run_name=f"run {self._tags['shotboard.run_id']}",
        )


def settle_killed(client: Any, store: Store) -> None:
    """Ends what runs that were killed have left as running in MLflow: for ever, if nobody did.

    Args:
        client: An MLflow client.
        store: Knows which runs go on.
    """
    experiments = [each.experiment_id for each in client.search_experiments()]
    running = "attributes.status = 'RUNNING'"
    for run in client.search_runs(experiments, running, max_results=MOST_RUNNING):
        run_id = run.data.tags.get("shotboard.run_id")
        if run_id and not runs.goes_on(store, run_id):
            end_run(client, run.info.run_id, "KILLED")
    for mark in receipts.killed(store):
        receipts.forget_killed(mark)
