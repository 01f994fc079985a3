"""Temperature scaling: the temperature of a score's log odds that fits best."""

import numpy as np
from scipy.optimize import brentq

from hffkit.arrays import Bools, Floats64
from hffkit.errors import MetricError
from hffkit.runs.scores import log_odds

_LEAST, _MOST = 1e-2, 1e2


def fit_temperature(is_fake: Bools, scores: Floats64) -> float:
    """Return the temperature that minimises the mean log loss of scores (N,).

    Raises
    ------
    MetricError
        If there are no fakes or no reals, or no temperature in 0.01..100 is the best.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    if is_fake.all() or not is_fake.any():
        raise MetricError("Calibration needs real and fake files. Choose samples of both.")
    towards = np.where(is_fake, 1, -1) * log_odds(scores)  # above 0: on the right side

    def slope(log_scale: float) -> float:
        """Return the derivative of the loss by the scale 1 / temperature, in which it is convex."""
        return float(np.mean(-towards / (1 + np.exp(np.exp(log_scale) * towards))))

    low, high = np.log(1 / _MOST), np.log(1 / _LEAST)
    with np.errstate(over="ignore"):  # exp: a loss of 0
        if slope(high) <= 0:
            raise MetricError(
                "The scores separate real and fake so well that the best temperature is below "
                f"{_LEAST:g}: there is nothing to calibrate on. Use more samples, or leave out "
                "`calibrate`."
            )
        if slope(low) >= 0:
            raise MetricError(
                "The scores do not tell fake from real, so no temperature makes probabilities of "
                "them. Leave out `calibrate`."
            )
        return float(1 / np.exp(brentq(slope, low, high, xtol=1e-12)))
