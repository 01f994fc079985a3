"""Make and read videos by the `ffmpeg` program, which shares no code path with PyAV's wrappers."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
PATTERN = "testsrc2=s=160x128:d=0.6:r=25"  # 15 frames of moving colours


def ffmpeg(*arguments: str | Path) -> bytes:
    """Run `ffmpeg` and return its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def encode(path: Path, *options: str, source: str = PATTERN) -> Path:
    """Encode a test pattern."""
    ffmpeg("-f", "lavfi", "-i", source, *options, path)
    return path


def rgb_of(path: Path, width: int, height: int) -> Pixels:
    """Return the (N, H, W, 3) RGB frames of a video, each as often as it is stored."""
    options = ("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24")
    raw = ffmpeg("-i", path, *options, "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
