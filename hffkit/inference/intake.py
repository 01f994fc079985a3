"""Inputs of detectors, made of an image in any process and without PyTorch."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64
from hffkit.media.image import Image, resize
from hffkit.networks.spec import InputSpec
from hffkit.spectrum.features import FeatureSpec, profiles_of
from hffkit.storage.datum import Datum
from hffkit.training.dataset import Pixels, fed

Fed = npt.NDArray[Any]
"""Pixels (S, S, 3) uint8, or a native profile (L,) float64."""

_PROFILE_BYTES = 1 << 13  # of a thousand radii
Outputs = npt.NDArray[Any]
"""Logits (N, C) float32 of a network, or decision values (N, 1) float64, above 0 for fake."""


@dataclass(frozen=True, slots=True)
class PixelIntake:
    """Pixels at the size and in the colour order of a network."""

    size: int
    spec: InputSpec

    @property
    def n_bytes(self) -> int:
        """Size of what is made of an image."""
        return 3 * self.size**2

    def reduced(self, image: Image) -> Image:
        """Return an (H, W, 3) RGB image at the network's size."""
        return resize(image, self.size, self.spec.filter)

    def of_image(self, image: Image) -> Pixels:
        """Return what the network is fed with for an (H, W, 3) RGB image."""
        return np.ascontiguousarray(fed(image, self.size, self.spec))

    def of_record(self, _: Datum, image: Image) -> Pixels:
        """Return what the network is fed with for a record whose decoded image is given."""
        return self.of_image(image)


@dataclass(frozen=True, slots=True)
class ProfileIntake:
    """The profile of a power spectrum."""

    spec: FeatureSpec

    @property
    def n_bytes(self) -> int:
        """Size, about, of what is made of an image."""
        return _PROFILE_BYTES

    def reduced(self, image: Image) -> Image:
        """Return an image as it is, for every pixel of it counts."""
        return image

    def of_image(self, image: Image) -> Floats64:
        """Compute the native profile of an (H, W) grey or (H, W, 3) RGB image.

        Raises
        ------
        ImageError
            If the image has no spectrum.
        """
        (profile,) = profiles_of([("the image", partial(np.asarray, image))], self.spec)
        return profile

    def of_record(self, datum: Datum, _: Image) -> Floats64:
        """Compute the native profile of a record: of the luma, if it is a JPEG file."""
        return self.of_image(datum.grey())


Intake = PixelIntake | ProfileIntake
"""Makes what a detector is fed with; equal ones make the same."""
