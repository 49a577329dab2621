"""Paired tests of many pairs at once, each pair measured on the same episodes, images or data sets.

Where a sample says nothing the answer is NaN: of one seed, or of seeds whose differences are all
the same and not 0. Nothing at all to tell apart is p = 1.

scipy.special has the distributions; scipy.stats, which takes a second to import, is what the tests
hold all of this against.
"""

from functools import lru_cache

import numpy as np

_EQUAL = 1e-12  # differences below it are rounding
_EXACT = 50  # differences up to which the signed-rank test is exact
_SHARES = (1, 2, 3, 4, 5, 6, 8, 10, 12)  # gains of an image that are multiples of one over these
_AT_ONCE = 4_000_000  # numbers of the bootstrap's distributions: bounds memory


def over_seeds(a: np.ndarray, b: np.ndarray, both: np.ndarray) -> dict[str, np.ndarray]:
    """Paired t tests over the episodes that both have.

    Args:
        a: (episodes,) or (pairs, episodes) scores.
        b: (pairs, episodes) scores.
        both: (pairs, episodes) whether both are there; at least once each.

    Returns:
        Columns of (pairs,): n, mean_a, mean_b, difference, std (n - 1) and the two-sided p; NaN
        where one pair, or differences that do not vary and are not 0, say nothing.
    """
    from scipy.special import stdtr

    n = both.sum(axis=1)
    mean_a = np.where(both, a, 0).sum(axis=1) / n
    mean_b = np.where(both, b, 0).sum(axis=1) / n
    differences = np.where(both, a - b, 0)
    difference = differences.sum(axis=1) / n
    spread = np.where(both, differences - difference[:, None], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        std = np.sqrt((spread**2).sum(axis=1) / (n - 1))
        std = np.where(std < _EQUAL, 0, std)
        p = 2 * stdtr(n - 1, -np.abs(difference) / (std / np.sqrt(n)))
    constant = np.where(np.abs(difference) < _EQUAL, 1, np.nan)
    p = np.where(n < 2, np.nan, np.where(std == 0, constant, p))
    return {
        "n": n,
        "mean_a": mean_a,
        "mean_b": mean_b,
        "difference": difference,
        "std": std,
        "p": p,
    }


def over_images(a: np.ndarray, b: np.ndarray, both: np.ndarray) -> dict[str, np.ndarray]:
    """Paired tests over the test images, each image counted once.

    Args:
        a: (episodes, images) or (pairs, episodes, images) shares of right answers.
        b: (pairs, episodes, images) likewise.
        both: (pairs, episodes) which episodes count.

    Returns:
        Columns of (pairs,): images, only_a and only_b on which one was right more often,
        images_std_error of the mean difference, the two-sided p_images of the exact sign test, and
        bootstrap_low and bootstrap_high. NaN where the two were not asked about the same images.
    """
    from scipy.special import bdtr

    images = b.shape[-1]
    episodes = both.sum(axis=1)
    gains = np.where(both[..., None], a - b, 0).sum(axis=1) / episodes[:, None]
    only_a, only_b = (gains > 1e-6).sum(axis=1), (gains < -1e-6).sum(axis=1)
    asked = ~np.isnan(gains).any(axis=1) & (images > 1)
    away = gains - gains.mean(axis=1, keepdims=True) if images else gains
    error = np.sqrt((away**2).sum(axis=1) / max(images - 1, 1) / max(images, 1))
    p = np.minimum(1, 2 * bdtr(np.minimum(only_a, only_b), only_a + only_b, 0.5))
    low, high = np.full((2, len(b)), np.nan)
    if asked.any():
        low[asked], high[asked] = bootstrap(gains[asked], episodes[asked])
    columns = {
        "images": np.full(len(b), images),
        "only_a": only_a,
        "only_b": only_b,
        "images_std_error": error,
        "p_images": p,
        "bootstrap_low": low,
        "bootstrap_high": high,
    }
    return {name: np.where(asked, column, np.nan) for name, column in columns.items()}


def bootstrap(gains: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile bootstrap interval of a mean, resampled without end.

    Gains take few values, so the distribution that resampling draws from is computed and not drawn:
    the n-fold convolution of theirs, by the n-th power of its Fourier transform. So there is no
    seed, and the same numbers give the same interval.

    Args:
        gains: (pairs, n) differences of each image.
        parts: (pairs,) whole numbers of which every gain is a share, or of a few times as many.

    Returns:
        Of each pair the greatest mean below which at most 2.5 % of the resampled ones are, and the
        least above which at most 2.5 % are; NaN where gains are shares of no small number.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 6.2 (the ideal
    bootstrap) and chapter 13.
    """
    n = gains.shape[1]
    scale = np.full(len(gains), np.nan)
    left = np.arange(len(gains))
    for times in _SHARES:
        grid = gains[left] * (parts[left] * times)[:, None]
        whole = (np.abs(grid - np.rint(grid)) < 1e-3).all(axis=1)
        scale[left[whole]] = times * parts[left[whole]]
        left = left[~whole]
        if not len(left):
            break
    low, high = np.full((2, len(gains)), np.nan)
    known = np.flatnonzero(~np.isnan(scale))
    if not len(known):
        return low, high
    steps = np.rint(gains[known] * scale[known, None]).astype(np.int64)
    # Sums beyond six deviations do not happen: those that wrap around the circle weigh nothing.
    reach = 12 * steps.std(axis=1).max() * np.sqrt(n) + 2 * np.abs(steps).max() + 3
    length = 1 << int(np.ceil(np.log2(reach)))
    for start in range(0, len(known), max(1, _AT_ONCE // length)):
        these = slice(start, start + max(1, _AT_ONCE // length))
        ends = _percentiles(steps[these], length)
        low[known[these]], high[known[these]] = ends / (n * scale[known[these]])
    return low, high


def _percentiles(steps: np.ndarray, length: int) -> np.ndarray:
    """(2, pairs) ends of the distribution of the sum of n draws with replacement from each row."""
    pairs, n = steps.shape
    places = np.arange(pairs)[:, None] * length + steps % length
    chances = np.bincount(places.ravel(), minlength=pairs * length).reshape(pairs, length) / n
    sums = np.fft.irfft(_power(np.fft.rfft(chances, axis=1), n), length, axis=1)
    first = np.rint(steps.sum(axis=1)).astype(np.int64) - length // 2  # the mean in the middle
    order = (first[:, None] + np.arange(length)) % length
    below = np.cumsum(np.take_along_axis(sums, order, axis=1), axis=1)
    ends = [(below > 0.025 + 1e-12).argmax(axis=1), (below >= 0.975 - 1e-12).argmax(axis=1)]
    return np.array(ends) + first


def _power(base: np.ndarray, n: int) -> np.ndarray:
    """By squares, many times quicker than numpy's power of complex numbers."""
    result: np.ndarray | None = None
    while True:
        if n & 1:
            result = base if result is None else result * base
        n >>= 1
        if not n:
            return base if result is None else result
        base = base * base


def over_datasets(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Wilcoxon's signed-rank tests of paired differences, of which one may be NaN for a gap.

    Differences of 0 are left out and tied ones share the mean of their ranks. Up to fifty are
    tested exactly, given the ties; more by the normal distribution.

    Args:
        differences: (pairs, data sets).

    Returns:
        Columns of (pairs,): datasets, how many have a difference; above, equal and below, how many
        of them are; effect, the matched-pairs rank-biserial correlation in -1..1, NaN where all
        are 0; p, two-sided, NaN of fewer than two data sets.

    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945;
    Demsar, JMLR 7, 2006, section 3.1.3; Kerby, "The simple difference formula", 2014.
    """
    there = ~np.isnan(differences)
    rounded = np.where(there, np.round(differences, 12), 0)
    size = np.abs(rounded)
    counted = size > 0
    against = size[:, None, :]
    less = ((against < size[..., None]) & counted[:, None, :]).sum(axis=2)
    same = ((against == size[..., None]) & counted[:, None, :]).sum(axis=2)
    # Twice the mean rank, which is a whole number.
    ranks = np.where(counted, 2 * less + same + 1, 0)
    above = np.where(rounded > 0, ranks, 0).sum(axis=1)
    total = ranks.sum(axis=1)
    patterns, which = np.unique(np.sort(ranks, axis=1), axis=0, return_inverse=True)
    p = np.ones(len(ranks))
    for number, pattern in enumerate(patterns):
        here = which.reshape(-1) == number
        p[here] = _signed_rank(tuple(rank for rank in pattern.tolist() if rank), above[here])
    datasets = there.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = (2 * above - total) / total
    return {
        "datasets": datasets,
        "above": (rounded > 0).sum(axis=1),
        "equal": datasets - counted.sum(axis=1),
        "below": (rounded < 0).sum(axis=1),
        "effect": effect,
        "p": np.where(datasets > 1, p, np.nan),
    }


def _signed_rank(ranks: tuple[int, ...], above: np.ndarray) -> np.ndarray:
    """Two-sided p of sums of doubled ranks with a positive sign, given all of the ranks."""
    from scipy.special import ndtr

    if not ranks:
        return np.ones(len(above))
    if len(ranks) <= _EXACT:
        below = _sums(ranks)
        low, high = below[above], 1 - np.where(above, below[above - 1], 0)
        return np.minimum(1, 2 * np.minimum(low, high))
    squares = np.array(ranks, dtype=np.float64)
    z = (above - squares.sum() / 2) / np.sqrt((squares**2).sum() / 4)
    return 2 * ndtr(-np.abs(z))


@lru_cache(maxsize=256)
def _sums(ranks: tuple[int, ...]) -> np.ndarray:
    """How likely a sum of ranks, each there or not by the toss of a coin, is at most each value."""
    chances = np.zeros(sum(ranks) + 1)
    chances[0] = 1
    for rank in ranks:
        chances[rank:] += chances[:-rank].copy()
        chances /= 2
    return np.cumsum(chances)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction over the tests that were made; NaN where none was.

    Args:
        p: (tests,) p values.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979.
    """
    order = np.argsort(p)  # NaN comes last
    tests = int(np.sum(~np.isnan(p)))
    left = np.maximum(tests - np.arange(len(p)), 0)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(left * p[order]))
    return corrected


def plain(column: np.ndarray) -> list[float | int | None]:
    """Numbers as rows take them; None for NaN, which is the one number that is not itself."""
    return [value if value == value else None for value in column.tolist()]
