"""Runs of random weights, and what Caffe computed with trained ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hffkit.manifest.classes import ClassTable, numbered
from hffkit.media.image import CONVERT_IMAGESET
from hffkit.networks.table import build, network_named
from hffkit.runs.run import Run, TrainingResult
from hffkit.runs.weights import write_weights

THREE = numbered(("GAN", "Glow"), ("camera",))


def write_run(
    path: Path,
    classes: ClassTable = THREE,
    *,
    network: str = "meso4",
    seed: int = 3,
    gain: float = 60,
    **facts: Any,
) -> Path:
    """Write a run of random weights, the last of them large: its scores are far apart."""
    size = facts.get("size", 32)
    torch.manual_seed(seed)
    net = build(network, len(classes.names), size)
    with torch.no_grad():
        list(net.parameters())[-2].mul_(gain)
    path.mkdir(parents=True)
    write_weights(path, net.state_dict(), {})
    spec, result = network_named(network).input, facts.get("result", TrainingResult())
    if facts.get("is_of_packed"):
        spec = replace(spec, filter=CONVERT_IMAGESET)
    made = {"verb": "train", **facts.get("made", {})}
    Run(network, size, spec, classes, made, result).write(path)
    return path


def caffe_softmax(data: Path) -> npt.NDArray[np.float64]:
    outputs = np.load(data / "golden" / "caffe-amtennet" / "activations_iter_120.npz")
    logits = outputs["logits"].astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
