"""From the host to a device, without a wait."""

import torch
from torch import Tensor


def onto(value: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device; where it is there already, itself.

    Memory of the host that the system may move is copied by a GPU while everybody waits. So it is
    copied into memory that stays, once, and the host goes on while the device fetches it.

    Args:
        value: Of the host, or of the device.
        device: Where it is wanted.
    """
    if device.type == "cpu" or value.device.type != "cpu":
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)
