"""How fast this machine is: by trials of the store, else by a product of matrices."""

import time
from typing import NamedTuple

import torch

from tasks.pages.asking import own_rows
from tasks.storage.store import Store

STEP_SECONDS = 0.005  # of a step on a core, whatever its size: Python, optimiser, small kernels
# Of the rate of a product of large matrices, what a tower reaches: the rest are norms, softmax,
# copies and small products.
SHARE = 0.4
ENOUGH_SECONDS = 10.0  # of trials, for a rate
MEASURED_SECONDS = 0.2
SIDE = 1024  # of the matrices


class Rate(NamedTuple):
    """How fast this machine is.

    Attributes:
        per_second: Floating-point operations of one core, or of the GPU.
        device: `core` or `GPU`.
        known_by: How it was measured, in a phrase.
    """

    per_second: float
    device: str
    known_by: str


def rate_of(store: Store, backbone: str) -> Rate:
    """How fast trials of a backbone are here.

    Args:
        store: Whose trials were computed here.
        backbone: Its name.
    """
    on_gpu = torch.cuda.is_available()
    device = "GPU" if on_gpu else "core"
    known = _of_trials(store, backbone, "cuda" if on_gpu else "cpu")
    if known:
        return Rate(known, device, f"by trials with {backbone} in this store")
    return Rate(SHARE * _of_products(on_gpu), device, "by a product of matrices")


def _of_trials(store: Store, backbone: str, device: str) -> float | None:
    """Operations a second of the fits of a store; None where there are too few.

    Args:
        store: Its board is asked.
        backbone: Its name.
        device: What the name of a trial's device begins with.
    """
    if not store.board.exists():
        return None
    name = backbone.replace("'", "''")
    (found,) = own_rows(
        store,
        "SELECT sum(tune_flops) AS done, sum(tune_seconds) AS seconds, sum(steps) AS steps "
        f"FROM trials WHERE backbone = '{name}' AND starts_with(device, '{device}') "
        "AND tune_flops > 0",
    )
    if not found["done"] or found["seconds"] < ENOUGH_SECONDS:
        return None
    alone = found["seconds"] - found["steps"] * STEP_SECONDS
    return float(found["done"]) / max(alone, found["seconds"] / 10)


def _of_products(on_gpu: bool) -> float:
    """Operations a second of products of matrices, on one core or the GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.ones(SIDE, SIDE, device="cuda" if on_gpu else "cpu")
        _multiply(matrix)
        # On a CPU, time of this thread: what else runs on the machine is not its own slowness.
        clock = time.perf_counter if on_gpu else time.thread_time
        began, count = clock(), 0
        while clock() - began < MEASURED_SECONDS:
            _multiply(matrix)
            count += 1
        return count * 2 * SIDE**3 / (clock() - began)
    finally:
        torch.set_num_threads(threads)


def _multiply(matrix: torch.Tensor) -> None:
    torch.mm(matrix, matrix)
    if matrix.is_cuda:
        torch.cuda.synchronize()
