"""Places of labels: near what they name, and never on each other."""

from collections.abc import Sequence


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least a gap apart, between two ends where they fit.

    Args:
        wanted: From the greatest down.
        gap: Least distance of two places.
        low: No place is below this, as long as all fit above it.
        high: No place is above this.
    """
    # With the gaps taken out, order is all that is asked: the isotonic least squares of what is
    # wanted, by pooling neighbours that are out of order.
    pools: list[list[float]] = []  # sum and count of what is wanted without gaps
    for at, want in enumerate(wanted):
        pools.append([want + at * gap, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] < pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + count]
    flat = [total / count for total, count in pools for _ in range(int(count))]
    last = len(wanted) - 1
    return [max(min(place, high), low + last * gap) - at * gap for at, place in enumerate(flat)]
