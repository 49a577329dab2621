"""What the command does, from Python: functions that return data frames.

`import shotboard` is quick: pandas, torch and Prefect are imported by the functions that need them.
Wrong requests raise a `ValueError` or a `LookupError` whose text is that of the command.

    import shotboard

    shotboard.run("quickstart", datasets=["digits"], methods=["zero-shot", "coop"])
    shotboard.board(protocol="few_shot")
    shotboard.compare("coop", "zero-shot")
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.episodes.shots import shots_of
from tasks.environment import set_defaults
from tasks.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

    from flows.summary import Summary

Home = str | PathLike[str] | None

set_defaults()  # telemetry off, before any library that reads it is imported


def board(home: Home = None, *, protocol: str | None = None) -> "DataFrame":
    """The leaderboard: the primary metric by cell, the best first in each place; shares in 0..1.

    Args:
        home: The store; default: SHOTBOARD_HOME or .shotboard.
        protocol: Only this one.
    """
    from tasks.pages.reports import COLUMNS, board_rows

    rows = board_rows(Store.at(home))
    if protocol is not None:
        from tasks.pages.known import protocol_rows
        from tasks.planning.resolve import resolve

        resolve("protocol", protocol, {row["protocol"]: row for row in protocol_rows()})
        rows = [row for row in rows if row["protocol"] == protocol]
    return _frame(rows, COLUMNS)


def sql(query: str, home: Home = None) -> "DataFrame":
    """An answer of the board, which is read only and may be asked while a run is writing.

    Args:
        query: One SELECT statement of DuckDB; docs/sql.md has examples.
        home: The store.
    """
    from tasks.pages.asking import ask

    with ask(Store.at(home), query) as answer:
        return answer.arrow().read_pandas()


def runs(home: Home = None) -> "DataFrame":
    """Every run of the store, the latest first: status, times, what was new, what failed.

    Args:
        home: The store.
    """
    from tasks.pages.run_list import COLUMNS, run_rows

    return _frame(run_rows(Store.at(home)), (*COLUMNS, "failed_trials"))


def show(trial: str, home: Home = None) -> "DataFrame":
    """The scores of a trial by split and metric.

    Its specification, cost, provenance and losses by epoch are in `attrs` of the frame.

    Args:
        trial: Its id, or the first digits of it.
        home: The store.
    """
    store = Store.at(home)
    values = store.result(_whole(store, trial))
    frame = _frame(values["metrics"], ("split", "metric", "value", "n"))
    names = ("trial_id", "cell_id", "spec", "cost", "provenance", "selected", "losses")
    frame.attrs |= {name: values[name] for name in names}
    return frame


def confusions(trial: str, home: Home = None) -> "DataFrame":
    """Which class the test rows of each class were taken for, with names; most frequent first.

    Args:
        trial: Its id, or the first digits of it.
        home: The store.
    """
    whole = _whole(Store.at(home), trial)
    return sql(
        "SELECT split, class, predicted_class, n, share, label, predicted FROM confusions "
        f"WHERE trial_id = '{whole}' ORDER BY n DESC, split, label, predicted",
        home,
    )


def compare(
    a: str,
    b: str,
    home: Home = None,
    *,
    protocols: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    shots: Sequence[int | str] | None = None,
) -> "DataFrame":
    """Two methods, suites, runs or stores on the same episodes; differences are a minus b.

    Wins and losses, what differs and what only one side has are in `attrs` of the frame: `summary`,
    `differs`, `unpaired`, `only_a`, `only_b`.

    Args:
        a: A method, suite, run or folder of a store; `method:coop` and the like say which.
        b: What it is compared with.
        home: The store whose methods, suites and runs are meant.
        protocols: Only these.
        datasets: Only these.
        backbones: Only these.
        shots: Only these; `all` is the whole train split.
    """
    from tasks.comparing.compare import Only
    from tasks.comparing.compare import compare as compared

    only = Only(protocols, datasets, backbones, _counts(shots))
    found = compared(Store.at(home), a, b, only).to_json()
    frame = _frame(found.pop("rows"))
    frame.attrs |= found
    return frame


def merge(*stores: str | PathLike[str], home: Home = None) -> "DataFrame":
    """Brings other stores into one and its board up to date: a row a store, with what came of it.

    Args:
        stores: Folders or URLs, each maybe as `LABEL=PLACE`.
        home: The store that grows.
    """
    from operators.board.agreement import VERDICTS
    from tasks.comparing.merge import merge as merged
    from tasks.pages.rebuilding import rebuild_board

    store = Store.to_write(home)
    found = merged(store, [str(place) for place in stores])
    rebuild_board(store)
    return _frame(
        {
            **{"store": each.label, "copied": len(each.copied), "there_already": len(each.same)},
            **{verdict: each.count(verdict) for verdict in VERDICTS},
            **{"failures": each.failures, "runs": each.runs, "refused": each.refused},
        }
        for each in found
    )


def verify(
    *trials: str,
    home: Home = None,
    methods: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    shots: Sequence[int | str] | None = None,
    seeds: Sequence[int] | None = None,
    sample: int | None = None,
    backbones_at: Sequence[str] = (),
) -> "DataFrame":
    """Computes trials again: a row each, with `verdict` equal, rounding, different or impossible.

    Args:
        trials: Ids, or first digits of them.
        home: The store; its trials stay as they are.
        methods: Of these alone.
        protocols: Of these alone.
        datasets: Of these alone.
        backbones: Of these alone.
        shots: Of these alone; `all` is the whole train split.
        seeds: Of these alone.
        sample: So many of those that are meant, drawn by chance.
        backbones_at: Where their backbones are, if the names do not say it.
    """
    from tasks.comparing.choosing import Chosen, chosen
    from tasks.comparing.verify import verify as verified

    store = Store.at(home)
    wanted = Chosen(methods, protocols, datasets, backbones, _counts(shots), seeds)
    ids = chosen(store, [_whole(store, start) for start in trials], wanted, sample)
    return _frame(
        {
            **{"trial_id": each.trial_id, "method": each.spec.method if each.spec else None},
            **{"verdict": each.verdict, "reason": each.reason or None},
            "rows_differ": each.agreed.rows_differ if each.agreed else None,
            "largest": each.agreed.largest if each.agreed else None,
            "differs": each.agreed.origin if each.agreed else [],
        }
        for each in verified(store, ids, backbones=backbones_at)
    )


def run(
    suite: str = "quickstart",
    home: Home = None,
    *,
    workers: int | None = None,
    fresh: bool = False,
    **changes: Any,
) -> "DataFrame":
    """Does what is missing of a suite, and returns its part of the board.

    `attrs` of the frame have `run_id`, `summary` and `failed`, the error of each trial that failed.

    Args:
        suite: A shipped suite or a YAML file.
        home: The store.
        workers: Side by side; default: one a core.
        fresh: Compute again what is there.
        changes: What differs from the suite, by the names of its fields, such as
            `datasets=["digits"]`, `methods=["coop"]`, `shots=[1, 16]`, `seeds=[1]` and
            `hyperparameters={"coop": {"epochs": 20}}`.
    """
    from flows.cli.common import quiet_libraries

    quiet_libraries(verbose=False)
    from flows.cli.display import TerminalReporter
    from flows.cli.planned import planned_of
    from tasks.pages.reports import COLUMNS, board_rows
    from tasks.progress import reporting_to

    store = Store.to_write(home)
    planned = planned_of(store, suite, changes)
    with TerminalReporter() as reporter, reporting_to(reporter):
        if not fresh and planned.misses_nothing(store):
            from flows.settling import bring_up_to_date
            from tasks.planning.suite import moves_trials

            partial = moves_trials(changes)
            summary = bring_up_to_date(store, planned.plan, planned.backbones, partial=partial)
        else:
            summary = _computed(store, suite, changes, workers=workers, fresh=fresh)
    frame = _frame(board_rows(store, summary.plan.specs), COLUMNS)
    failed = dict(summary.failed)
    frame.attrs |= {"run_id": summary.run_id, "summary": summary.text, "failed": failed}
    if failed:
        trial, error = next(iter(failed.items()))
        warnings.warn(f"{summary.text} {trial}: {error}", stacklevel=2)
    return frame


def _computed(store: Store, suite: str, changes: dict[str, Any], **how: Any) -> "Summary":
    """What the flow did, beside a server of its own."""
    from prefect.exceptions import CancelledRun

    from flows.benchmark import TrialsFailed, benchmark
    from tasks.services.server import prefect_api

    with prefect_api(store):
        try:
            return benchmark(suite, home=store.place, **how, **changes)
        except TrialsFailed as error:
            return error.summary
        except CancelledRun as stop:  # its text says what was kept
            raise KeyboardInterrupt(str(stop)) from None


def predict(
    trial: str,
    examples: str | PathLike[str] | Iterable[str | PathLike[str]],
    home: Home = None,
    *,
    classes: Sequence[str] | None = None,
    top: int = 1,
    backbones_at: Sequence[str] = (),
) -> "DataFrame":
    """What a trial says of images or texts of one's own: a row for each example and class.

    Args:
        trial: Its id, or the first digits of it.
        examples: Files or URLs of images, or texts: what its dataset holds.
        home: The store.
        classes: Names to choose from; default: those of its dataset.
        top: Classes an example, the most probable first.
        backbones_at: Where its backbone is, if the name does not say it.
    """
    from tasks.computing.predict import predictor

    store = Store.at(home)
    one = isinstance(examples, str | PathLike)
    named = [str(each) for each in ([examples] if one else examples)]
    whole = _whole(store, trial)
    ready = predictor(store, whole, classes=classes, backbones=backbones_at)
    rows = []
    for each in ready(named, top):
        shared = {ready.held.kind.noun: each.example, "error": each.error or None}
        ranked = [(ranked.name, ranked.probability) for ranked in each.ranked] or [(None, None)]
        rows += [
            {**shared, "rank": place, "class": name, "probability": probability}
            for place, (name, probability) in enumerate(ranked, start=1)
        ]
    return _frame(rows, (ready.held.kind.noun, "rank", "class", "probability", "error"))


@dataclass(frozen=True, repr=False)
class Plot:
    """A plot, which a notebook shows by itself.

    Attributes:
        svg: Its picture.
        alt: The same in words, with its numbers.
    """

    svg: str
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the picture to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


def plot(name: str, home: Home = None, *, theme: str = "light", **filters: Any) -> Plot:
    """A plot of the board, such as `curves`; an unknown name is refused with those that there are.

    Args:
        name: Of the plot.
        home: The store.
        theme: `light` or `dark`.
        filters: What it shows, by column, such as `dataset="digits"`.
    """
    from tasks.pages.pictures import picture

    drawn = picture(Store.at(home), name, filters, theme=theme)
    return Plot(drawn.content.decode(), drawn.alt)


def _counts(shots: Sequence[int | str] | None) -> list[int] | None:
    """Numbers of shots as the board keeps them."""
    return None if shots is None else [shots_of(count) for count in shots]


def _whole(store: Store, start: str) -> str:
    from flows.cli.common import complete_trial

    return complete_trial(store, start)


def _frame(
    rows: "Iterable[Mapping[str, Any]]", columns: Sequence[str] | None = None
) -> "DataFrame":
    from pandas import DataFrame

    return DataFrame(list(rows), columns=None if columns is None else list(columns))
