"""Speed of Grad-CAM in one batch against one image at a time.

    python benchmarks/explain.py

64 images of 128 px go through networks with random weights. The images are noise, because pixel
values do not affect the speed. Heat maps are computed at the last layer of each network that has
feature maps, at the images' size, from 0 to 1. Four variants take turns in one process:

- script: one image at a time, hooks on the layer, `backward` through the whole network from a
  one-hot vector, as Grad-CAM scripts do;
- captum: one image at a time, captum's LayerGradCam and its interpolation;
- one by one: hffkit's grad_cam, one image at a time;
- batch: hffkit's grad_cam, all 64 at once.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn
from torch.nn import functional

from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.explain.cam import grad_cam, stretched
from hffkit.explain.layers import with_extent
from hffkit.networks.table import build, network_named

N, SIZE = 64, 128
NETWORKS = ("amtennet", "meso4", "resnet18", "densenet121")


def script(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return heat (N, S, S), image by image, by hooks and a backward pass to the pixels."""
    kept: dict[str, Any] = {}
    module = net.get_submodule(layer)
    handles = [
        module.register_forward_hook(lambda _m, _i, out: kept.__setitem__("maps", out)),
        module.register_full_backward_hook(lambda _m, _i, out: kept.__setitem__("grads", out)),
    ]
    heats = []
    for image in images:
        net.zero_grad()
        logits = net(image[None].requires_grad_())
        one_hot = functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
        logits.backward(gradient=one_hot)
        weights = kept["grads"][0].mean((2, 3), keepdim=True)
        cam = (weights * kept["maps"].detach()).sum(1, keepdim=True).relu()
        large = functional.interpolate(cam, (SIZE, SIZE), mode="bilinear")
        heats.append(stretched(large[:, 0]))
    for handle in handles:
        handle.remove()
    return torch.cat(heats)


def captum(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return heat (N, S, S), image by image, by captum."""
    cam, heats = LayerGradCam(net, net.get_submodule(layer)), []
    for image in images:
        with torch.no_grad():
            best = net(image[None]).argmax(1)
        found: Any = cam.attribute(image[None], target=best, relu_attributions=True)
        large: Any = LayerAttribution.interpolate(found, (SIZE, SIZE), "bilinear")
        heats.append(stretched(large[:, 0].detach()))
    return torch.cat(heats)


def one_by_one(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return heat (N, S, S), image by image."""
    return torch.cat([grad_cam(net, image[None], layer) for image in images])


WAYS: dict[str, Callable[[nn.Module, Tensor, str], Tensor]] = {
    "script": script,
    "captum": captum,
    "one by one": one_by_one,
    "batch": grad_cam,
}


def seconds_of(
    way: Callable[[nn.Module, Tensor, str], Tensor], net: nn.Module, images: Tensor, layer: str
) -> float:
    """Time a variant on all images; return seconds."""
    before = time.perf_counter()
    way(net, images, layer)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - before


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_memory_of_tensors()  # as `hffkit train` does
    device = torch.device(arguments.device)
    heads = "".join(f"{name:>12}" for name in WAYS)
    print(f"{'ms an image':14}{heads}   batch is faster than: script, captum, one by one")
    for name in arguments.networks:
        torch.manual_seed(0)
        net = build(name, 2, SIZE).eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        spec = network_named(name).input
        images = torch.rand(N, SIZE, SIZE, 3, device=device).permute(0, 3, 1, 2)
        images = images * (spec.high - spec.low) + spec.low
        layer = with_extent(net, network_named(name).layers, images[:1])[-1]
        spent: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(arguments.rounds + 1):
            for way, function in WAYS.items():
                seconds = seconds_of(function, net, images, layer)
                if number:  # the first round is a warm-up
                    spent[way].append(seconds)
        medians = {way: 1000 / N * statistics.median(values) for way, values in spent.items()}
        ratios = [
            statistics.median(a / b for a, b in zip(spent[way], spent["batch"], strict=True))
            for way in list(WAYS)[:-1]
        ]
        figures = "".join(f"{value:12.2f}" for value in medians.values())
        print(f"{name:14}{figures}   {', '.join(f'{ratio:.1f}x' for ratio in ratios)}", flush=True)


if __name__ == "__main__":
    main()
