"""Batches of pixels on a device, from its memory or streamed.

Pixels stay uint8 until the step casts them, and move as little as possible: a dataset that fits
is loaded once and gathered on the device.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, pairwise

import numpy as np
import torch
from torch import Tensor

from hffkit.arrays import Ints
from hffkit.execution.memory import free_memory
from hffkit.networks.spec import InputSpec
from hffkit.training.dataset import FaceDataset
from hffkit.training.pairs import PairDataset
from hffkit.training.request import Keep
from hffkit.training.sampler import BatchSampler

Dataset = FaceDataset | PairDataset
Batch = tuple[Tensor, Tensor]
"""Pixels (B, *shape) uint8 and labels (B,) int64 on the device, valid until the next batch."""

_CHUNK = 256  # images that one thread loads at a time
_MAPPED_BYTES = 1 << 27  # of databases, read before they are closed
_AHEAD = 2  # batches read while one is used
_SHARE = 0.6  # of free memory that images may take


class MemoryLoader:
    """Batches of a dataset in the memory of the device."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """Take pixels (N, *shape) uint8 and labels (N,) int64 on one device."""
        self._pixels, self._labels = pixels, labels

    def batches(self, sampler: BatchSampler, start: int) -> Iterator[Batch]:
        """Yield the batches of iterations `start`, `start` + 1, ... without end."""
        device = self._pixels.device
        shape = (sampler.batch_size, *self._pixels.shape[1:])
        buffer = torch.empty(shape, dtype=torch.uint8, device=device)
        for iteration in count(start):
            numbers = _sent(sampler.batch(iteration)[0], device)
            torch.index_select(self._pixels, 0, numbers, out=buffer)
            yield buffer, self._labels[numbers]

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order; the last batch may be smaller."""
        pixels, labels = (torch.split(held, batch_size) for held in (self._pixels, self._labels))
        yield from zip(pixels, labels, strict=True)


class StreamLoader:
    """Batches of a dataset that threads read when they are needed, a few batches ahead."""

    def __init__(
        self, dataset: Dataset, labels: Ints, device: torch.device, n_threads: int
    ) -> None:
        """Take a dataset; nothing is read yet."""
        self._dataset, self._labels, self._device = dataset, labels, device
        self._n_threads = n_threads

    def batches(self, sampler: BatchSampler, start: int) -> Iterator[Batch]:
        """Yield the batches of iterations `start`, `start` + 1, ... without end."""
        yield from self._stream(map(sampler.batch, count(start)), sampler.batch_size)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order; the last batch may be smaller."""
        everything = np.arange(len(self._dataset))
        parts = (everything[i : i + batch_size] for i in range(0, len(everything), batch_size))
        yield from self._stream(((part, np.zeros_like(part)) for part in parts), batch_size)

    def _stream(self, parts: Iterator[tuple[Ints, Ints]], batch_size: int) -> Iterator[Batch]:
        """Yield batches; a buffer is refilled only after its batch was used."""
        shape = (batch_size, *self._dataset.shape)
        is_cuda = self._device.type == "cuda"
        free = [
            torch.empty(shape, dtype=torch.uint8, pin_memory=is_cuda) for _ in range(_AHEAD + 1)
        ]
        under_way: deque[tuple[list[Future[None]], Tensor, Ints]] = deque()
        n_begun, window = 0, _MAPPED_BYTES // free[0].numel() + 1  # batches
        with ThreadPoolExecutor(self._n_threads) as pool:
            try:
                while True:
                    if n_begun >= window and not under_way:
                        self._dataset.release()
                        n_begun = 0
                    while free and n_begun < window and (part := next(parts, None)) is not None:
                        n_begun += 1
                        buffer = free.pop()
                        under_way.append((self._begin(pool, *part, buffer), buffer, part[0]))
                    if not under_way:
                        return
                    futures, buffer, numbers = under_way.popleft()
                    for future in futures:
                        future.result()
                    yield from self._on_device(buffer[: len(numbers)], numbers)
                    free.append(buffer)
            finally:
                for futures, *_ in under_way:
                    for future in futures:
                        future.cancel()

    def _on_device(self, pixels: Tensor, numbers: Ints) -> Iterator[Batch]:
        """Yield one batch; end when its buffer may be refilled."""
        labels = _sent(self._labels[numbers], self._device)
        if self._device.type == "cpu":
            yield pixels, labels
            return
        there = pixels.to(self._device, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        yield there, labels
        arrived.synchronize()

    def _begin(
        self, pool: ThreadPoolExecutor, numbers: Ints, epochs: Ints, buffer: Tensor
    ) -> list[Future[None]]:
        """Start reading a batch, a share by each thread."""
        bounds = np.linspace(0, len(numbers), self._n_threads + 1).astype(int)
        return [
            pool.submit(
                _read, self._dataset, numbers[begin:end], epochs[begin:end], buffer[begin:end]
            )
            for begin, end in pairwise(bounds)
            if end > begin
        ]


Loader = MemoryLoader | StreamLoader


def load(dataset: Dataset, labels: Ints, device: torch.device, n_threads: int) -> MemoryLoader:
    """Read a dataset into the memory of the device."""
    shape = (len(dataset), *dataset.shape)
    pixels = torch.empty(shape, dtype=torch.uint8, device=device)

    def load_from(start: int) -> None:
        numbers = np.arange(start, min(start + _CHUNK, len(dataset)))
        there = pixels[start : start + len(numbers)]
        here = there if device.type == "cpu" else torch.empty(there.shape, dtype=torch.uint8)
        _read(dataset, numbers, np.zeros_like(numbers), here)
        if here is not there:
            there.copy_(here)

    window = (_MAPPED_BYTES // (math.prod(dataset.shape) * _CHUNK) + 1) * _CHUNK  # images
    with ThreadPoolExecutor(n_threads) as pool:
        for begin in range(0, len(dataset), window):
            for _ in pool.map(load_from, range(begin, min(begin + window, len(dataset)), _CHUNK)):
                pass
            dataset.release()
    return MemoryLoader(pixels, torch.from_numpy(labels).to(device))


def _sent(numbers: Ints, device: torch.device) -> Tensor:
    """Return numbers on a device, without waiting for the copy."""
    here = torch.from_numpy(numbers)
    return here if device.type == "cpu" else here.pin_memory().to(device, non_blocking=True)


def _read(dataset: Dataset, numbers: Ints, epochs: Ints, out: Tensor) -> None:
    """Write some arrays of a dataset to (B, *shape) uint8."""
    for number, epoch, pixels in zip(numbers.tolist(), epochs.tolist(), out.numpy(), strict=True):
        dataset.read(number, epoch, pixels)


def make_loader(
    dataset: Dataset, labels: Ints, device: torch.device, *, keep: Keep, n_threads: int
) -> Loader:
    """Return a loader from the memory of the device where the dataset fits, else a stream.

    `labels` (N,) int64 are the samples' outputs of the network. `keep` "memory" or "stream"
    chooses regardless of the size; a dataset with a transform is always streamed.
    """
    n_bytes = len(dataset) * math.prod(dataset.shape)
    fits = n_bytes <= _SHARE * _free_bytes(device)
    if dataset.transform is None and (keep == "memory" or (keep == "auto" and fits)):
        return load(dataset, labels, device, n_threads)
    return StreamLoader(dataset, labels, device, n_threads)


def _free_bytes(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def prepare(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return a network's input (B, 3, S, S) float32 for pixels (B, S, S, 3) uint8.

    The memory layout stays channels last, for which convolutions are quickest.
    """
    images = pixels.permute(0, 3, 1, 2).to(torch.float32)
    if (spec.low, spec.high) != (0, 255):
        images = images.mul_((spec.high - spec.low) / 255).add_(spec.low)
    return images
