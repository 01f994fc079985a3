"""Conversion of the blobs of Caffe's layers to state dicts, and recognition of their network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.interop.caffemodel import Blob
from hffkit.networks.table import NETWORKS, build_blank, head_of
from hffkit.wording import first_of

Blobs = Mapping[str, Sequence[Blob]]  # layer -> its blobs, in Caffe's order
_Shape = tuple[int, ...]


def to_state_dict(blobs: Blobs, net: nn.Module) -> dict[str, Tensor]:
    """Convert blobs to the state dict of `net`, whose modules have the names of the layers.

    The blobs of convolutions, fully connected and Scale layers are used unchanged. Those of a
    BatchNorm layer, the sums S_mean and S_var and the factor s, become S_mean/s, S_var/s (0 if s
    is 0) and s. Only names and shapes of `net` are read, so it may be on the device "meta".

    Raises
    ------
    WeightsError
        If a layer is missing, unknown, of another shape, or not finite.
    """
    problems = list(_problems(blobs, net))
    if problems:
        raise WeightsError(
            f"these weights do not fit {type(net).__name__}: {'; '.join(problems)}. "
            "Choose the network and the number of classes that they were trained with."
        )
    state: dict[str, Tensor] = {}
    for layer, wanted in _layers(net).items():
        tensors = _tensors(blobs[layer], wanted)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise WeightsError(
                f"layer {layer!r} holds NaN or infinity: the training had diverged. "
                "Use an earlier snapshot."
            )
        state |= {f"{layer}.{name}": tensor for name, tensor in tensors.items()}
    return state


def recognise(blobs: Blobs) -> tuple[str, int]:
    """Return the network that blobs belong to, and its number of classes.

    It is the first of the table with layers of these names and shapes, for images of its
    original's size. The weights of AMTENnet_7 and of AMTEN_1 with Conv1 cannot be distinguished
    from AMTENnet's and are recognised as those.

    Raises
    ------
    WeightsError
        If no network fits.
    """
    tried: dict[str, list[str]] = {}
    for name in NETWORKS:
        net, n_classes = network_for(blobs, name)
        tried[name] = list(_problems(blobs, net))
        if not tried[name]:
            return name, n_classes
    nearest = min(tried, key=lambda name: len(tried[name]))
    raise WeightsError(
        f"no network has these layers; nearest is {nearest}: {'; '.join(tried[nearest])}. "
        "Only networks of hffkit's table, for images of their original's size, can be imported."
    )


def network_for(blobs: Blobs, name: str) -> tuple[nn.Module, int]:
    """Return a network on the device "meta" with as many outputs as blobs have, and their number.

    It is 2 if they lack the network's last fully connected layer.
    """
    with torch.device("meta"):
        net = build_blank(name, 2)
        last = head_of(net)
        n_classes = int(blobs[last][-1].size) if last in blobs else 2
        return net if n_classes == 2 else build_blank(name, n_classes), n_classes


def _layers(net: nn.Module) -> dict[str, dict[str, _Shape]]:
    """Return the shapes of the tensors of each layer, in the order of Caffe's blobs."""
    layers: dict[str, dict[str, _Shape]] = {}
    for key, tensor in net.state_dict().items():
        layer, _, name = key.rpartition(".")
        layers.setdefault(layer, {})[name] = tuple(tensor.shape)
    return layers


def _problems(blobs: Blobs, net: nn.Module) -> Iterator[str]:
    layers = _layers(net)
    if missing := layers.keys() - blobs.keys():
        yield f"missing layers {listed(missing)}"
    if unknown := blobs.keys() - layers.keys():
        yield f"unknown layers {listed(unknown)}"
    for layer, wanted in layers.items():
        got = [blob.shape for blob in blobs.get(layer, ())]
        if got and not (len(got) == len(wanted) and all(map(_is_same, got, wanted.values()))):
            yield f"{layer} is {_shown(got)}, expected {_shown(wanted.values())}"


def _is_same(got: _Shape, wanted: _Shape) -> bool:
    """Compare shapes as Caffe does: scalars are stored as (1,), and old files have four axes."""
    return got in (wanted or (1,), (1,) * (4 - len(wanted)) + wanted)


def _tensors(blobs: Sequence[Blob], wanted: Mapping[str, _Shape]) -> dict[str, Tensor]:
    tensors = {
        name: torch.from_numpy(blob).reshape(shape)
        for blob, (name, shape) in zip(blobs, wanted.items(), strict=True)
    }
    if "scale_factor" in tensors:
        s = tensors["scale_factor"]
        for name in ("running_mean", "running_var"):
            tensors[name] = torch.where(s == 0, 0, tensors[name] / s)
    return tensors


def _shown(shapes: Iterable[_Shape]) -> str:
    shown = ["x".join(map(str, shape)) or "1" for shape in shapes]
    return " + ".join(shown[:4]) + (f" + {len(shown) - 4} more" if len(shown) > 4 else "")


def listed(names: Iterable[str]) -> str:
    """Return the first names, and cut those that are absurdly long."""
    return first_of([f"{name!r:.60}" for name in sorted(names)], 5)
