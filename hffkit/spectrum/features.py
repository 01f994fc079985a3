"""Profiles: the log power of an image's spectrum, averaged over rings of equal frequency."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64
from hffkit.errors import ArgumentError, ImageError, UnknownNameError, located
from hffkit.media.image import Image, grey
from hffkit.spectrum.radial import CENTRES, radial_means

# How images are made grey, recorded with features, models and caches: the luma of JPEG files, as
# the notebooks' imread(file, 0) gives it, and of anything else colour converted to grey. See
# `decode_grey`.
GREY = "jpeg-luma"
_EPSILON = 1e-8  # added to each complex coefficient, as in the notebooks: log 0 stays finite
_BATCH_PIXELS = 1 << 17  # of one FFT: with its result 2 MB, which a core's own cache holds
_BLOCK = 16  # images of one unit of work
_DEGREE = 3
Grey = npt.NDArray[np.uint8]
Read = Callable[[], Image]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Settings of the features."""

    crop: str = "whole"  # a name of CROPS
    centre: str = "paper"  # a name of radial.CENTRES
    n_points: int | None = None  # length of resampled profiles; None: not resampled
    first_bin: bool = False  # divide by the first value
    grey: str = GREY

    def __str__(self) -> str:
        points = "native length" if self.n_points is None else f"{self.n_points} points"
        divided = ", divided by the first" if self.first_bin else ""
        return f"{self.crop} image, grey by {self.grey}, {self.centre} centre, {points}{divided}"


# The paper's three experiments.
FEATURES: Mapping[str, FeatureSpec] = {
    "faces-hq": FeatureSpec(),
    "celeba": FeatureSpec(n_points=80, first_bin=True),
    "dfd": FeatureSpec(crop="third", n_points=300, first_bin=True),
}


def _square(image: Grey) -> Grey:
    height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _third(image: Grey) -> Grey:
    height, width = (side // 3 for side in image.shape)
    return image[height : image.shape[0] - height, width : image.shape[1] - width]


CROPS: Mapping[str, Callable[[Grey], Grey]] = {
    "whole": lambda image: image,
    "square": _square,  # the largest central square
    "third": _third,  # the middle third of both sides: the DeepFakeDetection experiment
}


def features_named(name: str) -> FeatureSpec:
    """Return the features of one of the paper's experiments."""
    if name not in FEATURES:
        raise UnknownNameError("features", name, FEATURES)
    return FEATURES[name]


def check_spec(spec: FeatureSpec) -> None:
    """Raise HffkitError if a setting is unknown or out of range."""
    if spec.centre not in CENTRES:
        raise UnknownNameError("centre", spec.centre, CENTRES)
    if spec.crop not in CROPS:
        raise UnknownNameError("crop", spec.crop, CROPS)
    if spec.grey != GREY:
        raise UnknownNameError("grey", spec.grey, (GREY,))
    if spec.n_points is not None and not 2 <= spec.n_points <= 100_000:
        raise ArgumentError(f"`points` must be from 2 to 100000, got {spec.n_points}.")


def profiles_of(images: Iterable[tuple[str, Read]], spec: FeatureSpec) -> Iterator[Floats64]:
    """Yield the native profile of each image, in order.

    Parameters
    ----------
    images : iterable of (name, read)
        `read` returns (H, W) uint8 grey, or (H, W, 3) uint8 RGB, which is converted to grey. Only
        `decode_grey` gives the luma of a JPEG. Errors contain the name.
    spec : FeatureSpec
        Only crop and centre are used; `resampled` uses the others.

    Raises
    ------
    ImageError
        If an image has no spectrum: it is too small, of one colour, or oblong with a true centre.
    """
    check_spec(spec)
    for block in blocks_of(images):
        yield from profiles_of_block(block, spec)


def blocks_of(images: Iterable[T]) -> Iterator[list[T]]:
    """Yield images in blocks: enough for one FFT, few enough to keep all workers busy."""
    waiting = iter(images)
    return iter(lambda: list(islice(waiting, _BLOCK)), [])


def features_of(images: Sequence[Image], spec: FeatureSpec) -> Floats64:
    """Compute the features (N, P) float64 of grey or RGB images; see `profiles_of`, `resampled`."""
    named = [(f"image {i}", partial(np.asarray, image)) for i, image in enumerate(images)]
    return resampled(list(profiles_of(named, spec)), spec)


def profiles_of_block(images: Sequence[tuple[str, Read]], spec: FeatureSpec) -> list[Floats64]:
    """Compute the profiles of a block, with one FFT for images of one shape up to a size limit."""
    crop = CROPS[spec.crop]
    found: dict[int, Floats64] = {}
    waiting: dict[tuple[int, int], list[tuple[int, Grey]]] = {}

    def flush(shape: tuple[int, int]) -> None:
        numbers, cuts = zip(*waiting.pop(shape), strict=True)
        found.update(zip(numbers, _profiles(np.stack(cuts), spec.centre), strict=True))

    for number, (name, read) in enumerate(images):
        cut = crop(_grey(read(), name))
        shape = (cut.shape[0], cut.shape[1])
        with located(name, ImageError):
            radial_means(*shape, spec.centre)
        if cut[0, 0] == cut[-1, -1] and cut.min() == cut.max():
            raise ImageError(f"{name}: all pixels are equal, so it has no spectrum. Leave it out.")
        some = waiting.setdefault(shape, [])
        some.append((number, cut))
        if (len(some) + 1) * cut.size > _BATCH_PIXELS:
            flush(shape)
    for shape in list(waiting):
        flush(shape)
    return [found[number] for number in range(len(images))]


def _grey(image: Image, name: str) -> Grey:
    is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not is_image or not image.size:
        raise ImageError(
            f"{name}: must be (H, W, 3) RGB or (H, W) grey of uint8, got {image.shape} of "
            f"{image.dtype}."
        )
    return grey(image) if image.ndim == 3 else image


def _profiles(stack: Grey, centre: str) -> list[Floats64]:
    """Compute the profile of each of (B, H, W) grey images: mean of 20 ln|F| over each radius."""
    means = radial_means(stack.shape[1], stack.shape[2], centre)
    from scipy.fft import rfft2  # late: SciPy takes longer to load than the checks of a request

    spectrum = rfft2(stack.astype(np.float64), overwrite_x=True)
    power = np.square(spectrum.real + _EPSILON)
    power += np.square(spectrum.imag)
    np.log(power, out=power)
    # 20 ln|F| = 10 ln(re^2 + im^2), and the mean of tens is ten times the mean.
    return [10.0 * (means @ half) for half in power.reshape(len(stack), -1)]


def resampled(profiles: Sequence[Floats64], spec: FeatureSpec) -> Floats64:
    """Turn native profiles into features, (N, P): resample and divide them by the settings.

    The L values of a profile are spaced evenly on [0, P]; a cubic spline through them (not-a-knot,
    SciPy's griddata in one dimension) is evaluated at P evenly spaced points.

    Raises
    ------
    ImageError
        If profiles differ in length and are not resampled, are too short for a spline, or begin
        with 0 and are to be divided by it.
    """
    lengths = {len(profile) for profile in profiles}
    if spec.n_points is None:
        if len(lengths) > 1:
            raise ImageError(
                f"Profiles have {len(lengths)} lengths, from {min(lengths)} to {max(lengths)}, "
                "because the images differ in size. Resample them to one number of `points`."
            )
        found = np.array(profiles, np.float64)
    else:
        found = np.empty((len(profiles), spec.n_points))
        for length in lengths:
            places = [i for i, profile in enumerate(profiles) if len(profile) == length]
            found[places] = _splined(np.array([profiles[i] for i in places]), spec.n_points)
    if spec.first_bin:
        first = found[:, :1]
        if not first.all():
            raise ImageError("A profile begins with 0: it cannot be divided by its first value.")
        found = found / first
    return found


def _splined(profiles: Floats64, n_points: int) -> Floats64:
    length = profiles.shape[1]
    if length <= _DEGREE:
        raise ImageError(
            f"A profile of {length} values is too short for a cubic spline: images must have at "
            "least 9x9 pixels."
        )
    from scipy.interpolate import make_interp_spline

    spline = make_interp_spline(np.linspace(0, n_points, length), profiles, k=_DEGREE, axis=1)
    found: Floats64 = spline(np.linspace(0, n_points, n_points))
    return found
