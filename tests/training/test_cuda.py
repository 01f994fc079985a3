"""What runs on a GPU alone: skipped where there is none."""

import numpy as np
import pytest
import torch

from hffkit.networks.spec import BGR_255, RGB_255
from hffkit.networks.table import NETWORKS, build, network_named
from hffkit.training.dataset import FaceDataset
from hffkit.training.loader import MemoryLoader, StreamLoader
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.updater import Updater, captured_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

DEVICE = torch.device("cuda")


class Drawn(FaceDataset):
    """Images drawn by number, of no corpus."""

    def __init__(self) -> None:
        super().__init__([], 128, RGB_255)

    def __len__(self) -> int:
        return 200

    def read(self, number: int, epoch: int, out: np.ndarray) -> None:
        out[...] = np.random.default_rng([number, epoch]).integers(0, 256, out.shape)


def updater(name: str, **values: object) -> Updater:
    values = {"size": 128, "batch_size": 64, **values}
    request = TrainRequest((), network=name, overrides=tuple(values.items()))
    torch.manual_seed(0)
    net = build(name, 2, 128)
    return Updater(net, chosen_recipe(request), network_named(name).input, DEVICE, seed=0)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (64, 128, 128, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (64,), generator=generator)
    return pixels.to(DEVICE), labels.to(DEVICE)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("amtennet", {"base_lr": 1e-5}),
        ("amtennet", {"solver": "adamw", "base_lr": 1e-5}),
        ("mislnet", {"base_lr": 1e-5}),
    ],
)
def test_a_captured_step_does_what_a_step_does(name: str, values: dict[str, object]) -> None:
    one, other = updater(name, **values), updater(name, **values)
    captured = captured_step(other, pytest.fail)
    for seed in range(5):
        one.step(*batch(seed))
        captured(*batch(seed))
    torch.testing.assert_close(one.losses, other.losses, rtol=1e-3, atol=1e-4)
    for key, value in one.state().items():
        torch.testing.assert_close(other.state()[key], value, rtol=1e-2, atol=1e-4, msg=key)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [n for n in NETWORKS if NETWORKS[n].high_quality is None])
def test_a_step_of_every_network_is_captured(name: str, precision: str) -> None:
    trained = updater(name, precision=precision)
    step = captured_step(trained, pytest.fail)
    for seed in range(2):
        step(*batch(seed))
    assert trained.losses[:2].isfinite().all()


def test_losses_on_the_gpu_are_those_of_the_cpu() -> None:
    values: dict[str, object] = {"base_lr": 1e-5}
    gpu = updater("amtennet", **values)
    request = TrainRequest((), overrides=tuple(values.items()))
    torch.manual_seed(0)
    cpu = Updater(
        build("amtennet", 2), chosen_recipe(request), BGR_255, torch.device("cpu"), seed=0
    )
    for seed in range(3):
        pixels, labels = batch(seed)
        gpu.step(pixels, labels)
        cpu.step(pixels.cpu(), labels.cpu())
    torch.testing.assert_close(gpu.losses[:3].cpu(), cpu.losses[:3], rtol=1e-3, atol=1e-4)


def test_a_stream_brings_to_the_gpu_what_is_resident_there() -> None:
    faces = Drawn()
    pixels = np.empty((200, 128, 128, 3), np.uint8)
    for number in range(200):
        faces.read(number, 0, pixels[number])
    labels = np.arange(200) % 2
    resident = MemoryLoader(
        torch.from_numpy(pixels).to(DEVICE), torch.from_numpy(labels).to(DEVICE)
    )
    stream = StreamLoader(faces, labels, DEVICE, 4)
    for one, other in zip(resident.in_order(64), stream.in_order(64), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
