"""Attribution maps of faces by chosen methods and layers, and their faithfulness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hffkit.arrays import Floats32, Ints
from hffkit.errors import ArgumentError, ExplainError
from hffkit.explain.faithfulness import Faithfulness, area, blank, blurred, curve, order_of
from hffkit.explain.gradients import count_relus
from hffkit.explain.images import gradient_image, overlay, trace_image
from hffkit.explain.inputs import InputFace
from hffkit.explain.layers import activations, frozen, with_extent
from hffkit.explain.method_names import ALL, NAMES, TRACES, check_methods
from hffkit.explain.methods import METHODS, Query, heat_of, traces
from hffkit.inference.network import NetworkDetector
from hffkit.manifest.seeds import rng_for
from hffkit.networks.spec import Colour
from hffkit.reports.sheet import Tile

_OWN = "kept"  # the stage of the run's own weights
RANDOM = "random order"  # the baseline of faithfulness
_MANY, _FEW = 64, 16  # faces in a batch


@dataclass(frozen=True, slots=True)
class Attribution:
    """The prediction on a face and the maps that explain it."""

    face: InputFace
    class_id: int  # the explained output
    probability: float  # of that class
    maps: Mapping[str, Floats32]  # by name: (3, S, S) signed, or heat (1, S, S)
    heats: Mapping[str, Floats32]  # by name (S, S), 0 to 1
    traces: Mapping[str, Mapping[str, Floats32]]  # by layer and stage (C, S, S)


class Attributor:
    """Methods and layers chosen for a network."""

    def __init__(
        self,
        detector: NetworkDetector,
        methods: Sequence[str],
        layers: Sequence[str] = (),
        target: str | None = None,
        *,
        only_heat: bool = False,
        snapshots: Mapping[int, NetworkDetector] | None = None,
    ) -> None:
        """Check that the network supports the choice.

        Parameters
        ----------
        methods
            Names of METHODS and "traces"; "all" stands for all that the network supports.
        layers
            By default the last of the network's `layers` with spatial extent; "all" stands for
            all of these.
        target
            The class to explain; by default the most probable one of each face.
        only_heat
            Leave out traces, which are no heat and cannot be averaged.
        snapshots
            Networks of earlier iterations of the training, whose traces are shown first.

        Raises
        ------
        HffkitError
            If a method, layer or class does not exist or the network does not support it.
        """
        self.detector = detector
        size = detector.run.size
        black = detector.inputs([np.zeros((size, size, 3), np.uint8)])
        self.methods = _methods(methods, detector)
        has_traces = TRACES in self.methods
        if snapshots and not has_traces:
            raise ArgumentError(
                f"`snapshots` show {TRACES}, got the methods {', '.join(self.methods)}."
            )
        self.stages = {f"{n:,}": each for n, each in (snapshots or {}).items()} | {_OWN: detector}
        if only_heat:
            self.methods = tuple(name for name in self.methods if name != TRACES)
        self._rows = [METHODS[name] for name in self.methods if name != TRACES]
        self.layers = self._layers(layers, black)
        self.target = None if target is None else detector.run.classes.called(target).id
        with frozen(detector.net):
            activations(detector.net, black, self.layers, needs_grad=False)
        self.notes = self._notes(black)
        if only_heat and has_traces:
            self.notes.insert(0, "Traces are left out: they are not heat and have no average.")

    def _layers(self, names: Sequence[str], images: Tensor) -> tuple[str, ...]:
        run = self.detector.run
        if not any(row.takes_layers for row in self._rows):
            if names:
                taking = ", ".join(name for name, row in METHODS.items() if row.takes_layers)
                raise ArgumentError(f"`layers` apply to {taking}, got {', '.join(self.methods)}.")
            return ()
        own = with_extent(self.detector.net, self.detector.network.layers, images)
        if not own and (not names or "all" in names):
            raise ExplainError(
                f"{run.network} has no layer with spatial extent at {run.size} px. Choose methods "
                "without layers, or train it on larger images."
            )
        every = [n for name in names or own[-1:] for n in (own if name == "all" else (name,))]
        return tuple(dict.fromkeys(every))

    def _notes(self, images: Tensor) -> list[str]:
        network, notes = self.detector.run.network, []
        if self.detector.network.high_quality is not None:
            notes.append(
                f"{network} is explained by its low-quality head, whatever the quality of the "
                "faces."
            )
        rectifies = any(row.rectifies for row in self._rows)
        if rectifies and not count_relus(self.detector.net, images):
            notes.append(
                f"{network} has no ReLU, so deconvnet and guided backpropagation equal its "
                "gradient."
            )
        return notes

    @property
    def batch_size(self) -> int:
        """The number of faces to explain at a time.

        64 if gradients end at the network's last layer. Gradients to earlier layers or to pixels
        keep activations that grow with the area of the faces: 64 faces of 299 px would take 10 GB
        and more.
        """
        is_shallow = all(row.is_shallow for row in self._rows)
        if is_shallow and self.layers in ((), self.detector.network.layers[-1:]):
            return _MANY
        return max(1, min(_FEW, _MANY * 128**2 // self.detector.run.size**2))

    def __call__(self, faces: Sequence[InputFace]) -> list[Attribution]:
        """Explain a batch of faces."""
        images = [face.image for face in faces]
        values = np.stack(list(self.detector.probabilities(images)))
        ids = np.full(len(images), self.target) if self.target is not None else values.argmax(1)
        inputs = self.detector.inputs(images)
        maps = self.maps(inputs, ids)
        heats = {name: heat_of(each) for name, each in maps.items()}
        drawn, warm = _arrays(maps), _arrays(heats)
        traced = self._traces(inputs)
        return [
            Attribution(
                face,
                int(ids[i]),
                float(values[i, ids[i]]),
                {name: each[i] for name, each in drawn.items()},
                {name: each[i] for name, each in warm.items()},
                {
                    layer: {stage: each[i] for stage, each in stages.items()}
                    for layer, stages in traced.items()
                },
            )
            for i, face in enumerate(faces)
        ]

    def _traces(self, inputs: Tensor) -> dict[str, dict[str, Floats32]]:
        """Return the traces of a batch by layer and stage; empty if not asked for."""
        if TRACES not in self.methods:
            return {}
        layers = self.detector.network.traces
        found = {stage: traces(each.net, inputs, layers) for stage, each in self.stages.items()}
        return {
            layer: _arrays({stage: each[layer] for stage, each in found.items()})
            for layer in layers
        }

    def maps(self, inputs: Tensor, ids: Ints) -> dict[str, Tensor]:
        """Return the maps of all methods but traces, by name: see hffkit.explain.methods."""
        query = Query(
            self.detector.net,
            inputs,
            torch.from_numpy(ids).to(inputs.device),
            self.layers,
            self.detector.run.input.low,
            self.detector.network.attention_map,
        )
        return {name: each for row in self._rows for name, each in row.maps(query).items()}

    def faithfulness(self, one: Attribution, *, steps: int, seed: int) -> dict[str, Faithfulness]:
        """Return the areas of each map and of pixels in random order, for one face.

        The random order depends on the seed and the face's name.
        """
        image = one.face.image
        whole, gone, start = self.detector.inputs([image, blank(image), blurred(image)])
        random = rng_for(seed, RANDOM, one.face.name).permutation(image[..., 0].size)
        orders = {name: order_of(heat) for name, heat in one.heats.items()}
        net, class_id = self.detector.net, one.class_id
        return {
            name: Faithfulness(
                area(curve(net, whole, gone, order, class_id, steps=steps)),
                area(curve(net, start, whole, order, class_id, steps=steps)),
            )
            for name, order in {**orders, RANDOM: random}.items()
        }

    def tiles(self, one: Attribution) -> dict[str, list[Tile]]:
        """Return the images of each map by its name; traces have several."""
        colour = self.detector.run.input.colour
        tiles = {}
        for name, each in one.maps.items():
            is_heat = len(each) == 1
            heat, face = one.heats[name], one.face.image
            drawn = overlay(face, heat) if is_heat else gradient_image(each, colour)
            tiles[name] = [Tile(name, drawn)]
        if one.traces:
            tiles[TRACES] = _trace_tiles(one.traces, colour)
        return tiles


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Floats32]:
    return {name: each.detach().float().cpu().numpy() for name, each in tensors.items()}


def _trace_tiles(traced: Mapping[str, Mapping[str, Floats32]], colour: Colour) -> list[Tile]:
    """Return each map of the traces at all stages, side by side."""
    first, in_colour = next(iter(traced.items()))
    tiles = [
        Tile(f"{stage}{first} in colour", gradient_image(planes, colour))
        for stage, planes in _prefixed(in_colour)
    ]
    for layer, stages in traced.items():
        n_maps = len(next(iter(stages.values())))
        tiles += [
            Tile(f"{stage}{layer}, map {number + 1}", trace_image(planes[number]))
            for number in range(n_maps)
            for stage, planes in _prefixed(stages)
        ]
    return tiles


def _prefixed(stages: Mapping[str, Floats32]) -> list[tuple[str, Floats32]]:
    """Return the maps of stages with the beginnings of their captions, "" of a single stage."""
    return [("" if len(stages) == 1 else f"{stage}: ", planes) for stage, planes in stages.items()]


def _methods(names: Sequence[str], detector: NetworkDetector) -> tuple[str, ...]:
    check_methods(names)
    spec = detector.network
    missing = {TRACES: not spec.traces, "attention": spec.attention_map is None}
    every = [name for name in NAMES if not missing.get(name, False)]
    chosen = tuple(dict.fromkeys(n for name in names for n in (every if name == ALL else [name])))
    if not chosen:
        raise ArgumentError("`methods` must name at least one method.")
    for name in chosen:
        if name not in every:
            raise ExplainError(
                f"{detector.run.network} has no {name}. Choose one of its methods: "
                f"{', '.join(every)}."
            )
    return chosen
