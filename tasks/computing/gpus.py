"""What GPUs a cluster has, and what of one a worker holds."""

import sys
import time
from typing import Any

from tasks.computing.hosts import Host, hosts_there, on
from tasks.planning.resolve import RequestError

SLIVER = 0.01  # of a GPU, to ask how large it is
ASK_SECONDS = 120.0  # until a GPU is taken to be in use by others


def granted() -> float | None:
    """GPUs that Ray has given to this worker, 0 where none; None outside of a worker.

    A worker without any sees those of its machine all the same, as Ray leaves them in view.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    if context.get_actor_id() is None:
        return None
    return float(context.get_assigned_resources().get("GPU", 0.0))


def device_of(choice: str) -> str:
    """`auto` as a GPU where one was given, or where there is one and nobody gives any.

    Of the GPU that Ray has chosen a worker sees itself alone, as `cuda:0`. Where it holds a part of
    it, it is held to that part of the memory: who needs more fails alone, and not its neighbours.

    Args:
        choice: `auto`, or a device of torch.
    """
    import torch

    share = granted()
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() and share != 0 else "cpu"
    if choice.startswith("cuda") and share and share < 1:
        torch.cuda.set_per_process_memory_fraction(share)
    return choice


def smallest_card(seconds: float = ASK_SECONDS) -> int:
    """Bytes of the smallest GPU of the cluster that this process is connected to.

    Args:
        seconds: What the nodes may take to answer, which are asked at once.

    Raises:
        RequestError: A node has GPUs that torch cannot use, all of them are in use, or no node
            that has some can work.
    """
    import ray
    from ray.exceptions import GetTimeoutError

    ask = ray.remote(num_cpus=0, num_gpus=SLIVER, max_retries=0)(_bytes)
    asked: dict[Host, Any] = {
        host: ask.options(**on(host)).remote()  # pyright: ignore[reportAttributeAccessIssue]
        for host in hosts_there()
        if host.gpus
    }
    ends = time.monotonic() + seconds
    sizes = []
    try:
        for host, answer in asked.items():
            try:
                found = ray.get(answer, timeout=max(0.0, ends - time.monotonic()))
            except GetTimeoutError as error:
                raise RequestError(
                    f"gpus_per_worker=auto: the GPUs of {host.address} are in use, and none has "
                    f"answered in {seconds:g} s. Say with --gpus-per-worker how much of one each "
                    "worker is to hold, or wait for the others."
                ) from error
            except Exception:  # it cannot work at all: it is left out, with the reason, later
                continue
            if not found:
                raise RequestError(
                    f"gpus_per_worker=auto: Ray counts GPUs at {host.address} that torch cannot "
                    "use. Install a build of torch for CUDA there, see "
                    "https://pytorch.org/get-started/, or ask for --gpus-per-worker 0."
                )
            sizes.append(found)
    finally:
        for answer in asked.values():  # of a host that is busy, it would wait as long as that is
            ray.cancel(answer)
    if not sizes:
        raise RequestError(
            "gpus_per_worker=auto: no host with GPUs runs our code. Ask for --gpus-per-worker 0, "
            "and the run says what each of them lacks."
        )
    return min(sizes)


def _bytes() -> int:
    """Of the smallest GPU that this process sees; 0 where torch can use none."""
    import torch

    if not torch.cuda.is_available():
        return 0
    return min(
        torch.cuda.get_device_properties(place).total_memory
        for place in range(torch.cuda.device_count())
    )
