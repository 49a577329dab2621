"""What is noted of the machine behind a number."""

import platform

import numpy as np
import pytest
import torch

from operators.trials import machine as module
from operators.trials.machine import cpu_model, machine


def test_the_machine_is_that_of_this_process():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert machine()["threads"] == before + 1
    finally:
        torch.set_num_threads(before)
    found = machine()
    assert found["threads"] == before
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["torch_version"] == torch.__version__
    assert found["numpy_version"] == np.__version__
    assert found["python_version"] == platform.python_version()
    assert found["cpu_model"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 1\nmodel name\t: A CPU: fast \n", "A CPU: fast"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", platform.processor() or platform.machine()),
    ],
)
def test_a_processor_without_a_name_is_called_by_its_architecture(
    tmp_path, monkeypatch, text, name
):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert cpu_model.__wrapped__() == name
