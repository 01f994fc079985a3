"""Versions of what touches pixels or bytes: the same ones give the same corpus."""

from collections.abc import Callable, Mapping
from importlib import import_module, metadata

from PIL import features


def _of_module(name: str) -> Callable[[], str]:
    return lambda: str(import_module(name).__version__)


def _libdeflate() -> str:
    return str(import_module("imagecodecs").deflate_version()).removeprefix("libdeflate ")


_VERSIONS: Mapping[str, Callable[[], str]] = {
    "hffkit": lambda: metadata.version("hffkit"),
    "opencv": _of_module("cv2"),
    "numpy": _of_module("numpy"),
    "dlib": _of_module("dlib"),
    "pillow": _of_module("PIL"),
    "openjpeg": lambda: str(features.version_codec("jpg_2000")),
    "av": lambda: metadata.version("av"),  # not loaded for its version alone: FFmpeg is large
    "libdeflate": _libdeflate,
}


# What operations and the PNG of their results go through, besides those of all.
LIBRARIES = ("pillow", "openjpeg", "av", "libdeflate")


def versions(*libraries: str) -> dict[str, str]:
    """Return the versions that a corpus records; workers that differ in them are refused.

    hffkit, OpenCV and numpy are always among them.
    """
    return {name: _VERSIONS[name]() for name in ("hffkit", "opencv", "numpy", *libraries)}
