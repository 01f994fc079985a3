"""Inference with a trained network."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hffkit.arrays import Floats32, Ints
from hffkit.errors import WeightsError
from hffkit.inference.intake import Fed, Outputs, PixelIntake
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.pairs import quality_of
from hffkit.media.image import Image
from hffkit.networks.mml import map_side
from hffkit.networks.spec import NetworkSpec
from hffkit.networks.table import build_blank, network_named
from hffkit.runs.run import WEIGHTS_FILE, Run, checked_digest, read_groups, read_run
from hffkit.runs.samples import scored_items
from hffkit.runs.scores import Scored, binary_probabilities, fake_scores
from hffkit.runs.training_samples import TrainingSamples, read_training_samples
from hffkit.runs.weights import read_weights
from hffkit.storage.labels import Items, Task, labels_of
from hffkit.training.dataset import FaceDataset, check_packed
from hffkit.training.loader import Batch, StreamLoader, prepare
from hffkit.training.losses import logits_of
from hffkit.wording import first_of

_BATCH = 128


@dataclass(frozen=True, slots=True)
class HeadItems:
    """A module that scores some of the samples."""

    module: nn.Module
    layers: tuple[str, ...]  # of the module, with instructive maps, in order
    places: Ints  # of the samples


@dataclass(frozen=True, slots=True)
class NetworkDetector:
    """A run's network on a device; a Detector."""

    path: Path
    run: Run
    net: nn.Module
    device: torch.device
    weights_sha256: str
    groups: frozenset[str]  # of the training and validation samples, as far as known
    training_samples: TrainingSamples | None

    @property
    def network(self) -> NetworkSpec:
        """The network's row of the table, which states its capabilities."""
        return network_named(self.run.network)

    @property
    def has_probabilities(self) -> bool:
        """False for networks whose logits are a distance from a threshold."""
        return not self.network.ranks_by_logits

    @property
    def as_network(self) -> "NetworkDetector":
        """The detector itself."""
        return self

    @property
    def spectrum(self) -> None:
        """None: the input is pixels."""

    def score(self, items: Items, table: ClassTable, task: Task) -> Scored:
        """Score samples whose classes are in `table`.

        Raises
        ------
        CorpusError
            If the network does not know a class, and the task is not binary.
        """
        return self.scored(items, table, task, self._logits(items).numpy())

    def scored(self, items: Items, table: ClassTable, task: Task, outputs: Outputs) -> Scored:
        """Return samples with the scores that follow from their logits (N, C)."""
        known, classes = self.run.classes, self._classes(task)
        labels = labels_of(items, table, classes)
        logits = torch.from_numpy(outputs)
        found = np.asarray(logits.softmax(1).numpy(), np.float32)
        if classes != known:
            found = binary_probabilities(fake_scores(known, found).astype(np.float32))
        margins = None
        if self.network.ranks_by_logits:
            margins = (logits[:, 0] - logits[:, 1]).double().numpy()
        return scored_items(
            items, classes, labels, found, margins, is_probability=self.has_probabilities
        )

    @property
    def intake(self) -> PixelIntake:
        """Pixels at the network's size."""
        return PixelIntake(self.run.size, self.run.input)

    def check(self, items: Items, table: ClassTable, task: Task) -> None:
        """Raise CorpusError if a corpus is packed at another size, or as `score`."""
        check_packed(items, self.run.size)
        labels_of(items, table, self._classes(task))

    def outputs(self, fed: Sequence[Fed], items: Items) -> Outputs:
        """Return the logits (B, C) of a batch, made of the samples by `intake`."""
        found = np.empty((len(items), len(self.run.classes.names)), np.float32)
        for head in self.heads(items):
            pixels = torch.from_numpy(np.stack([fed[place] for place in head.places]))
            batch = (pixels.to(self.device), torch.from_numpy(head.places))
            found[head.places] = logits_of(head.module, iter([batch]), self.run.input)[0].numpy()
        return found

    def _classes(self, task: Task) -> ClassTable:
        """Return the classes that scored samples have."""
        return BINARY if task == "binary" else self.run.classes

    def _logits(self, items: Items) -> Tensor:
        """Return the logits (N, C) of samples."""
        found = torch.empty(len(items), len(self.run.classes.names))
        for head in self.heads(items):
            logits, places = logits_of(head.module, self._batches(items, head), self.run.input)
            found[places] = logits
        return found

    def heads(self, items: Items) -> list[HeadItems]:
        """Return the modules that score samples.

        A head for images of high quality scores those, unless operations were applied to them.
        """
        everything = np.arange(len(items))
        own, high = self.network.layers, self.network.high_quality
        if high is None:
            return [HeadItems(self.net, own, everything)] if len(items) else []
        quality = self.run.high_quality
        is_high = np.array(
            [
                quality is not None and quality_of(s.key) == quality and not s.operations
                for _, s in items
            ]
        )
        heads = [
            HeadItems(high.view(self.net), high.layers, everything[is_high]),
            HeadItems(self.net, own, everything[~is_high]),
        ]
        return [head for head in heads if len(head.places)]

    def _batches(self, items: Items, head: HeadItems) -> Iterator[Batch]:
        """Yield the pixels of a head's samples, with their places for labels."""
        faces = FaceDataset([items[place] for place in head.places], self.run.size, self.run.input)
        loader = StreamLoader(faces, head.places, self.device, torch.get_num_threads())
        yield from loader.in_order(_BATCH)

    @torch.inference_mode()
    def attention_maps(self, items: Items) -> Floats32:
        """Return the attention maps (N, m, m) of samples, each value the probability of forgery.

        Raises
        ------
        TypeError
            If the network has no attention map.
        """
        attention_map = self.network.attention_map
        if attention_map is None:
            raise TypeError(f"{self.run.network} has no attention map")
        side = map_side(self.run.size)
        maps = np.empty((len(items), side, side), np.float32)
        for head in self.heads(items):
            for pixels, places in self._batches(items, head):
                found = attention_map(head.module, prepare(pixels, self.run.input))
                maps[places.cpu()] = found[:, 0].cpu().numpy()
        return maps

    @torch.inference_mode()
    def probabilities(self, images: Iterable[Image]) -> Iterator[Floats32]:
        """Yield the softmax (C,) of each (H, W, 3) RGB uint8 image.

        Raises
        ------
        WeightsError
            If the network gives NaN or infinities.
        """
        self.net.eval()
        # Resized at once, because a crop keeps the whole frame that it was cut from in memory.
        waiting = (self.intake.reduced(image) for image in images)
        while some := list(islice(waiting, _BATCH)):
            found = self.net(self.inputs(some)).float().softmax(1)
            if not torch.isfinite(found).all():
                raise WeightsError(
                    f"{self.path}: the network gives NaN or infinities. Training diverged; take "
                    "other weights."
                )
            yield from found.cpu().numpy()

    def inputs(self, images: Sequence[Image]) -> Tensor:
        """Return (H, W, 3) RGB uint8 images as the network's input, (B, 3, S, S) float32."""
        pixels = torch.from_numpy(np.stack([self.intake.of_image(image) for image in images]))
        return prepare(pixels.to(self.device), self.run.input)


def _check_input(run: Run, path: Path) -> None:
    """Refuse a range or colour order that is not the network's, with which no score is right."""
    own = network_named(run.network).input
    if run.input != replace(own, filter=run.input.filter):
        raise WeightsError(
            f"{path}/run.json: altered or damaged: {run.network} takes {own.colour} from "
            f"{own.low:g} to {own.high:g}, not {run.input.colour} from {run.input.low:g} to "
            f"{run.input.high:g}. Copy the run again."
        )


def load_network(path: Path, device: torch.device) -> NetworkDetector:
    """Load the network of a run folder.

    Raises
    ------
    WeightsError
        If the folder is no run of a network, or its files do not belong together.
    """
    run = read_run(path)
    net = build_blank(run.network, len(run.classes.names), run.size)
    state, digest = read_weights(path), checked_digest(path / WEIGHTS_FILE, run.weights_sha256)
    _check_input(run, path)
    own = net.state_dict()
    wrong = sorted(
        {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape}
        | (own.keys() ^ state.keys())
    )
    if wrong:
        raise WeightsError(
            f"{path / WEIGHTS_FILE}: not the weights of {run.network} with "
            f"{len(run.classes.names)} outputs, which {path}/run.json names: "
            f"{first_of(wrong, 2)} differ in shape or are on one side only."
        )
    net.load_state_dict(state)
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return NetworkDetector(
        path, run, net.eval(), device, digest, read_groups(path), read_training_samples(path)
    )
