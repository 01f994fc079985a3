"""A run's network put to samples or images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hffkit.arrays import Ints
from hffkit.errors import WeightsError
from hffkit.explain.cam import grad_cam
from hffkit.explain.images import overlay
from hffkit.explain.layers import with_extent
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.pairs import quality_of
from hffkit.manifest.samples import Sample
from hffkit.media.files import IMAGE_SUFFIXES, sha256_of
from hffkit.media.image import Image, resize
from hffkit.networks.mml import map_side
from hffkit.networks.spec import InputSpec, NetworkSpec
from hffkit.networks.table import build, network_named
from hffkit.reports.page import Figure
from hffkit.runs.run import Run, read_groups, read_run
from hffkit.runs.scores import Scored
from hffkit.runs.weights import WEIGHTS_FILE, read_weights
from hffkit.storage.corpora import Item
from hffkit.storage.labels import Items, Task, labels_of
from hffkit.training.dataset import FaceDataset
from hffkit.training.loader import StreamLoader, prepare
from hffkit.training.losses import logits_of
from hffkit.training.masks import MASK_LEVEL, read_mask

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

    @property
    def network(self) -> NetworkSpec:
        """The network's row of the table, which states its capabilities."""
        return network_named(self.run.network)

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
        logits = self._logits(items, labels)
        values = np.asarray(logits.softmax(1).numpy(), np.float32)
        margins = None
        if self.network.ranks_by_logits:
            margins = (logits[:, 0] - logits[:, 1]).double().numpy()
        scored = Scored(
            outputs,
            labels if not is_collapsed else np.zeros_like(labels),
            values,
            tuple(sample.key for _, sample in items),
            tuple(sample.group for _, sample in items),
            tuple(video_of(sample) for _, sample in items),
            margins,
        )
        if not is_collapsed:
            return scored
        fake = scored.scores.astype(np.float32)
        both = np.stack((fake, 1 - fake), axis=1)
        return replace(scored, classes=BINARY, labels=labels, probabilities=both)

    def _logits(self, items: Items, labels: Ints) -> torch.Tensor:
        """Return the logits (N, C) of samples, each by the way that its quality takes."""
        found = torch.empty(len(items), len(self.run.classes.names))
        for net, places in self._ways(items):
            faces = FaceDataset([items[place] for place in places], self.run.size, self.spec.colour)
            loader = StreamLoader(faces, labels[places], self.device, torch.get_num_threads())
            found[places] = logits_of(net, loader.in_order(_BATCH), self.spec)
        return found

    def _ways(self, items: Items) -> list[tuple[nn.Module, Ints]]:
        """Return modules with the places of the samples that each scores.

        A head for images of high quality scores those, unless operations were applied to them.
        """
        everything, head = np.arange(len(items)), self.network.high_quality
        if head is None:
            return [(self.net, everything)] if len(items) else []
        high = self.run.high_quality
        is_high = np.array(
            [high is not None and quality_of(s.key) == high and not s.operations for _, s in items]
        )
        ways = [(head.view(self.net), everything[is_high]), (self.net, everything[~is_high])]
        return [(net, places) for net, places in ways if len(places)]

    @torch.inference_mode()
    def cells_right(self, items: Items, masks: Sequence[Item | None]) -> npt.NDArray[np.float64]:
        """Return the share of cells of each attention map that are right at 0.5, (N,).

        `masks` are those of the samples; None is all zeros.

        Raises
        ------
        TypeError
            If the network has no attention map.
        """
        attention_map = self.network.attention_map
        if attention_map is None:
            raise TypeError(f"{self.run.network} has no attention map")
        side = map_side(self.run.size)
        levels = [np.zeros((side, side)) if m is None else read_mask(m, side) for m in masks]
        wanted = torch.from_numpy(np.stack(levels)) > MASK_LEVEL
        right = np.empty(len(items))
        for way, places in self._ways(items):
            faces = FaceDataset([items[place] for place in places], self.run.size, self.spec.colour)
            loader = StreamLoader(faces, places, self.device, torch.get_num_threads())
            for pixels, numbers in loader.in_order(_BATCH):
                found = attention_map(way, prepare(pixels, self.spec))[:, 0].cpu() > 0.5
                here = numbers.cpu()
                right[here] = (found == wanted[here]).double().mean((1, 2)).numpy()
        return right

    @torch.inference_mode()
    def probabilities(self, images: Iterable[Image]) -> Iterator[Any]:
        """Yield the softmax (C,) of each (H, W, 3) RGB uint8 image, resized to the network."""
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
        """Return what the network is fed with for (H, W, 3) RGB images: (B, 3, S, S) float32."""
        pixels = torch.from_numpy(np.stack([self._pixels(image) for image in images]))
        return prepare(pixels.to(self.device), self.spec)

    def _pixels(self, image: Image) -> Image:
        small = resize(image, self.run.size)
        return small if self.spec.colour == "RGB" else np.ascontiguousarray(small[..., ::-1])

    def figures(self, items: Items, table: ClassTable) -> tuple[Figure, ...]:  # noqa: ARG002
        """Return what a page shows of a network's samples beside what it shows of all: nothing."""
        return ()

    def shown(self, items: Items) -> list[tuple[Image, ...]]:
        """Return what a page shows of samples: their images, and their heat.

        The second is the Grad-CAM of the network's answer at the last of its own layers that has
        maps for the run's size, over the image as the network gets it.
        """
        images = [corpus.image(sample) for corpus, sample in items]
        heats: dict[int, npt.NDArray[np.float32]] = {}
        for net, places in self._ways(items):
            head = None if net is self.net else self.network.high_quality
            names = self.network.layers if head is None else head.layers
            inputs = self.inputs([images[place] for place in places])
            layers = with_extent(net, names, inputs[:1])
            if layers:
                found = grad_cam(net, inputs, layers[-1]).cpu().numpy()
                heats |= dict(zip(places.tolist(), found, strict=True))
        return [
            (image, overlay(resize(image, self.run.size), heats[place]))
            if place in heats
            else (image,)
            for place, image in enumerate(images)
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
    state, digest = read_weights(path), sha256_of(path / WEIGHTS_FILE)
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
    return Scorer(path, run, net.eval(), run.input, device, digest, read_groups(path))


def video_of(sample: Sample) -> str | None:
    """Return the video that a sample is a frame of; an image is of none.

    A frame that was stored as an image of its own is of the folder that stands for its video.
    """
    if sample.frame is None:
        return None
    source = PurePosixPath(sample.source)
    return str(source.parent if source.suffix.lower() in IMAGE_SUFFIXES else source)
