"""The search for images and videos, and the account of what else a folder holds."""

import os
import shutil
from pathlib import Path

import pytest
from makers.trees import touch, write_clip, write_image

from hffkit.errors import CorpusError
from hffkit.media.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, frame_number, is_hidden, twins
from hffkit.media.kinds import contradiction, kind_of_file, medium_of
from hffkit.media.walk import MediaFile, Rest, some_of, walk


def paths(found: list[MediaFile]) -> list[str]:
    return [file.path for file in found]


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".JPE", ".JFIF", ".Heic", ".GIF"])
def test_images_are_listed_by_every_suffix(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"in/x{suffix}")
    assert walk(tmp_path) == [MediaFile(f"in/x{suffix}", is_video=False)]


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, ".MP4", ".MTS", ".WebM"])
def test_videos_are_listed_by_every_suffix(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"in/x{suffix}")
    assert walk(tmp_path, "in") == [MediaFile(f"in/x{suffix}", is_video=True)]


@pytest.mark.parametrize("name", ["photo", "photo.txt", "photo.2021", "photo.jpg~", "photo.orig"])
def test_another_suffix_or_none_is_decided_by_content(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "in/x.jpg").rename(tmp_path / "in" / name)
    write_clip(tmp_path / "x.mp4", n_frames=2).rename(tmp_path / f"in/video-{name}")
    touch(tmp_path, f"in/text-{name}")
    rest = Rest()
    assert walk(tmp_path, "in", rest) == [
        MediaFile(f"in/{name}", is_video=False),
        MediaFile(f"in/video-{name}", is_video=True),
    ]
    assert rest.others == [f"in/text-{name}"]


def test_a_transport_stream_is_told_from_a_program(tmp_path: Path) -> None:
    (tmp_path / "page.ts").write_text("export const answer = 42;\n")
    packet = b"\x47" + bytes(187)
    (tmp_path / "tv.ts").write_bytes(8 * packet)
    rest = Rest()
    assert walk(tmp_path, rest=rest) == [MediaFile("tv.ts", is_video=True)]
    assert rest.others == ["page.ts"]


@pytest.mark.parametrize("suffix", [".nef", ".CR2", ".dng"])
def test_the_thumbnail_of_a_raw_image_is_no_image(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / "x.tif").rename(tmp_path / f"x{suffix}")
    rest = Rest()
    assert walk(tmp_path, rest=rest) == []
    assert rest.others == [f"x{suffix}"]


HIDDEN = (
    ".hidden.jpg", "._a.jpg", ".DS_Store", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini",
    "@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", "__MACOSX/._a.jpg", ".thumbnails/normal/1.png",
    ".git/objects/12/345", "$RECYCLE.BIN/$R1.jpg", "Icon\r",
)  # fmt: skip


def test_what_is_hidden_or_of_an_operating_system_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", *(f"in/{path}" for path in HIDDEN))
    rest = Rest()
    assert paths(walk(tmp_path, rest=rest)) == ["in/a.jpg"]
    assert sorted(rest.hidden) == sorted(f"in/{path}" for path in HIDDEN)
    (note,) = rest.notes()
    assert note.startswith(f"not read: {len(HIDDEN)} files hidden or made by an operating system: ")


def test_a_hidden_root_is_read(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/__MACOSX/a.jpg")
    assert paths(walk(tmp_path / ".cache/__MACOSX")) == ["a.jpg"]
    assert paths(walk(tmp_path, ".cache/__MACOSX")) == [".cache/__MACOSX/a.jpg"]


def test_the_rest_is_counted_by_suffix_with_examples(tmp_path: Path) -> None:
    touch(tmp_path, *(f"in/{n}.txt" for n in range(8)), "in/a.json", "in/B.JSON", "in/LICENCE")
    rest = Rest()
    assert walk(tmp_path, rest=rest) == []
    assert rest.notes() == [
        "not read: 11 files neither image nor video (8 .txt, 2 .json, 1 without suffix): "
        "in/0.txt, in/1.txt, in/2.txt and 8 more."
    ]


@pytest.mark.parametrize("target", ["real", "real/m", ".", "..", "/"])
def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path, target: str) -> None:
    root = tmp_path / "tree"
    touch(root, "real/m/0.png", "fake/0.png")
    (root / "real/m/up").symlink_to(root / target, target_is_directory=True)
    rest = Rest()
    assert paths(walk(root, "real", rest)) == ["real/m/0.png"]
    assert rest.notes() == ["not followed: 1 link to a folder that holds it: real/m/up."]


def test_a_relative_link_upwards_ends(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{cls}/{n}.png" for cls in ("real", "fake") for n in range(40)))
    (tmp_path / "real/all").symlink_to("..", target_is_directory=True)
    assert len(walk(tmp_path, "real")) == 40


def test_a_loop_of_links_elsewhere_ends(tmp_path: Path) -> None:
    touch(tmp_path, "disk/a/0.png", "disk/b/1.png", "tree/real/2.png")
    (tmp_path / "disk/a/b").symlink_to(tmp_path / "disk/b")
    (tmp_path / "disk/b/a").symlink_to(tmp_path / "disk/a")
    (tmp_path / "disk/b/up").symlink_to(tmp_path / "disk")
    (tmp_path / "tree/real/a").symlink_to(tmp_path / "disk/a")
    rest = Rest()
    found = paths(walk(tmp_path / "tree", "real", rest))
    assert found == ["real/2.png", "real/a/0.png", "real/a/b/1.png"]
    assert (rest.again, rest.above) == (["real/a/b/a"], ["real/a/b/up"])


def test_a_folder_is_read_under_its_own_name_before_that_of_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "real/m/deep/0.png")
    for name in ("a", "z"):
        (tmp_path / "real" / name).symlink_to(tmp_path / "real/m", target_is_directory=True)
    (tmp_path / "real/m/deep/other").symlink_to(tmp_path / "real/a", target_is_directory=True)
    rest = Rest()
    assert paths(walk(tmp_path, "real", rest)) == ["real/m/deep/0.png"]
    assert rest.again == ["real/a", "real/z"]
    assert rest.above == ["real/m/deep/other"]


@pytest.mark.parametrize("name", ["x.jpg", "x.mp4", "x", "x.txt"])
def test_a_link_that_leads_nowhere_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/nowhere/x")
    (tmp_path / f"self-{name}").symlink_to(tmp_path / f"self-{name}")
    is_video = name == "x.mp4"
    assert walk(tmp_path) == [MediaFile(f"self-{name}", is_video), MediaFile(name, is_video)]


def test_pipes_without_a_suffix_are_noted_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.bin").symlink_to("/dev/zero")
    rest = Rest()
    assert walk(tmp_path, rest=rest) == []
    assert rest.notes() == ["not read: 2 pipes, devices, sockets: pipe, zero.bin."]


def test_a_folder_named_as_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg/0.png", "b.mp4/0001.png")
    assert paths(walk(tmp_path)) == ["a.jpg/0.png", "b.mp4/0001.png"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone: cannot be read: No such file"):
        walk(tmp_path, "gone")


def test_files_with_several_names_have_one_first_name(tmp_path: Path) -> None:
    write_image(tmp_path / "m/a.png")
    os.link(tmp_path / "m/a.png", tmp_path / "hard.png")
    (tmp_path / "b.png").symlink_to("m/a.png")
    (tmp_path / "n").symlink_to("m")
    (tmp_path / "gone.png").symlink_to("nowhere")
    shutil.copy(tmp_path / "m/a.png", tmp_path / "copy.png")
    names = ["b.png", "n/a.png", "gone.png", "copy.png", "m/a.png", "hard.png"]
    same = twins(tmp_path, names)
    assert same == {"m/a.png": "n/a.png", "hard.png": "n/a.png", "b.png": "n/a.png"}
    assert twins(tmp_path, ["copy.png", "gone.png", "b.png"]) == {}


def test_the_content_decides_what_a_name_claims(tmp_path: Path) -> None:
    image = write_image(tmp_path / "x.jpg")
    for name, text in (
        ("x.png", ".png by its name, JPEG image by its content"),
        ("x.mp4", ".mp4 by its name, JPEG image by its content"),
        ("x.txt", ".txt by its name, JPEG image by its content"),
        ("x.jfif", ""),
        ("x.JPE", ""),
        ("x", ""),
        ("x.0001", ""),
        ("x.dat", ""),
        ("x.rmvb", ""),
    ):
        assert contradiction(name, kind_of_file(image)) == text
    assert contradiction("x.png", None) == ""
    assert medium_of(tmp_path / "x.jpg") == "image"


def test_names_of_frames_have_a_number() -> None:
    assert [frame_number(name) for name in ("0007.png", "f12.JPG", "000_3.jfif", "9.avif")] == [
        7, 12, 3, 9,
    ]  # fmt: skip
    for name in ("cover.png", "0001.txt", "._0001.png", ".0001.png", "0001", "1a.png"):
        assert frame_number(name) is None
    assert is_hidden("._x")
    assert not is_hidden("x._")


def test_messages_name_some_paths() -> None:
    assert some_of(["b", "a"]) == "a, b"
    assert some_of([*"dcba", "\udcff"]) == "a, b, c and 2 more"
    assert some_of(["\udcff"]) == "\\udcff"
