"""Kinds of files are recognised by content, whatever their name."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.videos import encode
from PIL import Image as PillowImage

from hffkit.media.kinds import HEAD_BYTES, kind_of, kind_of_file

IMAGES = {
    "JPEG": "jpeg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif", "TIFF": "tiff",
    "BMP": "bmp", "PPM": "pnm", "JPEG2000": "jpeg2000", "MPO": "jpeg", "ICO": "ico",
}  # fmt: skip
VIDEOS = {
    "mp4": ("mp4", "mpeg4"), "mov": ("mp4", "mpeg4"), "matroska": ("matroska", "mpeg4"),
    "webm": ("matroska", "libvpx"), "avi": ("avi", "mpeg4"), "asf": ("asf", "wmv2"),
    "flv": ("flv", "flv"), "mpeg": ("mpeg", "mpeg2video"), "mpegts": ("mpegts", "mpeg2video"),
    "3gp": ("mp4", "mpeg4"), "mpeg2video": ("mpeg", "mpeg2video"), "ivf": ("ivf", "libvpx"),
    "yuv4mpegpipe": ("y4m", "wrapped_avframe"),
}  # fmt: skip


@pytest.mark.parametrize("format_", IMAGES)
def test_images_are_recognised(format_: str, tmp_path: Path) -> None:
    for n_pixels in (1, 40, 300):
        path = tmp_path / "it.mp4"
        PillowImage.new("RGB", (n_pixels, n_pixels), (9, 8, 7)).save(path, format_)
        kind = kind_of_file(path)
        assert kind is not None
        assert (kind.name, kind.medium) == (IMAGES[format_], "image")


@pytest.mark.parametrize("container", VIDEOS)
def test_videos_are_recognised(container: str) -> None:
    expected, codec = VIDEOS[container]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for value in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 * value, np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    kind = kind_of(file.getvalue()[:HEAD_BYTES])
    assert kind is not None
    assert (kind.name, kind.medium) == (expected, "video")


@pytest.mark.parametrize(("head", "title"), [
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC image"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC image"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF image"),
    (b"\0\0\0\x18ftypavis\0\0\0\0avismsf1", "AVIF image"),
    (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "MP4 video"),
    (b"\0\0\0\x14ftypM4A \0\0\0\0M4A ", "M4A sound file"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "WAV sound file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer, not the file itself"),
    (b"\n<!DOCTYPE html><html>", "HTML page"),
    (b"%PDF-1.7", "PDF document"),
])  # fmt: skip
def test_other_heads_are_recognised(head: bytes, title: str) -> None:
    kind = kind_of(head)
    assert kind is not None
    assert kind.title == title


@pytest.mark.parametrize("head", [
    b"", b"B", b"BM", b"BMW M3 of 1986, red", b"P6", b"P1 is the first", b"RIFF", b"path,real\n",
    b"\x47GGG", b"\0" * 600,
])  # fmt: skip
def test_little_proves_nothing(head: bytes) -> None:
    assert kind_of(head) is None


@given(st.binary(max_size=HEAD_BYTES))
def test_any_bytes_have_a_kind_or_none(head: bytes) -> None:
    for start in (b"", b"BM", b"RIFF", b"\0\0\0\x18ftyp", b"\x47"):
        kind = kind_of(start + head)
        assert kind is None or kind.medium in ("image", "video", "other")


@pytest.mark.parametrize("suffix", ["h264", "nut", "obu", "ts", "ogv", "mkv", "flv"])
def test_videos_are_recognised_as_ffmpeg_writes_them(tmp_path: Path, suffix: str) -> None:
    codec = {"obu": "libsvtav1", "ogv": "libtheora"}.get(suffix, "libx264")
    path = encode(tmp_path / f"a.{suffix}", "-c:v", codec)
    kind = kind_of_file(path)
    assert kind is not None
    assert kind.medium == "video"
