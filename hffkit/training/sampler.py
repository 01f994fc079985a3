"""Batch order as a function of the iteration; checkpoints need not store it."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hffkit.arrays import Ints
from hffkit.manifest.seeds import rng_for


@dataclass(slots=True)
class BatchSampler:
    """Endless sequence of sample numbers, cut into batches that may span the end of an epoch."""

    n_samples: int
    batch_size: int
    order: Literal["shuffled", "caffe"]
    seed: int
    _epoch: int = field(default=-1, init=False)
    _permutation: Ints = field(default_factory=lambda: np.empty(0, np.int64), init=False)

    def batch(self, iteration: int) -> tuple[Ints, Ints]:
        """Return the sample numbers of a batch and the epochs they fall in, (B,) each."""
        places = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        epochs, numbers = np.divmod(places, self.n_samples)
        if self.order == "shuffled":
            for epoch in np.unique(epochs):
                is_now = epochs == epoch
                numbers[is_now] = self._permuted(int(epoch))[numbers[is_now]]
        return numbers, epochs

    def _permuted(self, epoch: int) -> Ints:
        if epoch != self._epoch:
            rng = rng_for(self.seed, "order", str(epoch))
            self._epoch, self._permutation = epoch, rng.permutation(self.n_samples)
        return self._permutation
