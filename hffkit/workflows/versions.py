"""Versions of what touches pixels or bytes: the same ones give the same corpus."""

from importlib import metadata

import cv2
import dlib
import numpy as np


def versions() -> dict[str, str]:
    """Return the versions that a corpus records; workers that differ in them are refused."""
    return {
        "hffkit": metadata.version("hffkit"),
        "opencv": cv2.__version__,
        "dlib": dlib.__version__,
        "numpy": np.__version__,
    }
