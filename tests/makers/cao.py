"""Checkpoints of Cao et al. as their program saves them: heads and a tail of random weights."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def conv(name: str, maps: int, channels: int, side: int) -> State:
    deviation = (2 / (channels * side * side)) ** 0.5
    return {f"{name}.weight": torch.randn(maps, channels, side, side) * deviation}


def norm(name: str, n: int) -> State:
    return {
        f"{name}.weight": torch.rand(n) + 0.5, f"{name}.bias": torch.randn(n) / 10,
        f"{name}.running_mean": torch.randn(n) / 10, f"{name}.running_var": torch.rand(n) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(6075),
    }  # fmt: skip


def separable(name: str, maps: int, channels: int) -> State:
    return conv(f"{name}.conv1", channels, 1, 3) | conv(f"{name}.pointwise", maps, channels, 1)


def block(name: str, widths: tuple[int, ...], *, first: int = 1) -> State:
    state: State = {}
    if len(widths) == 3:
        state |= conv(f"{name}.skip", widths[-1], widths[0], 1) | norm(f"{name}.skipbn", widths[-1])
    for n, (channels, maps) in enumerate(pairwise(widths)):
        place = first + 3 * n
        state |= separable(f"{name}.rep.{place}", maps, channels)
        state |= norm(f"{name}.rep.{place + 1}", maps)
    return state


def head_state(maps: int = 728) -> State:
    state = conv("conv1", 32, 3, 3) | norm("bn1", 32) | conv("conv2", 64, 32, 3) | norm("bn2", 64)
    state |= block("block1", (64, 128, 128), first=0)
    state |= block("block2", (128, 256, 256)) | block("block3", (256, maps, maps))
    for n in range(4, 8):
        state |= block(f"block{n}", (maps,) * 4)
    return state | separable("map.c", 1, maps)


def tail_state(maps: int = 728, last: tuple[int, int, int] = (1024, 1536, 2048)) -> State:
    state: State = {}
    for n in range(8, 12):
        state |= block(f"block{n}", (maps,) * 4)
    state |= block("block12", (maps, maps, last[0]))
    state |= separable("conv3", last[1], last[0]) | norm("bn3", last[1])
    return state | separable("conv4", last[2], last[1]) | norm("bn4", last[2])


def optimizer_state() -> dict[str, Any]:
    layer = nn.Linear(2, 2)  # in place of the network, whose Adam would take 300 MB
    adam = torch.optim.Adam(layer.parameters(), lr=1e-4, weight_decay=1e-4)
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    return adam.state_dict()


def save(path: Path, state: State, *, prefix: str = "module.", **saved: Any) -> Path:
    net = {f"{prefix}{name}": value for name, value in state.items()}
    whole = {"net": net, "optimizer": optimizer_state(), "epoch": 11}
    torch.save(whole, path, **saved)
    return path
