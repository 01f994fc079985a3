"""Versions of the libraries that determine pixels or bytes; equal ones give equal corpora."""

import platform
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from PIL import features

if TYPE_CHECKING:
    import torch


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
    "libwebp": lambda: str(features.version_module("webp")),
    "libavif": lambda: str(features.version_module("avif")),
    "openjpeg": lambda: str(features.version_codec("jpg_2000")),
    "av": lambda: metadata.version("av"),  # importing it would load FFmpeg
    "libdeflate": _libdeflate,
}


# Libraries of operations and of the PNG encoder, besides those that all corpora record.
LIBRARIES = ("pillow", "openjpeg", "libwebp", "libavif", "av", "libdeflate")


def versions(*libraries: str) -> dict[str, str]:
    """Return the versions that a corpus records: of hffkit, OpenCV, numpy and `libraries`.

    Workers with other versions are refused.
    """
    return {name: _VERSIONS[name]() for name in ("hffkit", "opencv", "numpy", *libraries)}


def versions_of_training(device: "torch.device") -> dict[str, str]:
    """Return the versions and the processor that determine the bits of a training."""
    import torch  # late: builds need no torch

    found = {
        **versions("pillow"),
        "torch": torch.__version__,
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return found
