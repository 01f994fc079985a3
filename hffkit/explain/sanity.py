"""Sanity check of methods by cascading randomisation (Adebayo et al., arXiv 1810.03292)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from hffkit.explain.layers import shapes
from hffkit.manifest.seeds import rng_for

_STAGES = 6  # from the last layer alone to all layers, evenly spaced


@dataclass(frozen=True, slots=True)
class CascadeStage:
    """Maps when the weights of the last layers are random."""

    layer: str  # the last one randomised
    n_layers: int
    heats: Mapping[str, Tensor]  # by map (B, S, S), 0 to 1
    correlations: Mapping[str, tuple[float | None, ...]]  # (B,); None for constant maps


def correlation_text(value: float | None) -> str:
    """Return a correlation with two digits."""
    return "no map" if value is None else f"{value:.2f}"


@contextmanager
def restored(net: nn.Module) -> Iterator[None]:
    """Restore the weights and statistics of `net` afterwards, also after an error."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    try:
        yield
    finally:
        net.load_state_dict(before)


def cascade(
    net: nn.Module, images: Tensor, explain: Callable[[], Mapping[str, Tensor]], *, seed: int
) -> tuple[CascadeStage, ...]:
    """Randomise layers from the last to the first and compare the maps with the original ones.

    Parameters
    ----------
    net
        Maps images to logits; its weights are restored.
    images : (B, 3, S, S) float32
        Inputs of the network.
    explain
        Returns the heat (B, S, S) of each map with the current weights.
    seed
        Weights are drawn from a normal distribution with the mean and standard deviation of
        their tensor; the seed and the tensor's name fix the draw.

    Returns
    -------
    tuple of CascadeStage
        Spearman's rank correlation, over pixels, of each map with the original one falls to about
        0 if the method depends on the weights; near 1, the map shows edges of the image.
    """
    whole = explain()
    names = layers_downward(net, images)
    ends = sorted({round(n) for n in np.linspace(1, len(names), min(_STAGES, len(names)))})
    stages = []
    with restored(net):
        for begin, end in zip([0, *ends], ends, strict=False):
            for name in names[begin:end]:
                _randomise(net.get_submodule(name), name, seed)
            heats = explain()
            correlations = {
                key: tuple(_correlation(a, b) for a, b in zip(whole[key], heat, strict=True))
                for key, heat in heats.items()
            }
            stages.append(CascadeStage(names[end - 1], end, heats, correlations))
    return tuple(stages)


def layers_downward(net: nn.Module, images: Tensor) -> Sequence[str]:
    """Return the layers with own parameters, in reverse order of execution."""
    own = {name for name, module in net.named_modules() if list(module.parameters(recurse=False))}
    return [name for name in shapes(net, images[:1]) if name in own][::-1]


@torch.no_grad()
def _randomise(layer: nn.Module, name: str, seed: int) -> None:
    for key, parameter in layer.named_parameters(recurse=False):
        drawn = rng_for(seed, "sanity", f"{name}.{key}").standard_normal(tuple(parameter.shape))
        random = torch.from_numpy(drawn).to(parameter)
        parameter.copy_(parameter.mean() + parameter.std(correction=0) * random)


def _correlation(a: Tensor, b: Tensor) -> float | None:
    one, other = a.cpu().numpy().ravel(), b.cpu().numpy().ravel()
    if one.min() == one.max() or other.min() == other.max():
        return None
    return float(spearmanr(one, other).statistic)
