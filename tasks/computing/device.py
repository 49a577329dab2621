"""What a pretraining computes on, and how much of the machine makes its data."""

from data_catalog.kinds.pool import cores
from tasks.planning.resolve import RequestError


def device_for(choice: str) -> str:
    """`auto` as a GPU where there is one.

    Raises:
        RequestError: There is no such device.
    """
    import torch

    if choice == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(choice).type
    except RuntimeError as error:
        raise RequestError(f"device {choice!r} is none: give auto, cpu, cuda or cuda:N.") from error
    if kind not in ("cpu", "cuda"):
        raise RequestError(f"device {choice!r} is none of auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise RequestError(
            f"device {choice!r}: this machine has no GPU that torch can use. Leave --device out "
            "to train on the CPU."
        )
    if kind == "cuda" and (torch.device(choice).index or 0) >= (count := torch.cuda.device_count()):
        raise RequestError(
            f"device {choice!r}: torch sees {count} GPU{'s' * (count > 1)} here, numbered from 0: "
            f"give cuda:{count - 1} or less, or leave --device out."
        )
    return choice


def refuse_without_gpu(precision: str, gpus_per_worker: float | None) -> None:
    """Refuses TF32 where workers hold no GPU, before anything starts.

    Args:
        precision: Of the suite.
        gpus_per_worker: GPUs that each worker holds; None where an estimate says how many.

    Raises:
        RequestError: It is TF32, and they hold none.
    """
    if precision == "tf32" and gpus_per_worker == 0:
        raise RequestError(
            "precision 'tf32' is how a GPU multiplies, and the workers of this run hold none: ask "
            "for precision fp32, which is more exact, or for --gpus-per-worker 1."
        )


def device_kind(device: str, threads: int) -> str:
    """The device in words: `2 CPU cores`, or the name of the GPU's model."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return "1 CPU core" if threads == 1 else f"{threads} CPU cores"


def workers_for(device: str, asked: int | None) -> int:
    """Processes that make pairs: what a GPU needs, or one beside a trainer on the CPU."""
    if asked is not None:
        return asked
    usable = cores()
    return max(1, usable - 1) if device.startswith("cuda") else max(1, usable // 4)
