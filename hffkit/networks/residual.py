"""Front ends of fixed or constrained filters, and Model-base with each (Table VI)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.networks.amten import ModelBase
from hffkit.networks.caffe import xavier_
from hffkit.networks.constraint import ConstrainedConv2d, project

Kernel = tuple[tuple[float, ...], ...]  # rows of a square of odd side


def _divided(by: float, *rows: Sequence[float]) -> Kernel:
    return tuple(tuple(value / by for value in row) for row in rows)


# Mo, Chen and Luo (IH&MMSec 2018) use three high-pass filters, but do not list them: a guess.
HAND_CRAFTED: tuple[Kernel, ...] = (
    _divided(1, (0, 0, 0), (0, -1, 1), (0, 0, 0)),
    _divided(1, (0, 0, 0), (0, -1, 0), (0, 1, 0)),
    _divided(4, (-1, 2, -1), (2, -4, 2), (-1, 2, -1)),
)
# Zhou et al. (CVPR 2018): KB, KV, and the second order along the rows.
SRM: tuple[Kernel, ...] = (
    _divided(4, (0,) * 5, (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0,) * 5),
    _divided(
        12,
        (-1, 2, -2, 2, -1),
        (2, -6, 8, -6, 2),
        (-2, 8, -12, 8, -2),
        (2, -6, 8, -6, 2),
        (-1, 2, -2, 2, -1),
    ),
    _divided(2, (0,) * 5, (0,) * 5, (0, 1, -2, 1, 0), (0,) * 5, (0,) * 5),
)


class FixedFilters(nn.Module):
    """Filters that are not trained: one map per kernel, summed over the three channels."""

    weight: Tensor

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        """Take kernels (n, k, k) of an odd side, to correlate with the zero-padded image."""
        super().__init__()
        planes = torch.tensor(kernels, dtype=torch.get_default_dtype())
        self.register_buffer("weight", planes.unsqueeze(1).repeat(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the residuals (B, n, S, S) of images (B, 3, S, S)."""
        return functional.conv2d(images, self.weight, padding=self.weight.shape[-1] // 2)


class ResidualModelBase(ModelBase):
    """Model-base on the three maps of a front end."""

    def __init__(self, n_classes: int, size: int, residual: nn.Module, *, lost: int = 0) -> None:
        """Build for images of `size` px and a front end whose maps are `lost` px smaller."""
        super().__init__(n_classes, size - lost)
        self.residual = residual

    def front(self, images: Tensor) -> Tensor:
        """Return the residuals of the images."""
        maps: Tensor = self.residual(images)
        return maps


def filtered_model_base(
    n_classes: int, size: int, *, kernels: Sequence[Kernel]
) -> ResidualModelBase:
    """Return Hand-Crafted-Res-Model-base or SRM-Model-base, by the kernels."""
    return ResidualModelBase(n_classes, size, FixedFilters(kernels))


def constrained_conv_model_base(n_classes: int, size: int) -> ResidualModelBase:
    """Return Constrained-Conv-Model-base, projected; its maps are 4 px smaller than the images."""
    residual = ConstrainedConv2d(3, 3)
    xavier_(residual)
    project(residual)
    return ResidualModelBase(n_classes, size, residual, lost=4)
