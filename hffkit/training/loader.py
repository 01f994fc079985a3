"""Batches of pixels on a device: from memory where the images fit, else from a stream.

Pixels stay uint8 until the step casts them, and move as little as possible: resident images are
loaded once and gathered where the network is.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from hffkit.arrays import Ints
from hffkit.networks.spec import InputSpec
from hffkit.training.dataset import Pixels
from hffkit.training.sampler import Order

Keep = Literal["auto", "memory", "stream"]
Batch = tuple[Tensor, Tensor]
"""Pixels (B, *shape) uint8 and labels (B,) int64, on the device; good until the next batch."""

_CHUNK = 256  # images that one thread loads at a time
_MAPPED_BYTES = 1 << 27  # of databases, read before they are let go
_AHEAD = 2  # batches read while one is used
_SHARE = 0.6  # of free memory that images may take


class ImageDataset(Protocol):
    """What a feed reads, number by number: images as Faces has them, or Pairs of such."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one: (S, S, 3) of an image."""

    @property
    def transform(self) -> object | None:
        """What is done anew to each of them in each epoch."""

    def __len__(self) -> int: ...

    def read(self, number: int, epoch: int, out: Pixels) -> None:
        """Write the bytes of one to `out`."""

    def release(self) -> None:
        """Let go of what was opened; reading opens it again."""


class Feed(Protocol):
    """Gives the batches of an order, from any iteration on."""

    def batches(self, order: Order, start: int) -> Iterator[Batch]:
        """Yield the batches of iterations `start`, `start` + 1, ... without end."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order; the last batch may be smaller."""


class Resident:
    """All images in the memory of the device."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """Take pixels (N, *shape) uint8 and labels (N,) int64 on one device."""
        self._pixels, self._labels = pixels, labels

    def batches(self, order: Order, start: int) -> Iterator[Batch]:
        """Yield the batches of iterations `start`, `start` + 1, ... without end."""
        buffer = torch.empty(
            (order.batch_size, *self._pixels.shape[1:]),
            dtype=torch.uint8,
            device=self._pixels.device,
        )
        iteration = start
        while True:
            numbers = _sent(order.batch(iteration)[0], self._pixels.device)
            torch.index_select(self._pixels, 0, numbers, out=buffer)
            yield buffer, self._labels[numbers]
            iteration += 1

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order."""
        pixels, labels = (torch.split(held, batch_size) for held in (self._pixels, self._labels))
        yield from zip(pixels, labels, strict=True)


class Streaming:
    """Images read again whenever they are needed, by threads, a few batches ahead."""

    def __init__(
        self, pictures: ImageDataset, labels: Ints, device: torch.device, n_threads: int
    ) -> None:
        """Read nothing yet."""
        self._images, self._labels, self._device = pictures, labels, device
        self._n_threads = n_threads

    def batches(self, order: Order, start: int) -> Iterator[Batch]:
        """Yield the batches of iterations `start`, `start` + 1, ... without end."""

        def numbers() -> Iterator[tuple[Ints, Ints | None]]:
            iteration = start
            while True:
                yield order.batch(iteration)
                iteration += 1

        yield from self._stream(numbers(), order.batch_size)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield every sample once, in order."""
        n = len(self._images)
        parts: Iterator[tuple[Ints, Ints | None]] = (
            (np.arange(start, min(start + batch_size, n)), None)
            for start in range(0, n, batch_size)
        )
        yield from self._stream(parts, batch_size)

    def _stream(
        self, parts: Iterator[tuple[Ints, Ints | None]], batch_size: int
    ) -> Iterator[Batch]:
        """Yield batches; each buffer is filled anew only after what read it has ended."""
        shape = (batch_size, *self._images.shape)
        is_cuda = self._device.type == "cuda"
        free = [
            torch.empty(shape, dtype=torch.uint8, pin_memory=is_cuda) for _ in range(_AHEAD + 1)
        ]
        under_way: deque[tuple[list[Future[None]], Tensor, Tensor, Ints]] = deque()
        n_begun, window = 0, _MAPPED_BYTES // free[0].numel() + 1  # batches
        with ThreadPoolExecutor(self._n_threads) as pool:
            try:
                while True:
                    if n_begun >= window and not under_way:
                        self._images.release()
                        n_begun = 0
                    while free and n_begun < window and (part := next(parts, None)) is not None:
                        n_begun += 1
                        numbers, epochs = part
                        buffer = free.pop()
                        futures = self._begin(pool, numbers, epochs, buffer)
                        under_way.append((futures, buffer, buffer[: len(numbers)], numbers))
                    if not under_way:
                        return
                    futures, buffer, pixels, numbers = under_way.popleft()
                    for future in futures:
                        future.result()
                    yield from self._handed(pixels, numbers)
                    free.append(buffer)
            finally:
                for futures, *_ in under_way:
                    for future in futures:
                        future.cancel()

    def _handed(self, pixels: Tensor, numbers: Ints) -> Iterator[Batch]:
        """Yield one batch, and end when its buffer may be filled anew."""
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
        self,
        pool: ThreadPoolExecutor,
        numbers: Ints,
        epochs: Ints | None,
        buffer: Tensor,
    ) -> list[Future[None]]:
        """Let every thread read its share of a batch."""
        bounds = np.linspace(0, len(numbers), self._n_threads + 1).astype(int)
        return [
            pool.submit(
                read,
                self._images,
                numbers[begin:end],
                None if epochs is None else epochs[begin:end],
                buffer[begin:end],
            )
            for begin, end in pairwise(bounds)
            if end > begin
        ]


def load(pictures: ImageDataset, labels: Ints, device: torch.device, n_threads: int) -> Resident:
    """Return all images in the memory of the device, read once."""
    shape = (len(pictures), *pictures.shape)
    pixels = torch.empty(shape, dtype=torch.uint8, device=device)

    def load_from(start: int) -> None:
        numbers = np.arange(start, min(start + _CHUNK, len(pictures)))
        there = pixels[start : start + len(numbers)]
        here = there if device.type == "cpu" else torch.empty(there.shape, dtype=torch.uint8)
        read(pictures, numbers, None, here)
        if here is not there:
            there.copy_(here)

    window = (_MAPPED_BYTES // (math.prod(pictures.shape) * _CHUNK) + 1) * _CHUNK  # images
    with ThreadPoolExecutor(n_threads) as pool:
        for begin in range(0, len(pictures), window):
            for _ in pool.map(load_from, range(begin, min(begin + window, len(pictures)), _CHUNK)):
                pass
            pictures.release()
    return Resident(pixels, torch.from_numpy(labels).to(device))


def _sent(numbers: Ints, device: torch.device) -> Tensor:
    """Return numbers on a device; nobody waits for them to arrive there."""
    here = torch.from_numpy(numbers)
    return here if device.type == "cpu" else here.pin_memory().to(device, non_blocking=True)


def read(pictures: ImageDataset, numbers: Ints, epochs: Ints | None, out: Tensor) -> None:
    """Write the pixels of some samples to (B, *shape) uint8."""
    pixels = out.numpy()
    for place, number in enumerate(numbers.tolist()):
        pictures.read(number, 0 if epochs is None else int(epochs[place]), pixels[place])


def feed_of(
    pictures: ImageDataset, labels: Ints, device: torch.device, *, keep: Keep, n_threads: int
) -> Feed:
    """Return the images in the memory of the device where they fit, else as a stream.

    Parameters
    ----------
    labels : (N,) int64
        Of the samples: outputs of the network.
    keep
        "memory" or "stream" whatever fits; with a transform they always stream.
    """
    n_bytes = len(pictures) * math.prod(pictures.shape)
    fits = n_bytes <= _SHARE * free_bytes(device)
    if pictures.transform is None and (keep == "memory" or (keep == "auto" and fits)):
        return load(pictures, labels, device, n_threads)
    return Streaming(pictures, labels, device, n_threads)


def free_bytes(device: torch.device) -> int:
    """Return how much memory of a device is free, as far as the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [1 << 32]  # where the system tells nothing
    meminfo, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if meminfo.is_file():
        rows = (line.split() for line in meminfo.read_text("ascii").splitlines())
        known = [int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:"] or known
    with suppress(OSError, ValueError):  # a container's limit; "max" is none
        limit = int((group / "memory.max").read_text("ascii"))
        known.append(limit - int((group / "memory.current").read_text("ascii")))
    return max(0, min(known))


def prepare(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Return a network's images (B, 3, S, S) float32 of pixels (B, S, S, 3) uint8.

    They stay in memory as they are, colours last, which is what convolutions are quickest with.
    """
    images = pixels.permute(0, 3, 1, 2).to(torch.float32)
    if (spec.low, spec.high) != (0, 255):
        images = images.mul_((spec.high - spec.low) / 255).add_(spec.low)
    return images
