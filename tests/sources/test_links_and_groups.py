"""Each file once: links, further names, and what belongs together in class folders."""

import itertools
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from makers.trees import items, listing, touch, write_image

from hffkit.errors import CorpusError
from hffkit.manifest.samples import Split
from hffkit.sources.listing import Listing

TWO: dict[str, Any] = {"real": ("real",), "fake": ("fake",)}


def images(root: Path, *folders: str, n: int = 8) -> Path:
    """Lay out empty images, `n` in each folder, with names of their own."""
    for number, folder in enumerate(folders):
        touch(root, *(f"{folder}/{100 * number + k:04}.png" for k in range(n)))
    return root


def paths(found: Listing) -> list[str]:
    return [item.path for item in items(found)]


def splits_of(found: Listing) -> dict[str, set[Split]]:
    """Return the splits of the files of each folder."""
    splits = defaultdict(set)
    for item in items(found):
        splits[str(Path(item.path).parent)].add(item.split)
    return splits


@pytest.mark.parametrize("link", ["real/all", "real/deep/er/all", "fake/all"])
def test_a_link_up_the_tree_adds_no_sample(tmp_path: Path, link: str) -> None:
    root = images(tmp_path, "real", "real/deep/er", "fake")
    (root / link).symlink_to(os.path.relpath(root, (root / link).parent))
    found = listing("folder", root, **TWO)
    assert len(items(found)) == 24
    assert f"not followed: 1 link to a folder that holds it: {link}." in found.notes


@pytest.mark.parametrize("way", ["file", "folder", "hard"])
@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("real/0000.png", "fake/x.png"),
        ("train/real/0000.png", "test/real/x.png"),
        ("train/real/0000.png", "train/fake/x.png"),
        ("train/real/0000.png", "val/fake/x.png"),
    ],
)
def test_a_file_in_two_classes_or_splits_is_refused(
    tmp_path: Path, way: str, one: str, two: str
) -> None:
    folders = {str(Path(path).parent) for path in (one, two)}
    start = "" if one.startswith("real") else "train/"
    root = images(tmp_path, *sorted({*folders, f"{start}real", f"{start}fake"}))
    first = sorted({*folders, f"{start}real", f"{start}fake"}).index(str(Path(one).parent))
    one = f"{Path(one).parent}/{100 * first:04}.png"
    if way == "file":
        (root / two).symlink_to(root / one)
    elif way == "hard":
        os.link(root / one, root / two)
    else:
        two = f"{Path(two).with_suffix('')}/{Path(one).name}"
        (root / two).parent.symlink_to((root / one).parent, target_is_directory=True)
    with pytest.raises(CorpusError, match="are one file with two names") as raised:
        listing("folder", root, **TWO)
    for path in (one, two):
        assert re.search(rf"{re.escape(path)} \(class \w+", str(raised.value))


def test_two_class_folders_that_are_one_are_refused(tmp_path: Path) -> None:
    root = images(tmp_path, "real")
    (root / "fake").symlink_to("real")
    with pytest.raises(CorpusError, match=r"real.*class real.*class fake|fake.*class fake.*class"):
        listing("folder", root, **TWO)


@pytest.mark.parametrize("way", ["link", "hard"])
def test_a_file_with_two_names_in_a_class_is_read_once(tmp_path: Path, way: str) -> None:
    root = images(tmp_path, "real", "fake")
    if way == "link":  # the name of the link comes first, and does not count
        (root / "real/0000-a.png").symlink_to("0001.png")
    else:
        os.link(root / "real/0001.png", root / "real/0009.png")
    found = listing("folder", root, **TWO)
    assert sorted(p for p in paths(found) if p.startswith("real")) == [
        f"real/{n:04}.png" for n in range(8)
    ]
    assert "1 further name of files that are read once: real/0" in " ".join(found.notes)


def test_copies_are_no_names_of_one_file(tmp_path: Path) -> None:
    for cls in ("real", "fake"):
        write_image(tmp_path / cls / "0.png")
    assert len(items(listing("folder", tmp_path, **TWO))) == 2


def test_one_file_twice_in_a_list_is_found_through_links(tmp_path: Path) -> None:
    images(tmp_path, "in", n=3)
    (tmp_path / "in/link.png").symlink_to("0001.png")
    text = "in/0000.png 1\nin/0001.png 1\nin/0002.png 0\nin/link.png {}\n"
    (tmp_path / "list.txt").write_text(text.format(1))
    arguments: dict[str, Any] = {"list_file": tmp_path / "list.txt", "real": ("1",), "fake": ("0",)}
    found = listing("list", tmp_path, **arguments)
    assert paths(found) == ["in/0000.png", "in/0001.png", "in/0002.png"]
    assert "in/link.png" in " ".join(found.notes)
    (tmp_path / "list.txt").write_text(text.format(0))
    with pytest.raises(CorpusError, match=r"in/0001\.png \(class 1\) and in/link\.png \(class 0\)"):
        listing("list", tmp_path, **arguments)


def test_celeb_df_refuses_a_test_video_with_another_name(tmp_path: Path) -> None:
    for cls in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        touch(tmp_path, *(f"{cls}/{n}.mp4" for n in range(3)))
    (tmp_path / "List_of_testing_videos.txt").write_text("1 YouTube-real/0.mp4\n")
    (tmp_path / "YouTube-real/3.mp4").symlink_to("0.mp4")
    with pytest.raises(CorpusError, match=r"0\.mp4 \(class YouTube-real, test\) and You"):
        listing("celeb-df", tmp_path)


# Groups -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", ["fake/clip", "fake/000", "fake/000_003", "fake/a/b", "fake/frames/clip"]
)
@pytest.mark.parametrize("real", [("real/a", "real/b", "real/c"), ("real/a",), ("real",)])
def test_frames_of_one_video_are_one_group(
    tmp_path: Path, folder: str, real: tuple[str, ...]
) -> None:
    found = listing("folder", images(tmp_path, folder, *real, n=20), **TWO)
    assert len(splits_of(found)[folder]) == 1
    notes = " ".join(found.notes)
    assert f"class fake is one folder, {folder}, and one group" in notes
    assert "class fake has nothing in val, test" in notes
    separate = listing("folder", tmp_path, **TWO, group_by="[^/]+$")
    assert splits_of(separate)[folder] == {"train", "val", "test"}
    assert not any("one folder" in note for note in separate.notes)


@pytest.mark.parametrize(
    "name",
    ["img_align_celeba", "images", "Imgs", "png", "fake", "FAKE", "images1024x1024", "128"],
)
def test_a_folder_without_a_name_of_its_own_is_no_group(tmp_path: Path, name: str) -> None:
    found = listing("folder", images(tmp_path, f"fake/{name}", "real", n=20), **TWO)
    assert splits_of(found)[f"fake/{name}"] == {"train", "val", "test"}
    assert found.notes == ()


def test_videos_in_one_folder_are_groups_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, *(f"real/clips/{n}.mp4" for n in range(20)), "fake/0.mp4")
    assert splits_of(listing("folder", tmp_path, **TWO))["real/clips"] == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("video", "frame"),
    [
        ("real/{0}.mp4", "real/{0}/{1:04}.png"),
        ("real/{0}.mp4", "real/frames/{0}/{1:04}.png"),
        ("real/videos/{0}.mp4", "real/frames/{0}/{1:04}.png"),
        ("real/c23/videos/{0}.mp4", "real/c23/frames/{0}/{1:04}.png"),
        ("real/Videos/{0}.avi", "real/Images/{0}/{1}.jpg"),
        ("real/ann/{0}.mp4", "real/ann/{0}/{1:04}.png"),
        ("real/{0}.mp4", "real/faces/{0}/{1:04}.png"),
        ("real/videos/{0}.mp4", "real/crops/{0}/{1:04}.png"),
        ("real/videos/{0}.mp4", "real/aligned/256/{0}/{1:04}.png"),
        ("real/videos/{0}.mp4", "real/{0}/aligned/{1:04}.png"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_frames_beside_videos_are_in_the_split_of_their_video(
    tmp_path: Path, video: str, frame: str, seed: int
) -> None:
    for n in range(12):
        touch(tmp_path, video.format(f"v{n}"), *(frame.format(f"v{n}", k) for k in range(3)))
        touch(tmp_path, f"fake/{n}.png")
    found = listing("folder", tmp_path, **TWO, seed=seed)
    splits = defaultdict(set)
    for item in items(found):
        if item.path.startswith("real"):
            path = Path(item.path)
            (name,) = (part for part in [*path.parts[:-1], path.stem] if re.match(r"v\d+$", part))
            splits[name].add(item.split)
    assert len(splits) == 12
    assert all(len(each) == 1 for each in splits.values())
    if "ann" not in video:  # all of one person
        assert len(set.union(*splits.values())) > 1


def test_frames_of_videos_of_one_name_are_of_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path, "real/ann/1.mp4", "real/bob/1.mp4", "fake/0.png")
    touch(tmp_path, "real/faces/bob/1/0.png", "real/faces/1/0.png", "real/faces/2/0.png")
    groups = {item.path: item.group for item in items(listing("folder", tmp_path, **TWO))}
    assert groups["real/faces/bob/1/0.png"] == groups["real/bob/1.mp4"]
    assert len(set(groups.values())) == 5


@pytest.mark.parametrize(
    "place",
    ["{cls}/{split}/{n}.png", "{cls}/{split}/v{n}/0.png", "{cls}/StyleGAN/{split}/{n}.png",
     "{cls}/videos/{split}/{n}.mp4"],
)  # fmt: skip
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "validation", "TEST")])
def test_splits_below_the_classes_are_kept(
    tmp_path: Path, place: str, names: tuple[str, ...]
) -> None:
    for cls, split, n in itertools.product(("real", "fake"), names, range(6)):
        touch(tmp_path, place.format(cls=cls, split=split, n=n))
    for seed in range(3):
        found = items(listing("folder", tmp_path, **TWO, seed=seed))
        assert len(found) == 12 * len(names)
        for item in found:
            (name,) = (name for name in names if f"/{name}/" in item.path)
            assert item.split == name.lower().removesuffix("ing").replace("validation", "val")


def test_files_beside_splits_in_a_class_are_drawn_into_train_and_val(tmp_path: Path) -> None:
    images(tmp_path, "real/train", "real/test", "fake/train", "fake/test", "fake/more", "fake")
    found = splits_of(listing("folder", tmp_path, **TWO, group_by="[^/]+$"))
    assert found["fake/more"] | found["fake"] == {"train", "val"}
    assert found["fake/test"] == {"test"}


def test_one_folder_called_test_among_others_is_a_group(tmp_path: Path) -> None:
    images(tmp_path, *(f"{cls}/{name}" for cls in TWO for name in ("Test", "Ann", "Bo", "Cy")))
    found = listing("folder", tmp_path, **TWO, split_ratio="100/0/0")
    assert all(item.split == "train" for item in items(found))
    assert "16 files below a folder called test or val drawn into another split" in found.notes[0]


@pytest.mark.parametrize(("one", "two"), [("fake/a", "fake"), ("fake", "."), ("fake", "fake")])
def test_a_class_folder_in_another_is_refused(tmp_path: Path, one: str, two: str) -> None:
    images(tmp_path, "real", "fake/a", "fake/b")
    with pytest.raises(CorpusError, match=f"the folder of class 'one', {one}, is in that of class"):
        listing("folder", tmp_path, fake=("one", "two"), folders=(("one", one), ("two", two)))


# What is not read -------------------------------------------------------------------------------


def test_files_and_folders_beside_the_classes_are_noted(tmp_path: Path) -> None:
    images(tmp_path, "real", "fake", "other", "more")
    touch(tmp_path, "README", "loose.png", ".DS_Store", "__MACOSX/._real", "real/notes.txt")
    notes = " ".join(listing("folder", tmp_path, **TWO).notes)
    for text in (
        "2 other folders not read: more, other.",
        "not read: 2 files of another kind or folder than this command reads: README, loose.png.",
        "not read: 2 files hidden or made by an operating system: .DS_Store, __MACOSX/._real.",
        "not read: 1 file neither image nor video (1 .txt): real/notes.txt.",
    ):
        assert text in notes


def test_folders_beside_splits_are_noted(tmp_path: Path) -> None:
    images(tmp_path, "train/real", "train/fake", "test/real", "test/other", "real", "extra")
    touch(tmp_path, "train/list.txt")
    notes = " ".join(listing("folder", tmp_path, **TWO).notes)
    assert "3 other folders not read: test/other, extra, real." in notes
    assert (
        "not read: 1 file of another kind or folder than this command reads: train/list.txt."
        in notes
    )


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        ("{0}.mp4", "{0}_{1}.mp4"),
        ("{0}/0000.png", "{0}_{1}/0000.png"),
        ("id{0}_0001.mp4", "id{0}_id{1}_0001.mp4"),
        ("{0}__walking.mp4", "{0}_{1}__walking__YVGY8LOK.mp4"),
    ],
)
def test_forgeries_apart_from_their_targets_are_told_of(
    tmp_path: Path, real: str, fake: str
) -> None:
    for n in range(0, 40, 2):
        for a, b in ((n, n + 1), (n + 1, n)):
            one, two = f"{a:03}", f"{b:03}"
            touch(tmp_path, f"real/{real.format(one)}", f"fake/{fake.format(one, two)}")
    (note,) = [n for n in listing("folder", tmp_path, **TWO).notes if "named after" in n]
    match = re.match(r"(\d+) of 40 forgeries named after a real one are in another split", note)
    assert match
    assert 0 < int(match[1]) <= 40
    whole = listing("folder", tmp_path, **TWO, split_ratio="1/0/0")
    assert not any("named after" in note for note in whole.notes)


def test_unrelated_names_give_no_note(tmp_path: Path) -> None:
    touch(tmp_path, *(f"real/{n}.png" for n in range(20)), *(f"fake/{n}.png" for n in range(20)))
    touch(tmp_path, *(f"fake/gan_{n}.png" for n in range(20)))
    assert listing("folder", tmp_path, **TWO).notes == ()


def groups_of(found: Listing) -> dict[str, str]:
    return {item.path: item.group for item in items(found)}


def test_videos_sorted_by_quality_are_groups_of_their_own(tmp_path: Path) -> None:
    names = [str(k) for k in range(519, 527)]
    for quality in ("c23", "c40"):
        touch(tmp_path, *(f"real/{quality}/{name}.mp4" for name in names))
    touch(tmp_path, *(f"real/faces/{name}/0001.png" for name in names))
    touch(tmp_path, *(f"fake/{k}.mp4" for k in range(8)))
    groups = groups_of(listing("folder", tmp_path, **TWO))
    for name in names:
        found = {path: group for path, group in groups.items() if name in path}
        assert len(found) == 3
        assert set(found.values()) == {name}


def test_frames_that_may_be_of_several_videos_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{cls}/{k}.mp4" for k in range(2, 9) for cls in ("real", "fake")))
    touch(tmp_path, "real/x/1.mp4", "real/y/1.mp4", "real/faces/1/0001.png", "real/faces/5/1.png")
    found = listing("folder", tmp_path, real=("real",), fake=("fake",))
    (note,) = [note for note in found.notes if "several videos" in note]
    assert note.startswith(
        "1 folder of class real may hold frames of several videos, such as real/faces/1 of x/1 "
        "and y/1: "
    )
    assert groups_of(found)["real/faces/1/0001.png"] == "faces/1"


@pytest.mark.parametrize("folder", ["./f", "f/", "f/.", "x/../f"])
def test_a_folder_in_another_spelling_is_the_same_one(tmp_path: Path, folder: str) -> None:
    images(tmp_path, "real", "f", "x")
    found = listing("folder", tmp_path, **TWO, folders=(("fake", folder),))
    assert found.notes == ("1 other folder not read: x.",)
    assert {path.split("/")[0] for path in paths(found)} == {"real", "f"}
