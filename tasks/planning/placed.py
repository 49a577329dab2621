"""Which protocols a method has a place in, as its card says."""

from collections.abc import Callable

from operators.episodes.protocols import PROTOCOLS, Protocol
from operators.methods import Method
from operators.tracks import TRACKS
from operators.wording import either
from tasks.planning.suited import another


def unfit(name: str, method: type[Method], protocol_name: str, protocol: Protocol) -> str:
    """Why a method has no place in a protocol; empty if it has.

    One that reads nothing has a place everywhere: it is what the others are held against.

    Args:
        name: Of the method, as the user wrote it.
        method: Its class.
        protocol_name: Key of `PROTOCOLS`.
        protocol: What stands there.
    """
    reason = (
        _of_another_track(method, protocol)
        or _without_labels(method, protocol)
        or _without_unlabelled(method, protocol)
        or _beside_the_tested(method, protocol_name, protocol)
        or _for_new_classes(method, protocol)
    )
    return f"{name} in {protocol_name}: {reason}" if reason else ""


def _of_another_track(method: type[Method], protocol: Protocol) -> str:
    reason = TRACKS[protocol.track].misfit(method)
    return f"{reason} {another(protocol.learns, track=method.track)}" if reason else ""


def _without_labels(method: type[Method], protocol: Protocol) -> str:
    """What learns from labels has to have some, unless examples without them are enough for it."""
    enough = protocol.unlabelled and method.card.unsupervised
    if method.card.learns and not protocol.learns and not enough:
        return "it learns from labelled examples, and there are none."
    return ""


def _without_unlabelled(method: type[Method], protocol: Protocol) -> str:
    """What reads no label and is given nothing without one would learn nothing at all."""
    if method.card.unlabelled and not method.card.learns and not protocol.unlabelled:
        return (
            "it learns from examples without labels, and there are none. Choose "
            f"{_protocols(lambda other: other.unlabelled)} with --protocols."
        )
    return ""


def _beside_the_tested(method: type[Method], protocol_name: str, protocol: Protocol) -> str:
    """What is seen of test examples is for methods that do something with it."""
    card = method.card
    learns = card.learns or card.unlabelled
    if protocol.unlabelled and card.test_time:
        return (
            "it adapts to test examples as they come. Choose "
            f"{_protocols(lambda other: other.stream)} with --protocols."
        )
    if card.stream and not protocol.stream:
        return (
            "what it says of a test example depends on those before, whose order is not drawn "
            f"here. Choose {_protocols(lambda other: other.stream)} with --protocols."
        )
    if protocol.unlabelled == "test" and learns and not (card.unlabelled and card.transductive):
        return (
            "it does nothing with unlabelled test examples, so its numbers would be those of "
            f"{protocol.inductive}. Choose {protocol.inductive} with --protocols."
        )
    return ""


def _for_new_classes(method: type[Method], protocol: Protocol) -> str:
    if protocol.new_classes and not method.card.new_classes:
        return "it learns something of its own for each class and cannot classify new ones."
    return ""


def _protocols(wanted: Callable[[Protocol], object]) -> str:
    """Names of protocols, as alternatives."""
    return either([name for name, other in PROTOCOLS.items() if wanted(other)])
