import random
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from makers.docs import documented
from makers.videos import PATTERN, Pixels, encode, ffmpeg, rgb_of

from hffkit.errors import VideoError
from hffkit.media.rgb import MAX_FRAME_PIXELS
from hffkit.media.video import VideoFile

# Two builds of FFmpeg may round differently; another filter or matrix is off by tens of levels.
ROUNDING = 2
JPEG = cv2.imencode(".jpg", np.zeros((48, 48, 3), np.uint8))[1].tobytes()


def read(clip: VideoFile) -> tuple[list[int], list[Pixels], list[int]]:
    """Return numbers and images of the frames that are sound, and the numbers of the others."""
    lost: list[int] = []
    frames = list(clip.frames(clip.numbers, lambda _name, number, _reason: lost.append(number)))
    lost += [frame.number for frame in frames if frame.damage is not None]
    sound = [frame for frame in frames if frame.damage is None]
    return [frame.number for frame in sound], [frame.image for frame in sound], lost


def check_equals_ffmpeg(path: Path) -> VideoFile:
    clip = VideoFile(path)
    numbers, images, lost = read(clip)
    expected = rgb_of(path, *clip.size)
    assert numbers == list(clip.numbers) == list(range(len(expected)))
    assert lost == []
    assert len(expected) > 5
    for image, frame in zip(images, expected, strict=True):
        assert np.abs(image.astype(int) - frame).max() <= ROUNDING
    return clip


LIBX264 = ("-c:v", "libx264")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound MP4 of 15 frames."""
    return encode(tmp_path_factory.mktemp("plain") / "plain.mp4", *LIBX264)


# Container, suffix, and codecs and kinds of pixels, as docs/sources.md lists them.
CONTAINERS: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]] = (
    ("MP4", ".mp4", {
        "H.264": LIBX264,
        "HEVC": ("-c:v", "libx265", "-x265-params", "log-level=none"),
        "AV1": ("-c:v", "libsvtav1", "-preset", "12"),
        "10 bits": (*LIBX264, "-pix_fmt", "yuv420p10le"),
        "4:4:4": (*LIBX264, "-pix_fmt", "yuv444p"),
        "grey": (*LIBX264, "-pix_fmt", "gray"),
        "RGB": ("-c:v", "libx264rgb"),
        "full range": (*LIBX264, "-pix_fmt", "yuvj420p"),
        "BT.709": (*LIBX264, "-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"),
        "BT.2020": (*LIBX264, "-colorspace", "bt2020nc"),
        "SMPTE 240M": (*LIBX264, "-colorspace", "smpte240m"),
        "odd sides": (*LIBX264, "-vf", "scale=161:127", "-pix_fmt", "yuv444p"),
        "variable rate": (*LIBX264, "-vf", "select=lt(n\\,5)+gt(n\\,9)", "-fps_mode", "vfr"),
    }),
    ("QuickTime", ".mov", {
        "MJPEG": ("-c:v", "mjpeg"),
        "ProRes": ("-c:v", "prores_ks"),
        "ProRes interlaced": ("-c:v", "prores_ks", "-flags", "+ildct+ilme"),
        "DNxHR": ("-c:v", "dnxhd", "-profile:v", "dnxhr_sq", "-s", "320x240"),
    }),
    ("Matroska", ".mkv", {
        "H.264 interlaced": (*LIBX264, "-flags", "+ilme+ildct"),
        "VP9": ("-c:v", "libvpx-vp9", "-deadline", "realtime"),
        "FFV1": ("-c:v", "ffv1"),
    }),
    ("WebM", ".webm", {
        "VP8": ("-c:v", "libvpx"),
        "VP9 with alpha (dropped)": (
            "-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuva420p"
        ),
    }),
    ("AVI", ".avi", {
        "H.264": LIBX264,  # reordered frames in a container without times
        "H.264 without reordering": (*LIBX264, "-bf", "0"),
        "MPEG-4": ("-c:v", "mpeg4"),
        "Xvid": ("-c:v", "libxvid", "-bf", "2"),
        "HuffYUV": ("-c:v", "huffyuv"),
    }),
    ("WMV", ".wmv", {"H.264": LIBX264, "WMV 8": ("-c:v", "wmv2")}),
    ("MPEG", ".mpg", {
        "MPEG-1": ("-c:v", "mpeg1video"),
        "MPEG-2": ("-c:v", "mpeg2video"),
        "MPEG-2 interlaced": ("-c:v", "mpeg2video", "-flags", "+ilme+ildct"),
    }),
    ("MPEG-TS", ".ts", {"H.264": LIBX264}),
    ("MXF", ".mxf", {"MPEG-2": ("-c:v", "mpeg2video")}),
    ("DV", ".dv", {"DV": ("-c:v", "dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p")}),
    ("Flash", ".flv", {"H.264": LIBX264}),
    ("Ogg", ".ogv", {"Theora": ("-c:v", "libtheora")}),
    ("NUT", ".nut", {"uncompressed": ("-c:v", "rawvideo")}),
    ("GIF", ".gif", {"palette": ("-c:v", "gif")}),
    ("none", ".h264", {"H.264": LIBX264}),
)  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        pytest.param(suffix, options, id=f"{container} {codec}")
        for container, suffix, codecs in CONTAINERS
        for codec, options in codecs.items()
    ],
)
def test_frames_are_those_that_ffmpeg_gives(
    tmp_path: Path, suffix: str, options: Sequence[str]
) -> None:
    check_equals_ffmpeg(encode(tmp_path / f"a{suffix}", *options))


def test_table_of_videos_is_what_is_read() -> None:
    made = [[container, ", ".join(codecs)] for container, _, codecs in CONTAINERS]
    assert documented("### Videos") == made


def gif(path: Path, width: int, height: int, n_frames: int) -> Path:
    """Write an animated GIF with frames of one pixel on a large canvas."""
    frame = b"\x21\xf9\x04\x04\x0a\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    head = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    path.write_bytes(b"GIF89a" + head + frame * n_frames + b";")
    return path


def constant_luminance(path: Path) -> Path:
    """Write a video with a colour matrix that FFmpeg does not convert."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = 10  # BT.2020, constant luminance
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        file.mux(stream.encode(None))
    return path


def refused(plain: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is no video, and a file of it."""
    sound = ("-f", "lavfi", "-i", "sine=d=1")
    ffmpeg(*sound, "-c:a", "aac", tmp_path / "sound.mp4")
    yield "sound without images", tmp_path / "sound.mp4"
    (tmp_path / "image.jpg").write_bytes(JPEG)
    cover = ("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    ffmpeg(*sound, "-i", tmp_path / "image.jpg", *cover, "-c:a", "aac", tmp_path / "cover.mp4")
    yield "sound with a cover image", tmp_path / "cover.mp4"
    ffmpeg(*sound, tmp_path / "sound.wav")
    yield "a sound file", tmp_path / "sound.wav"
    (tmp_path / "image.mp4").write_bytes(JPEG)
    yield "an image named as a video", tmp_path / "image.mp4"
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
    yield "a playlist or other text", tmp_path / "list.mp4"
    whole = plain.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    yield "an MP4 without its index, which is at its end", tmp_path / "cut.mp4"
    (tmp_path / "empty.mp4").touch()
    yield "an empty file", tmp_path / "empty.mp4"
    yield "frames of more than 8192x4320", gif(tmp_path / "large.mp4", 13000, 13000, 200)
    yield "a colour matrix that FFmpeg cannot convert", constant_luminance(tmp_path / "matrix.mp4")


def test_table_of_refused_videos_is_what_is_refused(plain: Path, tmp_path: Path) -> None:
    made = []
    for name, path in refused(plain, tmp_path):
        with pytest.raises(VideoError) as raised:
            VideoFile(path)
        made.append([name, f"`{raised.value}`"])
    assert documented("### Refused videos") == made


TURNS = [
    *(("-display_rotation", str(angle)) for angle in (0, 90, 180, 270)),
    *(("-display_rotation", str(angle), "-display_hflip") for angle in (0, 90, 180, 270)),
]


@pytest.mark.parametrize(
    ("suffix", "turn"),
    [
        *((".mp4", turn) for turn in TURNS),
        *((suffix, turn) for suffix in (".mov", ".mkv") for turn in (TURNS[1], TURNS[-1])),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_frames_are_upright(plain: Path, tmp_path: Path, turn: Sequence[str], suffix: str) -> None:
    turned = tmp_path / f"turned{suffix}"
    ffmpeg(*turn, "-i", plain, "-c", "copy", turned)
    clip = check_equals_ffmpeg(turned)
    assert clip.size == ((128, 160) if turn[1] in {"90", "270"} else (160, 128))


def test_frames_before_the_start_of_an_edit_list_are_left_out(plain: Path, tmp_path: Path) -> None:
    ffmpeg("-ss", "0.2", "-i", plain, "-c", "copy", tmp_path / "edit.mp4")
    clip = check_equals_ffmpeg(tmp_path / "edit.mp4")
    assert (len(clip.numbers), clip.n_claimed, clip.is_short) == (10, 15, False)


@pytest.mark.parametrize("again", ["a.ts", "b.ts"])
def test_recordings_that_were_joined_are_read_to_their_end(tmp_path: Path, again: str) -> None:
    at_0 = ("-muxdelay", "0", "-muxpreload", "0")
    encode(tmp_path / "a.ts", *LIBX264)
    encode(tmp_path / "b.ts", *at_0, *LIBX264)  # its times begin before those of the other
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / again).read_bytes())
    assert len(check_equals_ffmpeg(joined).numbers) == 30


def test_repeated_frames_are_no_damage(tmp_path: Path) -> None:
    source = "testsrc2=s=64x48:r=10:d=1"
    options = ("-vf", "fps=30", "-c:v", "libtheora")
    check_equals_ffmpeg(encode(tmp_path / "a.ogv", *options, source=source))


def fragmented(path: Path) -> Path:
    """Write a video whose header tells of its first fragment only."""
    flags = "frag_keyframe+default_base_moof"  # the first fragment is in the header
    return encode(path, "-c:v", "libx264", "-g", "5", "-movflags", flags)


def with_short_header(path: Path, n_claimed: int) -> Path:
    """Write an AVI whose header claims another number of frames."""
    encode(path, "-c:v", "mpeg4")
    content = bytearray(path.read_bytes())
    for tag, offset in ((b"avih", 24), (b"strh", 40)):
        at = content.index(tag) + offset
        content[at : at + 4] = struct.pack("<I", n_claimed)
    path.write_bytes(content)
    return path


def test_a_video_can_hold_more_frames_than_it_claims(tmp_path: Path) -> None:
    for path in (
        fragmented(tmp_path / "fragmented.mp4"),
        with_short_header(tmp_path / "crashed.avi", 3),
    ):
        clip = check_equals_ffmpeg(path)
        assert len(clip.numbers) == 15
        assert clip.n_claimed < 15
        assert not clip.is_short


def packets(path: Path) -> list[tuple[int, int]]:
    """Return place and size of the packets of an H.264 video in MP4, in the order of storage."""
    with av.open(str(path)) as file:
        return [(p.pos, p.size) for p in file.demux(video=0) if p.size and p.pos is not None]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_damage_lasts_until_the_next_key_frame(tmp_path: Path, codec: str) -> None:
    source = PATTERN.replace("d=0.6", "d=1.2")
    no_other_keys = "0" if codec == "libx264" else "1000000000"
    options = ("-c:v", codec, "-g", "10", "-bf", "0", "-sc_threshold", no_other_keys)
    path = encode(tmp_path / "a.mov", *options, source=source)
    whole = read(VideoFile(path))
    assert (len(whole[1]), whole[2]) == (30, [])
    at, size = packets(path)[10]
    content = bytearray(path.read_bytes())
    content[at + size // 3 : at + size * 2 // 3] = random.Random(1).randbytes(
        size * 2 // 3 - size // 3
    )
    path.write_bytes(content)
    numbers, images, lost = read(VideoFile(path))
    assert lost == list(range(10, 20))
    assert numbers == [*range(10), *range(20, 30)]
    for number, image in zip(numbers, images, strict=True):
        assert np.array_equal(image, whole[1][number])


def test_a_lost_frame_does_not_shift_the_numbers_of_others(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "-c:v", "mjpeg")
    whole = read(VideoFile(path))[1]
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xd8\xff"]
    begin, end = list(pairwise(starts))[6]
    content[begin + 2 : end - 40] = bytes(end - begin - 42)
    path.write_bytes(content)
    numbers, images, lost = read(VideoFile(path))
    assert lost == [6]
    assert numbers == [n for n in range(15) if n != 6]
    for number, image in zip(numbers, images, strict=True):
        assert np.array_equal(image, whole[number])


@pytest.mark.parametrize(("width", "height"), [(13000, 13000), (65535, 541), (8192, 4321)])
def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    assert width * height > MAX_FRAME_PIXELS
    path = gif(tmp_path / "a.mp4", width, height, 200)
    with pytest.raises(
        VideoError, match=f"^too large: frames of {width}x{height}; at most 35389440"
    ):
        VideoFile(path)


def test_texts_that_name_other_files_are_no_videos(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ts"
    ffmpeg("-i", plain, "-c", "copy", other)
    (tmp_path / "a.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "b.mp4").write_text("ffconcat version 1.0\nfile other.ts\n")
    (tmp_path / "c.mp4").write_text("hello\n" * 100)
    for name in "abc":
        with pytest.raises(VideoError, match="no video: FFmpeg cannot open it"):
            VideoFile(tmp_path / f"{name}.mp4")


@pytest.mark.parametrize("name", ["a:b.mp4", "concat:a.mp4", "-i.mp4", "%d.mp4", "ü \n.mp4"])
def test_a_name_is_only_a_name(plain: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(plain.read_bytes())
    assert len(VideoFile(tmp_path / name).numbers) == 15


def test_messages_of_ffmpeg_stay_off_the_screen(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "-c:v", "libx264", "-g", "5")
    content = bytearray(path.read_bytes())
    at, size = packets(path)[5]
    content[at + size // 2 : at + size] = b"\xff" * (size - size // 2)
    path.write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from hffkit.media.video import VideoFile\n"
        "clip = VideoFile(Path(sys.argv[1]))\n"
        "frames = clip.frames(clip.numbers, lambda *_: None)\n"
        "print([frame.number for frame in frames if frame.damage][:1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[5]\n", "")
