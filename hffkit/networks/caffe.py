"""Layers of Caffe that PyTorch lacks or implements differently."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-5  # defaults of Caffe's BatchNorm layer
_FRACTION = 0.999


class BatchNorm(nn.Module):
    """Caffe's BatchNorm layer: normalises (B, C, H, W), without weight and bias.

    Caffe stores sums S and a scale s, all 0 at first. A training step does s <- f s + 1 and
    S <- f S + batch statistic, with the fraction f (0.999); inference uses S/s, an average
    corrected for its start. The stored variance is the unbiased one; the batch is normalised by
    the biased one. This layer stores the quotients, which is equivalent:
    running += (batch - running) / s.
    """

    running_mean: Tensor
    running_var: Tensor
    scale_factor: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def __init__(self, channels: int) -> None:
        """Start with statistics of 0."""
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.zeros(channels))
        self.register_buffer("scale_factor", torch.zeros(()))
        self.register_buffer("batch_mean", torch.zeros(channels), persistent=False)
        self.register_buffer("batch_var", torch.zeros(channels), persistent=False)
        self.fraction = _FRACTION
        self.keeps_statistics = True  # only the first of Caffe's GPUs updates them

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` by its own statistics in training, else by the running ones."""
        if not self.training:
            return functional.batch_norm(x, self.running_mean, self.running_var, eps=_EPS)
        # With momentum 1 these become the batch's mean and unbiased variance.
        y = functional.batch_norm(
            x, self.batch_mean, self.batch_var, training=True, momentum=1.0, eps=_EPS
        )
        if self.keeps_statistics:
            with torch.no_grad():
                self.scale_factor.mul_(self.fraction).add_(1)
                share = 1 / self.scale_factor
                self.running_mean.lerp_(self.batch_mean, share)
                self.running_var.lerp_(self.batch_var, share)
        return y


class Scale(nn.Module):
    """Caffe's Scale layer: each channel times a weight, plus a bias."""

    def __init__(self, channels: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) scaled and shifted."""
        shape = (1, -1, 1, 1)
        return torch.addcmul(self.bias.view(shape), x, self.weight.view(shape))


@torch.no_grad()
def xavier_(module: nn.Module, *, biases: Mapping[str, float] | None = None) -> None:
    """Initialise every convolution and fully connected layer as Caffe's xavier filler does.

    Weights are uniform in [-a, a] with a = sqrt(3 / fan_in), drawn in the order of the layers;
    biases are 0, or the value in `biases` for a layer's name.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
            if layer.bias is not None:
                nn.init.constant_(layer.bias, (biases or {}).get(name, 0.0))


# Poolings of the AMTENnet family: sizes are rounded up, and average windows cut at the edge.
max_pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
average_pool = partial(nn.AvgPool2d, 3, 2, ceil_mode=True)


def in_float32(x: Tensor) -> AbstractContextManager[None]:
    """Return a context without autocast on the device of `x`."""
    if x.device.type == "meta":  # has no autocast
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
