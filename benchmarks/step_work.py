"""Counts how often every method that ships passes the towers, which estimates are made of.

    python benchmarks/step_work.py                   # writes operators/estimating/work.json
    python benchmarks/step_work.py --methods tcp,ape # counts those anew and keeps the others
    python benchmarks/step_work.py --store FOLDER    # and compares it with the trials of a store

A store's trials say what they took. The comparison shows by method how many times the counted
operations an estimate has, and the seconds that it gives beside those that were measured.
"""

import argparse
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from measuring import markdown_table

from operators.backbones import DualEncoder, reference
from operators.estimating.probing import probe
from operators.estimating.towers import tower_operations
from operators.estimating.work import known_work, operations_of, write_known
from operators.methods import METHODS
from operators.spec import TrialSpec
from operators.tracks import TRACKS
from tasks.estimating.estimate import size_of
from tasks.planning.encodings import Draws
from tasks.planning.resolve import ingested
from tasks.storage.store import Store

SMALL = "mini-clip"


def write(anew: Collection[str]) -> None:
    """Writes the table.

    Args:
        anew: Methods that are counted though the table has them; all where it is empty.
    """
    chosen = reference(SMALL)
    backbone = chosen.load(chosen.describe())
    known = {} if not anew else {n: w for n, w in known_work().items() if n not in anew}
    write_known(
        (name, known.get(name) or probe(name, method, backbone))
        for name, method in METHODS.items()
        if TRACKS[method.track].backbones is DualEncoder
    )


def compare(store: Store) -> str:
    """Estimates beside what the trials of a store took, by method, as Markdown.

    Args:
        store: Its trials with the small backbone are looked at.
    """
    tower = tower_operations(reference(SMALL))
    sums = defaultdict(lambda: [0.0, 0.0, 0.0])
    done = [store.result(trial) for trial in sorted(store.done())]
    trials = [(TrialSpec.from_json(found["spec"]), found["cost"]) for found in done]
    names = {name for spec, _ in trials for name in (spec.dataset, *spec.targets)}
    draws = Draws({name: ingested(store, name) for name in sorted(names)})
    for spec, cost in trials:
        if spec.backbone != SMALL or not cost.get("tune_flops"):
            continue
        size = size_of(spec, draws)._replace(answers=())
        guess = operations_of(known_work()[spec.method], size, spec.hyperparameters, tower)
        for part, value in enumerate((guess, cost["tune_flops"], cost["tune_seconds"])):
            sums[spec.method][part] += value
    rows = [
        [method, f"{guess / done:.2f}", f"{done / seconds / 1e9:.1f}"]
        for method, (guess, done, seconds) in sums.items()
    ]
    return markdown_table(
        {"method": "<", "estimated / counted": ">", "GFLOP/s of its fits": ">"}, rows
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default="", help="their ids, separated by commas")
    parser.add_argument("--store", type=Path)
    arguments = parser.parse_args()
    write([name for name in arguments.methods.split(",") if name])
    if arguments.store:
        print(compare(Store.at(str(arguments.store))))
