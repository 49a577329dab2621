"""`shotboard show`: one trial, how it learned and where it went wrong."""

import json
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import AsJson, Home, commands, complete_trial, one_sentence
from flows.cli.terminal import out, print_json, print_table
from operators.spec import TrialSpec
from operators.trials.results import ATTENTION
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.pages.mistakes import Wrong

app = commands()

_BLOCKS = "▁▂▃▄▅▆▇█"


@app.command()
def show(
    trial_id: Annotated[str, typer.Argument(help="Or the first digits of it.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show one trial: specification, metrics, provenance, and where its artifacts are."""
    with one_sentence():
        from tasks.pages.mistakes import wrong_answers
        from tasks.pages.searches import chosen_by_search

        store = Store.at(home)
        whole = complete_trial(store, trial_id)
        values = store.result(whole)
        values["files"] = [str(path) for path in sorted(store.trial(whole).iterdir())]
        wrong = wrong_answers(store, whole)
        if as_json:
            print_json(values | {"wrong": wrong._asdict() if wrong else None})
            return
        spec = TrialSpec.from_json(values["spec"]).identity()  # a teacher by its id
        out.print(f"trial {values['trial_id']}   cell {values['cell_id']}\n")
        print_table(["", ""], [[k, _short(v)] for k, v in spec.items()], title="specification")
        print_table(
            ["split", "metric", "value", "n"],
            [[m["split"], m["metric"], m["value"], m["n"]] for m in values["metrics"]],
            title=f"\nmetrics{_primary(spec['protocol'])}",
        )
        for text in chosen_by_search(store, values["cell_id"]):
            out.print(f"\n{text}")
        _print_losses(values["losses"])
        _print_wrong(wrong)
        for path in values["files"]:
            if path.endswith(ATTENTION):
                out.print(f"\nwhat it looks at in test images, as a picture: {path}")
        _print_found(values.get("found") or {})
        cost = values["cost"] | _saved(values["cost"])
        rest = {**cost, **values["provenance"], "selected": values["selected"]}
        print_table(["", ""], [[k, _short(v)] for k, v in rest.items()], title="\ncost and origin")
        out.print("\nartifacts")
        for path in values["files"]:
            out.print(f"  {path}")


def _print_found(found: dict[str, Any]) -> None:
    """What a method found beside its weights, such as a template; long lists by their length."""
    rows = [
        [k, f"{len(v)}, which --json prints" if isinstance(v, list | dict) else _short(v)]
        for k, v in found.items()
    ]
    if rows:
        print_table(["", ""], rows, title="\nfound")


def _print_wrong(wrong: "Wrong | None") -> None:
    """The classes taken for each other most often, and the wrong answers that were surest."""
    if wrong is None:
        out.print("\nconfusions: once it is on the board, which `shotboard board --rebuild` makes")
        return
    if wrong.confusions:
        print_table(
            ["split", "class", "taken for", "rows", "share"],
            [
                [row["split"], row["class"], row["taken_for"], row["n"], f"{row['share']:.1%}"]
                for row in wrong.confusions
            ],
            title="\nconfusions, most frequent first",
        )
    if wrong.mistakes:
        print_table(
            ["split", "row", "class", "taken for", "confidence", "example"],
            [
                [
                    *(row[key] for key in ("split", "row_id", "class", "taken_for")),
                    f"{row['confidence']:.1%}",
                    row["example"],
                ]
                for row in wrong.mistakes
            ],
            title="\nwrong answers, surest first",
        )


def _print_losses(losses: Sequence[float]) -> None:
    if not losses:
        return
    out.print(f"\ntraining loss, {len(losses)} epochs: {losses[0]:.4g} to {losses[-1]:.4g}")
    out.print(f"  {sparkline(losses)}")


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Numbers as blocks from low to high, at most `width` of them; the means where there are more.

    Args:
        values: Finite, at least one.
        width: Characters.
    """
    count = min(width, len(values))
    ends = [len(values) * place // count for place in range(count + 1)]
    means = [fmean(values[start:end]) for start, end in pairwise(ends)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(_BLOCKS[round((mean - low) / span * (len(_BLOCKS) - 1))] for mean in means)


def _saved(cost: dict[str, Any]) -> dict[str, float]:
    """How many times fewer operations than the plain form, where both were counted."""
    done, plain = cost.get("tune_flops"), cost.get("plain_tune_flops")
    return {"times_fewer_flops": plain / done} if done and plain else {}


def _primary(protocol: str) -> str:
    """Which metric rows of a protocol are ranked by; empty for one that is not known here."""
    from operators.metrics import METRICS
    from tasks.pages.known import protocol_rows

    for row in protocol_rows():
        if row["protocol"] == protocol:
            name = row["primary_metric"]
            return f", ranked by {name}: {METRICS[name].better} is better"
    return ""


def _short(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
