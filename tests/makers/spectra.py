"""Power spectra by another way than hffkit's."""

import math

import numpy as np
import numpy.typing as npt

from makers.trees import Pixels


def by_hand(grey: Pixels, centre: str) -> npt.NDArray[np.float64]:
    """The azimuthal average as SYSTEMS C describes it: whole complex FFT, a loop over radii."""
    height, width = grey.shape
    spectrum = np.fft.fftshift(np.fft.fft2(grey.astype(np.float64))) + 1e-8
    power = 20 * np.log(np.abs(spectrum))
    middle = ((height - 1) / 2, (width - 1) / 2)
    if centre == "true":
        middle = (height // 2, width // 2)  # where fftshift puts the DC
    rows = np.array([[math.hypot(y - middle[0], x - middle[1]) for x in range(width)]
                     for y in range(height)])  # fmt: skip
    means = [
        math.fsum(power[(rows >= radius) & (rows < radius + 1)])
        / ((rows >= radius) & (rows < radius + 1)).sum()
        for radius in range(int(rows.max()) + 1)
    ]
    return np.array(means[1:-1])
