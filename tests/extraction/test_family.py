"""One plan, one detection, shared boxes: on real clips of FaceForensics++."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from makers.trees import frames_of, write_clip
from makers.videos import ffmpeg

from hffkit.corpus.build import BuildWork
from hffkit.execution.jobs import Job, do, give_up
from hffkit.extraction.family import build_family
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Family, ReducedFamily, Unit, Video
from hffkit.faces.detection import FaceRule, crop, overlap, read_boxes
from hffkit.manifest.classes import FFPP
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.media.h264 import write_video
from hffkit.media.image import Image, decode, encode_png, grey, pixels_sha256
from hffkit.storage.datum import decode_datum
from hffkit.storage.parts import PartWriter, Record, VideoBoxes, read_part

N_FRAMES = 16
RULE = FaceRule(upsample=0)  # finds these faces, all above 80 px, in a quarter of the time
Change = Callable[[Image], Image]
# Forgeries by their target, and where a window of 640x480 with the face begins.
PAIRS = {
    "519": ("Deepfakes/c23/videos/519_515.mp4", 0),
    "634": ("FaceSwap/c23/videos/634_660.mp4", 320),
    "004": ("NeuralTextures/c23/videos/004_982.mp4", 440),
}


class Built:
    """The events of a part."""

    def __init__(self, path: Path) -> None:
        self.events = list(read_part(path))

    def samples(self, name: str) -> list[Sample]:
        return [
            event.sample
            for event in self.events
            if isinstance(event, Record) and f"/{name}/" in event.sample.key
        ]

    def failures(self, kind: str) -> list[Failure]:
        return [e for e in self.events if isinstance(e, Failure) and e.kind == kind]


def video(name: str, cls: str, target: str | None = None) -> Video:
    return Video(
        path=f"{name}.mp4",
        key=f"ff++/c23/{cls}/{name}",
        cls=cls,
        split="train",
        group="515+519",
        is_fake=cls != "Real",
        name=name,
        target_name=target,
    )


def build(root: Path, *videos: Video, frames: str = "8/4", boxes: Path | None = None) -> Built:
    settings = Settings(
        root=root,
        classes=FFPP,
        plan=FramePlan.parse(frames),
        rule=RULE,
        boxes_file=boxes,
    )
    with PartWriter(root / "unit.part") as part:
        build_family(Family(videos), settings, part)
    return Built(root / "unit.part")


def window(path: Path, start: int = 0) -> Iterator[Image]:
    """Yield frames of 519.mp4 or its forgery, 480x400 around the face."""
    for frame in frames_of(path, start, start + N_FRAMES):
        yield np.ascontiguousarray(frame[:400, 160:])


@pytest.fixture(scope="module")
def clips(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first frames of a real target, 519.mp4."""
    root = tmp_path_factory.mktemp("clips")
    source = data / "data/ffpp/original_sequences/youtube/c23/videos/519.mp4"
    write_video(root / "519.mp4", window(source), crf=18)
    return root


@pytest.fixture(scope="module")
def forgery(data: Path) -> Path:
    return data / "data/ffpp/manipulated_sequences" / PAIRS["519"][0]


def derive(clips: Path, forgery: Path, name: str, crf: int, start: int, change: Change) -> Built:
    write_video(clips / f"{name}.mp4", map(change, window(forgery, start)), crf=crf)
    return build(clips, video("519", "Real"), video(name, "Deepfakes", "519"))


def zoomed_out(image: Image) -> Image:
    framed = cv2.copyMakeBorder(smaller(image), 20, 20, 24, 24, cv2.BORDER_REPLICATE)
    return np.asarray(framed, np.uint8)


def smaller(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (432, 360), interpolation=cv2.INTER_AREA), np.uint8)


def unchanged(image: Image) -> Image:
    return image


def test_boxes_of_the_target_are_used_for_a_forgery_at_low_quality(
    clips: Path, forgery: Path
) -> None:
    built = derive(clips, forgery, "low", 42, 0, unchanged)
    assert built.failures("own-boxes") == []
    real = {sample.frame: sample for sample in built.samples("519")}
    fake = built.samples("low")
    assert len(real) == 8
    assert len(fake) == 4
    for sample in fake:
        assert sample.box == real[sample.frame].box
        assert sample.detector == real[sample.frame].detector
        assert sample.detector is not None
        assert sample.detector.endswith("on 519.mp4")


@pytest.mark.parametrize(
    ("name", "start", "change", "why"),
    [
        ("late", 5, unchanged, r"matches the target's frames \+\d better"),
        ("small", 0, smaller, "frames are 432x360, the target's 480x400"),
        ("zoomed", 0, zoomed_out, "part of the frame matches best"),
        ("moved", 0, lambda image: np.roll(image, 16, axis=1), "part of the frame matches best"),
    ],
)
def test_a_derived_video_that_does_not_line_up_gets_boxes_of_its_own(
    clips: Path, forgery: Path, name: str, start: int, change: Change, why: str
) -> None:
    built = derive(clips, forgery, name, 23, start, change)
    (failure,) = built.failures("own-boxes")
    assert failure.path == f"{name}.mp4"

    assert re.search(why, failure.reason)
    samples = built.samples(name)
    assert len(samples) == 4
    images = dict(enumerate(frames_of(clips / f"{name}.mp4", 0, N_FRAMES)))
    for sample in samples:
        assert sample.frame is not None
        found = RULE.find(grey(images[sample.frame]))
        assert found is not None
        assert (sample.box, (sample.facts or {})["face_score"]) == found
        assert sample.detector == f"{RULE} on {name}.mp4"
    assert len(built.samples("519")) == 8  # the target keeps its samples


def test_a_forgery_darker_than_its_target_still_lines_up(clips: Path, forgery: Path) -> None:
    built = derive(clips, forgery, "dark", 23, 0, lambda image: (image * 0.6).astype(np.uint8))
    assert built.failures("own-boxes") == []


def test_a_truncated_forgery_shortens_the_plan_of_its_family(clips: Path, forgery: Path) -> None:
    whole = clips / "cut.mp4"
    write_video(whole, window(forgery), crf=23)
    n_decoded = cut_short(whole)
    built = build(clips, video("519", "Real"), video("cut", "Deepfakes", "519"))
    real = [sample.frame for sample in built.samples("519")]
    fake = [sample.frame for sample in built.samples("cut")]
    assert real == [int((i + 0.5) * n_decoded / 8) for i in range(8)]
    assert set(fake) < set(real)
    assert len(fake) == 4
    (failure,) = built.failures("short-read")
    assert failure.path == "cut.mp4"
    assert failure.reason == f"claims {N_FRAMES} frames, {n_decoded} can be decoded"
    assert built.failures("own-boxes") == []
    assert built.failures("unreadable") == []


def frame_folder(path: Path, images: Iterable[Image]) -> None:
    path.mkdir()
    for number, image in enumerate(islice(images, 12)):
        (path / f"{number:03d}.png").write_bytes(encode_png(image))


def test_a_frame_that_its_target_lacks_is_searched_itself(
    clips: Path, forgery: Path, tmp_path: Path
) -> None:
    frame_folder(tmp_path / "real", frames_of(clips / "519.mp4", 0, 12))
    frame_folder(tmp_path / "fake", window(forgery))
    (tmp_path / "real/009.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    real = replace(video("519", "Real"), path="real")
    fake = replace(video("519_515", "Deepfakes", "519"), path="fake")
    built = build(tmp_path, real, fake, frames="4/4")
    detectors = {sample.frame: sample.detector for sample in built.samples("519_515")}
    assert list(detectors) == [1, 4, 7, 10]
    assert set(detectors.values()) == {f"{RULE} on real"}
    (tmp_path / "real/007.png").write_bytes((tmp_path / "real/009.png").read_bytes())
    built = build(tmp_path, real, fake, frames="4/4")
    assert [sample.frame for sample in built.samples("519")] == [1, 4, 10]
    detectors = {sample.frame: sample.detector for sample in built.samples("519_515")}
    assert list(detectors) == [1, 4, 7, 10]
    assert detectors[7] == f"{RULE} on fake"
    assert detectors[4] == f"{RULE} on real"
    (failure,) = built.failures("unreadable")
    assert (failure.path, failure.frame) == ("real/007.png", 7)
    assert built.failures("no-face") == []


def test_damaged_frames_give_no_samples(clips: Path, forgery: Path, tmp_path: Path) -> None:
    whole = tmp_path / "519_515.mp4"
    no_other_keys = ("-g", "12", "-sc_threshold", "0", "-bf", "0")
    cut = ("-frames:v", str(N_FRAMES), "-vf", "crop=480:400:160:0")
    ffmpeg("-i", forgery, *cut, "-c:v", "libx264", *no_other_keys, whole)
    with av.open(str(whole)) as file:
        at, size = next(
            (packet.pos, packet.size) for packet in file.demux(video=0) if packet.is_keyframe
        )
    assert at is not None
    content = bytearray(whole.read_bytes())
    content[at + size // 2 : at + size // 2 + 1000] = bytes(1000)
    whole.write_bytes(content)
    (tmp_path / "519.mp4").write_bytes((clips / "519.mp4").read_bytes())
    built = build(
        tmp_path, video("519", "Real"), video("519_515", "Deepfakes", "519"), frames="8/8"
    )
    numbers = [sample.frame for sample in built.samples("519")]
    lost = [failure.frame for failure in built.failures("damaged")]
    assert lost == [number for number in numbers if number is not None and number < 12]
    assert [sample.frame for sample in built.samples("519_515")] == numbers[len(lost) :]
    assert {failure.path for failure in built.failures("damaged")} == {"519_515.mp4"}


def cut_short(path: Path) -> int:
    """Cut a video's tail off, its index kept in front; return how many frames are left whole."""
    front = path.with_suffix(".front.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(front), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = front.read_bytes()
    path.write_bytes(whole[: len(whole) * 8 // 10])
    with av.open(str(path)) as cut:
        n_decoded = sum(1 for packet in cut.demux(video=0) if packet.size and not packet.is_corrupt)
    assert 8 < n_decoded < N_FRAMES
    return n_decoded


def test_a_forgery_without_its_target_is_looked_at_itself(clips: Path, forgery: Path) -> None:
    write_video(clips / "alone.mp4", window(forgery), crf=23)
    write_video(clips / "alone40.mp4", window(forgery), crf=40)
    low_quality = replace(video("alone40", "Deepfakes", "519"), name="alone")
    built = build(clips, video("alone", "Deepfakes", "519"), low_quality, frames="3")
    high, low = built.samples("alone"), built.samples("alone40")
    assert [sample.box for sample in high] == [sample.box for sample in low]
    assert {sample.detector for sample in low} == {f"{RULE} on alone.mp4"}


def test_crops_are_the_pixels_of_the_frame(clips: Path) -> None:
    built = build(clips, video("519", "Real"), frames="3")
    images = dict(enumerate(frames_of(clips / "519.mp4", 0, N_FRAMES)))
    records = [event for event in built.events if isinstance(event, Record)]
    assert len(records) == 3
    for record in records:
        sample = record.sample
        assert sample.frame is not None
        assert sample.box is not None
        assert record.value is not None
        expected = crop(images[sample.frame], sample.box)
        np.testing.assert_array_equal(decode(bytes(decode_datum(record.value).data)), expected)
        assert sample.pixels_sha256 == pixels_sha256(expected)


def test_boxes_that_a_build_wrote_are_read_back_to_the_same_samples(
    clips: Path, forgery: Path, tmp_path: Path
) -> None:
    write_video(clips / "519_515.mp4", window(forgery), crf=23)
    family = video("519", "Real"), video("519_515", "Deepfakes", "519")
    first = build(clips, *family)
    boxes = {e.video: e.boxes for e in first.events if isinstance(e, VideoBoxes)}
    assert set(boxes) == {"519", "519_515"}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(boxes))
    assert read_boxes(path) == boxes
    again = build(clips, *family, boxes=path)
    for name in ("519", "519_515"):
        assert [sample.sha256 for sample in again.samples(name)] == [
            sample.sha256 for sample in first.samples(name)
        ]
    # Boxes of the target alone serve its forgeries as well.
    path = tmp_path / "target.json"
    path.write_text(json.dumps({"519": boxes["519"]}))
    target_only = build(clips, *family, boxes=path)
    assert [s.box for s in target_only.samples("519_515")] == [
        s.box for s in first.samples("519_515")
    ]


def test_frames_without_a_face_are_recorded(data: Path, tmp_path: Path) -> None:
    clip = "short_hamilton_clip.mp4"
    (tmp_path / clip).symlink_to(data / "data/videos/real-web" / clip)  # parts lie beside it
    built = build(tmp_path, video("short_hamilton_clip", "Real"), frames="6")
    missing = built.failures("no-face")
    found = built.samples("short_hamilton_clip")
    assert len(missing) + len(found) == 6
    assert missing
    assert found
    assert {failure.frame for failure in missing}.isdisjoint(s.frame for s in found)


@pytest.mark.slow
def test_reused_boxes_are_what_each_real_forgery_would_have_got(
    data: Path,
) -> None:
    root = data / "data/ffpp"
    medians = {}
    for target, (derived, x) in PAIRS.items():
        real = root / f"original_sequences/youtube/c23/videos/{target}.mp4"
        fake = root / "manipulated_sequences" / derived
        frames = (islice(frames_of(clip, 10, 31), 0, None, 10) for clip in (real, fake))
        overlaps = []
        for both in zip(*frames, strict=True):
            reused, own = (FaceRule().find(grey(frame[:480, x : x + 640])) for frame in both)
            assert reused is not None
            assert own is not None
            overlaps.append(overlap(reused.box, own.box))
        medians[target] = np.median(overlaps)
    assert medians == dict.fromkeys(PAIRS, 1.0)


def test_a_video_that_kills_its_worker_is_lost_with_its_pair_alone(tmp_path: Path) -> None:
    for name in "abcd":
        write_clip(tmp_path / f"{name}.mp4", n_frames=2)
    a, b, c = video("a", "Real"), video("b", "Deepfakes", "a"), video("c", "FaceSwap", "a")
    d = replace(b, path="d.mp4", key="ff++/c40/Deepfakes/b")  # gives the same frames as b
    family = Family((a, b, c, d), is_paired=True)
    settings = Settings(tmp_path, FFPP, FramePlan.parse("2/2"), RULE, crop="none")
    work = BuildWork(settings)
    job: Job[Unit] = Job(family, tmp_path / "x.part", 4)

    def attempt(job: Job[Unit]) -> int | None:
        lost = dict(job.unit.lost) if isinstance(job.unit, ReducedFamily) else {}
        return None if "d.mp4" in set(job.unit.paths) - lost.keys() else do(job, work)

    assert give_up(job, work, attempt).failures == 1
    built = Built(job.part)
    assert [len(built.samples(name)) for name in "acb"] == [2, 2, 0]
    assert [(f.path, f.reason) for f in built.failures("unreadable")] == [
        ("d.mp4", "its unit twice killed its worker")
    ]
    assert [(f.path, f.reason) for f in built.failures("unpaired")] == [
        ("b.mp4", "d.mp4 cannot be read")
    ]
    assert [path.name for path in tmp_path.glob("x*")] == ["x.part"]


def test_a_family_whose_videos_kill_its_worker_only_together_is_lost(tmp_path: Path) -> None:
    family = Family((video("a", "Real"), video("b", "Deepfakes", "a")))
    job: Job[Unit] = Job(family, tmp_path / "x.part", 2)
    settings = Settings(tmp_path, FFPP, FramePlan.parse("2/2"), RULE)
    done = give_up(job, BuildWork(settings), lambda job: 0 if len(job.unit.paths) == 1 else None)
    assert done.failures == 2
    assert {f.path for f in Built(job.part).failures("unreadable")} == {"a.mp4", "b.mp4"}
