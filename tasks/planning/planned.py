"""Trials as a plan has them: which there are, which are missing, and what is computed together.

Nothing here takes torch, so that a run with nothing to do needs none.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from data_catalog.wording import folded
from operators.board.variants import Chosen
from operators.episodes.shots import ALL_SHOTS
from operators.spec import TrialSpec
from tasks.storage.store import Store
from tasks.storage.wholeness import torn

if TYPE_CHECKING:
    from tasks.planning.search import Search
    from tasks.planning.suite import Suite

METHODS_SHOWN = 3  # in the name of a bundle
BUNDLE = 200  # most trials of one Prefect task
TRAIN_SPLIT = 64  # images a class, roughly, of which some learn from all


class Encodings(NamedTuple):
    """How many images pass the frozen tower to be encoded.

    Attributes:
        kept: Once for all trials: the features of centre crops and of banks.
        anew: In all trials together, in views that nobody keeps.
    """

    kept: int
    anew: int


@dataclass(frozen=True)
class Bundle:
    """Trials that share backbone, dataset and protocol: one Prefect task.

    Attributes:
        backbone: Name on the board.
        dataset: Its name.
        protocol: Key of `PROTOCOLS`.
        specs: The trials.
        waits_for: Ids of trials that have to be over before these begin: those they lean on.
    """

    backbone: str
    dataset: str
    protocol: str
    specs: tuple[TrialSpec, ...]
    waits_for: frozenset[str] = frozenset()

    @property
    def trial_ids(self) -> frozenset[str]:
        """Ids of its trials."""
        return frozenset(spec.trial_id for spec in self.specs)

    @property
    def place(self) -> str:
        """What its trials share: the same from run to run."""
        return f"{self.dataset} {self.protocol} {self.backbone}"

    @property
    def title(self) -> str:
        """One line for people: `coop, maple on digits, few_shot, with mini-clip`."""
        methods = list(dict.fromkeys(spec.method for spec in self.specs))
        shown = ", ".join(methods[:METHODS_SHOWN])
        more = f" and {len(methods) - METHODS_SHOWN} more" if len(methods) > METHODS_SHOWN else ""
        return f"{shown}{more} on {self.dataset}, {self.protocol}, with {self.backbone}"


@dataclass(frozen=True)
class Plan:
    """The trials of a run.

    Attributes:
        suite: What was asked for.
        specs: Every trial, each once.
        done: Ids of those that are in the store, whole.
        torn: Of those that are there, but damaged: what is wrong, by id. They are computed again.
        searches: What is chosen on validation rows, cell by cell.
        skipped: Combinations that make no sense, and why.
        notices: What a user should know before reading the numbers.
    """

    suite: "Suite"
    specs: tuple[TrialSpec, ...]
    done: frozenset[str]
    skipped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    torn: Mapping[str, str] = field(default_factory=dict)
    searches: "tuple[Search, ...]" = ()

    @property
    def undecided(self) -> int:
        """Trials that follow once it is decided with which settings."""
        return sum(len(s.candidates[0].specs) for s in self.searches if not s.over)

    @property
    def torn_text(self) -> str:
        """Says which trials are damaged; empty where none is."""
        if not self.torn:
            return ""
        first = "; ".join(f"{trial_id}: {why}" for trial_id, why in islice(self.torn.items(), 3))
        return f"computed again, since damaged on disk ({len(self.torn)} in all): {first}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of it: what is damaged, skipped and worth a notice."""
        return tuple(filter(None, (self.torn_text, *folded(self.skipped), *self.notices)))

    @cached_property
    def missing(self) -> tuple[TrialSpec, ...]:
        """The trials that have to be computed."""
        return tuple(spec for spec in self.specs if spec.trial_id not in self.done)

    def bundles(self) -> Iterator[Bundle]:
        """The missing trials, by what they share; the longest first within each.

        Those that others lean on come first, in bundles of their own, so that nobody waits for
        others in them; then what waits for nothing; then those who lean on them.
        """
        missing = {spec.trial_id for spec in self.missing}
        first = {other.trial_id for s in self.missing for other in s.leant_on} & missing

        def shared(spec: TrialSpec) -> tuple[int, str, str, str]:
            waits = any(other.trial_id in first for other in spec.leant_on)
            turn = 0 if spec.trial_id in first else 1 + waits
            return turn, spec.backbone, spec.dataset, spec.protocol

        for key, group in groupby(sorted(self.missing, key=shared), key=shared):
            _, backbone, dataset, protocol = key
            specs = sorted(group, key=expected_cost, reverse=True)
            for start in range(0, len(specs), BUNDLE):
                part = tuple(specs[start : start + BUNDLE])
                waits_for = {other.trial_id for s in part for other in s.leant_on} & first
                yield Bundle(backbone, dataset, protocol, part, frozenset(waits_for))


def with_done(store: Store, plan: Plan) -> Plan:
    """A plan with what of it is in the store, and what is damaged there.

    Args:
        store: Is looked up.
        plan: Its trials.
    """
    done, damaged = whole_of(store, (spec.trial_id for spec in plan.specs))
    return replace(plan, done=done, torn=damaged)


def whole_of(store: Store, trial_ids: Iterable[str]) -> tuple[frozenset[str], Mapping[str, str]]:
    """Those of some trials that are in the store, whole; and of those that are not, what is wrong.

    Args:
        store: Is looked up.
        trial_ids: Of the trials.
    """
    there = frozenset(trial_ids) & store.done()
    damaged = torn(store, there)
    return there - damaged.keys(), damaged


def expected_cost(spec: TrialSpec) -> float:
    """A rough order of trials by time: gradient steps, then shots."""
    from operators.methods import known_method  # takes torch

    method = known_method(spec)
    reads_all = method is not None and method.card.unlabelled
    shots = TRAIN_SPLIT if spec.shots == ALL_SHOTS else spec.shots
    images = TRAIN_SPLIT if reads_all else max(1, shots)
    values = spec.hyperparameters
    steps = values.get("total_steps", 0) * values.get("batch_size", 0)
    passes = values.get("epochs", 0) if method is None else method.passes(values)
    return (steps or passes * images) + shots


def chosen_of(spec: TrialSpec) -> Chosen:
    """The settings of a trial beside those that are published for its place."""
    marks = []
    if spec.precision != "fp32":
        marks.append(f"precision={spec.precision}")
    if spec.setting != "paper":
        marks.append(f"setting={spec.setting}")
    if "method_source" in spec.aids:
        marks.append(f"source={str(spec.aids['method_source'])[:8]}")
    if spec.test_rows_per_class is not None:
        marks.append(f"test_rows_per_class={spec.test_rows_per_class}")
    from operators.methods import known_method  # takes torch
    from operators.methods.hyperparameters import later_defaults, published
    from operators.tracks.rows import published_views

    method = known_method(spec)
    if method is None:
        seen = spec.views if spec.views != "none" else ""
        return Chosen(marks=" ".join(marks), known=False, views=seen)
    place = {"protocol": spec.protocol, "shots": spec.shots, "dataset": spec.dataset}
    return Chosen(
        {**later_defaults(method), **spec.hyperparameters},
        published(method, **place),
        " ".join(marks),
        views="" if spec.views == published_views(spec) else spec.views,
    )


def variant_of(spec: TrialSpec) -> str:
    """What differs from the published settings of a trial's own place; empty if nothing does."""
    return chosen_of(spec).text
