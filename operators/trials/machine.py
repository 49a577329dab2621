"""The machine and the libraries behind a number: rounding differs between them."""

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

CPUINFO = Path("/proc/cpuinfo")  # of Linux


def machine() -> dict[str, Any]:
    """The fields of `Provenance` that say where arithmetic is done, as they are in this process."""
    return {
        "threads": torch.get_num_threads(),
        "cpu_model": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_version": torch.__version__,
        "numpy_version": np.__version__,
        "python_version": platform.python_version(),
    }


@cache
def cpu_model() -> str:
    """What the processor calls itself; its architecture where it has no other name."""
    if CPUINFO.is_file():
        for line in CPUINFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    if platform.system() == "Darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5)
        if answer.stdout.strip():
            return answer.stdout.strip()
    return platform.processor() or platform.machine()
