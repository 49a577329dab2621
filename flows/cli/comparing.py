"""`shotboard compare`, `merge` and `verify`: numbers beside others."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.answers import as_csv
from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    commands,
    complete_trial,
    names,
    near,
    numbers,
    one_sentence,
    shots_option,
)
from flows.cli.terminal import err, out, print_json, print_table, write_out
from operators.episodes.shots import shots_word
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.comparing.merge import Merged
    from tasks.comparing.verify import Verified

app = commands()
DISAGREEMENTS = """
SELECT trial_id AS trial, origin AS store, method, dataset, split, metric, ours, theirs, difference,
       rows_differ AS "rows differ", n AS "of", differs
FROM disagreements
"""
SHOWN = 6  # of results that differ


class Written(StrEnum):
    """How a comparison is written."""

    table = "table"
    markdown = "markdown"
    csv = "csv"


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A method, suite, run or folder of a store.")],
    b: Annotated[str, typer.Argument(help="What it is compared with.")],
    protocols: Annotated[str | None, typer.Option(metavar="A,B,..", help="Only these.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="A,B,..", help="Only these.")] = None,
    backbones: Annotated[str | None, typer.Option(metavar="A,B,..", help="Only these.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="N,N,..|all", help="Only these.")] = None,
    format: Annotated[Written, typer.Option(help="How it is written.")] = Written.table,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compare two methods, suites, runs or stores.

    They are paired on the same episodes, and what differs between them is named. A and B are
    recognised by what there is: a method or suite of the board, the first digits of a run's id, the
    folder of another store. Where a name could be several, say which: method:coop, suite:zoo,
    run:1f2e, store:../lab. Differences are A minus B: over seeds with Student's t, over test rows
    with the exact sign test, both corrected by Holm's method for the rows that are shown.
    """
    with one_sentence():
        from flows.cli import comparison
        from tasks.comparing.compare import Only
        from tasks.comparing.compare import compare as compared

        only = Only(names(protocols), names(datasets), names(backbones), shots_option(shots))
        found = compared(Store.at(home), a, b, only)
        if as_json:
            print_json(found.to_json())
        elif format is Written.csv:
            rows = found.found.rows
            heads = list(rows[0]) if rows else []
            write_out(as_csv([heads, *(row.values() for row in rows)]))
        elif format is Written.markdown:
            write_out(comparison.markdown(found))
        else:
            comparison.show(found)


@app.command()
def merge(
    stores: Annotated[
        list[str],
        typer.Argument(metavar="STORE..", help="Folders or URLs of other stores, or LABEL=STORE."),
    ],
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            "--home",
            help="The store that grows.  [default: SHOTBOARD_HOME or .shotboard]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make one board out of several stores.

    Trials that are not in this store are copied, with what they learned and said, and keep the name
    of the store they came from. The same id stands for everything that can move a number, so a
    trial that is in both is a reproduction: how the two results agree is on the board, in
    `reproductions` and `disagreements`. Nothing is overwritten, and merging twice brings nothing
    new. Code of own methods comes along with their trials and is run where these are used: merge
    stores that you trust.
    """
    with one_sentence():
        from flows.cli.display import TerminalReporter
        from tasks.comparing.merge import merge as merged
        from tasks.pages.rebuilding import rebuild_board
        from tasks.progress import reporting_to

        store = Store.to_write(into)
        with TerminalReporter() as reporter, reporting_to(reporter):
            found = merged(store, stores)
            rebuilt = rebuild_board(store)
        if as_json:
            print_json([each.to_json() for each in found])
        else:
            _print_merged(store, found)
            out.print(f"\n{rebuilt.trials} trials on the board: {near(rebuilt.board)}")
        for each in found:
            for trial_id, reason in each.refused.items():
                err.print(f"refused {trial_id} of {each.label}: {reason}")
    if any(each.refused for each in found):
        raise typer.Exit(TRIALS_FAILED)


def _print_merged(store: Store, found: "list[Merged]") -> None:
    from operators.board.agreement import VERDICTS
    from tasks.pages.asking import rows

    heads = ["store", "copied", "there already", *VERDICTS, "refused", "failures", "runs"]
    lines = []
    for each in found:
        counts = [each.count(verdict) for verdict in VERDICTS]
        copies = [len(each.copied), len(each.same)]
        lines.append([each.label, *copies, *counts, len(each.refused), each.failures, each.runs])
    print_table(heads, lines)
    worst = rows(store, DISAGREEMENTS)
    if worst:
        out.print("\ndifferent results of the same trial, theirs minus ours; SQL: disagreements")
        print_table(
            ["computed otherwise" if name == "differs" else name for name in worst[0]],
            [list({**row, "differs": "; ".join(row["differs"])}.values()) for row in worst[:SHOWN]],
        )
        if len(worst) > SHOWN:
            out.print(f".. and {len(worst) - SHOWN} more")
    code = sum(len(each.with_code) for each in found)
    if code:
        out.print(
            f"\n{code} of the copied trials bring code of their own methods or backbones, which is "
            "run where these are used."
        )


@app.command()
def verify(
    trials: Annotated[
        list[str] | None, typer.Argument(metavar="[TRIAL..]", help="Ids, or first digits of them.")
    ] = None,
    methods: Annotated[str | None, typer.Option(metavar="A,B,..", help="Trials of these.")] = None,
    protocols: Annotated[str | None, typer.Option(metavar="A,B,..", help="Of these.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="A,B,..", help="Of these.")] = None,
    backbones: Annotated[str | None, typer.Option(metavar="A,B,..", help="Of these.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="N,N,..", help="Of these.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,..", help="Of these.")] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="N of them, drawn by chance.")
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Where a backbone is, if its name does not say it."),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compute trials again and say whether they agree.

    The trials of the store stay as they are. equal: the same numbers, and predictions that are the
    same bit for bit. rounding: the same answer to every row; probabilities, and numbers that follow
    from them, within 0.001. Exit code 0 if all are one of these, 1 if one is different or could not
    be computed.
    """
    with one_sentence():
        from flows.cli.display import TerminalReporter
        from tasks.comparing.choosing import Chosen, chosen
        from tasks.comparing.verify import verify as verified
        from tasks.progress import reporting_to

        store = Store.at(home)
        wanted = Chosen(
            methods=names(methods),
            protocols=names(protocols),
            datasets=names(datasets),
            backbones=names(backbones),
            shots=shots_option(shots),
            seeds=numbers("--seeds", seeds),
        )
        named = [complete_trial(store, start) for start in trials or ()]
        ids = chosen(store, named, wanted, sample)
        with TerminalReporter() as reporter, reporting_to(reporter):
            found = list(verified(store, ids, backbones=backbone or ()))
        if as_json:
            print_json([each.to_json() for each in found])
        else:
            _print_verified(found)
    if not all(each.holds for each in found):
        raise typer.Exit(TRIALS_FAILED)


def _print_verified(found: "list[Verified]") -> None:
    from operators.board.agreement import VERDICTS
    from tasks.comparing.verify import IMPOSSIBLE

    heads = ["trial", "method", "dataset", "protocol", "shots", "seed", "verdict", "rows differ"]
    lines = []
    for each in found:
        spec, agreed = each.spec, each.agreed
        shots = spec and shots_word(spec.shots)
        place = [spec.method, spec.dataset, spec.protocol, shots, spec.seed] if spec else ()
        said = [agreed.rows_differ, agreed.largest] if agreed else [None, None]
        why = "; ".join(agreed.origin) if agreed else ""
        lines.append([each.trial_id, *(place or [""] * 5), each.verdict, *said, why])
    print_table([*heads, "largest difference", "computed otherwise"], lines)
    for each in found:
        for score in each.agreed.scores if each.agreed and not each.holds else ():
            if score["difference"]:
                out.print(
                    f"{each.trial_id} {score['metric']} of {score['split']}: "
                    f"{score['ours']:.4f} in the store, {score['theirs']:.4f} now"
                )
    counts = {
        verdict: sum(each.verdict == verdict for each in found)
        for verdict in (*VERDICTS, IMPOSSIBLE)
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    out.print(f"\n{len(found)} computed again: {told}.")
    for each in found:
        if each.reason:
            err.print(f"{each.trial_id}: {each.reason}")
