"""Tones of robustness suites: saturation, contrast, brightness and quantisation."""

import cv2
import numpy as np

from hffkit.arrays import Floats64
from hffkit.degrade.parameter import Choice, Interval, check, number_from, whole_from
from hffkit.media.image import Image, rounded

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_TONE = 0.7  # at which the contrast curve of amount 0 gives 0.75

SATURATION = Interval("factor", number_from(-10, 10), 0.0, 1.0)
DIMMING = Interval("factor", number_from(0, 10), 0.35, 0.85)
CONTRAST = Interval("amount", number_from(-1, 1), -0.6, 0.3)
AMOUNT = Interval("amount", number_from(0, 2), 0.05, 0.8)
LEVELS = Choice("levels", whole_from(2, 256), (7, 10, 13, 16, 20))


def saturation(image: Image, factor: float) -> Image:
    """Multiply both chroma components of YCbCr (BT.601) by `factor`: 0 is grey, 1 changes nothing.

    Luma stays, so each channel becomes Y + factor (v - Y).
    """
    luma = (image @ _LUMA)[..., None]
    return rounded(luma + check(SATURATION, factor) * (image - luma))


def saturation_hsv(image: Image, factor: float) -> Image:
    """Multiply the saturation of HSV by `factor`: each channel becomes V + factor (v - V).

    V is the brightest channel. A factor below 0 inverts hues and brightens.
    """
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    return rounded(value + check(SATURATION, factor) * (image - value))


def dim(image: Image, factor: float) -> Image:
    """Multiply every grey level by `factor`."""
    return _mapped(image, np.arange(256) * check(DIMMING, factor) / 255)


def contrast(image: Image, amount: float) -> Image:
    """Map tones by the cubic spline through (0.3, 0.25 - a/4), (0.5, 0.5), (0.7, 0.75 + a/4).

    The ends 0 and 1 stay. With five points and not-a-knot ends the spline is odd about the middle:
    0.5 + c t + d t^3 for t = v - 0.5. An amount of 0 already raises the contrast a little, because
    it moves 0.3 to 0.25.
    """
    reach = _TONE - 0.5
    rise = 0.25 + check(CONTRAST, amount) / 4
    # c / 2 + d / 8 = 1/2 holds the end, and c reach + d reach^3 = rise the tone 0.7.
    cubic = (rise - reach) / (reach**3 - reach / 4)
    tones = np.arange(256) / 255 - 0.5
    return _mapped(image, 0.5 + (1 - cubic / 4) * tones + cubic * tones**3)


def brighten(image: Image, amount: float) -> Image:
    """Bend tones up by v + 2 a v (1 - v): two thirds in the channels, one third in CIELAB's L.

    As in the original, the lightness is that of the image with red and blue exchanged.
    """
    check(AMOUNT, amount)
    bent = _bent(image / 255, amount)
    lab = cv2.cvtColor((image / np.float32(255)).astype(np.float32), cv2.COLOR_BGR2Lab)
    lab[..., 0] = 100 * _bent(lab[..., 0] / 100, amount)
    lighter = np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2BGR), 0, 1)
    return rounded(255 * (2 * bent + lighter) / 3)


def darken(image: Image, amount: float) -> Image:
    """Bend tones down by v - 2 a v (1 - v)."""
    return _mapped(image, _bent(np.arange(256) / 255, -check(AMOUNT, amount)))


def _bent(tones: Floats64, amount: float) -> Floats64:
    """Map tones from 0 to 1 by the parabola through (0, 0), (1/2, 1/2 + amount/2) and (1, 1)."""
    return np.asarray(np.clip(tones + 2 * amount * tones * (1 - tones), 0, 1), np.float64)


def quantise(image: Image, levels: int) -> Image:
    """Cut the range of grey levels into `levels` equal bins, and stretch those in use to 0..255.

    All channels share the bins. A level belongs to the bin whose lower bound it exceeds; the bounds
    are rounded down, and level 0 has a bin of its own.
    """
    bounds = np.floor(np.linspace(0, 255, check(LEVELS, levels) + 1))
    bins = np.searchsorted(bounds, np.arange(256), side="left")[image].astype(np.float64)
    least, most = bins.min(), bins.max()
    if least == most:
        return rounded(np.full(image.shape, 255 * least))
    return rounded(255 * (bins - least) / (most - least))


def _mapped(image: Image, curve: Floats64) -> Image:
    """Map each grey level by a curve of 256 values from 0 to 1, rounded and clipped."""
    return np.array(cv2.LUT(image, rounded(255 * curve)), np.uint8)
