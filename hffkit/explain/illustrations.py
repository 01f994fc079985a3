"""Images and figures that an evaluation page shows of a detector's answers."""

import torch

from hffkit.arrays import Floats32
from hffkit.explain.cam import grad_cam
from hffkit.explain.images import overlay
from hffkit.explain.layers import with_extent
from hffkit.inference.detector import Detector
from hffkit.manifest.classes import ClassTable
from hffkit.media.image import Image
from hffkit.reports.html import Figure
from hffkit.spectrum.curves import figure_of
from hffkit.spectrum.profiles import Profiler
from hffkit.storage.labels import Items


def answer_images(detector: Detector, items: Items) -> list[tuple[Image, ...]]:
    """Return each sample's image and, of a network, the Grad-CAM of its answer over the input.

    Grad-CAM is of the last of the network's instructive layers that has spatial extent; without
    one there are images only.
    """
    images = [corpus.image(sample) for corpus, sample in items]
    network = detector.as_network
    if network is None:
        return [(image,) for image in images]
    heats: dict[int, Floats32] = {}
    for head in network.heads(items):
        inputs = network.inputs([images[place] for place in head.places])
        layers = with_extent(head.module, head.layers, inputs[:1])
        if layers:
            found = grad_cam(head.module, inputs, layers[-1]).cpu().numpy()
            heats |= dict(zip(head.places.tolist(), found, strict=True))
    return [
        (image, overlay(network.intake.reduced(image), heats[place]))
        if place in heats
        else (image,)
        for place, image in enumerate(images)
    ]


def class_figures(detector: Detector, items: Items, table: ClassTable) -> tuple[Figure, ...]:
    """Return the mean spectra of classes as a figure, if the detector's input is spectra."""
    if detector.spectrum is None:
        return ()
    profiler = Profiler(detector.spectrum, torch.get_num_threads())
    return (figure_of(items, table, profiler),)
