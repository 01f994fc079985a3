"""Devices by their names."""

from pathlib import Path

import pytest
import torch

from hffkit.errors import ArgumentError
from hffkit.networks import devices
from hffkit.networks.devices import batch_threads, device_named, threads


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "cuda:x", "", "cpu cuda", "meta"])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="`device`"):
        device_named(name)


def test_the_automatic_device_is_the_gpu_where_there_is_one() -> None:
    assert device_named("cpu").type == "cpu"
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


X86 = {"avx2": True, "avx512_bf16": False, "amx_bf16": False, "avx_ne_convert": False}


@pytest.mark.parametrize(
    "has", [X86 | {"amx_bf16": True}, {"bf16": True}, {"architecture": "s390x"}, {}]
)
def test_bf16_is_tried_on_all_other_processors(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool]
) -> None:
    monkeypatch.setattr(devices, "_capabilities", lambda: has)
    devices.check_bf16(torch.device("cpu"))


def test_pytorch_names_the_instructions_that_linux_names() -> None:
    found = devices._capabilities()
    if not found:
        pytest.skip("this PyTorch does not name them")
    words = Path("/proc/cpuinfo").read_text("utf-8").split()
    assert all(found[name] for name in devices._BF16 if name in words)


def test_batches_get_a_thread_each_and_the_number_of_threads_comes_back() -> None:
    with threads(3):
        with batch_threads(torch.device("cpu")) as pool:
            assert torch.get_num_threads() == 1
            assert pool._max_workers == 3
            assert pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 3
