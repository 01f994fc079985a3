"""Training losses and validation metrics."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.networks.spec import InputSpec
from hffkit.training.loader import Batch, prepare
from hffkit.training.recipe import TrainRecipe


class Loss(Protocol):
    """Training loss of a network, and its validation."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one array in the batches."""

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the loss () of a batch: pixels (B, *shape) uint8, labels (B,) int64."""

    def validate(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Return val_loss, val_accuracy and possibly other metrics over all batches of a split."""


class ClassificationLoss:
    """Loss of the logits for images (S, S, 3)."""

    def __init__(self, net: nn.Module, recipe: TrainRecipe, spec: InputSpec) -> None:
        """Take the network to train."""
        self._net, self._recipe, self._spec = net, recipe, spec
        self.shape: tuple[int, ...] = (recipe.size, recipe.size, 3)

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss () of a batch.

        "squared-error" is Keras's: of the softmax against one-hot labels, over images and
        classes.
        """
        with autocast(pixels.device, self._recipe):
            logits = self._net(prepare(pixels, self._spec)).float()
        if self._recipe.loss == "cross-entropy":
            return functional.cross_entropy(logits, labels)
        wanted = functional.one_hot(labels, logits.shape[1]).float()
        return functional.mse_loss(logits.softmax(1), wanted)

    def validate(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Return the mean cross-entropy and the accuracy over the classes."""
        labels = []

        def remembered() -> Iterator[Batch]:
            for pixels, truth in batches:
                labels.append(truth.cpu())
                yield pixels, truth

        logits = logits_of(self._net, remembered(), self._spec).double()
        truth = torch.cat(labels)
        return {
            "val_loss": float(functional.cross_entropy(logits, truth)),
            "val_accuracy": float((logits.argmax(1) == truth).double().mean()),
        }


def autocast(device: torch.device, recipe: TrainRecipe) -> Any:
    """Return the context in which a network runs: bfloat16 if the recipe's precision is bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


@torch.inference_mode()
def logits_of(net: nn.Module, batches: Iterator[Batch], spec: InputSpec) -> Tensor:
    """Return the logits (N, C) float32 of all images of some batches, on the CPU.

    They are computed in float32, whatever the precision of the training.
    """
    net.eval()
    return torch.cat([net(prepare(pixels, spec)).float() for pixels, _ in batches]).cpu()
