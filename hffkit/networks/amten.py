"""AMTENnet (arXiv 2005.04945, Table I) and its variants (Table VI), layer for layer as in Caffe.

Layers have the names of the authors' prototxt, so that weights can be exchanged by name. Inputs
are (B, 3, S, S) float32, BGR, 0 to 255, without mean or scale; outputs are (B, n_classes) logits.
AMTEN has no nonlinearity, the three fully connected layers none between them; there is no dropout.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from hffkit.networks.caffe import BatchNorm, Scale, in_float32, max_pool, xavier_

Trace = Literal["residual", "image", "prediction"]


class ModelBase(nn.Module):
    """Hierarchical feature extraction of AMTENnet; on its own, with 3 channels, Model-base.

    Each block pools, then applies ReLU, then normalises, but for the last, which does not.
    """

    def __init__(
        self,
        n_classes: int,
        size: int,
        *,
        channels: int = 3,
        pool: Callable[[], nn.Module] = max_pool,
        last_kernel: int = 1,
        last_padding: int = 0,
    ) -> None:
        """Build for a front end with `channels` maps of `size` px.

        Parameters
        ----------
        pool
            Pooling of all four blocks; average in AMTENnet_7.
        last_kernel, last_padding
            Of conv7; the kernel is 3 in AMTENnet_8.
        """
        super().__init__()
        maps = (channels, 24, 48, 64, 128)
        kernels = (3, 3, 3, last_kernel)
        paddings = (1, 0, 0, last_padding)
        for i, number in enumerate((4, 5, 6, 7)):
            conv = nn.Conv2d(maps[i], maps[i + 1], kernels[i], padding=paddings[i])
            self.add_module(f"conv{number}", conv)
            self.add_module(f"pool{number}", pool())
            self.add_module(f"relu{number}", nn.ReLU())
            size = pooled_side(size + 2 * paddings[i] - kernels[i] + 1)
            if number < 7:
                self.add_module(f"conv{number}/bn", BatchNorm(maps[i + 1]))
                self.add_module(f"scale{number}", Scale(maps[i + 1]))
        if size < 1:
            raise ValueError("they are too small for its four poolings")
        self.fc_net_0 = nn.Linear(128 * size * size, 300)
        self.fc_net_1 = nn.Linear(300, 300)
        self.fc_net_2 = nn.Linear(300, n_classes)
        xavier_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S)."""
        x = self.front(images)
        for number in (4, 5, 6, 7):
            x = self.get_submodule(f"conv{number}")(x)
            x = self.get_submodule(f"pool{number}")(x)
            x = self.get_submodule(f"relu{number}")(x)
            if number < 7:
                x = self.get_submodule(f"conv{number}/bn")(x)
                x = self.get_submodule(f"scale{number}")(x)
        x = self.fc_net_0(x.flatten(1))  # in the order channel, row, column, as Caffe's
        x = self.fc_net_1(x)
        logits: Tensor = self.fc_net_2(x)
        return logits

    def front(self, images: Tensor) -> Tensor:
        """Return the input of the first block: the images."""
        return images


class AmtenNet(ModelBase):
    """AMTENnet, the adaptive manipulation traces extraction network before Model-base.

    Parameters
    ----------
    n_classes, size, pool, last_kernel, last_padding
        See ModelBase.
    trace
        F_mt: conv1(x) - x; or the image itself, without conv1 (AMTEN_1); or conv1(x).
    kernel
        Of conv1; 5 in AMTEN_5.
    n_kernels
        Of conv3_1 and conv3_2, the second stage; 3 in AMTEN_3, 12 in AMTEN_4.
    reuse
        Number of times that F_mt is reused at the end: 1 as in the prototxt (12 channels), 2 as
        in Eq. 9 of the paper (15), 0 not even before the second stage (AMTEN_2).
    is_deep
        False for one convolution per stage (AMTEN_6).
    """

    def __init__(  # noqa: PLR0913  (one for each change of Table VI)
        self,
        n_classes: int,
        size: int,
        *,
        trace: Trace = "residual",
        kernel: int = 3,
        n_kernels: int = 6,
        reuse: Literal[0, 1, 2] = 1,
        is_deep: bool = True,
        pool: Callable[[], nn.Module] = max_pool,
        last_kernel: int = 1,
        last_padding: int = 0,
    ) -> None:
        """Build AMTENnet, or a variant of Table VI."""
        channels = {0: n_kernels, 1: n_kernels + 6, 2: n_kernels + 9}[reuse]
        super().__init__(
            n_classes, size, channels=channels, pool=pool,
            last_kernel=last_kernel, last_padding=last_padding,
        )  # fmt: skip
        self._trace, self._reuse, self._is_deep = trace, reuse, is_deep
        if trace != "image":
            self.conv1 = nn.Conv2d(3, 3, kernel, padding=kernel // 2)
        self.conv2_1 = nn.Conv2d(3, 3, 3, padding=1)
        if is_deep:
            self.conv2_2 = nn.Conv2d(3, 3, 3, padding=1)
        self.conv3_1 = nn.Conv2d(6 if reuse else 3, n_kernels, 3, padding=1)
        if is_deep:
            self.conv3_2 = nn.Conv2d(n_kernels, n_kernels, 3, padding=1)
        self.F_mt = nn.Identity()  # gives these maps the names of the paper's Fig. 3
        self.F_reu = nn.Identity()
        xavier_(self)
        if trace != "image":
            self.get_parameter("conv1.bias").requires_grad = False  # lr_mult and decay_mult are 0

    def traces(self, images: Tensor) -> Tensor:
        """Return F_mt (B, 3, S, S): the blob `diff`, the prediction of conv1 minus the image."""
        if self._trace == "image":
            return images
        # bfloat16 rounds levels near 255 to integers, an error as large as the traces.
        with in_float32(images):
            predicted: Tensor = self.conv1(images)
            return predicted - images if self._trace == "residual" else predicted

    def front(self, images: Tensor) -> Tensor:
        """Return F_reu, the blob `concat_2_diff`: (B, 12, S, S)."""
        traces: Tensor = self.F_mt(self.traces(images))
        x: Tensor = self.conv2_1(traces)
        if self._is_deep:
            x = self.conv2_2(x)
        traces = traces.to(x.dtype)
        first = torch.cat((x, traces), 1) if self._reuse else x
        x = self.conv3_1(first)
        if self._is_deep:
            x = self.conv3_2(x)
        if self._reuse:
            x = torch.cat((x, first) if self._reuse == 1 else (x, traces, first), 1)
        reused: Tensor = self.F_reu(x)
        return reused


def pooled_side(side: int) -> int:
    """Return the side after pooling 3x3 with stride 2, rounded up."""
    return -(-(side - 3) // 2) + 1
