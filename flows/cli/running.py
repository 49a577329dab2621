"""`shotboard run` and `shotboard plan`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
from flows.cli.terminal import err, out, print_json, print_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog import Dataset
    from tasks.planning.choices import Request
    from tasks.planning.data import Preview
    from tasks.planning.plan import Plan
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
    gpus_per_worker: Annotated[float, typer.Option(help="GPUs that each worker holds.")] = 0.0,
    workers: Annotated[int | None, typer.Option(help="Workers side by side.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is there.")] = False,
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
        from flows.cli.telling import tell
        from tasks.computing.ray_cluster import check_request
        from tasks.publishing.mlflow_client import check_answers
        from tasks.services.notifying import address

        changes = overrides(asked)
        wanted = address()
        store = Store.to_write(home)
        planned = _planned(store, suite, changes)
        check_answers(store.mlflow_uri)
        check_request(ray_address, gpus_per_worker=gpus_per_worker, workers=workers)
        if gpus_per_worker and not ray_address:
            _refuse_missing_gpus(gpus_per_worker)
        err.print(planned.about)
        for text in planned.standing:
            err.print(f"  {text}")

        from prefect.exceptions import CancelledRun

        from flows.benchmark import TrialsFailed, benchmark
        from flows.cli.display import TerminalReporter, print_board
        from tasks.pages.reports import board_rows
        from tasks.progress import reporting_to
        from tasks.services.server import prefect_api

        failed = False
        with TerminalReporter() as reporter, reporting_to(reporter), prefect_api(store):
            try:
                summary = benchmark(
                    suite,
                    ray_address=ray_address,
                    gpus_per_worker=gpus_per_worker,
                    workers=workers,
                    fresh=fresh,
                    home=str(store.home),
                    **changes,
                )
            except TrialsFailed as error:
                summary, failed = error.summary, True
            except CancelledRun as stop:  # by Ctrl-C or SIGTERM; its text says what was kept
                raise KeyboardInterrupt(str(stop)) from None
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


@app.command()
@with_options()
def plan(
    suite: SuiteName = "quickstart", *, home: Home = None, as_json: AsJson = False, **asked: Any
) -> None:
    """Show the trials of a suite, what each needs and what is done; runs nothing."""
    with one_sentence():
        store = Store.at(home)
        planned = _planned(store, suite, overrides(asked))
        trials = planned.plan
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
                }
            )
            return
        out.print(f"{planned.about}\n")
        cells: dict[tuple[Any, ...], list[bool]] = {}
        for s in trials.specs:
            key = (s.protocol, s.dataset, s.backbone, s.method, s.shots)
            cells.setdefault(key, []).append(s.trial_id in trials.done)
        if cells:
            print_table(
                ["protocol", "dataset", "backbone", "method", "shots", "trials", "done"],
                [[*key, len(done), sum(done)] for key, done in cells.items()],
            )
            out.print("")
        for text in (*planned.standing, *planned.unknown, *trials.remarks):
            out.print(text)


class Planned(NamedTuple):
    """What a command is about, before anything is started.

    Attributes:
        request: The suite, with what the command line changes.
        plan: Its trials over the datasets that can be known already.
        waiting: Names of the datasets that are not ingested.
        at_most: The most trials that there can be of each dataset whose classes are not known.
    """

    request: "Request"
    plan: "Plan"
    waiting: tuple[str, ...]
    at_most: Mapping[str, int]

    @property
    def about(self) -> str:
        """What was asked for, in a line."""
        return f"suite {self.request.suite.name}: {_grid(self.request.suite)}"

    @property
    def standing(self) -> Iterator[str]:
        """How much of it is done, and what comes first, a line each."""
        if self.plan.specs:
            done, missing = len(self.plan.done), len(self.plan.missing)
            rest = f", beside those of {', '.join(self.at_most)}" if self.at_most else ""
            yield f"{len(self.plan.specs)} trials, {done} done, {missing} to do{rest}"
        if self.waiting:
            yield f"to ingest first: {', '.join(self.waiting)}"

    @property
    def unknown(self) -> Iterator[str]:
        """Datasets of which a plan can say nothing yet, a line each."""
        for name in self.waiting:
            if not self.request.cards[name].classes:
                most = f"at most {self.at_most[name]} trials; " if name in self.at_most else ""
                yield (
                    f"{name}: {most}its card names no classes, and what makes sense depends on "
                    f"them, so how many is known once it is ingested: shotboard datasets ingest "
                    f"{name}"
                )


def _planned(store: Store, suite: str, changes: dict[str, Any]) -> Planned:
    """The trials that a command line asks for.

    Raises:
        RequestError: The request is wrong, or no trial remains.
    """
    from flows.suites import load_suite
    from tasks.planning.choices import check
    from tasks.planning.data import preview
    from tasks.planning.plan import Plan, make_plan
    from tasks.planning.resolve import RequestError, ingested
    from tasks.planning.suite import override

    request = check(store, override(load_suite(suite), changes))
    here = {name: ingested(store, name) for name in request.cards}
    waiting = tuple(name for name, dataset in here.items() if dataset is None)
    seen = {name: here[name] or preview(card) for name, card in request.cards.items()}
    known = {name: dataset for name, dataset in seen.items() if dataset is not None}
    learned = tuple(name for name in request.suite.datasets if name in known)
    nothing = Plan(request.suite, (), frozenset(), request.skipped)
    at_most = _at_most(store, request, known)
    if not learned or set(request.suite.targets) - known.keys():
        return Planned(request, nothing, waiting, at_most)
    part = replace(request, suite=request.suite.model_copy(update={"datasets": learned}))
    try:
        return Planned(request, make_plan(store, part, known), waiting, at_most)
    except RequestError:
        if len(known) == len(request.cards):
            raise
        return Planned(request, nothing, waiting, at_most)


def _at_most(
    store: Store, request: "Request", known: "Mapping[str, Dataset | Preview]"
) -> dict[str, int]:
    """The most trials of each dataset that is learned and whose classes nobody knows yet.

    Nothing can be said where also its domains decide, or whether its classes are those of another.
    """
    from tasks.planning.data import invented
    from tasks.planning.plan import make_plan
    from tasks.planning.resolve import RequestError

    unknown = [name for name in request.suite.datasets if name not in known]
    if not unknown or any(p.targets or p.held_out for p in request.protocols.values()):
        return {}
    imagined = {n: known.get(n) or invented(card) for n, card in request.cards.items()}
    try:
        specs = make_plan(store, request, imagined).specs
    except RequestError:
        return {}
    counts = Counter(spec.dataset for spec in specs)
    return {name: counts[name] for name in unknown}


def _grid(suite: "Suite") -> str:
    return (
        f"{', '.join(suite.datasets)} x {', '.join(m.id for m in suite.methods)} x "
        f"{', '.join(suite.backbones)} x {', '.join(suite.protocols)} x "
        f"shots {', '.join(map(str, suite.shots))} x seeds {', '.join(map(str, suite.seeds))}"
        + (f", tested on {', '.join(suite.targets)}" if suite.targets else "")
        + (f", views {suite.views}" if suite.views != "none" else "")
    )


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
