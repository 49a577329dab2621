"""What the code says of tracks, protocols, methods and backbones: rows of board and listings.

Reading it takes torch; `tasks/pages/known.py` keeps what it says for commands that only list.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from operators.backbones import (
    BACKBONES,
    CAPABILITIES,
    FAMILIES,
    LANGUAGE_CAPABILITIES,
    BackboneCard,
    BackboneReference,
    BackboneUnavailable,
    class_of,
    reference,
)
from operators.backbones.formats.clip_files import EMBEDDED
from operators.backbones.own import own_family
from operators.bounds import described
from operators.episodes.protocols import PROTOCOLS, Protocol
from operators.episodes.views import ViewPolicy
from operators.methods import METHODS, Method
from operators.methods.hyperparameters import PUBLISHED_ON, annotations, defaults, published
from operators.tracks import TRACKS
from tasks.planning.own_backbones import installed_backbones
from tasks.planning.own_methods import installed_methods
from tasks.planning.placed import unfit

SHOTS = (1, 2, 4, 8, 16)  # those of the published tables


def track_rows() -> list[dict[str, Any]]:
    """One row a track."""
    return [
        {
            "track": name,
            "title": track.title,
            "kind": track.kind,
            "primary_metric": track.primary,
            "metrics": list(track.metrics),
            "columns": track.predictions.names,
        }
        for name, track in TRACKS.items()
    ]


def protocol_rows() -> list[dict[str, Any]]:
    """One row a protocol."""
    return [
        {
            "protocol": name,
            "track": protocol.track,
            "title": protocol.title,
            "primary_metric": TRACKS[protocol.track].primary,
            "tests": _tested(protocol),
            "learns": protocol.learns,
            "new_classes": protocol.new_classes,
            "revision": protocol.revision,
            "inference": protocol.inference,
            "unlabelled": protocol.unlabelled or None,
            "lead": protocol.tested_apart[0],
        }
        for name, protocol in PROTOCOLS.items()
    ]


def _tested(protocol: Protocol) -> str:
    """Which test rows: all, those of base and new classes apart, the worlds, or of targets."""
    return "targets" if protocol.targets else " and ".join(protocol.tested_apart)


def method_rows() -> list[dict[str, Any]]:
    """One row a method, of those that ship and of those of installed packages."""
    methods = {**METHODS, **installed_methods()}
    return [json.loads(_as_text(name, method)) for name, method in methods.items()]


@cache
def _as_text(name: str, method: type[Method]) -> str:
    """The row of a method, which is asked for with each board and model: a class stays as it is."""
    return json.dumps(method_row(name, method))


def method_row(name: str, method: type[Method]) -> dict[str, Any]:
    """The row of a method.

    Args:
        name: As on the board.
        method: Its class.
    """
    return {
        "method": name,
        "title": method.card.title,
        "source": method.card.source,
        "revision": method.revision,
        "trains": method.tuning is not None or method.card.learns,
        "needs": sorted(method.card.needs),
        "transductive": method.card.transductive,
        "test_time": method.card.test_time,
        "external_knowledge": method.card.external_knowledge,
        "descriptions": method.card.descriptions,
        "teacher": method.card.teacher,
        "unlabelled": method.card.unlabelled,
        "unsupervised": method.card.unsupervised,
        "stream": method.card.stream,
        "track": method.track,
        "card": {
            "family": method.card.family,
            "tunes": method.card.tunes,
            "cost": method.card.cost,
            "learns": method.card.learns,
            "domains": method.card.domains,
            "new_classes": method.card.new_classes,
            "unseen_head": method.card.unseen_head,
            "views": method.card.views,
            "views_show": ViewPolicy.parse(method.card.views).described,
            "views_source": method.card.views_source,
            "without_validation": method.card.without_validation,
            "departures": list(method.card.departures),
            "hyperparameters": defaults(method),
            "bounds": {name: described(kind) for name, kind in annotations(method).items()},
            "recipes": recipes(method),
        },
    }


def recipes(method: type[Method]) -> list[dict[str, Any]]:
    """Where published hyperparameters are others than the defaults.

    Returns:
        `when`, such as `few_shot, 2 or 4 shots`, the datasets it is `on`, and `values` by name. A
        protocol, a number of shots or a dataset that is not named makes no difference.
    """
    learns = method.card.learns
    asked = [
        name
        for name, protocol in PROTOCOLS.items()
        if protocol.track == method.track
        and (protocol.learns or not learns or (method.card.unsupervised and protocol.unlabelled))
        and not (protocol.inductive and unfit("", method, name, protocol))
    ]
    places = list(product(asked, SHOTS if learns else (0,)))

    def settings(dataset: str) -> list[dict[str, Any]]:
        return [published(method, protocol=p, shots=s, dataset=dataset) for p, s in places]

    usual = settings("")
    everywhere = _where(places, usual, [defaults(method)] * len(places))
    found = [{"when": when, "on": [], "values": values} for when, values in everywhere]
    for dataset in PUBLISHED_ON:
        for when, values in _where(places, settings(dataset), usual):
            alike = [row for row in found if (row["when"], row["values"]) == (when, values)]
            if alike and alike[0]["on"]:
                alike[0]["on"].append(dataset)
            else:
                found.append({"when": when, "on": [dataset], "values": values})
    return found


def _where(
    places: Sequence[tuple[str, int]],
    settings: Sequence[Mapping[str, Any]],
    usual: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Protocols and shots where settings are not the usual ones, in words, and what they are."""
    every = list(dict.fromkeys(name for name, _ in places))
    counts = tuple(dict.fromkeys(shots for _, shots in places))
    where: dict[str, dict[str, list[int]]] = {}  # values, as text: protocol: shots
    for (name, shots), asked, known in zip(places, settings, usual, strict=True):
        values = {key: value for key, value in asked.items() if value != known[key]}
        if values:
            there = where.setdefault(json.dumps(values, sort_keys=True), {})
            there.setdefault(name, []).append(shots)
    for values, protocols in where.items():
        alike: dict[tuple[int, ...], list[str]] = {}
        for name, shots in protocols.items():
            alike.setdefault(tuple(shots), []).append(name)
        for shots, names in alike.items():
            parts = [] if names == every else [" or ".join(names)]
            if shots != counts:
                parts.append(f"{' or '.join(map(str, shots))} shot{'s' * (shots != (1,))}")
            yield ", ".join(parts), json.loads(values)


def backbone_rows(used: list[BackboneCard] | None = None) -> list[dict[str, Any]]:
    """One row a backbone: those with a name of their own, and those given as folder or hub id.

    Args:
        used: Cards that are known already; the others are only named.
    """
    cards = {card.name: card for card in used or ()}
    rows = [backbone_row(card) for card in cards.values()]
    rows += [
        {
            "backbone": name,
            "family": known.family,
            "source": known.location or known.title,
            "card": {"title": known.title},
            "kind": FAMILIES[known.family].title,
        }
        for name, known in BACKBONES.items()
        if name not in cards
    ]
    for name, which in installed_backbones().items():
        if name not in cards:
            own = own_family(which.family)
            told = {"family": which.family, "source": "a package that is installed", "card": {}}
            rows.append({"backbone": name, **told, "kind": own.kind.title if own else ""})
    return rows


def backbone_row(card: BackboneCard) -> dict[str, Any]:
    """The row of a backbone whose weights are here."""
    return {
        "backbone": card.name,
        "family": card.family,
        "fingerprint": card.fingerprint,
        "feature_width": card.feature_width,
        "source": card.source,
        "license": card.license,
        "capabilities": sorted(card.capabilities),
        "card": {"note": card.note},
        "kind": class_of(card).title,
    }


def embedded_backbone_cards() -> list[BackboneCard]:
    """Cards of the backbones whose weights come with the installation."""
    cards = []
    for name, known in BACKBONES.items():
        ships = not known.location or Path(known.location).is_relative_to(EMBEDDED)
        if ships or Path(known.location).is_dir():
            try:
                cards.append(
                    (_as_installed if ships else BackboneReference.describe)(reference(name))
                )
            except BackboneUnavailable:
                continue
    return cards


@cache
def _as_installed(known: BackboneReference) -> BackboneCard:
    """The card of a backbone of a package, which stays as it is; all of its weights are read."""
    return known.describe()


def embedded_backbone_rows() -> list[dict[str, Any]]:
    """See `backbone_rows`, where nothing is known but what comes with the installation."""
    return backbone_rows(embedded_backbone_cards())


PARTS = {
    "methods": method_rows,
    "backbones": embedded_backbone_rows,
    "capabilities": lambda: CAPABILITIES | LANGUAGE_CAPABILITIES,
    "tracks": track_rows,
    "protocols": protocol_rows,
}
