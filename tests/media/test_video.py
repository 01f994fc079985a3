import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from makers.videos import ffmpeg

from hffkit.errors import VideoError
from hffkit.media import h264
from hffkit.media.image import Image, encode_png
from hffkit.media.video import FrameFolder, VideoFile, common_numbers, open_clip


def never(name: str, number: int, reason: str) -> None:
    pytest.fail(f"{name} {number} was called unreadable: {reason}")


def sequential(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Read all frames by the plainest loop that cv2 has, as RGB."""
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, bgr = capture.read()
        if not ok:
            return
        yield np.asarray(bgr[:, :, ::-1], np.uint8)


def write_video(path: Path, n_frames: int = 60, **options: str) -> Path:
    """Write an H.264 video of 96x64 in which a bar moves."""
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(n_frames):
            picture = np.full((64, 96, 3), 4 * number % 256, np.uint8)
            picture[:, number % 96 :] = 255
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def waves(height: int, width: int, number: int) -> Image:
    """A coloured image, another for each number."""
    y, x = np.mgrid[:height, :width]
    colours = [np.sin((x + number) / (3 + c)) * np.cos(y / (4 + c)) for c in range(3)]
    return (127.5 + 127 * np.stack(colours, axis=-1)).astype(np.uint8)


def test_frames_written_at_rate_factor_0_come_back_unchanged(tmp_path: Path) -> None:
    frames = [waves(48, 64, number) for number in range(8)]
    h264.write_video(tmp_path / "a.mp4", frames, crf=0)
    assert np.array_equal(list(sequential(tmp_path / "a.mp4")), frames)


def test_odd_sides_get_their_last_row_and_column_again(tmp_path: Path) -> None:
    frames = [waves(47, 63, number) for number in range(3)]
    h264.write_video(tmp_path / "a.mp4", iter(frames), crf=0)
    written = list(sequential(tmp_path / "a.mp4"))
    assert np.array_equal([frame[:47, :63] for frame in written], frames)
    for frame in written:
        assert frame.shape == (48, 64, 3)
        assert np.array_equal(frame[47], frame[46])
        assert np.array_equal(frame[:, 63], frame[:, 62])


@pytest.mark.parametrize("crf", [0, 23, 40])
def test_the_same_frames_give_the_same_bytes_at_25_a_second(tmp_path: Path, crf: int) -> None:
    frames = [waves(48, 64, number) for number in range(30)]
    for name in ("a.mp4", "b.mp4"):
        h264.write_video(tmp_path / name, frames, crf=crf)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as file:
        (stream,) = file.streams
        assert (stream.codec_context.name, stream.average_rate) == ("h264", Fraction(25))
        assert len(list(file.decode(video=0))) == 30


def test_a_higher_rate_factor_loses_more_in_fewer_bytes(tmp_path: Path) -> None:
    frames = [waves(48, 64, number) for number in range(30)]
    sizes, losses = [], []
    for crf in (0, 10, 23, 40):
        h264.write_video(tmp_path / f"{crf}.mp4", frames, crf=crf)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
        got = np.array(list(sequential(tmp_path / f"{crf}.mp4")), int)
        losses.append(float(np.abs(got - frames).mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)
    assert losses[0] == 0


@pytest.mark.parametrize(
    ("name", "n_frames"),
    [
        ("data/ffpp/original_sequences/youtube/c23/videos/004.mp4", 60),  # of 309, at 1280x720
        ("data/videos/fake-unknown-generator/0017_fake.mp4", 113),
        ("data/videos/real-portrait/d20.mp4", 175),
    ],
)
def test_wanted_frames_are_those_of_sequential_reading(
    data: Path, name: str, n_frames: int, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    ffmpeg("-i", data / name, "-frames:v", str(n_frames), "-c", "copy", path)
    clip = VideoFile(path)
    assert (len(clip.numbers), clip.n_claimed, clip.is_short) == (n_frames, n_frames, False)
    last = n_frames - 1
    wanted = [0, 1, 17, last // 2, last - 1, last]
    frames = {frame.number: frame for frame in clip.frames({*wanted, n_frames}, never)}
    assert list(frames) == wanted
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for number, expected in enumerate(sequential(path)):
        if number in frames:
            assert np.array_equal(frames[number].image, expected)
            assert clip.size == (expected.shape[1], expected.shape[0])
    assert number == last
    for frame in frames.values():
        assert (frame.file_sha256, frame.file_name, frame.encoded) == (sha256, None, None)


def test_video_can_be_read_twice(tmp_path: Path) -> None:
    clip = VideoFile(write_video(tmp_path / "a.mp4"))
    one, two = (list(clip.frames({5, 50}, never)) for _ in range(2))
    assert [frame.number for frame in one] == [5, 50]
    for first, second in zip(one, two, strict=True):
        assert np.array_equal(first.image, second.image)


def test_video_that_was_cut_has_the_frames_that_are_left(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", movflags="faststart").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * 0.8)])
    clip = VideoFile(cut)
    assert (clip.n_claimed, clip.is_short) == (60, True)
    assert 5 < len(clip.numbers) < 60
    reported: list[int] = []
    frames = list(clip.frames(range(60), lambda _name, number, _reason: reported.append(number)))
    reported += [frame.number for frame in frames if frame.damage is not None]
    frames = [frame for frame in frames if frame.damage is None]
    assert sorted([*reported, *(frame.number for frame in frames)]) == list(clip.numbers)
    assert len(reported) <= 3  # those next to the cut
    assert min(reported, default=99) > len(frames) - 3


def test_video_that_does_not_say_its_length_gives_all_its_frames(tmp_path: Path) -> None:
    clip = VideoFile(write_video(tmp_path / "live.mkv", live="1"))
    assert len(clip.numbers) == 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "^empty file$"),
        (b"This is no video.\n" * 100, "no video: FFmpeg cannot open it"),
        (bytes(5000), "no video: FFmpeg cannot open it"),
    ],
)
def test_file_that_holds_no_video_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        VideoFile(path)


def test_video_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4").read_bytes()  # the index is at the end
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"FFmpeg cannot open it \(cut short, or"):
        VideoFile(tmp_path / "cut.mp4")


def test_video_without_a_whole_frame_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: whole.index(b"mdat") + 8])
    with pytest.raises(VideoError, match="no frame of it can be decoded"):
        VideoFile(tmp_path / "cut.mp4")


def test_missing_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be read: No such file or directory"):
        VideoFile(tmp_path / "gone.mp4")


def picture(number: int) -> Image:
    return np.full((4, 6, 3), number, np.uint8)


def frame_folder(path: Path, names: Sequence[str]) -> Path:
    """Fill a folder with images, each of the grey that its place in `names` says."""
    path.mkdir()
    for number, name in enumerate(names):
        (path / name).write_bytes(encode_png(picture(number)))
    return path


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["0000.png", "0001.png", "0010.png"], [0, 1, 10]),
        (["0.png", "1.png", "2.png", "10.png"], [0, 1, 2, 10]),
        (["frame_7.PNG", "frame_12.jpeg"], [7, 12]),
        (["v2_003.png"], [3]),
    ],
)
def test_frames_are_numbered_by_the_last_number_of_their_name(
    tmp_path: Path, names: list[str], numbers: list[int]
) -> None:
    folder = frame_folder(tmp_path / "frames", names)
    for name in names:  # as macOS puts beside them on other disks
        (folder / f"._{name}").write_bytes(b"\x00\x05\x16\x07" + bytes(20))
    (folder / ".DS_Store").touch()
    clip = FrameFolder(folder)
    assert list(clip.numbers) == numbers
    frames = list(clip.frames(set(numbers), never))
    assert [frame.file_name for frame in frames] == names
    for place, frame in enumerate(frames):
        assert frame.number == numbers[place]
        assert np.array_equal(frame.image, picture(place))
    assert clip.size == (6, 4)


def test_only_wanted_frames_of_a_folder_are_read(tmp_path: Path) -> None:
    path = frame_folder(tmp_path / "frames", ["0.png", "1.png", "2.png"])
    (path / "1.png").write_bytes(b"never looked at")
    assert [frame.number for frame in FrameFolder(path).frames({0, 2, 9}, never)] == [0, 2]


def test_frame_of_a_folder_keeps_its_bytes(tmp_path: Path) -> None:
    path = frame_folder(tmp_path / "frames", ["0.png", "1.png"])
    [frame] = FrameFolder(path).frames({1}, never)
    assert frame.encoded == (path / "1.png").read_bytes()
    assert frame.file_sha256 == hashlib.sha256(frame.encoded).hexdigest()


def test_unreadable_frames_of_a_folder_are_reported(tmp_path: Path) -> None:
    path = frame_folder(tmp_path / "frames", ["0.png", "1.png", "2.png", "3.png"])
    (path / "1.png").write_bytes((path / "1.png").read_bytes()[:-20])
    (path / "2.png").write_bytes(b"")
    reported = []
    frames = FrameFolder(path).frames(
        range(4), lambda name, number, reason: reported.append((name, number, reason))
    )
    assert [frame.number for frame in frames] == [0, 3]
    assert [(name, number) for name, number, _ in reported] == [("1.png", 1), ("2.png", 2)]
    assert reported[0][2].startswith("cut short")
    assert reported[1][2] == "empty file"


@pytest.mark.parametrize("names", [[], ["mask.png"], ["0000.txt"]])
def test_folder_without_a_numbered_image_is_refused(tmp_path: Path, names: list[str]) -> None:
    path = frame_folder(tmp_path / "frames", names)
    with pytest.raises(VideoError, match=r"holds no numbered frame image such as 0000\.png"):
        FrameFolder(path)


def test_a_folder_named_like_a_frame_is_none(tmp_path: Path) -> None:
    path = frame_folder(tmp_path / "frames", ["0.png", "2.png"])
    (path / "1.png").mkdir()
    assert list(FrameFolder(path).numbers) == [0, 2]


def test_two_images_of_one_frame_are_refused(tmp_path: Path) -> None:
    path = frame_folder(tmp_path / "frames", ["01.png", "1.png", "2.png"])
    with pytest.raises(VideoError, match=r"01\.png and 1\.png are the same frame"):
        FrameFolder(path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be read: No such file or directory"):
        FrameFolder(tmp_path / "gone")


def test_clip_is_a_folder_or_a_file(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", ["0.png"])
    video = write_video(tmp_path / "a.mp4", 5)
    assert isinstance(open_clip(folder), FrameFolder)
    assert isinstance(open_clip(video), VideoFile)
    with pytest.raises(VideoError, match="cannot be read"):
        open_clip(tmp_path / "gone")


def test_common_numbers_are_those_of_every_clip(tmp_path: Path) -> None:
    short, long = (VideoFile(write_video(tmp_path / f"{n}.mp4", n)) for n in (8, 12))
    folder = FrameFolder(
        frame_folder(tmp_path / "frames", [f"{n}.png" for n in (1, 2, 5, 7, 9, 30)])
    )
    other = FrameFolder(frame_folder(tmp_path / "others", [f"{n}.png" for n in (2, 7, 9)]))
    assert common_numbers([long]) == range(12)
    assert common_numbers([long, short]) == range(8)
    assert list(common_numbers([long, folder])) == [1, 2, 5, 7, 9]
    assert list(common_numbers([folder, short, long])) == [1, 2, 5, 7]
    assert list(common_numbers([folder, other])) == [2, 7, 9]
    assert list(common_numbers([short, folder, other])) == [2, 7]
