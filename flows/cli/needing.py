"""What a plan needs: time, room, and what has to be fetched first."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from data_catalog.wording import plural
from flows.cli.common import in_bytes
from flows.cli.planned import Planned
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.estimating.estimate import Estimate

_HOUR, _MINUTE = 3600, 60
GPU_RATE = 20e12  # operations a second, as towers of this size reach on one in fp32


class Fetched(NamedTuple):
    """Something that a plan needs and that is not here.

    Attributes:
        kind: `dataset` or `weights`.
        name: Of it.
        size_bytes: Of what is fetched; None where nobody says.
        how: What to do, in a phrase.
    """

    kind: str
    name: str
    size_bytes: int | None
    how: str


class Needs(NamedTuple):
    """What a plan needs.

    Attributes:
        estimate: Of its missing trials; None where there are none.
        fetched: What is not here.
    """

    estimate: "Estimate | None"
    fetched: tuple[Fetched, ...]

    @property
    def lines(self) -> Iterator[str]:
        """For people."""
        if self.fetched:
            known = [each.size_bytes for each in self.fetched if each.size_bytes is not None]
            more = " or more" if len(known) < len(self.fetched) else ""
            total = f", {in_bytes(sum(known))}{more}" if known else ""
            yield f"to fetch first: {plural(len(self.fetched), 'thing')}{total}"
            for each in self.fetched:
                size = "" if each.size_bytes is None else f" ({in_bytes(each.size_bytes)})"
                yield f"  {each.kind} {each.name}{size}: {each.how}"
        found = self.estimate
        if found is None:
            return
        if found.rates:
            rate = next(iter(found.rates.values()))
            yield (
                f"estimate of what is missing: {_hours(found.seconds)} of one {rate.device}, "
                f"{found.operations + found.image_operations:.2g} operations at "
                f"{rate.per_second / 1e9:.3g} GFLOP/s {rate.known_by}; "
                f"{found.images:,} images to encode; {in_bytes(found.disk_bytes)} of disk "
                "for features and trials, beside the datasets"
            )
            if rate.device == "core":
                on_gpu = (found.operations + found.image_operations) / GPU_RATE
                yield f"  or {_hours(on_gpu)} of a GPU that does {GPU_RATE / 1e12:.0f} TFLOP/s"
        yield from (f"not in the estimate: {reason}" for reason in found.unknown)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found = self.estimate
        return {
            "fetch": [each._asdict() for each in self.fetched],
            "estimate": found
            and {
                "operations": found.operations,
                "images": found.images,
                "image_operations": found.image_operations,
                "seconds": found.seconds,
                "rates": {name: rate._asdict() for name, rate in found.rates.items()},
                "disk_bytes": found.disk_bytes,
                "unknown": found.unknown,
            },
        }


def needs_of(store: Store, planned: Planned) -> Needs:
    """What a plan needs; where it misses nothing, nothing is worked out.

    Args:
        store: Has what is there.
        planned: As `planned_of` gives it.
    """
    if not planned.plan.missing:
        return Needs(None, tuple(_fetched(store, planned)))
    from tasks.estimating.estimate import estimate
    from tasks.planning.choices import check
    from tasks.planning.data import imagined
    from tasks.planning.resolve import ingested

    request = planned.request or check(store, planned.suite, imagined=True)
    datasets = {
        name: found
        for name, card in request.cards.items()
        if (found := ingested(store, name) or imagined(card)) is not None
    }
    backbones = request.backbones
    found = estimate(store, planned.plan, datasets, backbones.references, backbones.cards)
    return Needs(found, tuple(_fetched(store, planned)))


def _fetched(store: Store, planned: Planned) -> Iterator[Fetched]:
    """Published datasets and weights that are not here.

    Args:
        store: Has what is there.
        planned: Says what is needed.
    """
    if planned.request is None:
        return
    from data_catalog.fetching import download_bytes
    from data_catalog.published import PUBLISHED
    from tasks.planning.choices import NOT_HERE
    from tasks.planning.resolve import dataset_cards

    here = dataset_cards(store)
    for name in planned.request.cards:
        if name not in here:
            size = download_bytes(PUBLISHED[name])
            yield Fetched("dataset", name, size, f"`shotboard datasets get {name}`")
    for name, card in planned.request.backbones.cards.items():
        if card.fingerprint == NOT_HERE:
            yield Fetched("weights", name, None, f"fetched from the hub, {card.source}")


def _hours(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} minutes"
    return f"{seconds / _HOUR:,.0f} hours"
