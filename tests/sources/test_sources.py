import csv
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from makers.trees import (
    FFPP_FAKES,
    about,
    all_files,
    build_corpus,
    encoded_data,
    ffpp_paths,
    items,
    listing,
    records,
    rows,
    touch,
    write_clip,
    write_image,
)

from hffkit.corpus.build import build, prepare
from hffkit.corpus.merge import merge
from hffkit.errors import ArgumentError, CorpusError, ManifestError, UnknownNameError
from hffkit.extraction.units import Family, ImageBlock, Video
from hffkit.manifest.samples import SPLITS, Split
from hffkit.sources.ffpp_tree import FfppOptions

Run = Callable[..., Result]

# FaceForensics++ --------------------------------------------------------------------------------


def _keys(found: Any) -> list[str]:
    return [item.key for item in items(found)]


def _ffpp(root: Path) -> Path:
    """Two qualities of two official pairs, in all that the download holds."""
    for real, fake in (("000", "000_003"), ("003", "003_000"), ("071", "071_054")):
        for quality in ("c23", "c40"):
            touch(root, *ffpp_paths(real, fake, quality=quality))
    for quality in ("c23", "c40"):
        touch(
            root,
            f"original_sequences/actors/{quality}/videos/01__walking.mp4",
            f"manipulated_sequences/DeepFakeDetection/{quality}/videos/"
            "01_02__walking__YVGY8LOK.mp4",
        )
    return touch(root, "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4")


def test_ffpp_gives_the_five_classes_of_the_paper(tmp_path: Path) -> None:
    found = listing("ff++", _ffpp(tmp_path))
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "Deepfakes", True),
        (1, "Face2Face", True),
        (2, "FaceSwap", True),
        (3, "NeuralTextures", True),
        (4, "Real", False),
    ]
    assert Counter(item.cls for item in items(found)) == dict.fromkeys(found.classes.names, 3)
    assert {item.key.split("/")[1] for item in items(found)} == {"c23"}
    assert found.failures == ()


def test_ffpp_reads_both_originals_and_all_six_manipulations(tmp_path: Path) -> None:
    found = listing("ff++", _ffpp(tmp_path), real=("Real", "Real-actors"), fake=FFPP_FAKES)
    paths = {
        f"manipulated_sequences/{name}/c23/videos/{stem}.mp4"
        for name in FFPP_FAKES
        for stem in ("000_003", "003_000", "071_054")
        if name != "DeepFakeDetection"
    }
    paths |= {f"original_sequences/youtube/c23/videos/{stem}.mp4" for stem in ("000", "003", "071")}
    paths |= {
        "original_sequences/actors/c23/videos/01__walking.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking__YVGY8LOK.mp4",
    }
    assert {item.path for item in items(found)} == paths
    assert all(item.cls in item.path or not _is_fake(item) for item in items(found))


def _is_fake(item: Any) -> bool:
    return isinstance(item, Video) and item.is_fake


@pytest.mark.parametrize("spelling", ["raw", "c0"])
def test_the_lossless_folder_may_be_called_raw_or_c0(tmp_path: Path, spelling: str) -> None:
    touch(tmp_path, *ffpp_paths("000", "000_003", quality=spelling))
    found = listing("ff++", tmp_path, qualities=("raw",))
    assert len(items(found)) == 5
    assert {item.key.split("/")[1] for item in items(found)} == {"raw"}


def test_c0_is_understood_as_a_quality_too(tmp_path: Path) -> None:
    touch(tmp_path, *ffpp_paths("000", "000_003", quality="c0"))
    assert len(items(listing("ff++", tmp_path, qualities=("c0",)))) == 5


def test_a_quality_may_be_any_rate_factor(tmp_path: Path) -> None:
    for quality in ("c40", "c30", "raw", "c5"):
        touch(tmp_path, *ffpp_paths("000", "000_003", quality=quality))
    qualities = ("c40", "c5", "c30", "raw")
    found = listing("ff++", tmp_path, qualities=qualities, methods=("Deepfakes", "Real"))
    assert [item.key for item in items(found)] == [
        f"ff++/{quality}/{name}"  # the best one first, by number and not by name
        for name in ("Real/000", "Deepfakes/000_003")
        for quality in ("raw", "c5", "c30", "c40")
    ]
    assert [item.key for item in items(listing("ff++", tmp_path, qualities=("c30",)))] == [
        "ff++/c30/Real/000",
        *(f"ff++/c30/{name}/000_003" for name in FFPP_FAKES[:1] + FFPP_FAKES[2:5]),
    ]


def test_faces_may_be_looked_for_in_another_rate_factor(tmp_path: Path) -> None:
    for quality in ("c23", "c30"):
        touch(tmp_path, *ffpp_paths("000", "000_003", quality=quality))
    found = listing("ff++", tmp_path, qualities=("c30",), detect_on="c23")
    (family,) = _families(found)
    assert family.detect_on == "original_sequences/youtube/c23/videos/000.mp4"
    assert {video.key.split("/")[1] for video in family.videos} == {"c30"}


def test_ffpp_reads_folders_of_frames_instead_of_videos(tmp_path: Path) -> None:
    for place in ("original_sequences/youtube", "manipulated_sequences/Deepfakes"):
        name = "000" if "youtube" in place else "000_003"
        touch(
            tmp_path, f"{place}/c23/images/{name}/0000.png", f"{place}/c23/images/{name}/0001.png"
        )
    found = listing("ff++", tmp_path)
    assert [(item.key, item.path) for item in items(found)] == [
        ("ff++/c23/Real/000", "original_sequences/youtube/c23/images/000"),
        ("ff++/c23/Deepfakes/000_003", "manipulated_sequences/Deepfakes/c23/images/000_003"),
    ]


def test_methods_qualities_and_splits_are_chosen(tmp_path: Path) -> None:
    root = _ffpp(tmp_path)
    found = listing("ff++", root, methods=("FaceSwap",), qualities=("c40",))
    assert set(_keys(found)) == {
        f"ff++/c40/FaceSwap/{name}" for name in ("000_003", "003_000", "071_054")
    }
    assert found.classes.names == ("FaceSwap",)
    assert [row.id for row in found.classes] == [2]  # as in a corpus of all classes
    assert set(_keys(listing("ff++", root, split="train"))) == {
        "ff++/c23/Real/071",
        *(f"ff++/c23/{name}/071_054" for name in FFPP_FAKES[:1] + FFPP_FAKES[2:5]),
    }
    with pytest.raises(CorpusError, match="no video in split val"):
        listing("ff++", root, split="val")
    found = listing("ff++", root, real=("Real",), fake=("FaceShifter",))
    assert found.classes.names == ("Real", "FaceShifter")


def test_a_family_has_its_real_videos_first_and_of_those_the_best_quality(tmp_path: Path) -> None:
    found = listing(
        "ff++", _ffpp(tmp_path), qualities=("c40", "c23"), methods=("Deepfakes", "Real")
    )
    assert [[video.key for video in unit.videos] for unit in _families(found)] == [
        [
            f"ff++/c23/Real/{target}",
            f"ff++/c40/Real/{target}",
            f"ff++/c23/Deepfakes/{target}_{source}",
            f"ff++/c40/Deepfakes/{target}_{source}",
        ]
        for target, source in (("000", "003"), ("003", "000"), ("071", "054"))
    ]


def _families(found: Any) -> list[Family]:
    return [unit for unit in found.units if isinstance(unit, Family)]


def test_splits_and_groups_are_those_of_the_authors(tmp_path: Path, data: Path) -> None:
    expected: dict[str, tuple[str, str]] = {}
    for split in ("train", "val", "test"):
        file = data / f"data/splits/faceforensicspp_{split}.json"
        for a, b in json.loads(file.read_text()):
            group = f"{min(a, b)}+{max(a, b)}"
            for key in (f"Real/{a}", f"Real/{b}", f"FaceSwap/{a}_{b}", f"FaceSwap/{b}_{a}"):
                expected[f"ff++/c23/{key}"] = (split, group)
    assert len(expected) == 2000
    for key in expected:
        _, quality, name, video = key.split("/")
        place = "original_sequences/youtube" if name == "Real" else f"manipulated_sequences/{name}"
        touch(tmp_path, f"{place}/{quality}/videos/{video}.mp4")
    found = listing("ff++", tmp_path)
    assert {item.key: (item.split, item.group) for item in items(found)} == expected
    assert len(found.units) == 1000  # a target and what derives from it


def test_the_real_clips_are_in_their_official_splits(data: Path) -> None:
    found = listing("ff++", data / "data/ffpp")
    assert {item.key: item.split for item in items(found)} == {
        "ff++/c23/Real/519": "train",
        "ff++/c23/Deepfakes/519_515": "train",
        "ff++/c23/Real/634": "test",
        "ff++/c23/FaceSwap/634_660": "test",
        "ff++/c23/Real/004": "val",
        "ff++/c23/NeuralTextures/004_982": "val",
        "ff++/c23/Face2Face/750_743": "train",
    }
    assert found.failures == ()


@pytest.mark.parametrize(
    ("wanted", "held"), [("c40", "c23"), ("raw", "c40"), ("c30", "c23"), ("c23", "c30")]
)
def test_a_missing_quality_is_named_with_one_that_is_there(
    tmp_path: Path, wanted: str, held: str
) -> None:
    touch(tmp_path, *ffpp_paths("000", "000_003", quality=held))
    expected = (
        f"Deepfakes/{wanted}/videos: no video there.*Download {wanted} or pass `qualities` {held}"
    )
    with pytest.raises(CorpusError, match=expected):
        listing("ff++", tmp_path, qualities=(wanted,))
    with pytest.raises(CorpusError, match=expected):
        listing("ff++", tmp_path, qualities=(wanted,), methods=("Deepfakes",))


def test_a_quality_that_a_message_proposes_is_understood(tmp_path: Path) -> None:
    touch(tmp_path, *ffpp_paths("000", "000_003", quality="c0"))
    with pytest.raises(CorpusError, match="pass `qualities`") as raised:
        listing("ff++", tmp_path)
    proposed = re.findall(r"`qualities` (\w+)", str(raised.value))[0]
    assert len(items(listing("ff++", tmp_path, qualities=(proposed,)))) == 5


def test_a_missing_method_is_a_note_unless_it_was_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "original_sequences/youtube/c23/videos/000.mp4")
    notes = " ".join(listing("ff++", tmp_path).notes)
    assert notes == "no c23 of Deepfakes, Face2Face, FaceSwap, NeuralTextures."
    with pytest.raises(CorpusError, match="Deepfakes/c23/videos: no video there"):
        listing("ff++", tmp_path, methods=("Real", "Deepfakes"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qualities": ("c-23",)}, "No quality named 'c-23'. Did you mean 'c23'"),
        ({"qualities": ("c230",)}, "No quality named 'c230'. Did you mean 'c23'"),
        ({"qualities": ("23",)}, "No quality named '23'. Did you mean 'c23'"),
        ({"qualities": ("c",)}, "No quality named 'c'"),
        ({"methods": ("Deepfake",)}, "No class named 'Deepfake'. Did you mean 'Deepfakes'"),
        ({"fake": ("StarGAN",)}, "No class named 'StarGAN'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        listing("ff++", _ffpp(tmp_path), **arguments)


def test_a_class_cannot_be_called_what_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="Class 'Deepfakes' is fake in this dataset, not real"):
        listing("ff++", _ffpp(tmp_path), real=("Deepfakes",))


def test_a_wrong_tree_is_told_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "fakes/000_003.mp4", "youtube/c23/videos/000.mp4")
    with pytest.raises(
        CorpusError,
        match=r"Looked for original_sequences/, manipulated_sequences/ or face/ in it, or "
        r"original/ and folders named after methods; found fakes, youtube. Pass the folder above",
    ):
        listing("ff++", tmp_path)


def test_a_root_one_folder_too_deep_is_refused(tmp_path: Path) -> None:
    root = _ffpp(tmp_path)
    for name in ("original_sequences", "manipulated_sequences"):
        with pytest.raises(CorpusError, match=name):
            listing("ff++", root / name)


def test_names_outside_the_official_lists_are_recorded(tmp_path: Path) -> None:
    root = touch(_ffpp(tmp_path), "original_sequences/youtube/c23/videos/holiday.mp4")
    touch(root, "original_sequences/youtube/c23/videos/1000.mp4")
    touch(root, "manipulated_sequences/FaceSwap/c23/videos/000_004.mp4")  # two official pairs
    found = listing("ff++", root)
    assert {(f.kind, f.path, f.reason) for f in found.failures} == {
        (
            "unreadable",
            f"{folder}/c23/videos/{name}.mp4",
            f"{name!r} is no name of a {cls} video in the official lists",
        )
        for folder, cls, name in (
            ("original_sequences/youtube", "Real", "holiday"),
            ("original_sequences/youtube", "Real", "1000"),
            ("manipulated_sequences/FaceSwap", "FaceSwap", "000_004"),
        )
    }
    assert len(items(found)) == 15


def test_two_files_of_one_official_name_are_refused_before_the_work(tmp_path: Path) -> None:
    touch(_ffpp(tmp_path), "original_sequences/youtube/c23/videos/000.avi")
    with pytest.raises((CorpusError, ManifestError), match=r"Real/000|000\.avi"):
        listing("ff++", tmp_path)


def test_faces_are_looked_for_in_the_quality_asked_for(tmp_path: Path) -> None:
    root = _ffpp(tmp_path)
    by_itself = listing("ff++", root, qualities=("c40",))
    assert {unit.detect_on for unit in _families(by_itself)} == {None}
    lent = listing("ff++", root, qualities=("c40",), detect_on="c23")
    assert {unit.videos[0].target_name: unit.detect_on for unit in _families(lent)} == {
        name: f"original_sequences/youtube/c23/videos/{name}.mp4" for name in ("000", "003", "071")
    }
    assert _keys(lent) == _keys(by_itself)  # who lends boxes gives no samples


def test_a_lender_of_boxes_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="raw"):
        listing("ff++", _ffpp(tmp_path), qualities=("c23",), detect_on="raw")


def test_group_by_overrules_the_official_pair_but_never_crosses_a_split(tmp_path: Path) -> None:
    root = _ffpp(tmp_path)
    found = listing("ff++", root, group_by=r"/(\d{3})(?:_\d{3})?\.mp4")
    assert {item.group for item in items(found)} == {"000", "003", "071"}
    with pytest.raises(ManifestError, match="Group 'videos' leaks across splits"):
        listing("ff++", root, group_by="videos")


def test_crops_of_cao_et_al_are_kept_byte_for_byte(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "cao", tmp_path / "x.lmdb"
    expected: dict[str, bytes] = {}
    for name, video in (("real", "000"), ("Deepfakes", "000_003"), ("FaceSwap", "003_000")):
        cls = "Real" if name == "real" else name
        for number in (0, 2, 10, 11):  # ten behind two: by number, not by name
            path = f"face/{name}/c23/{video}/{number}.png"
            write_image(root / path, len(expected))
            expected[f"ff++/c23/{cls}/{video}/{number:04d}"] = (root / path).read_bytes()
    result = run("build", "ff++", "--src", root, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    stored = [(key.decode()[9:], *encoded_data(value)) for key, value in records(out)]
    assert {key: data for key, data, _ in stored} == expected
    assert [key for key, *_ in stored if "/Real/" in key] == [
        f"ff++/c23/Real/000/{number:04d}" for number in (0, 2, 10, 11)
    ]
    assert {(key.split("/")[2], label) for key, _, label in stored} == {
        ("Deepfakes", 0),
        ("FaceSwap", 2),
        ("Real", 4),
    }
    assert {row["source"] for row in rows(out / "manifest.jsonl")} == set(all_files(root))
    assert {(row["group"], row["split"]) for row in rows(out / "manifest.jsonl")} == {
        ("000+003", "test")
    }
    inner = listing("ff++", root / "face")  # the folder itself may be named as well
    assert _keys(inner) == _keys(listing("ff++", root))


def test_dfd_is_grouped_by_target_actor_and_says_that_its_splits_are_its_own(
    tmp_path: Path,
) -> None:
    scenes = ("exit_phone_room", "walking_and_outside_surprised")
    actors = [f"{n:02d}" for n in range(1, 21)]
    for actor in actors:
        for scene in scenes:
            fake = f"{actor}_{actors[int(actor) % 20]}__{scene}__{'ABCDEFGH' if scene else ''}"
            touch(
                tmp_path,
                f"original_sequences/actors/c23/videos/{actor}__{scene}.mp4",
                f"manipulated_sequences/DeepFakeDetection/c23/videos/{fake}.mp4",
            )
    found = listing("dfd", tmp_path)
    assert found.classes.names == ("DeepFakeDetection", "Real-actors")
    assert len(found.units) == 40  # an actor's scene and what derives from it
    for unit in _families(found):
        real, fake_video = unit.videos
        assert (real.cls, fake_video.cls) == ("Real-actors", "DeepFakeDetection")
        assert real.group == fake_video.group == f"actor-{real.name[:2]}"
        assert real.split == fake_video.split
    splits = {item.group: item.split for item in items(found)}
    assert Counter(splits.values()) == {"train": 15, "val": 1, "test": 4}  # 75/5/20
    assert "no official splits" in " ".join(found.notes)


def test_ffpp_without_dfd_does_not_warn_of_its_splits(tmp_path: Path) -> None:
    assert listing("ff++", _ffpp(tmp_path)).notes == ()


# HFF --------------------------------------------------------------------------------------------

HFF_CLASSES = (
    ("CelebA", False),
    ("CelebA-HQ", False),
    ("YouTube-Frame", False),
    ("Glow", True),
    ("StarGAN", True),
    ("PGGAN", True),
    ("StyleGAN", True),
    ("Face2Face", True),
)


def _hff(root: Path, *, n: int = 20) -> Path:
    for name, _ in HFF_CLASSES:
        touch(root, *(f"{name}/{number:05d}.jpg" for number in range(n)))
    return root


def test_hff_has_the_papers_eight_classes_split_75_5_20_each(tmp_path: Path) -> None:
    found = listing("hff", _hff(tmp_path))
    table = [(row.id, row.name, row.is_fake) for row in found.classes]
    assert table == [(i, *row) for i, row in enumerate(HFF_CLASSES)]
    assert Counter((item.cls, item.split) for item in items(found)) == {
        (name, split): n
        for name, _ in HFF_CLASSES
        for split, n in (("train", 15), ("val", 1), ("test", 4))
    }
    other = listing("hff", tmp_path, seed=1)
    assert [item.split for item in items(other)] != [item.split for item in items(found)]


def test_split_ratio_is_kept_for_each_class(tmp_path: Path) -> None:
    found = listing("hff", _hff(tmp_path, n=10), split_ratio="6/0/4")
    assert Counter((item.cls, item.split) for item in items(found)) == {
        (name, split): n for name, _ in HFF_CLASSES for split, n in (("train", 6), ("test", 4))
    }
    assert Counter(item.cls for item in items(listing("hff", tmp_path, split="test"))) == {
        name: 2 for name, _ in HFF_CLASSES
    }


def test_hff_folders_may_be_spelt_otherwise(tmp_path: Path) -> None:
    touch(tmp_path, "celeba/0.jpg", "CelebA_HQ/0.jpg", "youtube frame/0.jpg", "pg-gan/0.jpg")
    found = listing("hff", tmp_path)
    assert {item.path: item.cls for item in items(found)} == {
        "celeba/0.jpg": "CelebA",
        "CelebA_HQ/0.jpg": "CelebA-HQ",
        "youtube frame/0.jpg": "YouTube-Frame",
        "pg-gan/0.jpg": "PGGAN",
    }


def test_class_maps_a_folder_of_another_name(tmp_path: Path) -> None:
    touch(tmp_path, "faces/0.jpg", "Glow/0.jpg", "new/0.jpg")
    found = listing("hff", tmp_path, folders=(("CelebA", "faces"),))
    assert {item.path: item.cls for item in items(found)} == {
        "faces/0.jpg": "CelebA",
        "Glow/0.jpg": "Glow",
    }
    arguments = {"folders": (("Mine", "new"), ("CelebA", "faces"))}
    with pytest.raises(CorpusError, match="Class 'Mine' is new: name it in `real` or `fake`"):
        listing("hff", tmp_path, **arguments)
    found = listing("hff", tmp_path, **arguments, fake=("Mine",), real=("CelebA",))
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "CelebA", False),
        (8, "Mine", True),
    ]


def test_a_missing_hff_class_that_was_asked_for_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "Glow/0.jpg")
    with pytest.raises(
        CorpusError, match=r"no folder for class 'PGGAN'. Found: Glow. Map it with `folders` PGGAN="
    ):
        listing("hff", tmp_path, fake=("Glow", "PGGAN"))


def test_hff_images_are_stored_whole_and_untouched(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "hff", tmp_path / "x.lmdb"
    write_image(root / "CelebA/a.jpg", 1, quality=71)
    write_image(root / "CelebA/b.png", 2)
    write_image(root / "StarGAN/c.jpeg", 3, quality=93, progressive=True)
    write_image(root / "StarGAN/d.webp", 4)
    write_image(root / "StarGAN/e.bmp", 5)
    result = run("build", "hff", "--src", root, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    stored = {key.decode()[9:]: encoded_data(value) for key, value in records(out)}
    assert {key: data for key, (data, _) in stored.items()} == all_files(root)
    assert {key: label for key, (_, label) in stored.items()} == {
        "CelebA/a.jpg": 0,
        "CelebA/b.png": 0,
        "StarGAN/c.jpeg": 4,
        "StarGAN/d.webp": 4,
        "StarGAN/e.bmp": 4,
    }


@given(
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=12),
    seed=st.integers(0, 1000),
    ratio=st.sampled_from(["75/5/20", "1/1/1", "1/0/0", "0.5/0.5/0"]),
)
def test_a_subfolder_is_a_group_and_never_cut(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int, ratio: str
) -> None:
    root = tmp_path_factory.mktemp("hff")
    for number, size in enumerate(sizes):
        touch(root, *(f"YouTube-Frame/v{number}/{frame}.png" for frame in range(size)))
        touch(root, *(f"Face2Face/v{number}/{frame}.png" for frame in range(size)))
    found = listing("hff", root, seed=seed, split_ratio=ratio)
    splits = defaultdict(set)
    for item in items(found):
        assert item.group == item.path.split("/")[1]  # one video's frames, real and fake
        splits[item.group].add(item.split)
    assert len(splits) == len(sizes)
    assert all(len(held) == 1 for held in splits.values())


def test_a_class_that_is_all_one_group_is_told_of(tmp_path: Path) -> None:
    touch(tmp_path, *(f"CelebA/img_align_celeba/{number}.jpg" for number in range(20)))
    touch(tmp_path, *(f"StarGAN/{number}.jpg" for number in range(20)))
    found = listing("hff", tmp_path)
    # One folder that holds the whole class is no group.
    assert {item.split for item in items(found) if item.cls == "CelebA"} == {"train", "val", "test"}
    found = listing("hff", tmp_path, group_by="(CelebA)/")
    assert {item.split for item in items(found) if item.cls == "CelebA"} == {"train"}
    assert "class CelebA has nothing in val, test: its 20 files are in 1 group," in " ".join(
        found.notes
    )


def test_group_by_makes_groups_of_what_the_expression_finds(tmp_path: Path) -> None:
    names = [f"p{person:02d}_{number}" for person in range(20) for number in range(3)]
    touch(tmp_path, *(f"CelebA/{name}.jpg" for name in names), "CelebA/odd.jpg")
    found = listing("hff", tmp_path, group_by=r"(p\d+)_")
    groups = {item.path: item.group for item in items(found)}
    assert groups == {f"CelebA/{name}.jpg": name[:3] for name in names} | {
        "CelebA/odd.jpg": "CelebA/odd.jpg"
    }
    assert (
        "1 of 61 paths do not match the expression of groups, such as 'CelebA/odd.jpg'"
        in " ".join(found.notes)
    )
    with pytest.raises(ArgumentError, match=r"`group_by` '\(' is no regular expression"):
        listing("hff", tmp_path, group_by="(")


def test_paper_split_is_random_over_images_and_cuts_groups(tmp_path: Path) -> None:
    for video in range(4):
        touch(tmp_path, *(f"YouTube-Frame/v{video}/{frame:02d}.png" for frame in range(20)))
    found = listing("hff", tmp_path, paper_split=True)
    assert Counter(item.split for item in items(found)) == {"train": 60, "val": 4, "test": 16}
    assert len({item.group for item in items(found)}) == 80
    cut = {item.path.split("/")[1] for item in items(found) if item.split == "test"}
    assert len(cut) > 1  # whole videos would make it one


def test_the_layout_of_the_hff_authors_keeps_its_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/fake/0.jpg", "train/fake/1.jpg", "train/real/0.jpg")
    touch(tmp_path, "val/real/v/0.jpg", "test/fake/0.jpg", "test/real/v/0.jpg")
    found = listing("hff", tmp_path)
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "fake", True),
        (1, "real", False),
    ]
    assert {item.path: (item.split, item.cls) for item in items(found)} == {
        "train/fake/0.jpg": ("train", "fake"),
        "train/fake/1.jpg": ("train", "fake"),
        "train/real/0.jpg": ("train", "real"),
        "val/real/v/0.jpg": ("val", "real"),
        "test/fake/0.jpg": ("test", "fake"),
        "test/real/v/0.jpg": ("test", "real"),
    }


# folder -----------------------------------------------------------------------------------------


def test_folder_takes_the_classes_it_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg", "a/clip.mp4", "a/notes.txt", "b/0.png", "c/0.png")
    found = listing("folder", tmp_path, real=("a",), fake=("b",))
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "b", True),
        (1, "a", False),
    ]
    assert _keys(found) == ["b/0.png", "a/0.jpg", "a/clip.mp4"]
    assert "1 other folder not read: c." in " ".join(found.notes)
    with pytest.raises(
        CorpusError,
        match=r"the real classes in `real` and the fake ones in `fake`.*Folders there: a, b, c",
    ):
        listing("folder", tmp_path)
    with pytest.raises(UnknownNameError, match="named 'bb'"):
        listing("folder", tmp_path, real=("a",), fake=("bb",))
    with pytest.raises(ManifestError, match="Class name a occurs twice"):
        listing("folder", tmp_path, real=("a",), fake=("a",))


def test_folder_keeps_splits_that_are_folders(tmp_path: Path) -> None:
    touch(tmp_path, "Train/a/0.jpg", "valid/a/0.jpg", "testing/a/0.jpg", "testing/b/0.jpg")
    found = listing("folder", tmp_path, real=("a",), fake=("b",))
    assert {item.path: item.split for item in items(found)} == {
        "Train/a/0.jpg": "train",
        "valid/a/0.jpg": "val",
        "testing/a/0.jpg": "test",
        "testing/b/0.jpg": "test",
    }


def test_folder_takes_images_whole_and_faces_from_videos(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "in", tmp_path / "x.lmdb"
    write_image(root / "real/p.png", 1)
    write_clip(root / "real/clip.mp4", n_frames=9)
    write_clip(root / "fake/clip.mp4", n_frames=9, first=9)
    result = run(
        "build", "folder", "--src", root, "--real", "real", "--fake", "fake",
        "--frames", "3/2", "--out", out, "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = {row["key"]: row for row in rows(out / "manifest.jsonl")}
    assert set(found) == {
        "real/p.png",
        *(f"real/clip.mp4/{frame:04d}" for frame in (1, 4, 7)),  # middles of three thirds
        *(f"fake/clip.mp4/{frame:04d}" for frame in (1, 7)),  # of these three, of both halves
    }
    assert found["real/p.png"]["box"] is None
    for row in found.values():
        if row["frame"] is not None:
            x, y, size = row["box"]
            assert 0 <= x <= 160 - size
            assert 0 <= y <= 160 - size
            assert size > 40
            assert "dlib-frontal" in row["detector"]


# list -------------------------------------------------------------------------------------------


def _list(root: Path, text: str, **arguments: Any) -> Any:
    (root / "a.jpg").touch()
    file = root / "list.txt"
    file.write_bytes(text.encode())
    return listing("list", root, list_file=file, **arguments)


def test_a_list_splits_at_the_last_space_and_keeps_its_order(tmp_path: Path) -> None:
    found = _list(tmp_path, "b c/x y.jpg 7\na.jpg 0\n", real=("7",), fake=("0",))
    assert [(item.key, item.cls) for item in items(found)] == [("b c/x y.jpg", "7"), ("a.jpg", "0")]
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "0", True),
        (7, "7", False),
    ]
    assert [item.index for item in items(found) if not isinstance(item, Video)] == [0, 1]


def test_every_label_of_a_list_must_be_called_real_or_fake(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="label 1 is neither in `real` nor in `fake`"):
        _list(tmp_path, "a.jpg 0\nb.jpg 1\n", fake=("0",))


def test_a_label_of_a_list_cannot_be_both_real_and_fake(tmp_path: Path) -> None:
    with pytest.raises((CorpusError, ManifestError), match="0"):
        _list(tmp_path, "a.jpg 0\nb.jpg 1\n", fake=("0",), real=("0", "1"))


def test_labels_of_a_list_get_names_by_class(tmp_path: Path) -> None:
    found = _list(
        tmp_path,
        "a.jpg 0\nb.jpg 1\n",
        folders=(("StarGAN", "0"), ("CelebA", "1")),
        fake=("StarGAN",),
        real=("CelebA",),
    )
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "StarGAN", True),
        (1, "CelebA", False),
    ]
    assert [item.cls for item in items(found)] == ["StarGAN", "CelebA"]


def test_a_csv_with_path_and_real_is_a_list(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    with file.open("w", newline="", encoding="utf-8") as text:  # commas quoted, lines end in CRLF
        csv.writer(text).writerows(
            [["real", "note", "path"], [1, "x", "a, b.jpg"], [0, "y", "c.jpg"], [1, "", "d.mp4"]]
        )
    (tmp_path / "c.jpg").touch()
    found = listing("list", tmp_path, list_file=file)
    assert [(item.path, item.cls) for item in items(found)] == [
        ("a, b.jpg", "real"),
        ("c.jpg", "fake"),
        ("d.mp4", "real"),
    ]
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "fake", True),
        (1, "real", False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "path,real\r\na.jpg,1\r\nb.jpg,0\r\n",
        "path, real\na.jpg,1\nb.jpg,0\n",
        "\ufeffpath,real\na.jpg,1\nb.jpg,0\n",  # as spreadsheets save it
        '"","path","real"\n"1","a.jpg",1\n"2","b.jpg",0\n',  # as R does
        "path;real\na.jpg;1\nb.jpg;0\n",  # where commas are decimal points
        "note;PATH;Real\n;a.jpg;1,0\n;b.jpg;0,0\n",
        "path\treal\na.jpg\t1\nb.jpg\t0\n",
        "Path,REAL\na.jpg,1.0\nb.jpg,0.\n",  # as pandas does for a column with a gap
        "path,real\n/a.jpg,1\n./b.jpg,0\n",
        "path,real\n.\\a.jpg,1\nsub\\..\\b.jpg,0\n",
        "path,real\ra.jpg,1\rb.jpg,0\r",  # as old Macs do
    ],
    ids=[
        "crlf",
        "space",
        "byte-order-mark",
        "quotes",
        "semicolons",
        "decimal-commas",
        "tabs",
        "floats",
        "slash",
        "backslashes",
        "carriage-returns",
    ],
)
def test_a_csv_may_come_from_a_spreadsheet(tmp_path: Path, text: str) -> None:
    assert [(item.path, item.cls) for item in items(_list(tmp_path, text))] == [
        ("a.jpg", "real"),
        ("b.jpg", "fake"),
    ]


def test_a_csv_may_give_splits(tmp_path: Path) -> None:
    rows = [f"{n}.jpg,{n % 2},{('train', 'Validation', ' test ', '')[n % 4]}" for n in range(40)]
    touch(tmp_path, "0.jpg")
    text = "\n".join(["path,real,Split", *rows])
    found = {int(Path(item.path).stem): item.split for item in items(_list(tmp_path, text))}
    assert [{found[n] for n in range(k, 40, 4)} for k in range(3)] == [{"train"}, {"val"}, {"test"}]
    assert {found[n] for n in range(3, 40, 4)} <= {"train", "val"}
    with pytest.raises(CorpusError, match=r"list\.txt:2: split must be train, val, test or empty"):
        _list(tmp_path, "path,real,split\na.jpg,1,holdout\n")


@pytest.mark.parametrize(
    "line", ["/a.jpg 0", "a.jpg\t0", "a.jpg   0.0", "//x/../a.jpg 0", ".\\a.jpg 0"]
)
def test_a_line_of_a_list_may_be_spelled_as_programs_do(tmp_path: Path, line: str) -> None:
    (tmp_path / "x").mkdir()
    assert _keys(_list(tmp_path, f"{line}\n", fake=("0",))) == ["a.jpg"]


def test_a_backslash_that_is_part_of_a_name_stays(tmp_path: Path) -> None:
    (tmp_path / "b\\c.jpg").touch()
    assert _keys(_list(tmp_path, "b\\c.jpg 0\n", fake=("0",))) == ["b\\c.jpg"]


def test_a_list_of_another_machine_needs_its_prefix(tmp_path: Path) -> None:
    for path, prefix in (("/old/place/b.jpg", "/old/place"), ("D:\\faces\\b.jpg", "D:\\faces")):
        with pytest.raises(CorpusError, match=r"none of its files is in .*strip_prefix"):
            _list(tmp_path, f"{path} 0\n", fake=("0",))
        for known in (path[:2], path[:-7]):  # the advice is not to give what was given
            with pytest.raises(CorpusError, match="another part of its paths than") as told:
                _list(tmp_path, f"{path} 0\n", fake=("0",), strip_prefix=known)
            assert "give the start" not in str(told.value)
        (tmp_path / "b.jpg").touch()
        found = _list(tmp_path, f"{path} 0\n", fake=("0",), strip_prefix=prefix)
        assert _keys(found) == ["b.jpg"]
        (tmp_path / "b.jpg").unlink()


def test_an_empty_line_at_the_end_of_a_list_is_no_entry(tmp_path: Path) -> None:
    assert _keys(_list(tmp_path, "a.jpg 0\n\n", fake=("0",))) == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.jpg 0\nb.jpg\n",
            r"list\.txt:2: must be `path label` with a whole number up to 2147483647, got 'b\.jpg'",
        ),
        ("a.jpg x\n", r"list\.txt:1: must be `path label` with a whole number"),
        ("a.jpg \N{SUPERSCRIPT TWO}\n", r"list\.txt:1: must be `path label` with a whole number"),
        ("path,real\na.jpg,yes\n", "real must be 0 or 1, got 'yes'"),
        ("path,real\na.jpg\n", "real must be 0 or 1, got ''"),
        ("a.jpg 0\nb.jpg 0\na.jpg 1\n", r"list\.txt:3: 'a\.jpg' is listed twice, before in line 1"),
        ("a.jpg 0\nb.jpg 0\n./a.jpg 0\n", r"list\.txt:3: 'a\.jpg' is listed twice"),
        ("path,real\n\na.jpg,0\n./a.jpg,1\n", r"list\.txt:4: 'a\.jpg' .* before in line 3"),
        ("b.jpg 0\na\0.jpg 0\n", r"list\.txt:2: .* holds a NUL character"),
        ("path,real,Path\na.jpg,0,b.jpg\n", r"list\.txt:1: has the column path twice"),
        ("a.jpg 0.5\n", r"list\.txt:1: must be `path label` with a whole number"),
        ("a.jpg -1\n", r"list\.txt:1: must be `path label` with a whole number"),
        ("path;real\na.jpg;2\n", "real must be 0 or 1, got '2'"),
        ("", r"list\.txt: lists nothing"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    says_itself = text.startswith("path")
    polarity = {} if says_itself else {"fake": ("0",), "real": ("1",)}
    with pytest.raises(CorpusError, match=message):
        _list(tmp_path, text, **polarity)


def test_a_csv_of_another_machine_is_read_below_the_root(
    data: Path, tmp_path: Path, run: Run
) -> None:
    images = {
        f"{name}/{path.name}": real
        for name, real in (("real-ffhq256", 1), ("fake-stylegan256", 0))
        for path in sorted((data / "data/images" / name).iterdir())[:10]
    }
    file = tmp_path / "faces.csv"  # as pandas writes it, with 12 characters before each path
    with file.open("w", newline="") as text:
        lines = [(n, f"/mnt/disk/in/{path}", real) for n, (path, real) in enumerate(images.items())]
        csv.writer(text).writerows([("", "path", "real"), *lines])
    out = ("--split-ratio", "80/20/0", "--out", tmp_path / "x.lmdb", "--workers", "1")
    words = ("build", "list", "--list", file, "--src", data / "data/images", *out)
    wrong = run(*words, "--strip-prefix", "/mnt/disk/out")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert (
        f"{file}:2: '/mnt/disk/in/real-ffhq256/00000.jpg' does not begin with --strip-prefix"
        in wrong.stderr
    )
    assert run(*words, "--strip-prefix", "/mnt/disk/in").exit_code == 0
    found = rows(tmp_path / "x.lmdb/manifest.jsonl")
    assert [(row["source"], row["cls"]) for row in found] == [
        (path, "real" if real else "fake") for path, real in images.items()
    ]
    assert Counter((row["cls"], row["split"]) for row in found) == {
        (name, split): n for name in ("real", "fake") for split, n in (("train", 8), ("val", 2))
    }
    for row, (_, value) in zip(found, records(tmp_path / "x.lmdb"), strict=True):
        stored, label = encoded_data(value)
        assert stored == (data / "data/images" / row["source"]).read_bytes()
        assert label == images[row["source"]]


def test_a_csv_says_itself_what_is_real(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="leave out `real`, `fake`, `folders`"):
        _list(tmp_path, "path,real\na.jpg,1\n", real=("real",))


def test_a_list_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xff\xfe 0\n")
    with pytest.raises(CorpusError, match="list: must be UTF-8 text"):
        listing("list", tmp_path, list_file=tmp_path / "list", fake=("0",))
    with pytest.raises(CorpusError, match="nowhere: cannot be read: No such file"):
        listing("list", tmp_path, list_file=tmp_path / "nowhere", fake=("0",))


@pytest.mark.golden
def test_a_packed_list_is_byte_for_byte_what_convert_imageset_wrote(
    data: Path, tmp_path: Path, run: Run
) -> None:
    golden, out = data / "golden/caffe-convert_imageset", tmp_path / "x.lmdb"
    result = run(
        "build", "list", "--src", golden / "images", "--list", golden / "list.txt",
        "--real", "0,1,2,3,4", "--fake", "5,6,7,8",
        "--size", 128, "--out", out, "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 3, result.output  # line 6 is no image
    expected, got = records(golden / "raw128_lmdb"), records(out)
    assert [key for key, _ in got] == [key for key, _ in expected]
    assert len(got) == 35
    assert [
        key for (key, ours), (_, theirs) in zip(got, expected, strict=True) if ours != theirs
    ] == []
    assert [row["path"] for row in rows(out / "failures.jsonl")] == ["broken.jpg"]


# datasets of faces ------------------------------------------------------------------------------


def test_faces_hq_knows_its_four_folders(tmp_path: Path) -> None:
    touch(tmp_path, "100KFaces_10000/0.jpg", "celebA-HQ_10000/0.jpg")
    touch(tmp_path, "Flickr-Faces-HQ_10000/0.jpg", "thispersondoesntexists_10000/0.jpg")
    found = listing("faces-hq", tmp_path)
    assert {item.path.split("/")[0]: item.cls for item in items(found)} == {
        "100KFaces_10000": "100K-Faces",
        "celebA-HQ_10000": "CelebA-HQ",
        "Flickr-Faces-HQ_10000": "FFHQ",
        "thispersondoesntexists_10000": "ThisPersonDoesNotExist",
    }
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "100K-Faces", True),
        (1, "ThisPersonDoesNotExist", True),
        (2, "CelebA-HQ", False),
        (3, "FFHQ", False),
    ]


def _celeba(root: Path, ending: str) -> Path:
    names = [f"{number:06d}.jpg" for number in range(1, 7)]
    touch(root, *(f"Img/img_align_celeba/{name}" for name in names), "Img/img_align_celeba/x.jpg")
    lines = [f"{name} {number // 2}" for number, name in enumerate(names)]
    if ending == "csv":
        lines = ["image_id,partition", *(line.replace(" ", ",") for line in lines)]
    (root / "Eval").mkdir()
    (root / f"Eval/list_eval_partition.{ending}").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_celeba_keeps_its_partition(tmp_path: Path, ending: str) -> None:
    found = listing("celeba", _celeba(tmp_path, ending))
    assert {Path(item.path).stem: item.split for item in items(found)} == {
        "000001": "train",
        "000002": "train",
        "000003": "val",
        "000004": "val",
        "000005": "test",
        "000006": "test",
    }
    assert [(row.name, row.is_fake) for row in found.classes] == [("CelebA", False)]


def test_celeba_is_grouped_by_identity_where_the_file_is_there(tmp_path: Path) -> None:
    root = _celeba(tmp_path, "txt")
    assert len({item.group for item in items(listing("celeba", root))}) == 6
    (root / "Anno").mkdir()
    identities = (2880, 2880, 5, 6, 7, 7)
    text = "".join(f"{i:06d}.jpg {who}\n" for i, who in enumerate(identities, 1))
    (root / "Anno/identity_CelebA.txt").write_text(text)
    found = listing("celeba", root)
    assert [item.group for item in items(found)] == [f"identity-{who}" for who in identities]
    text = text.replace("000006.jpg 7", "000006.jpg 2880")
    (root / "Anno/identity_CelebA.txt").write_text(text)
    with pytest.raises(ManifestError, match="Group 'identity-2880' leaks across splits"):
        listing("celeba", root)


def test_celeb_df_keeps_its_test_list(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Celeb-real/id{n}_0000.mp4" for n in range(10)))
    touch(tmp_path, *(f"Celeb-synthesis/id{n}_id1_0000.mp4" for n in range(10)))
    touch(tmp_path, *(f"YouTube-real/{n:05d}.mp4" for n in range(10)))
    tested = {
        "Celeb-real/id0_0000.mp4",
        "YouTube-real/00003.mp4",
        "Celeb-synthesis/id4_id1_0000.mp4",
    }
    text = "".join(f"{int('real' in path)} {path}\n" for path in sorted(tested))
    (tmp_path / "List_of_testing_videos.txt").write_text(text)
    found = listing("celeb-df", tmp_path)
    assert {item.path for item in items(found) if item.split == "test"} == tested
    # 75 to 5 of the 27 others, each class by itself: 9 * 5 / 80 is nearer to one than to none.
    assert Counter(item.split for item in items(found)) == {"train": 24, "val": 3, "test": 3}
    assert {(row.name, row.is_fake) for row in found.classes} == {
        ("Celeb-synthesis", True),
        ("Celeb-real", False),
        ("YouTube-real", False),
    }


CELEB_TESTED = ("Celeb-real/id0_0000.mp4", "YouTube-real/00000.mp4")


def celeb_df(root: Path, lines: Sequence[str], **arguments: Any) -> Any:
    """Ten real and ten YouTube videos, half of them with frames as in DeepfakeBench; one fake."""
    for cls, name in (("Celeb-real", "id{}_0000"), ("YouTube-real", "{:05d}")):
        for n in range(10):
            video = f"{cls}/{name.format(n)}.mp4"
            frames = [f"{cls}/frames/{name.format(n)}/{k:03d}.png" for k in range(3)]
            touch(root, video, *(frames if n % 2 == 0 else ()))
    touch(root, "Celeb-synthesis/id1_id2_0000.mp4")
    (root / "List_of_testing_videos.txt").write_text("".join(f"{line}\n" for line in lines))
    return listing("celeb-df", root, **arguments)


@pytest.mark.parametrize(
    "spelled",
    [
        "1 {cls}/{name}",
        "1 Celeb-DF-v2/{cls}/{name}",
        "1 D:\\x\\{cls}\\{name}",
        "{name}",
        "1\t{cls}/{name}",
    ],
)
def test_test_videos_of_celeb_df_are_found_however_they_are_spelled(
    tmp_path: Path, spelled: str
) -> None:
    lines = []
    for path in CELEB_TESTED:
        cls, _, name = path.partition("/")
        lines.append(spelled.format(cls=cls, name=name))
    found = celeb_df(tmp_path, lines)
    splits = defaultdict(set)
    for item in items(found):
        file = Path(item.path)
        video = f"{file.parts[0]}/{file.parent.name if file.suffix == '.png' else file.stem}.mp4"
        splits[video].add(item.split)
    assert all(len(each) == 1 for each in splits.values())  # frames follow their video
    assert len(splits) == 21
    assert {video for video, each in splits.items() if each == {"test"}} == set(CELEB_TESTED)


@pytest.mark.parametrize(
    "frame",
    [
        "{cls}/{name}_0032.png",
        "{cls}/{name}/0.png",
        "{cls}/faces/{name}-0/1.png",
        "{cls}/{name}.9.jpg",
        "{cls}/frames/{name}_000.png",
        "{cls}/frames/{name}/aligned/000.png",
        "{cls}/{name}/aligned/00001.png",
        "{cls}/real_{name}/3.png",
        "{cls}/frames/fake-{name}-00002.png",
        "{cls}/{name}/clip.mp4",
    ],
)
def test_frames_of_test_videos_of_celeb_df_are_known_by_their_names(
    tmp_path: Path, frame: str
) -> None:
    names = [("Celeb-synthesis", "id0_id1_0000"), ("Celeb-synthesis", "id0_id1_0001")]
    names += [("Celeb-real", "id0_0000"), ("Celeb-real", "id0_0001"), ("YouTube-real", "00000")]
    names.append(("YouTube-real", "00001"))
    for cls, name in names:
        touch(tmp_path, frame.format(cls=cls, name=name))
    tested = [("Celeb-synthesis", "id0_id1_0000"), ("Celeb-real", "id0_0000")]
    tested.append(("YouTube-real", "00000"))
    text = "".join(f"1 {cls}/{name}.mp4\n" for cls, name in tested)
    (tmp_path / "List_of_testing_videos.txt").write_text(text)
    found = listing("celeb-df", tmp_path)
    assert {item.path for item in items(found) if item.split == "test"} == {
        frame.format(cls=cls, name=name) for cls, name in tested
    }
    assert not any("known video" in note for note in found.notes)


@pytest.mark.parametrize("stray", ["portraits/a.png", "a.png", "frames/id7_0000/0.png"])
def test_images_of_celeb_df_of_no_known_video_are_named(tmp_path: Path, stray: str) -> None:
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id0_0001.mp4", f"Celeb-real/{stray}")
    touch(tmp_path, "Celeb-real/id0_0000/0.png", "Celeb-real/frames/id0_0001_0.png")
    (tmp_path / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4\n")
    notes = [note for note in listing("celeb-df", tmp_path).notes if "known video" in note]
    expected = f"1 image of no known video, so perhaps of a test video: Celeb-real/{stray}."
    assert notes == [expected]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 Celeb-real/id99_0000.mp4"], "1 of 1 line name"),
        (["1 Celeb-real/id0_0000.mp4", "1 Celeb-real/id0-0001.mp4"], "1 of 2 lines .* 'id0-0001"),
        (["1 Celeb-real/id0_0000.mp4", "1 elsewhere/x.mp4"], "1 of 2 lines .*elsewhere/x.mp4"),
        ([], "'nothing'"),
    ],
)
def test_a_test_list_of_celeb_df_that_names_no_video_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(CorpusError, match=message.replace("'id0", "'1 Celeb-real/id0")):
        celeb_df(tmp_path, lines)


def test_folders_beside_those_of_celeb_df_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "celeb-synthesis/id0_id1_0000.mp4", "readme.txt")
    notes = celeb_df(tmp_path, ["1 YouTube-real/00000.mp4"], real=("YouTube-real",)).notes
    assert "3 other folders not read: Celeb-real, Celeb-synthesis, celeb-synthesis." in notes
    assert (
        "not read: 1 file of another kind or folder than this command reads: readme.txt." in notes
    )


def test_a_test_list_of_celeb_df_may_name_classes_that_are_left_out(tmp_path: Path) -> None:
    lines = [f"1 {path}" for path in CELEB_TESTED] + [
        "00001.mp4",
        "1 Celeb-synthesis/id1_id2_0.mp4",
    ]
    found = celeb_df(tmp_path, lines, real=("Celeb-real",))
    tested = {
        item.path for item in items(found) if item.split == "test" and item.path.endswith("mp4")
    }
    assert tested == {"Celeb-real/id0_0000.mp4"}


def test_dfdc_follows_its_metadata(tmp_path: Path) -> None:
    parts: dict[str, dict[str, dict[str, str]]] = {}
    for part in ("dfdc_train_part_0", "dfdc_train_part_1"):
        meta = parts[part] = {}
        for n in range(10):
            real = f"{part[-1]}real{n}.mp4"
            meta[real] = {"label": "REAL", "split": "train"}
            for k in range(2):
                meta[f"{part[-1]}fake{n}_{k}.mp4"] = {
                    "label": "FAKE",
                    "split": "train",
                    "original": real,
                }
        touch(tmp_path, *(f"{part}/{name}" for name in meta))
        (tmp_path / part / "metadata.json").write_text(json.dumps(meta))
    (tmp_path / "dfdc_train_part_1/1fake3_0.mp4").unlink()
    touch(tmp_path, "dfdc_train_part_1/unlisted.mp4")
    found = listing("dfdc", tmp_path)
    expected = {
        f"{part}/{name}": ("DFDC-fake", row["original"])
        if row["label"] == "FAKE"
        else ("DFDC-real", name)
        for part, meta in parts.items()
        for name, row in meta.items()
    }
    del expected["dfdc_train_part_1/1fake3_0.mp4"]
    assert {item.path: (item.cls, item.group) for item in items(found)} == expected
    assert [(f.kind, f.path, f.reason) for f in found.failures] == [
        (
            "unreadable",
            "dfdc_train_part_1/unlisted.mp4",
            "in no metadata.json or labels.csv: nothing says whether it is real or fake",
        ),
        ("unreadable", "dfdc_train_part_1/1fake3_0.mp4", "in metadata.json, not there"),
    ]
    reals = listing("dfdc", tmp_path, real=("DFDC-real",))
    assert {item.cls for item in items(reals)} == {"DFDC-real"}
    # The missing one is a fake: nobody asked for it.
    assert [f.path for f in reals.failures] == ["dfdc_train_part_1/unlisted.mp4"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a.mp4": {}}', '{"a.mp4": {"label": "MAYBE"}}'])
def test_metadata_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(CorpusError, match=r"metadata\.json: (must be|no JSON|a\.mp4: label)"):
        listing("dfdc", touch(tmp_path, "a.mp4"))


def test_the_published_metadata_of_dfdc_is_read(tmp_path: Path, data: Path) -> None:
    text = (data / "data/splits/dfdc_train_part_3_metadata.json").read_text()
    (tmp_path / "metadata.json").write_text(text)
    meta = json.loads(text)
    touch(tmp_path, *meta)
    found = listing("dfdc", tmp_path)
    labels = Counter(row["label"] for row in meta.values())
    assert Counter(item.cls for item in items(found)) == {
        "DFDC-fake": labels["FAKE"],
        "DFDC-real": labels["REAL"],
    }
    splits = defaultdict(set)
    for item in items(found):
        splits[meta[item.path].get("original") or item.path].add(item.split)
    assert all(len(held) == 1 for held in splits.values())


@pytest.mark.parametrize("source", ["celeba", "celeb-df", "dfdc", "faces-hq", "folder", "hff"])
def test_a_wrong_folder_is_told_what_was_looked_for_and_what_is_there(
    tmp_path: Path, source: str
) -> None:
    looked_for = {
        "celeba": r"list_eval_partition\.txt",
        "celeb-df": r"List_of_testing_videos\.txt",
        "dfdc": r"metadata\.json",
        "faces-hq": "100K-Faces",
        "folder": "mine",
        "hff": "CelebA",
    }
    touch(tmp_path, "elsewhere/0.jpg")
    with pytest.raises((CorpusError, UnknownNameError), match="elsewhere") as raised:
        listing(source, tmp_path, **({"real": ("mine",)} if source == "folder" else {}))
    assert re.search(looked_for[source], str(raised.value))


def test_celeb_df_without_its_class_folders_says_which(tmp_path: Path) -> None:
    (tmp_path / "List_of_testing_videos.txt").write_text("1 YouTube-real/00170.mp4\n")
    touch(tmp_path, "elsewhere/0.mp4")
    with pytest.raises(CorpusError, match=r"Celeb-real.*elsewhere"):
        listing("celeb-df", tmp_path)


def test_mini_3_is_one_command(data: Path) -> None:
    root = data / "data/images"
    found = listing(
        "folder",
        root,
        real=("real-celeba-stargan128",),
        fake=("fake-stargan128", "fake-dcgan128"),
        group_by=r"(g\d+_r\d+)",
    )
    assert Counter(item.cls for item in items(found)) == {
        "real-celeba-stargan128": 1200,
        "fake-stargan128": 1200,
        "fake-dcgan128": 600,
    }
    splits = defaultdict(set)
    for item in items(found):
        match = re.match(r"(g\d+_r\d+)", Path(item.path).name)
        splits[match.group(1) if match else item.path].add(item.split)
    assert all(len(held) == 1 for held in splits.values())
    counts = Counter((item.cls, item.split) for item in items(found))
    expected: dict[Split, int] = {"train": 900, "val": 60, "test": 240}
    for name in ("real-celeba-stargan128", "fake-stargan128"):
        for split, n in expected.items():
            assert counts[name, split] == pytest.approx(n, abs=12)
    # No photo of a DCGAN face is known, so each is alone and the shares come out even.
    assert [counts["fake-dcgan128", split] for split in SPLITS] == [450, 30, 120]
    assert len(found.units) == sum(isinstance(unit, ImageBlock) for unit in found.units) > 1


# determinism ------------------------------------------------------------------------------------


def _shuffle_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system name everything in the opposite order."""
    walk, iterdir = os.walk, Path.iterdir

    def backward(*arguments: Any, **how: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for here, folders, names in walk(*arguments, **how):
            folders.sort(reverse=True)
            names.sort(reverse=True)
            yield here, folders, names

    monkeypatch.setattr(os, "walk", backward)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(iterdir(path), reverse=True)))


def test_the_order_in_which_files_are_listed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(8)
    for number in numbers:
        write_image(tmp_path / f"one/a/v{number % 3}/{number}.png", number)
        write_image(tmp_path / f"one/b/{number}.jpg", number)
    for number in reversed(numbers):
        write_image(tmp_path / f"two/b/{number}.jpg", number)
        write_image(tmp_path / f"two/a/v{number % 3}/{number}.png", number)
    arguments: dict[str, Any] = {"real": ("a",), "fake": ("b",)}
    one = build_corpus("folder", tmp_path / "one", tmp_path / "one.lmdb", **arguments)
    _shuffle_listings(monkeypatch)
    two = build_corpus("folder", tmp_path / "two", tmp_path / "two.lmdb", **arguments)
    for name in ("content_sha256", "pixels_sha256", "sources_sha256"):
        assert about(one)[name] == about(two)[name]
    assert (one / "manifest.jsonl").read_bytes() == (two / "manifest.jsonl").read_bytes()


def test_a_folder_with_two_names_is_listed_under_the_same_one_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "real/m/0.png", "fake/0.png")
    for name in ("a", "z"):
        (tmp_path / "real" / name).symlink_to(tmp_path / "real/m", target_is_directory=True)
    arguments: dict[str, Any] = {"real": ("real",), "fake": ("fake",)}
    before = _keys(listing("folder", tmp_path, **arguments))
    _shuffle_listings(monkeypatch)
    assert _keys(listing("folder", tmp_path, **arguments)) == before


def test_a_link_up_the_tree_is_no_endless_tree(tmp_path: Path) -> None:
    touch(tmp_path, "real/m/0.png", "fake/0.png")
    (tmp_path / "real/m/up").symlink_to(tmp_path / "real", target_is_directory=True)
    found = listing("folder", tmp_path, real=("real",), fake=("fake",))
    assert _keys(found) == ["fake/0.png", "real/m/0.png"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four targets with a forgery each, and what cannot be read, in more than two units."""
    root = tmp_path_factory.mktemp("clips")
    for number, (real, fake) in enumerate(
        (("000", "000_003"), ("003", "003_000"), ("071", "071_054"), ("004", "004_982"))
    ):
        for path in ffpp_paths(real, fake)[:2]:
            write_clip(root / path, first=8 * number)
    touch(root, "original_sequences/youtube/c23/videos/982.mp4", ffpp_paths("x", "x")[0])
    return root


_FFPP: dict[str, Any] = {"frames": "3/2"}


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `clips`, built in one go."""
    return build_corpus("ff++", clips, tmp_path_factory.mktemp("whole") / "x.lmdb", **_FFPP)


@pytest.fixture(scope="module")
def shards(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same in two shares."""
    folder = tmp_path_factory.mktemp("shards")
    return [
        build_corpus("ff++", clips, folder / f"{i}.lmdb", shard=(i, 2), **_FFPP) for i in range(2)
    ]


def test_two_workers_give_the_bytes_of_one(clips: Path, whole: Path, tmp_path: Path) -> None:
    two = tmp_path / "x.lmdb"
    build(prepare(FfppOptions("ff++", clips, **_FFPP)), two, n_workers=2)
    assert records(two) == records(whole)
    assert len(records(whole)) == 4 * 3 + 4 * 2
    for name in ("manifest.jsonl", "failures.jsonl", "boxes.json", "corpus.json"):
        assert (two / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_shards_in_any_order_merge_to_the_unsharded_corpus(
    whole: Path, shards: list[Path], tmp_path: Path, order: tuple[int, int]
) -> None:
    merged = tmp_path / "x.lmdb"
    merge([str(shards[i]) for i in order], merged)
    assert all(0 < len(records(shard)) < len(records(whole)) for shard in shards)
    assert records(merged) == records(whole)
    for name in ("manifest.jsonl", "failures.jsonl", "boxes.json", "corpus.json"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in merged.iterdir()) == sorted(
        path.name for path in whole.iterdir()
    )


@pytest.mark.parametrize("kind", ["images", "videos"])
def test_shards_of_a_list_merge_to_the_unsharded_corpus(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "list.txt"
    if kind == "videos":
        names = [f"{number}.mp4" for number in range(2)]
        for number, name in enumerate(names):
            write_clip(tmp_path / name, n_frames=4, first=4 * number)
    else:
        names = [f"{number}.png" for number in range(300)]  # more than one block
        for number, name in enumerate(names):
            if number != 1:  # a gap in the numbers
                write_image(tmp_path / name, number, size=(8, 8))
    file.write_text("".join(f"{name} 0\n" for name in names))
    arguments: dict[str, Any] = {"list_file": file, "fake": ("0",), "frames": "2", "crop": "none"}
    whole = build_corpus("list", tmp_path, tmp_path / "whole.lmdb", **arguments)
    shares = [
        build_corpus("list", tmp_path, tmp_path / f"{i}.lmdb", shard=(i, 2), **arguments)
        for i in range(2)
    ]
    merge([str(share) for share in shares], tmp_path / "x.lmdb")
    assert records(tmp_path / "x.lmdb") == records(whole)
    assert about(tmp_path / "x.lmdb") == about(whole)


# What a source has ------------------------------------------------------------------------------


def test_a_step_of_a_recipe_cannot_ask_for_what_its_source_does_not_have(
    run: Run, tmp_path: Path
) -> None:
    for name in ("real", "fake"):
        write_image(tmp_path / "in" / name / "1.png")
    recipe = tmp_path / "odd.toml"
    recipe.write_text(
        'title = "t"\n[data.images]\nabout = "p"\n[steps.a]\ndo = "build"\nsource = "folder"\n'
        'src = "images"\nreal = "real"\nfake = "fake"\nquality = "c40"\n'
    )
    result = run("run", recipe, "--data", f"images={tmp_path / 'in'}", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "steps.a: No argument named 'quality'." in result.output
