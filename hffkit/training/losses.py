"""Training losses and validation metrics."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.networks.spec import InputSpec
from hffkit.training.loader import Batch, prepare
from hffkit.training.recipe import TrainRecipe


class ClassificationLoss:
    """Training loss of the logits for images (S, S, 3), and metrics of validation."""

    def __init__(self, net: nn.Module, recipe: TrainRecipe, spec: InputSpec) -> None:
        """Take the network to train."""
        self._net, self._recipe, self._spec = net, recipe, spec
        self.shape: tuple[int, ...] = (recipe.size, recipe.size, 3)

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss () of images (B, S, S, 3) uint8 with labels (B,) int64.

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
        logits, labels = logits_of(self._net, batches, self._spec)
        return {
            "val_loss": float(functional.cross_entropy(logits.double(), labels)),
            "val_accuracy": float((logits.argmax(1) == labels).double().mean()),
        }


def autocast(device: torch.device, recipe: TrainRecipe) -> Any:
    """Return the context in which a network runs: bfloat16 if the recipe's precision is bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


@torch.inference_mode()
def logits_of(net: nn.Module, batches: Iterator[Batch], spec: InputSpec) -> tuple[Tensor, Tensor]:
    """Return the logits (N, C) float32 and labels (N,) of all images of batches, on the CPU.

    The logits are computed in float32, whatever the precision of the training.
    """
    net.eval()
    found = [(net(prepare(pixels, spec)).float(), labels) for pixels, labels in batches]
    logits, labels = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return logits, labels
