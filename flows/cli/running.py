"""`shotboard run` and `shotboard plan`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import (
    REGRESSED,
    TRIALS_FAILED,
    AsJson,
    Home,
    commands,
    near,
    one_sentence,
    quiet_libraries,
    signals_as_interrupts,
)
from flows.cli.knobs import overrides, with_options
from flows.cli.needing import needs_of
from flows.cli.planned import planned_of
from flows.cli.terminal import err, out, print_json, print_table
from operators.episodes.shots import shots_word
from operators.spec import VALIDATION
from tasks.storage.store import Store
from tasks.without_pandas import spare_pandas

if TYPE_CHECKING:
    from flows.summary import Summary
    from tasks.planning.suite import Suite

app = commands()
SuiteName = Annotated[str, typer.Argument(help="A shipped suite or a YAML file.")]


@app.command()
@with_options()
def run(
    suite: SuiteName = "quickstart",
    *,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join.  [default: start one here]")
    ] = None,
    gpus_per_worker: Annotated[
        str, typer.Option(help="Part of a GPU that each worker holds, or auto.")
    ] = "0",
    workers: Annotated[int | None, typer.Option(help="Workers side by side.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is there.")] = False,
    retry_quarantined: Annotated[
        bool,
        typer.Option("--retry-quarantined", help="Try again what has cost several workers."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log too.")] = False,
    fail_on_regression: Annotated[
        bool,
        typer.Option(
            "--fail-on-regression", help=f"End with code {REGRESSED} if a number is worse, for CI."
        ),
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
    **asked: Any,
) -> None:
    """Run a suite: do what is missing, then print the board."""
    quiet_libraries(verbose)
    with one_sentence(), signals_as_interrupts():
        spare_pandas()
        from flows.cli.telling import tell
        from tasks.computing.device import refuse_without_gpu
        from tasks.computing.ray_cluster import check_request
        from tasks.publishing.mlflow_client import check_usable
        from tasks.services.notifying import address

        changes = overrides(asked)
        wanted = address()
        store = Store.to_write(home)
        planned = planned_of(store, suite, changes)
        check_usable(store)
        gpus = _gpus(gpus_per_worker)
        check_request(ray_address, gpus_per_worker=gpus, workers=workers)
        if gpus and not ray_address:
            _refuse_missing_gpus(gpus)
        missing = fresh or not planned.misses_nothing(store)
        if missing:
            refuse_without_gpu(planned.suite.precision, gpus)
        err.print(planned.about)
        for text in planned.standing:
            err.print(f"  {text}")

        from flows.cli.display import TerminalReporter, print_board
        from tasks.pages.reports import board_rows
        from tasks.progress import reporting_to

        failed = False
        with TerminalReporter() as reporter, reporting_to(reporter):
            if not missing:
                from flows.settling import bring_up_to_date
                from tasks.planning.suite import moves_trials

                partial = moves_trials(changes)
                summary = bring_up_to_date(store, planned.plan, planned.backbones, partial=partial)
            else:
                where = {"ray_address": ray_address, "workers": workers}
                again = {"fresh": fresh, "retry_quarantined": retry_quarantined}
                how = {**where, **again, "gpus_per_worker": "auto" if gpus is None else gpus}
                with _workers(store, planned.suite, **where, gpus_per_worker=gpus):
                    summary, failed = _flow(store, suite, changes, **how)
        rows = board_rows(store, summary.plan.specs)
        if as_json:
            print_json(
                {
                    **{"run_id": summary.run_id, "summary": summary.text, "board": rows},
                    "moves": summary.moves.rows,
                }
            )
        else:
            print_board(rows)
            out.print(f"\n{summary.text} Board: {near(summary.board)}")
        for trial_id, error in summary.failed:
            err.print(f"failed {trial_id}: {error}")
        tell(summary.moves, wanted)
    if failed:
        raise typer.Exit(TRIALS_FAILED)
    if fail_on_regression and summary.moves.regressed:
        raise typer.Exit(REGRESSED)


def _workers(
    store: Store, suite: "Suite", ray_address: str | None, **how: Any
) -> AbstractContextManager[None]:
    """Workers that load while the server starts and datasets are ingested.

    Args:
        store: Of the run.
        suite: Says what they load.
        ray_address: Of a cluster to join.
        how: They are shared out, as in `ray_cluster`.
    """
    from tasks.computing.ray_cluster import started_ahead
    from tasks.computing.worker import TrialWorker, worker_options

    asked: dict[str, Any] = worker_options(suite)
    return started_ahead(TrialWorker, store.place, address=ray_address, **how, **asked)


def _flow(store: Store, suite: str, changes: dict[str, Any], **how: Any) -> "tuple[Summary, bool]":
    """Runs the flow; returns what it did, and whether trials failed.

    Args:
        store: Of the run.
        suite: As the command line has it.
        changes: What differs from it.
        how: Of `benchmark`: how it is computed.
    """
    from prefect.exceptions import CancelledRun

    from flows.benchmark import TrialsFailed, benchmark
    from tasks.services.server import prefect_api

    with prefect_api(store):
        try:
            return benchmark(suite, home=store.place, **how, **changes), False
        except TrialsFailed as error:
            return error.summary, True
        except CancelledRun as stop:  # by Ctrl-C or SIGTERM; its text says what was kept
            raise KeyboardInterrupt(str(stop)) from None


@app.command()
@with_options()
def plan(
    suite: SuiteName = "quickstart", *, home: Home = None, as_json: AsJson = False, **asked: Any
) -> None:
    """Show the trials of a suite, what each needs and what is done; runs nothing."""
    with one_sentence():
        store = Store.at(home)
        planned = planned_of(store, suite, overrides(asked), imagined=True)
        trials = planned.plan
        needs = needs_of(store, planned)
        if as_json:
            print_json(
                {
                    "suite": trials.suite.name,
                    "trials": [
                        {**s.to_json(), "trial_id": s.trial_id, "done": s.trial_id in trials.done}
                        for s in trials.specs
                    ],
                    "skipped": trials.skipped,
                    "notices": trials.notices,
                    "torn": trials.torn,
                    "not_ingested": planned.waiting,
                    "at_most": planned.at_most,
                    "encodings": planned.encodings and planned.encodings._asdict(),
                    "searches": [search.record() for search in trials.searches],
                    "undecided": trials.undecided,
                    "needs": needs.to_json(),
                }
            )
            return
        out.print(f"{planned.about}\n")
        cells: dict[tuple[Any, ...], list[bool]] = {}
        for s in trials.specs:
            role = " (candidates)" if s.tested_on == VALIDATION else ""
            key = (s.protocol, s.dataset, s.backbone, s.method + role, s.shots)
            cells.setdefault(key, []).append(s.trial_id in trials.done)
        if cells:
            print_table(
                ["protocol", "dataset", "backbone", "method", "shots", "trials", "done"],
                _by_shots(cells),
            )
            out.print("")
        for text in (*planned.standing, *planned.unknown, *needs.lines, *trials.remarks):
            out.print(text)


def _by_shots(cells: Mapping[tuple[Any, ...], list[bool]]) -> list[list[Any]]:
    """Rows of a plan: shots stand in one, where all of their trials are done, or none.

    Args:
        cells: Whether each trial is done, by protocol, dataset, backbone, method and shots.
    """
    rows: dict[tuple[Any, ...], tuple[list[str], list[bool]]] = {}
    for (*place, shots), done in cells.items():
        begun = any(done) and not all(done)
        shown, together = rows.setdefault((*place, all(done), begun and shots), ([], []))
        shown.append(shots_word(shots))
        together.extend(done)
    return [
        [*place, ",".join(shown), len(done), sum(done)]
        for (*place, _, _), (shown, done) in rows.items()
    ]


def _gpus(asked: str) -> float | None:
    """The part of a GPU that a user asks for; None for `auto`.

    Raises:
        ValueError: It is no number.
    """
    if asked == "auto":
        return None
    try:
        return float(asked)
    except ValueError as error:
        raise ValueError(
            f"--gpus-per-worker {asked}: give a number from 0 to 1, such as 0.5, or auto."
        ) from error


def _refuse_missing_gpus(gpus_per_worker: float) -> None:
    """Raises before a server or a Ray is started.

    Raises:
        ValueError: This machine has no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise ValueError(
            f"--gpus-per-worker {gpus_per_worker:g}: this machine has no GPU that torch can use. "
            "Leave it out to run on the CPU, or name a cluster with --ray-address."
        )
