"""Devices by their names."""

import pytest
import torch

from hffkit.errors import ArgumentError
from hffkit.networks.devices import batch_threads, device_named, threads


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "cuda:x", "", "cpu cuda", "meta"])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="`device`"):
        device_named(name)


def test_the_automatic_device_is_the_gpu_where_there_is_one() -> None:
    assert device_named("cpu").type == "cpu"
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_batches_get_a_thread_each_and_the_number_of_threads_comes_back() -> None:
    with threads(3):
        with batch_threads(torch.device("cpu")) as pool:
            assert torch.get_num_threads() == 1
            assert pool._max_workers == 3
            assert pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 3
