"""What `shotboard run` and `shotboard plan` are about, before anything is started."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from data_catalog.wording import plural
from operators.episodes.views import CENTRE, PUBLISHED
from operators.spec import VALIDATION
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog import Dataset
    from tasks.planning.choices import Request
    from tasks.planning.data import Preview
    from tasks.planning.planned import Encodings, Plan
    from tasks.planning.suite import Suite


class Planned(NamedTuple):
    """What a command is about, before anything is started.

    Attributes:
        suite: With what the command line changes.
        plan: Its trials over the datasets that can be known already.
        waiting: Names of the datasets that are not ingested.
        at_most: The most trials that there can be of each dataset whose classes are not known.
        unknown: A line for each dataset of which a plan can say nothing yet.
        backbones: Rows of the board about those of the suite.
        encodings: How many images are encoded once for all trials, and anew in single ones; None
            where a dataset is not ingested.
        request: What the suite asks for; None where the plan was made before.
    """

    suite: "Suite"
    plan: "Plan"
    waiting: tuple[str, ...]
    at_most: Mapping[str, int]
    unknown: tuple[str, ...] = ()
    backbones: "Sequence[Mapping[str, Any]]" = ()
    encodings: "Encodings | None" = None
    request: "Request | None" = None

    @property
    def about(self) -> str:
        """What was asked for, in a line."""
        return f"suite {self.suite.name}: {_grid(self.suite)}"

    @property
    def standing(self) -> Iterator[str]:
        """How much of it is done, and what comes first, a line each."""
        if self.plan.specs:
            done, missing = len(self.plan.done), len(self.plan.missing)
            rest = f", beside those of {', '.join(self.at_most)}" if self.at_most else ""
            yield f"{plural(len(self.plan.specs), 'trial')}, {done:,} done, {missing:,} to do{rest}"
        if self.plan.searches:
            candidates = sum(spec.tested_on == VALIDATION for spec in self.plan.specs)
            follow = self.plan.undecided
            yield (
                f"{candidates} of them are of candidates, {_searches(len(self.plan.searches))}"
                + (f"; {plural(follow, 'trial')} of what is chosen follow" if follow else "")
            )
        if self.waiting:
            yield f"to ingest first: {', '.join(self.waiting)}"
        if self.encodings and self.encodings.anew:
            fewer = " (--views none or bank:K:published has fewer)"
            yield (
                f"images that all of them have encoded: {self.encodings.kept:,} once, whose "
                f"features are kept, and {self.encodings.anew:,} in views of single trials"
                + (fewer if self.suite.views != CENTRE.kind else "")
            )

    def misses_nothing(self, store: Store) -> bool:
        """Whether every trial is there, and every dataset as its source is now."""
        from data_catalog import unchanged
        from tasks.planning.resolve import dataset_card

        if self.waiting or self.plan.missing or not self.plan.specs:
            return False
        names = {name for spec in self.plan.specs for name in (spec.dataset, *spec.targets)}
        for name in names.union(self.suite.all_datasets):
            card = dataset_card(store, name)
            dataset = unchanged(card, store.bring_current(name))
            fingerprints = {s.dataset_fingerprint for s in self.plan.specs if s.dataset == name}
            if dataset is None or fingerprints - {dataset.fingerprint}:
                return False
        return True


def _searches(count: int) -> str:
    return "1 search" if count == 1 else f"{count:,} searches"


def planned_of(
    store: Store, suite: str, changes: dict[str, Any], *, imagined: bool = False
) -> Planned:
    """The trials that a command line asks for.

    Args:
        store: Has what is there.
        suite: As the command line has it.
        changes: What differs from it.
        imagined: Whether published datasets and known weights may be missing.

    Raises:
        RequestError: The request is wrong, or no trial remains.
    """
    from flows.suites import load_suite
    from tasks.pages.offered import refuse_unknown
    from tasks.planning.kept import keep_plan, kept_plan
    from tasks.planning.resolve import RequestError, ingested
    from tasks.planning.suite import override

    asked = override(load_suite(suite), changes)
    refuse_unknown(store, asked, _published() if imagined else ())
    here = {name: ingested(store, name) for name in asked.all_datasets}
    there = {name: dataset for name, dataset in here.items() if dataset is not None}
    if len(there) == len(here) and (kept := kept_plan(store, asked, there)):
        return Planned(asked, kept.plan, (), {}, (), kept.backbones, kept.encodings)

    from tasks.pages.zoo import backbone_rows
    from tasks.planning.choices import check
    from tasks.planning.data import preview
    from tasks.planning.encodings import encodings_of
    from tasks.planning.plan import make_plan
    from tasks.planning.planned import Plan

    request = check(store, asked, imagined=imagined)
    rows = backbone_rows(list(request.backbones.cards.values()))
    here = {name: ingested(store, name) for name in request.cards}
    waiting = tuple(name for name, dataset in here.items() if dataset is None)
    seen = {name: here[name] or preview(card) for name, card in request.cards.items()}
    known = {name: dataset for name, dataset in seen.items() if dataset is not None}
    learned = tuple(name for name in request.suite.datasets if name in known)
    nothing = Plan(request.suite, (), frozenset(), request.skipped)
    at_most = _at_most(store, request, known)
    unknown = tuple(_unknown(request, waiting, at_most))
    others = request.cards.keys() - set(request.suite.datasets)  # tested, or learned before
    if not learned or others - known.keys():
        return Planned(request.suite, nothing, waiting, at_most, unknown, request=request)
    part = replace(request, suite=request.suite.model_copy(update={"datasets": learned}))
    try:
        made = make_plan(store, part, known)
    except RequestError:
        if len(known) == len(request.cards):
            raise
        return Planned(request.suite, nothing, waiting, at_most, unknown, request=request)
    if waiting:
        return Planned(request.suite, made, waiting, at_most, unknown, rows, request=request)
    count = encodings_of(made.specs, {n: each for n, each in here.items() if each is not None})
    # What is chosen follows from trials, which a kept plan is not told by.
    same = asked == request.suite and len(there) == len(here)
    if same and not made.searches:
        keep_plan(store, request, made, there, rows, count)
    return Planned(request.suite, made, waiting, at_most, unknown, rows, count, request)


def _published() -> Container[str]:
    """Names of the datasets that can be planned with before they are here."""
    from data_catalog.published import PUBLISHED

    return PUBLISHED


def _unknown(
    request: "Request", waiting: Sequence[str], at_most: Mapping[str, int]
) -> Iterator[str]:
    """Datasets of which a plan can say nothing yet, a line each.

    Args:
        request: Has their cards.
        waiting: Names of those that are not ingested.
        at_most: The most trials that there can be of each whose classes are not known.
    """
    for name in waiting:
        if not request.cards[name].classes:
            most = f"at most {at_most[name]} trials; " if name in at_most else ""
            yield (
                f"{name}: {most}its card names no classes, and what makes sense depends on "
                f"them, so how many is known once it is ingested: shotboard datasets ingest "
                f"{name}"
            )


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
        + (f", views {suite.views}" if suite.views != PUBLISHED else "")
        + (f", searching {', '.join(suite.search)} by {suite.search_by}" if suite.search else "")
    )
