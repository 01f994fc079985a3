"""Ways of explaining put to faces, a batch at a time, and how faithful each is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hffkit.arrays import Floats32
from hffkit.errors import ArgumentError, ExplainError, UnknownNameError
from hffkit.explain.faithfulness import area, blank, blurred, curve, order_of
from hffkit.explain.gradients import count_relus
from hffkit.explain.images import gradient_image, overlay, trace_image
from hffkit.explain.inputs import InputFace
from hffkit.explain.layers import activations, frozen, with_extent
from hffkit.explain.methods import METHODS, Query, heat_of, traces
from hffkit.inference.network import Scorer
from hffkit.manifest.seeds import rng_for
from hffkit.reports.sheet import Tile

TRACES = "traces"  # of AMTEN: maps of the image, not of an answer
RANDOM = "random order"  # what heat must beat
_MANY, _FEW = 64, 16  # faces of a batch


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Areas under the curves of the explained class's probability, 0 to 1."""

    deletion: float  # less is better
    insertion: float  # more is better


@dataclass(frozen=True, slots=True)
class Attribution:
    """A face, the answer and what explains it."""

    face: InputFace
    class_id: int  # the output that is explained
    probability: float  # of that class
    maps: Mapping[str, Floats32]  # by name: (3, S, S) signed, or heat (1, S, S)
    heats: Mapping[str, Floats32]  # by name (S, S), 0 to 1
    traces: Mapping[str, Floats32]  # of AMTEN: (C, S, S)


class Attributor:
    """Methods and layers that were chosen for a network."""

    def __init__(
        self,
        scorer: Scorer,
        methods: Sequence[str],
        layers: Sequence[str] = (),
        target: str | None = None,
        *,
        only_heat: bool = False,
    ) -> None:
        """Check that the network can be asked all of it.

        Parameters
        ----------
        scorer
            The network of a run.
        methods
            Names of METHODS and "traces"; "all" is every one that the network has.
        layers
            By default the last of the network's own that has spatial extent; "all" is each of
            these.
        target
            The class to explain; by default an image's most probable one.
        only_heat
            Leave traces out, which cannot be averaged.

        Raises
        ------
        HffkitError
            If there is no such method, layer or class, or not in this network.
        """
        self.scorer = scorer
        size = scorer.run.size
        blank_images = scorer.inputs([np.zeros((size, size, 3), np.uint8)])
        self.notes: list[str] = []
        self.methods = _methods(methods, scorer)
        if only_heat and TRACES in self.methods:
            self.methods = tuple(name for name in self.methods if name != TRACES)
            self.notes.append("Traces are left out: averages are of heat, and traces have none.")
        self.layers = self._layers(layers, blank_images)
        self.target = None if target is None else scorer.run.classes[target].id
        with frozen(scorer.net):
            activations(scorer.net, blank_images, self.layers, needs_grad=False)
        rectifying = [name for name in self.methods if name in METHODS and METHODS[name].rectifies]
        if scorer.network.high_quality is not None:
            self.notes.append(
                f"{scorer.run.network} is explained by its low-quality head, whatever the quality "
                "of the faces."
            )
        if rectifying and not count_relus(scorer.net, blank_images):
            self.notes.append(
                f"{scorer.run.network} has no ReLU, so that deconvnet and guided backpropagation "
                "are its gradient."
            )

    @property
    def batch_size(self) -> int:
        """How many faces to explain in one batch.

        64 where no more is kept for gradients than what lies behind the network's last layer. What
        lies behind earlier ones, or the pixels, grows with the area of the faces: 64 of 299 px
        would take 10 GB and more.
        """
        own = self.scorer.network.layers
        is_shallow = all(METHODS[name].is_shallow for name in self.methods if name != TRACES)
        if is_shallow and self.layers in ((), own[-1:]):
            return _MANY
        return max(1, min(_FEW, _MANY * 128**2 // self.scorer.run.size**2))

    def __call__(self, faces: Sequence[InputFace]) -> list[Attribution]:
        """Explain a batch of faces."""
        images = [face.image for face in faces]
        values = np.stack(list(self.scorer.probabilities(images)))
        ids = np.full(len(images), self.target) if self.target is not None else values.argmax(1)
        inputs = self.scorer.inputs(images)
        maps = self.maps(inputs, ids)
        heats = {name: _array(heat_of(each)) for name, each in maps.items()}
        found = {name: _array(each) for name, each in maps.items()}
        traced = (
            traces(self.scorer.net, inputs, self.scorer.network.traces)
            if TRACES in self.methods
            else {}
        )
        flows = {name: _array(each) for name, each in traced.items()}
        return [
            Attribution(
                face,
                int(ids[i]),
                float(values[i, ids[i]]),
                {name: each[i] for name, each in found.items()},
                {name: each[i] for name, each in heats.items()},
                {name: each[i] for name, each in flows.items()},
            )
            for i, face in enumerate(faces)
        ]

    def _layers(self, names: Sequence[str], images: Tensor) -> tuple[str, ...]:
        run = self.scorer.run
        if not any(METHODS[name].sees_layers for name in self.methods if name != TRACES):
            if names:
                seeing = ", ".join(name for name, row in METHODS.items() if row.sees_layers)
                raise ArgumentError(f"--layer is for {seeing}.")
            return ()
        own = with_extent(self.scorer.net, self.scorer.network.layers, images)
        if not own and (not names or "all" in names):
            raise ExplainError(
                f"{run.network} has no layer with maps for images of {run.size} px. Take other "
                "methods, or train it on larger ones."
            )
        every = [n for name in names or own[-1:] for n in (own if name == "all" else (name,))]
        return tuple(dict.fromkeys(every))

    def maps(self, inputs: Tensor, ids: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the maps of all methods but traces, by name: see hffkit.explain.methods."""
        query = Query(
            self.scorer.net,
            inputs,
            torch.from_numpy(ids).to(inputs.device),
            self.layers,
            self.scorer.spec.low,
            self.scorer.network.attention_map,
        )
        chosen = (METHODS[name] for name in self.methods if name != TRACES)
        return {name: each for method in chosen for name, each in method.maps(query).items()}

    def faithfulness(self, one: Attribution, *, steps: int, seed: int) -> dict[str, Faithfulness]:
        """Return the figures of each method, and of pixels in random order, for one face.

        The random order depends on the seed and the face's name.
        """
        image = one.face.image
        whole, gone, start = self.scorer.inputs([image, blank(image), blurred(image)])
        random = rng_for(seed, RANDOM, one.face.name).permutation(image[..., 0].size)
        orders = {name: order_of(heat) for name, heat in one.heats.items()}
        net, class_id = self.scorer.net, one.class_id
        return {
            name: Faithfulness(
                area(curve(net, whole, gone, order, class_id, steps=steps)),
                area(curve(net, start, whole, order, class_id, steps=steps)),
            )
            for name, order in {**orders, RANDOM: random}.items()
        }

    def tiles(self, one: Attribution) -> dict[str, list[Tile]]:
        """Return the images of each method by the name of its file; traces have several."""
        colour, image = self.scorer.spec.colour, one.face.image
        drawn = {
            name: overlay(image, one.heats[name])
            if len(each) == 1
            else gradient_image(each, colour)
            for name, each in one.maps.items()
        }
        tiles = {name: [Tile(name, picture)] for name, picture in drawn.items()}
        if one.traces:
            first = self.scorer.network.traces[0]
            in_colour = gradient_image(one.traces[first], colour)
            tiles[TRACES] = [Tile(f"{first} in colour", in_colour)] + [
                Tile(f"{name}, map {number}", trace_image(plane))
                for name, planes in one.traces.items()
                for number, plane in enumerate(planes, 1)
            ]
        return tiles


def _methods(names: Sequence[str], scorer: Scorer) -> tuple[str, ...]:
    spec = scorer.network
    missing = {TRACES: not spec.traces, "attention": spec.attention_map is None}
    every = [name for name in (*METHODS, TRACES) if not missing.get(name, False)]
    chosen = tuple(dict.fromkeys(n for name in names for n in (every if name == "all" else [name])))
    if not chosen:
        raise ArgumentError("Name at least one --method.")
    for name in chosen:
        if name not in (*METHODS, TRACES):
            raise UnknownNameError("method", name, (*METHODS, TRACES))
        if missing.get(name, False):
            raise ExplainError(
                f"{scorer.run.network} has no {name}. It can be explained by {', '.join(every)}."
            )
    return chosen


def _array(values: Tensor) -> Any:
    return values.detach().float().cpu().numpy()
