"""How much of a GPU a step keeps busy while the host names its operations one by one.

A step of tuning is one to two thousand calls of torch, whatever its size, and a GPU is done with
most of them before the next is named. What it could do beside is what several trials on one GPU, or
seeds that are tuned together, gain. Rule and constants are one for both; `benchmarks/gpu.py` prints
what a card makes of them (`Calls`, `A step`, `Share`), and none has been measured on yet.
"""

CALLS = 1500  # of a step, forward and backward: 372 with 3 layers, about 1,400 with 12
CALL_SECONDS = 5e-6  # that the host takes for each
RATE = 20e12  # operations a second that towers reach in fp32


def busy(operations: float) -> float:
    """The part of its time that a GPU computes in steps of one trial: in (0, 1].

    Args:
        operations: Of a step.
    """
    computing, naming = operations / RATE, CALLS * CALL_SECONDS
    return max(1e-3, computing / max(computing, naming))
