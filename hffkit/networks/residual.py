"""Front ends of fixed or constrained filters, alone and before Model-base (Table VI)."""

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


# Mo, Chen and Luo (IH&MMSec 2018) have three high-pass filters; which ones is our guess.
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
    """Filters that do not learn: one map a kernel, each applied to all three channels, summed."""

    weight: Tensor

    def __init__(self, kernels: Sequence[Kernel], *, limit: float | None = None) -> None:
        """Take kernels of one odd side, (n, k, k).

        Parameters
        ----------
        kernels
            Correlated with the image, not turned; its edge is padded with zeros.
        limit
            Clamp the maps to [-limit, limit], as some ports of SRM do with 3.
        """
        super().__init__()
        planes = torch.tensor(kernels, dtype=torch.get_default_dtype())
        self.register_buffer("weight", planes.unsqueeze(1).repeat(1, 3, 1, 1))
        self._limit = limit

    def forward(self, images: Tensor) -> Tensor:
        """Return the residuals (B, n, S, S) of images (B, 3, S, S)."""
        maps = functional.conv2d(images, self.weight, padding=self.weight.shape[-1] // 2)
        return maps if self._limit is None else maps.clamp(-self._limit, self._limit)


class ResidualModelBase(ModelBase):
    """Model-base that sees the three maps of a front end."""

    def __init__(self, n_classes: int, size: int, residual: nn.Module, *, lost: int = 0) -> None:
        """Build for images of `size` px, of which `residual` returns `lost` fewer on a side."""
        super().__init__(n_classes, size - lost)
        self.residual = residual

    def front(self, images: Tensor) -> Tensor:
        """Return the residuals of the images."""
        maps: Tensor = self.residual(images)
        return maps


def handcrafted_res_model_base(n_classes: int, size: int) -> ResidualModelBase:
    """Return Hand-Crafted-Res-Model-base."""
    return ResidualModelBase(n_classes, size, FixedFilters(HAND_CRAFTED))


def srm_model_base(n_classes: int, size: int, *, limit: float | None = None) -> ResidualModelBase:
    """Return SRM-Model-base; `limit` clamps its residuals."""
    return ResidualModelBase(n_classes, size, FixedFilters(SRM, limit=limit))


def constrained_conv_model_base(n_classes: int, size: int) -> ResidualModelBase:
    """Return Constrained-Conv-Model-base, projected; its maps are 4 px smaller than the images."""
    residual = ConstrainedConv2d(3, 3)
    xavier_(residual)
    project(residual)
    return ResidualModelBase(n_classes, size, residual, lost=4)
