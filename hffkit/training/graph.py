"""The training step as one CUDA graph: launching its hundred kernels costs more than they do."""

import torch
from torch import Tensor

from hffkit.networks.caffe import BatchNorm
from hffkit.training.trainer import Trainer

_WARM_UPS = 3  # what PyTorch asks for before a capture


class CapturedStep:
    """A trainer's step, captured once and replayed; the same arithmetic as Trainer.step."""

    def __init__(self, trainer: Trainer) -> None:
        """Capture the update; the trainer is left as it was.

        Captured kernels read and write fixed places, so all state is restored in place.
        """
        self._trainer = trainer
        n, device = trainer.recipe.batch_size, trainer.device
        shape = (n, *trainer.objective.shape)
        self._pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._labels = torch.zeros(n, dtype=torch.int64, device=device)
        before = {name: value.clone() for name, value in trainer.state().items()}
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                trainer.update(self._pixels, self._labels)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = trainer.update(self._pixels, self._labels)
        for name, value in trainer.state().items():  # Adam has no state before its first step
            if name in before:
                value.copy_(before[name])
            else:
                value.zero_()
        for layer in trainer.net.modules():
            if isinstance(layer, BatchNorm):
                layer.batch_mean.zero_()
                layer.batch_var.zero_()

    def __call__(self, pixels: Tensor, labels: Tensor) -> None:
        """Do one update, as Trainer.step does."""
        trainer = self._trainer
        self._pixels.copy_(pixels)
        self._labels.copy_(labels)
        trainer.begin_step()
        self._graph.replay()
        trainer.losses[trainer.iteration % len(trainer.losses)] = self._loss
        trainer.iteration += 1
