"""Videos that claim more than they hold, or are too large: one rule for all readers."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from makers.trees import write_clip
from makers.videos import encode

from hffkit.errors import VideoError
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in
from hffkit.media.h264 import Encoding, transcode
from hffkit.media.video import VideoFile

N = 10
PATTERN = f"testsrc2=s=64x48:d={N / 25}:r=25"


def padded(path: Path, original: Path, n_empty: int, payload: bytes) -> Path:
    """Copy a video, with packets behind its last one that hold no frame."""
    with av.open(str(original)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets: list[Any] = [packet for packet in source.demux(video=0) if packet.size]
        step, last = packets[1].pts - packets[0].pts, packets[-1].pts
        base = packets[0].time_base
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
        for number in range(1, n_empty + 1):
            empty: Any = av.Packet(payload)
            empty.stream, empty.time_base = stream, base
            empty.pts = empty.dts = last + step * number
            out.mux(empty)
    return path


@pytest.mark.parametrize(
    ("name", "payload"),
    [("a.mp4", bytes(4)), ("b.mkv", bytes(4)), ("c.mp4", b"\0\0\0\4e\1\2\3")],
)
def test_packets_without_frames_are_no_frames(tmp_path: Path, name: str, payload: bytes) -> None:
    original = encode(tmp_path / "o.mp4", "-bf", "0", "-pix_fmt", "yuv420p", source=PATTERN)
    path = padded(tmp_path / name, original, 3000, payload)
    clip = VideoFile(path)
    assert (len(clip.numbers), clip.n_claimed, clip.is_short) == (N, N + 3000, True)
    counts = FrameCounts()
    found = [face.frame for face in faces_in(path, FaceSearch(4, whole=True), counts)]
    assert found == [1, 3, 6, 8]
    assert (counts.n_frames, counts.n_missing) == (4, 0)


def test_empty_chunks_of_an_avi_are_not_lost_frames(tmp_path: Path) -> None:
    every_third = "testsrc2=s=64x48:d=1:r=25,select='eq(mod(n\\,3)\\,0)'"
    options = ("-fps_mode", "vfr", "-enc_time_base", "1/25", "-c:v", "mpeg4")
    path = encode(tmp_path / "a.avi", *options, source=every_third)
    clip = VideoFile(path)
    assert (len(clip.numbers), clip.n_claimed, clip.is_short) == (9, 25, False)
    made = transcode(path, tmp_path / "a.mp4", Encoding(23))
    assert (made.n_frames, made.n_claimed) == (9, 9)
    cut = tmp_path / "b.avi"
    whole = encode(tmp_path / "w.avi", "-c:v", "mpeg4", source="testsrc2=s=64x48:d=1:r=25")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    clip = VideoFile(cut)
    assert clip.is_short
    assert clip.n_claimed == 25
    assert len(clip.numbers) < 25


def gif(width: int, height: int, n_frames: int) -> bytes:
    """Return a GIF whose frames are one pixel of a large canvas."""
    pixel = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    delay = b"\x21\xf9\x04\0\4\0\0\0"
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    return head + (delay + pixel) * n_frames + b"\x3b"


def readers(path: Path, folder: Path) -> Iterator[str]:
    """Yield the reason of each reader of videos why it does not read one."""
    for read in (
        lambda: VideoFile(path),
        lambda: list(faces_in(path, FaceSearch(4), FrameCounts())),
        lambda: transcode(path, folder / "out.mp4", Encoding(23)),
    ):
        with pytest.raises(VideoError) as error:
            read()
        yield str(error.value)


def test_a_small_file_of_huge_frames_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mp4"
    path.write_bytes(gif(13_000, 13_000, 200))
    assert path.stat().st_size < 5000
    began = time.process_time()
    assert set(readers(path, tmp_path)) == {
        "too large: frames of 13000x13000; at most 35389440 pixels are read"
    }
    assert time.process_time() - began < 1  # a frame of 507 MB takes longer
    path.write_bytes(gif(130, 130, 20))
    assert len(VideoFile(path).numbers) == 20


def test_a_video_of_too_many_frames_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", n_frames=30)
    monkeypatch.setattr("hffkit.media.ffmpeg.MAX_FRAMES", 29)
    assert set(readers(path, tmp_path)) == {"too long: at most 29 frames are read"}
