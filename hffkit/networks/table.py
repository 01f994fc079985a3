"""The table of networks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from hffkit.errors import ArgumentError, UnknownNameError
from hffkit.networks import residual
from hffkit.networks.amten import AmtenNet, ModelBase
from hffkit.networks.caffe import average_pool
from hffkit.networks.densenet import DenseNet121
from hffkit.networks.efficientnet import EfficientNetB0
from hffkit.networks.handcrafted import HandCraftedRes
from hffkit.networks.meso import Meso4, MesoInception4
from hffkit.networks.mislnet import MislNet
from hffkit.networks.mml import HighQuality, Mml, attention_map
from hffkit.networks.resnet import ResNet18
from hffkit.networks.spec import (
    BGR_255,
    BGR_UNIT,
    RGB_SIGNED,
    RGB_UNIT,
    HighQualityHead,
    InputSpec,
    NetworkSpec,
    Pretrained,
)
from hffkit.networks.vgg import Vgg11Bn
from hffkit.networks.xception import Xception

RGB_255 = InputSpec("RGB", 0, 255)

_GUO = "Guo et al., arXiv 2005.04945"
# Of minsuksung's study of facial parts, which reads its images as BGR and scales them to 0..1.
_PARTS = "facial parts study: BGR, not normalised"
_MESO = "Afchar et al., arXiv 1809.00888; DariusAf/MesoNet classifiers.py"


_BLOCKS = ("relu4", "relu5", "relu6", "relu7")
_TRACES = ("F_mt", "F_reu")
_RESIDUAL = ("residual", *_BLOCKS)
_MESO_BLOCKS = ("block1", "block2", "block3", "block4")
_MML = ("lq_head.relu2", "lq_head.block3", "lq_head.block7", "tail.block12", "tail.relu4")


def _guo(
    build: Callable[[int, int], nn.Module], where: str, layers: tuple[str, ...]
) -> NetworkSpec:
    return NetworkSpec(build, BGR_255, 128, f"{_GUO}, {where}", layers)


def _amten(build: Callable[[int, int], nn.Module], where: str) -> NetworkSpec:
    return replace(_guo(build, where, (*_TRACES, *_BLOCKS)), traces=_TRACES)


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
    "handcrafted-res-model-base": NetworkSpec(
        residual.handcrafted_res_model_base,
        BGR_255,
        128,
        f"{_GUO}, Table VI: three fixed filters for AMTEN, which ones is not told",
        _RESIDUAL,
        is_approximate=True,
    ),
    "constrained-conv-model-base": _guo(
        residual.constrained_conv_model_base, "Table VI: MISLnet's first layer for AMTEN", _RESIDUAL
    ),
    "srm-model-base": _guo(
        residual.srm_model_base, "Table VI: SRM (Zhou et al., CVPR 2018) for AMTEN", _RESIDUAL
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
        attention_map=attention_map,
        high_quality=HighQualityHead(HighQuality, HighQuality.layers(_MML)),
        pretrained=Pretrained("xception", ("hq_head", "lq_head", "tail")),
        ranks_by_logits=True,
    ),
    "resnet18": NetworkSpec(
        ResNet18,
        BGR_UNIT,
        224,
        f"He et al., arXiv 1512.03385; {_PARTS}",
        ("conv1", "layer1", "layer2", "layer3", "layer4"),
    ),
    "vgg11-bn": NetworkSpec(
        Vgg11Bn,
        BGR_UNIT,
        224,
        f"Simonyan and Zisserman, arXiv 1409.1556; {_PARTS}",
        ("features.3", "features.7", "features.14", "features.21", "features.28"),
    ),
    "densenet121": NetworkSpec(
        DenseNet121,
        BGR_UNIT,
        224,
        f"Huang et al., arXiv 1608.06993; {_PARTS}",
        ("features.denseblock1", "features.denseblock2", "features.denseblock3", "features"),
    ),
    "efficientnet-b0": NetworkSpec(
        EfficientNetB0,
        BGR_UNIT,
        224,
        f"Tan and Le, arXiv 1905.11946; {_PARTS}",
        ("features.2", "features.3", "features.5", "features.7", "features.8"),
    ),
}


def canonical_name(name: str) -> str:
    """Return the table's name of a network, which `name` may spell as a paper does.

    Capitals, hyphens, underscores and spaces make no difference: AMTEN_3 is amten-3.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    """
    known = {_compact(key): key for key in NETWORKS} | {
        "xceptionnet": "xception"
    }  # as Guo et al. call it
    if _compact(name) not in known:
        raise UnknownNameError("network", name, NETWORKS)
    return known[_compact(name)]


def network_named(name: str) -> NetworkSpec:
    """Return a row of the table; see `canonical_name` for the spellings and the error."""
    return NETWORKS[canonical_name(name)]


def build(name: str, n_classes: int, size: int | None = None) -> nn.Module:
    """Return a network with fresh weights, drawn from PyTorch's generator.

    Parameters
    ----------
    name
        See `canonical_name`.
    n_classes
        Of the logits.
    size
        Of the images (px); by default the original's.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    ArgumentError
        If its layers leave nothing of images of that size, or there are none.
    """
    spec = network_named(name)
    size = spec.size if size is None else size
    if size < 1:
        raise ArgumentError(f"The size of images must be 1 px or more, got {size}.")
    try:
        return spec.build(n_classes, size)
    except ValueError as error:
        raise ArgumentError(
            f"{canonical_name(name)} cannot take images of {size} px: {error}. "
            f"Use larger ones; its own have {spec.size} px."
        ) from error


def head_of(net: nn.Module) -> str:
    """Return the name of the last fully connected layer, whose outputs are the classes, or ""."""
    names: list[str] = [n for n, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1] if names else ""


def networks_table() -> str:
    """Return the table as aligned text; parameters are those for two classes."""
    rows = [("name", "px", "colour", "range", "parameters", "source")]
    for name, spec in NETWORKS.items():
        with torch.device("meta"):
            n_parameters = sum(p.numel() for p in spec.build(2, spec.size).parameters())
        levels = f"{spec.input.low:g}..{spec.input.high:g}"
        source = spec.source + (" (approximate)" if spec.is_approximate else "")
        rows.append((name, str(spec.size), spec.input.colour, levels, f"{n_parameters:,}", source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  "
        f"{row[3]:<{widths[3]}}  {row[4]:>{widths[4]}}  {row[5]}"
        for row in rows
    )


def _compact(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))
