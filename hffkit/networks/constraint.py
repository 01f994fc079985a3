"""Bayar and Stamm's convolution, whose weights meet a constraint after every update."""

import torch
from torch import nn

_GUARD = 1e-7


class ConstrainedConv2d(nn.Conv2d):
    """A convolution that predicts a pixel from its neighbours and subtracts it (TIFS 2018).

    After `project`, in each plane (filter, input channel) the centre is -1 and the rest sums
    to 1. The bias is frozen at 0; there is no padding, so the maps are kernel - 1 px smaller.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 5) -> None:
        """Start as any nn.Conv2d, without meeting the constraint: initialise it, then project."""
        super().__init__(in_channels, out_channels, kernel, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels), requires_grad=False)

    @torch.no_grad()
    def project(self) -> None:
        """Divide each plane but its centre by its sum; set the centre to -1 and the bias to 0.

        The planes are scaled by 10,000 first, as in the authors' script. If the sum is then below
        1e-7 in magnitude, the quotient is meaningless: such a plane moves to the nearest one that
        sums to 1, by adding one number to every weight but the centre.
        """
        middle = self.kernel_size[0] // 2
        self.weight[:, :, middle, middle] = 0
        scaled = self.weight * 10_000
        sums = scaled.sum((2, 3), keepdim=True)
        n_rest = self.weight[0, 0].numel() - 1
        nearest = self.weight + (1 - self.weight.sum((2, 3), keepdim=True)) / n_rest
        self.weight.copy_(torch.where(sums.abs() < _GUARD, nearest, scaled / sums))
        self.weight[:, :, middle, middle] = -1
        nn.init.zeros_(self.bias)


def project(net: nn.Module) -> None:
    """Project every constrained convolution of `net`, or `net` itself, after an update."""
    for module in net.modules():
        if isinstance(module, ConstrainedConv2d):
            module.project()
