"""A run's network put to samples or pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.evaluation.scored import Scored
from hffkit.explain.cam import grad_cam
from hffkit.explain.layers import with_extent
from hffkit.explain.pictures import overlay
from hffkit.imaging import PICTURE_SUFFIXES, Image, resize
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.samples import Sample
from hffkit.networks.spec import InputSpec
from hffkit.networks.table import build, network_named
from hffkit.reports.page import Figure
from hffkit.runs.run import WEIGHTS_FILE, Run, read_groups, read_run, read_weights, weights_sha256
from hffkit.training.faces import Faces
from hffkit.training.feed import Streaming, prepare
from hffkit.training.objective import logits_of
from hffkit.workflows.outputs import Items, Task, labels_of

_BATCH = 128


@dataclass(frozen=True, slots=True)
class Scorer:
    """A run's network on a device."""

    path: Path
    run: Run
    net: nn.Module
    spec: InputSpec
    device: torch.device
    weights_sha256: str
    groups: frozenset[str]  # that it was trained or selected on, as far as known

    def score(self, items: Items, table: ClassTable, task: Task) -> Scored:
        """Return what the network says of samples; `table` has their classes.

        Raises
        ------
        CorpusError
            If a class is none that the network knows, and the task is not binary.
        """
        outputs = self.run.classes
        is_collapsed = task == "binary" and outputs != BINARY
        labels = labels_of(items, table, BINARY if is_collapsed else outputs)
        faces = Faces(items, self.run.size, self.spec.colour)
        feed = Streaming(faces, labels, self.device, torch.get_num_threads())
        found = logits_of(self.net, feed.in_order(_BATCH), self.spec).softmax(1)
        values = np.asarray(found.numpy(), np.float32)
        scored = Scored(
            outputs,
            labels if not is_collapsed else np.zeros_like(labels),
            values,
            tuple(sample.key for _, sample in items),
            tuple(sample.group for _, sample in items),
            tuple(video_of(sample) for _, sample in items),
        )
        if not is_collapsed:
            return scored
        fake = scored.scores.astype(np.float32)
        both = np.stack((fake, 1 - fake), axis=1)
        return replace(scored, classes=BINARY, labels=labels, probabilities=both)

    @torch.inference_mode()
    def probabilities(self, images: Iterable[Image]) -> Iterator[Any]:
        """Yield the softmax (C,) of each (H, W, 3) RGB uint8 picture, resized to the network."""
        self.net.eval()
        # At once: a crop holds on to the whole frame that it was cut from.
        waiting = (resize(image, self.run.size) for image in images)
        while some := list(islice(waiting, _BATCH)):
            found = self.net(self.inputs(some)).float().softmax(1)
            if not torch.isfinite(found).all():
                raise WeightsError(
                    f"{self.path}: its network gives no numbers. Training diverged; take other "
                    "weights."
                )
            yield from found.cpu().numpy()

    def inputs(self, images: Sequence[Image]) -> Tensor:
        """Return what the network is fed with for (H, W, 3) RGB pictures: (B, 3, S, S) float32."""
        pixels = torch.from_numpy(np.stack([self._pixels(image) for image in images]))
        return prepare(pixels.to(self.device), self.spec)

    def _pixels(self, image: Image) -> Image:
        small = resize(image, self.run.size)
        return small if self.spec.colour == "RGB" else np.ascontiguousarray(small[..., ::-1])

    def figures(self, items: Items, table: ClassTable) -> tuple[Figure, ...]:  # noqa: ARG002
        """Return what a page shows of a network's samples beside what it shows of all: nothing."""
        return ()

    def shown(self, images: Sequence[Image]) -> list[tuple[Image, ...]]:
        """Return what a page shows of (H, W, 3) RGB pictures: themselves and their heat.

        The second is the Grad-CAM of the network's answer at the last of its own layers that has
        maps for the run's size, over the picture as the network gets it.
        """
        if not images:
            return []
        inputs = self.inputs(images)
        layers = with_extent(self.net, network_named(self.run.network).layers, inputs[:1])
        if not layers:
            return [(image,) for image in images]
        heats = grad_cam(self.net, inputs, layers[-1]).cpu().numpy()
        small = [resize(image, self.run.size) for image in images]
        return [
            (image, overlay(resized, heat))
            for image, resized, heat in zip(images, small, heats, strict=True)
        ]

    def fake_score(self, values: Sequence[float]) -> float:
        """Return the probability of fake: the sum over the fake classes."""
        pairs = zip(self.run.classes, values, strict=True)
        return min(float(sum(float(value) for row, value in pairs if row.is_fake)), 1.0)


def load_scorer(path: Path, device: torch.device) -> Scorer:
    """Return the network of a run folder.

    Raises
    ------
    WeightsError
        If the folder is no run, or its weights are not those of its network.
    """
    run = read_run(path)
    net = build(run.network, len(run.classes.names), run.size)
    state, digest = read_weights(path), weights_sha256(path)
    own = net.state_dict()
    wrong = sorted(
        {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape}
        | (own.keys() ^ state.keys())
    )
    if wrong:
        raise WeightsError(
            f"{path / WEIGHTS_FILE}: not the weights of {run.network} with "
            f"{len(run.classes.names)} outputs, which {path}/run.json names: {', '.join(wrong[:2])}"
            f"{f' and {len(wrong) - 2} more' if len(wrong) > 2 else ''} differ in shape or are "
            "on one side only."
        )
    net.load_state_dict(state)
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Scorer(path, run, net.eval(), InputSpec(**run.input), device, digest, read_groups(path))


def video_of(sample: Sample) -> str | None:
    """Return the video that a sample is a frame of; a picture is of none.

    A frame that was stored as a picture of its own is of the folder that stands for its video.
    """
    if sample.frame is None:
        return None
    source = PurePosixPath(sample.source)
    return str(source.parent if source.suffix.lower() in PICTURE_SUFFIXES else source)
