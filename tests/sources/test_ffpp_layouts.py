"""Copies of FaceForensics++ as people have them."""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from makers.trees import build_corpus, items, listing, rows, touch, write_clip, write_image

from hffkit.errors import CorpusError
from hffkit.manifest.samples import Split
from hffkit.sources.listing import Listing

PAIRS = (("519", "515"), ("004", "982"), ("634", "660"))  # train, val and test


def copy(root: Path, real: str, fake: str, ending: str = ".mp4") -> Path:
    """Lay out three official pairs: `real` and `fake` are folders, {} in `fake` the method."""
    for a, b in PAIRS:
        touch(root, *(f"{real}/{name}{ending}" for name in (a, b)))
        for method in ("Deepfakes", "FaceSwap"):
            touch(root, *(f"{fake.format(method)}/{n}{ending}" for n in (f"{a}_{b}", f"{b}_{a}")))
    return root


def splits(found: Listing) -> dict[str, set[Split]]:
    """Return the splits of each official group."""
    groups = defaultdict(set)
    for item in items(found):
        groups[item.group].add(item.split)
    return groups


LAYOUTS = (
    ("original", "{}"),
    ("Original", "{}"),
    ("original", "{}/videos"),
    ("original/c23/videos", "{}/c23/videos"),
    ("original/c23", "{}/c23"),
    ("real/c23/videos", "{}/c23/videos"),
    ("original_sequences/youtube", "manipulated_sequences/{}"),
    ("original_sequences", "manipulated_sequences/{}"),
    ("original_sequences/youtube/c23", "manipulated_sequences/{}/c23"),
    ("original_sequences/youtube/videos", "manipulated_sequences/{}/videos"),
    ("original_sequences/youtube/c23/frames", "manipulated_sequences/{}/c23/frames"),
    ("original", "manipulated_sequences/{}/c23/videos"),
    ("original_sequences/youtube/c23/videos", "{}"),
)


@pytest.mark.parametrize(
    ("real", "fake", "ending"),
    [
        (*layout, ending)
        for layout in LAYOUTS
        for ending in (".mp4", "/0001.png", ".avi")
        # CLASS/QUALITY/VIDEO/N.png is the layout of crops.
        if ending != "/0001.png" or layout[1] != "{}/c23"
    ],
)
def test_every_layout_gives_the_official_samples(
    tmp_path: Path, real: str, fake: str, ending: str
) -> None:
    root = copy(tmp_path, real, fake, ending)
    found = listing("ff++", root)
    keys = {f"ff++/c23/Real/{name}" for pair in PAIRS for name in pair}
    for a, b in PAIRS:
        for cls in ("Deepfakes", "FaceSwap"):
            keys |= {f"ff++/c23/{cls}/{a}_{b}", f"ff++/c23/{cls}/{b}_{a}"}
    assert {item.key for item in items(found)} == keys
    assert sorted(map(list, splits(found).values())) == [["test"], ["train"], ["val"]]
    assert found.failures == ()
    names_quality = all("c23" in path for path in (real, fake))
    assert any("taken for c23" in note for note in found.notes) is not names_quality


@pytest.mark.parametrize("spelling", ["deepfakes", "DEEPFAKES", "DeepFakes"])
def test_capitals_of_folders_do_not_matter(tmp_path: Path, spelling: str) -> None:
    touch(tmp_path, "Original/519.mp4", f"{spelling}/519_515.mp4")
    assert [(item.key, item.path) for item in items(listing("ff++", tmp_path))] == [
        ("ff++/c23/Real/519", "Original/519.mp4"),
        ("ff++/c23/Deepfakes/519_515", f"{spelling}/519_515.mp4"),
    ]


@pytest.mark.parametrize("below", ["C23/Videos/{}.mp4", "C23/FRAMES/{}/0001.png", "C23/{}.mp4"])
def test_capitals_of_qualities_and_places_do_not_matter(tmp_path: Path, below: str) -> None:
    touch(tmp_path, f"Original_Sequences/YouTube/{below.format('519')}")
    touch(tmp_path, f"Manipulated_Sequences/FaceSwap/{below.format('519_515')}")
    found = listing("ff++", tmp_path)
    assert [item.key for item in items(found)] == [
        "ff++/c23/Real/519", "ff++/c23/FaceSwap/519_515"
    ]  # fmt: skip
    assert found.failures == ()


@pytest.mark.parametrize("one", ["deepfakes", "Deepfakes/C23", "Deepfakes/c23/VIDEOS"])
def test_folders_that_differ_in_capitals_alone_are_refused(tmp_path: Path, one: str) -> None:
    touch(tmp_path, "original/c23/videos/519.mp4", "Deepfakes/c23/videos/519_515.mp4")
    touch(tmp_path, f"{one}/515_519.mp4")
    with pytest.raises(CorpusError, match="differ in capitals alone"):
        listing("ff++", tmp_path)


def test_another_folder_of_a_class_is_noted(tmp_path: Path) -> None:
    touch(tmp_path, "original_sequences/youtube/c23/videos/519.mp4", "original/515.mp4")
    touch(tmp_path, "manipulated_sequences/FaceSwap/c23/videos/519_515.mp4", "FaceSwap/515_519.mp4")
    notes = " ".join(listing("ff++", tmp_path).notes)
    assert "not read, because there are videos beside: FaceSwap, original." in notes


def test_folders_without_a_quality_are_of_the_one_that_is_asked_for(tmp_path: Path) -> None:
    root = copy(tmp_path, "original", "{}")
    found = listing("ff++", root, qualities=("c40",))
    assert {item.key.split("/")[1] for item in items(found)} == {"c40"}
    assert found.notes[-1] == (
        "taken for c40, because the folders name no quality: Deepfakes, FaceSwap, original."
    )
    for two in ({"qualities": ("c23", "c40")}, {"pair": ("c23", "c40")}):
        with pytest.raises(CorpusError, match="no video there"):
            listing("ff++", root, **two)


def test_videos_beside_folders_of_qualities_have_none(tmp_path: Path) -> None:
    touch(tmp_path, "original/c40/519.mp4", "Deepfakes/c40/519_515.mp4", "original/519.mp4")
    with pytest.raises(CorpusError, match=r"c23.*pass `qualities` c40"):
        listing("ff++", tmp_path)


def test_dfd_is_read_from_a_plain_copy(tmp_path: Path) -> None:
    touch(tmp_path, "DeepFakeDetection/01_02__walking__YVGY8LOK.mp4", "actors/01__walking.mp4")
    found = listing("dfd", tmp_path)
    assert {item.key for item in items(found)} == {
        "ff++/c23/DeepFakeDetection/01_02__walking__YVGY8LOK",
        "ff++/c23/Real-actors/01__walking",
    }
    assert {item.group for item in items(found)} == {"actor-01"}


@pytest.mark.parametrize("below", ["FaceForensics++_C23", "FaceForensics++"])
def test_a_root_one_folder_too_high_is_told_the_right_one(tmp_path: Path, below: str) -> None:
    copy(tmp_path / below, "original", "{}")
    advice = re.escape(f"Pass {tmp_path / below} as `src`.")
    with pytest.raises(CorpusError, match=advice):
        listing("ff++", tmp_path)
    assert items(listing("ff++", tmp_path / below))


# What lies beside -------------------------------------------------------------------------------

_REAL = "original_sequences/youtube/c23"


@pytest.mark.parametrize("place", ["frames", "images"])
def test_frames_beside_videos_are_not_read_and_noted(tmp_path: Path, place: str) -> None:
    touch(tmp_path, f"{_REAL}/videos/519.mp4", f"{_REAL}/{place}/519/000.png")
    touch(tmp_path, f"{_REAL}/landmarks/519/000.npy")
    found = listing("ff++", tmp_path)
    assert [item.path for item in items(found)] == [f"{_REAL}/videos/519.mp4"]
    note = f"not read, because there are videos beside: {_REAL}/{place}."
    assert note in found.notes


@pytest.mark.parametrize("name", ["004.mp4", "004.AVI", "004"])
def test_broken_links_are_failures(tmp_path: Path, name: str) -> None:
    for cls, start in (("Deepfakes", "519_515"), ("Real", "519")):
        folder = _REAL if cls == "Real" else f"manipulated_sequences/{cls}/c23"
        write_clip(tmp_path / f"{folder}/videos/{start}.mp4", n_frames=2, first=len(cls))
    (tmp_path / f"{_REAL}/videos" / name).symlink_to(f"/nowhere/{name}")
    fake = tmp_path / "manipulated_sequences/Deepfakes/c23/videos/004_982.mp4"
    fake.symlink_to("/nowhere/004_982.mp4")
    out = build_corpus("ff++", tmp_path, tmp_path / "x.lmdb", crop="none", frames="2")
    failures = {(row["kind"], Path(row["path"]).name) for row in rows(out / "failures.jsonl")}
    assert failures == {("unreadable", name), ("unreadable", "004_982.mp4")}
    assert len(rows(out / "manifest.jsonl")) == 4


def test_what_is_no_video_or_frame_is_noted(tmp_path: Path) -> None:
    fake = "manipulated_sequences/Deepfakes/c23/images"
    touch(
        tmp_path, f"{_REAL}/videos/519.mp4", f"{_REAL}/videos/519.txt", f"{_REAL}/videos/._519.mp4"
    )
    touch(tmp_path, f"{_REAL}/videos/cover.jpg", f"{_REAL}/videos/@eaDir/519.mp4/THUMB.jpg")
    touch(tmp_path, *(f"{fake}/519_515/{n:04}.png" for n in range(3)), f"{fake}/519_515/.DS_Store")
    touch(tmp_path, f"{fake}/519_515/cover.png", f"{fake}/519_515/log.txt", f"{fake}/Thumbs.db")
    found = listing("ff++", tmp_path)
    assert [item.path for item in items(found)] == [
        f"{_REAL}/videos/519.mp4",
        f"{fake}/519_515",
    ]
    notes = " ".join(found.notes)
    assert found.failures == ()
    assert "not read: 2 files neither image nor video (2 .txt)" in notes
    assert "not read: 4 files hidden or made by an operating system" in notes
    assert "not read: 2 files of another kind or folder than this command reads" in notes


@pytest.mark.parametrize("debris", ["._{}", ".DS_Store", "Thumbs.db", "desktop.ini", ".{}.swp"])
def test_debris_among_frames_refuses_nothing(tmp_path: Path, debris: str) -> None:
    for cls, name in (
        ("original_sequences/youtube", "004"),
        ("manipulated_sequences/FaceSwap", "004_982"),
    ):
        for n in range(3):
            frame = write_image(tmp_path / cls / f"c23/images/{name}/{n:04}.png", n + len(cls))
            frame.with_name(debris.format(frame.name)).write_bytes(b"\0\5\x16\7 no image")
    out = build_corpus("ff++", tmp_path, tmp_path / "x.lmdb", crop="none", frames="3")
    assert len(rows(out / "manifest.jsonl")) == 6
    assert rows(out / "failures.jsonl") == []


def test_a_suffix_of_a_video_may_be_missing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / f"{_REAL}/videos/519.mp4", n_frames=2)
    clip.rename(clip.with_suffix(""))
    assert [item.key for item in items(listing("ff++", tmp_path))] == ["ff++/c23/Real/519"]


def test_two_names_of_one_video_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, f"{_REAL}/videos/519.mp4")
    (tmp_path / f"{_REAL}/videos/515.mp4").symlink_to("519.mp4")
    notes = " ".join(listing("ff++", tmp_path).notes)
    assert (
        f"1 video with the file of another, such as {_REAL}/videos/515.mp4 of {_REAL}/videos/519"
        in notes
    )


# Frames that were sampled before ----------------------------------------------------------------


def sampled(root: Path, real: range, fake: range) -> Path:
    """Write frames of a real video and its forgery, with the numbers in two ranges."""
    for cls, name, numbers in (
        ("original_sequences/youtube", "004", real),
        ("manipulated_sequences/NeuralTextures", "004_982", fake),
    ):
        for n in numbers:
            write_image(root / cls / f"c23/images/{name}/{n:03}.png", n + 5 * len(cls))
    return root


@pytest.mark.parametrize(
    ("real", "fake", "frames", "lost"),
    [
        (range(0, 24, 3), range(0, 21, 2), "8", {"004": (4, 8), "004_982": (4, 8)}),
        (range(0, 24, 3), range(0, 24, 3), "8", {}),
        (range(24), range(21), "8", {}),
        (range(24), range(20), "all", {"004": (20, 24)}),
        (range(24), range(4, 24), "24/20", {"004": (20, 24)}),
        (range(0, 24, 3), range(0, 24, 6), "8/4", {"004": (4, 8)}),
        (range(0, 24, 3), range(0, 24, 6), "4", {}),
    ],
)
def test_frames_lost_by_their_numbers_are_recorded(
    tmp_path: Path, real: range, fake: range, frames: str, lost: dict[str, tuple[int, int]]
) -> None:
    root = sampled(tmp_path / "in", real, fake)
    arguments: dict[str, Any] = {"crop": "none", "frames": frames}
    out = build_corpus("ff++", root, tmp_path / "x.lmdb", **arguments)
    kept: Counter[str] = Counter()
    for row in rows(out / "manifest.jsonl"):
        kept[row["key"].split("/")[3]] += 1
    failures = {Path(row["path"]).name: row for row in rows(out / "failures.jsonl")}
    assert {row["kind"] for row in failures.values()} <= {"other-numbers"}
    assert failures.keys() == lost.keys()
    for name, (n, wanted) in lost.items():
        assert failures[name]["reason"].startswith(f"{n} frames of it in place of {wanted}: only ")
        assert kept[name] == n
