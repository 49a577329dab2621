"""How every run ends, and all of a run that has nothing to compute: MLflow and board up to date.

Prefect is not imported here: a run with nothing to do needs no server.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from flows.summary import Summary
from tasks.pages.board import Rebuilt
from tasks.pages.rebuilding import rebuild_board
from tasks.pages.regressions import moves_of
from tasks.planning.planned import Plan
from tasks.progress import reporter, stage
from tasks.publishing.mlflow_client import explained
from tasks.publishing.publish import Publication, PublishReport
from tasks.storage import runs
from tasks.storage.drafts import sweep
from tasks.storage.leases import Leases, leases_of
from tasks.storage.store import Store


def begin(
    store: Store, plan: Plan, leases: Leases, *, partial: bool, flow_run_id: str | None
) -> tuple[runs.Run, Publication]:
    """Writes the manifest of a run; returns it, and what brings the run to MLflow.

    Args:
        store: Gets the manifest.
        plan: Whose trials these are; what is to be said of it is said.
        leases: Of the run.
        partial: The run is not of the suite as shipped.
        flow_run_id: Prefect's id; None for a run without a flow.
    """
    for text in plan.remarks:
        reporter().say(text)
    run = runs.begin(
        store,
        suite=plan.suite.name,
        trial_ids=[spec.trial_id for spec in plan.specs],
        flow_run_id=flow_run_id,
        done=plan.done,
        partial=partial,
        searches=[search.record() for search in plan.searches],
    )
    publication = Publication(
        store,
        run.trial_ids,
        suite=plan.suite.name,
        run_id=run.run_id,
        flow_run_id=flow_run_id,
        git_commit=run.git_commit,
        leases=leases,
    )
    return run, publication


def go_on(
    store: Store, before: Plan, plan: Plan, run: runs.Run, publication: Publication
) -> runs.Run:
    """Notes what a run has chosen, and the trials that follow from it.

    Args:
        store: Has the manifest.
        before: What the run began with.
        plan: All trials, those of the chosen settings among them.
        run: As it was noted.
        publication: Brings the run to MLflow.
    """
    for text in dict.fromkeys(plan.remarks).keys() - set(before.remarks):
        reporter().say(text)
    trial_ids = [spec.trial_id for spec in plan.specs]
    publication.trial_ids = frozenset(trial_ids)
    searches = [search.record() for search in plan.searches]
    return runs.extend(store, run, trial_ids, searches, plan.done)


def settle(
    store: Store,
    plan: Plan,
    run: runs.Run,
    publication: Publication,
    failed: Sequence[tuple[str, str]],
    *,
    taken: Collection[str] = (),
    trouble: Exception | None = None,
    publish: Callable[[Publication], PublishReport] = Publication.finish,
    rebuild: Callable[[], Rebuilt],
) -> tuple[Summary, Exception | None]:
    """Ends a run; returns what it did, and why MLflow lacks some of it, if it does.

    Args:
        store: Of the run.
        plan: Its trials.
        run: Its manifest.
        publication: What is left for MLflow.
        failed: Trial id and error of each that failed.
        taken: Trials that it took upon itself; other runs have completed what came beside them.
        trouble: What went wrong beside them.
        publish: Brings it to MLflow.
        rebuild: Rebuilds the board.
    """
    unpublished: Exception | None = None
    with stage("publish") as publishing:
        try:
            report = publish(publication)
            there = f"{report.skipped} there already"
            publishing.summary = f"{report.published} cells to MLflow, {there}"
        except Exception as error:  # whatever MLflow raises: the board does not wait for it
            unpublished = explained(error, store)
            publishing.summary = f"failed: {unpublished}"
    error = trouble or unpublished
    ended = runs.finish(store, run, taken=taken, failed=len(failed), error=error)
    with stage("board") as aggregating:
        rebuilt = rebuild()
        aggregating.summary = f"{rebuilt.trials} trials"
    moves = moves_of(store, run.run_id)
    return Summary(ended, plan, tuple(failed), rebuilt.board, moves), unpublished


def bring_up_to_date(
    store: Store, plan: Plan, backbones: Sequence[Mapping[str, Any]], *, partial: bool
) -> Summary:
    """A run that misses nothing: manifest, MLflow and board; no server, no Ray and no torch.

    Args:
        store: Has all of its trials.
        plan: They are.
        backbones: Rows of the board about those of the run.
        partial: The run is not of the suite as shipped.

    Raises:
        Exception: MLflow could not be written; the board is up to date.
    """
    sweep(store)

    def rebuild() -> Rebuilt:
        return rebuild_board(store, backbones=backbones)

    with leases_of(store, suite=plan.suite.name) as leases:
        run, publication = begin(store, plan, leases, partial=partial, flow_run_id=None)
        with runs.broken_off(store, run):
            summary, unpublished = settle(store, plan, run, publication, (), rebuild=rebuild)
    if unpublished:
        raise unpublished
    return summary
