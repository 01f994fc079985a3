"""The table of networks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hffkit.errors import ArgumentError
from hffkit.networks import residual
from hffkit.networks.amten import AmtenNet, ModelBase
from hffkit.networks.caffe import average_pool
from hffkit.networks.densenet import DenseNet121
from hffkit.networks.efficientnet import EfficientNetB0
from hffkit.networks.handcrafted import HandCraftedRes
from hffkit.networks.meso import Meso4, MesoInception4
from hffkit.networks.mislnet import MislNet
from hffkit.networks.mml import HighQuality, Mml
from hffkit.networks.names import canonical_name
from hffkit.networks.resnet import ResNet18
from hffkit.networks.spec import (
    BGR_255,
    BGR_UNIT,
    RGB_255,
    RGB_SIGNED,
    RGB_UNIT,
    HighQualityHead,
    NetworkSpec,
    Pretrained,
)
from hffkit.networks.vgg import Vgg11Bn
from hffkit.networks.xception import Xception

_GUO = "Guo et al., arXiv 2005.04945"
_MESO = "Afchar et al., arXiv 1809.00888; DariusAf/MesoNet classifiers.py"
_BLOCKS = ("relu4", "relu5", "relu6", "relu7")
_TRACES = ("F_mt", "F_reu")
_RESIDUAL = ("residual", *_BLOCKS)
_MESO_BLOCKS = ("block1", "block2", "block3", "block4")
_MML = ("lq_head.relu2", "lq_head.block3", "lq_head.block7", "tail.block12", "tail.relu4")
_MML_HIGH = tuple(f"net.{name.replace('lq_head', 'hq_head')}" for name in _MML)


def _guo(
    build: Callable[[int, int], nn.Module], where: str, layers: tuple[str, ...]
) -> NetworkSpec:
    return NetworkSpec(build, BGR_255, 128, f"{_GUO}, {where}", layers)


def _amten(build: Callable[[int, int], nn.Module], where: str) -> NetworkSpec:
    return replace(_guo(build, where, (*_TRACES, *_BLOCKS)), traces=_TRACES)


def _parts(build: Callable[[int, int], nn.Module], source: str, layers: str) -> NetworkSpec:
    # minsuksung's study of facial parts reads its images as BGR and scales them to 0..1.
    source = f"{source}; facial parts study: BGR, not normalised"
    return NetworkSpec(build, BGR_UNIT, 224, source, tuple(layers.split()))


NETWORKS: Mapping[str, NetworkSpec] = {
    "amtennet": _amten(AmtenNet, "Table I; AMTENnet.prototxt"),
    "amtennet-freu15": _amten(partial(AmtenNet, reuse=2), "Table I with F_reu of Eq. 9"),
    "amten-1": _amten(partial(AmtenNet, trace="image"), "Table VI: the image for F_mt, no Conv1"),
    "amten-1b": _amten(partial(AmtenNet, trace="prediction"), "Table VI: Conv1 for F_mt"),
    "amten-2": _amten(partial(AmtenNet, reuse=0), "Table VI: F_mt not reused"),
    "amten-3": _amten(partial(AmtenNet, n_kernels=3), "Table VI: 3 kernels in Conv4 and Conv5"),
    "amten-4": _amten(partial(AmtenNet, n_kernels=12), "Table VI: 12 kernels in Conv4 and Conv5"),
    "amten-5": _amten(partial(AmtenNet, kernel=5), "Table VI: Conv1 of 5x5"),
    "amten-6": _amten(partial(AmtenNet, is_deep=False), "Table VI: no Conv3, no Conv5"),
    "amtennet-7": _amten(partial(AmtenNet, pool=average_pool), "Table VI: average pooling"),
    "amtennet-8": _amten(partial(AmtenNet, last_kernel=3), "Table VI: Conv9 of 3x3"),
    "amtennet-8-padded": _amten(
        partial(AmtenNet, last_kernel=3, last_padding=1), "Table VI: Conv9 of 3x3, padded"
    ),
    "model-base": _guo(ModelBase, "Table VI: no AMTEN", _BLOCKS),
    "handcrafted-res-model-base": replace(
        _guo(
            partial(residual.filtered_model_base, kernels=residual.HAND_CRAFTED),
            "Table VI: three fixed filters for AMTEN, not listed in the paper",
            _RESIDUAL,
        ),
        is_approximate=True,
    ),
    "constrained-conv-model-base": _guo(
        residual.constrained_conv_model_base, "Table VI: MISLnet's first layer for AMTEN", _RESIDUAL
    ),
    "srm-model-base": _guo(
        partial(residual.filtered_model_base, kernels=residual.SRM),
        "Table VI: SRM (Zhou et al., CVPR 2018) for AMTEN",
        _RESIDUAL,
    ),
    "meso4": NetworkSpec(Meso4, RGB_UNIT, 256, _MESO, _MESO_BLOCKS),
    "mesoinception4": NetworkSpec(MesoInception4, RGB_UNIT, 256, _MESO, _MESO_BLOCKS),
    "handcrafted-res": NetworkSpec(
        HandCraftedRes,
        RGB_255,
        128,
        "Mo et al., IH&MMSec 2018; its layer table is not public",
        ("residual", "groups.0", "groups.1", "groups.2"),
        is_approximate=True,
    ),
    "mislnet": NetworkSpec(
        MislNet,
        BGR_255,
        128,
        "Bayar and Stamm, TIFS 2018; its Caffe scripts; 128 px BGR as Guo",
        ("convF", "pool1", "pool2", "pool3", "pool4"),
    ),
    "xception": NetworkSpec(
        Xception,
        RGB_SIGNED,
        299,
        "Chollet, arXiv 1610.02357; ondyari/FaceForensics network",
        ("relu2", "block3", "block11", "block12", "relu4"),
    ),
    "mml": NetworkSpec(
        Mml,
        RGB_SIGNED,
        299,
        "Cao et al., MM 2021; qinnzou/detect-fake-image",
        _MML,
        attention_map=lambda net, images: net.attention_map(images),
        high_quality=HighQualityHead(HighQuality, _MML_HIGH),
        pretrained=Pretrained("xception", ("hq_head", "lq_head", "tail")),
        ranks_by_logits=True,
    ),
    "resnet18": _parts(
        ResNet18, "He et al., arXiv 1512.03385", "conv1 layer1 layer2 layer3 layer4"
    ),
    "vgg11-bn": _parts(
        Vgg11Bn,
        "Simonyan and Zisserman, arXiv 1409.1556",
        "features.3 features.7 features.14 features.21 features.28",
    ),
    "densenet121": _parts(
        DenseNet121,
        "Huang et al., arXiv 1608.06993",
        "features.denseblock1 features.denseblock2 features.denseblock3 features",
    ),
    "efficientnet-b0": _parts(
        EfficientNetB0,
        "Tan and Le, arXiv 1905.11946",
        "features.2 features.3 features.5 features.7 features.8",
    ),
}


def network_named(name: str) -> NetworkSpec:
    """Return the row of a network; `canonical_name` has the spellings and the error."""
    return NETWORKS[canonical_name(name)]


def build(name: str, n_classes: int, size: int | None = None) -> nn.Module:
    """Return a network with `n_classes` logits and random weights from PyTorch's generator.

    `canonical_name` has the spellings of `name`. `size` is the side of the images in px, by
    default the original's.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    ArgumentError
        If the network cannot take images of that size, or that number of classes.
    """
    spec = network_named(name)
    size = spec.size if size is None else size
    if size < 1:
        raise ArgumentError(f"size must be 1 px or more, got {size}.")
    try:
        return spec.build(n_classes, size)
    except ValueError as error:
        raise ArgumentError(
            f"{canonical_name(name)} cannot take images of {size} px: {error}. "
            f"Use larger ones; the original has {spec.size} px."
        ) from error


class _WithoutDraws(TorchFunctionMode):
    """Leaves new tensors as they are where random numbers would be drawn."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        known = kwargs or {}
        if func.__name__.endswith(("uniform_", "normal_")):
            return args[0] if args else known["tensor"]
        return func(*args, **known)


def build_blank(name: str, n_classes: int, size: int | None = None) -> nn.Module:
    """Return a network as `build` does, but with arbitrary weights.

    It is for weights that are loaded, and for shapes on the meta device: to draw random weights
    takes seconds for large networks.
    """
    with _WithoutDraws():
        return build(name, n_classes, size)


def head_of(net: nn.Module) -> str:
    """Return the name of the last fully connected layer, or "" without one."""
    names: list[str] = [n for n, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1] if names else ""


def parameter_count(spec: NetworkSpec, n_classes: int = 2) -> int:
    """Return the number of parameters of a network for images of its original's size."""
    with torch.device("meta"), _WithoutDraws():
        return sum(p.numel() for p in spec.build(n_classes, spec.size).parameters())
