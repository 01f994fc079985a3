"""Both qualities of a frame, and its mask, in one box: `hffkit build ff++ --pair HQ,LQ --masks`."""

import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from conftest import Run
from makers.command_server import CommandServer
from makers.programs import dying_at
from makers.trees import Pixels, about, ffpp_paths, records, rows, touch, write_clip, write_image

from hffkit.cli.main import main
from hffkit.corpus.verify import verify
from hffkit.media.h264 import write_video
from hffkit.sources.ffpp import official_pairs
from hffkit.storage.corpus import Corpus

REAL = "original_sequences/youtube"
FAKE = "manipulated_sequences"
# A window of 480x400 around the face of each target, whose official splits are three.
WINDOWS = {
    ("519", "Deepfakes", "519_515"): (160, 0),
    ("634", "FaceSwap", "634_660"): (400, 20),
    ("004", "NeuralTextures", "004_982"): (520, 20),
}
N_FRAMES = 10
PAIR = ("--pair", "c23,c40", "--masks", "--frames", "4/3")
MASKED = "ff++/masks/"
# A file that gets the name is counted as one that is opened.
RENAMES = """
def rename(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(name):
        watch("open", (name, "w"))
sys.addaudithook(rename)
"""


def frames_of(path: Path, n: int = 10**6) -> list[Pixels]:
    capture = cv2.VideoCapture(str(path))
    found: list[Pixels] = []
    while len(found) < n and (row := capture.read())[0]:
        found.append(np.asarray(row[1][:, :, ::-1], np.uint8))
    return found


def window(path: Path, x: int, y: int) -> list[Pixels]:
    frames = frames_of(path, N_FRAMES)
    return [np.ascontiguousarray(frame[y : y + 400, x : x + 480]) for frame in frames]


def mask_of(real: Pixels, fake: Pixels) -> Pixels:
    """Return where a forgery differs from its target, as FaceForensics++ draws it: white on black.

    Single pixels, where codecs differ, are wiped away; what is left is closed.
    """
    differs = (np.abs(real.astype(np.int16) - fake).max(2) > 25).astype(np.uint8)
    core = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    whole = cv2.morphologyEx(core, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return np.repeat(whole[..., None] * np.uint8(255), 3, axis=2)


def write(path: Path, frames: Sequence[Pixels], crf: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, crf=crf)


def hffkit(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="session")
def high(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real videos and a forgery of each at c23, and masks: the forgeries' differences."""
    root = tmp_path_factory.mktemp("pairs") / "ff++"
    for (target, method, name), (x, y) in WINDOWS.items():
        real_path = f"{REAL}/c23/videos/{target}.mp4"
        fake_path = f"{FAKE}/{method}/c23/videos/{name}.mp4"
        real = window(data / "data/ffpp" / real_path, x, y)
        fake = window(data / "data/ffpp" / fake_path, x, y)
        write(root / real_path, real, 16)
        write(root / fake_path, fake, 16)
        masks = [mask_of(*both) for both in zip(real, fake, strict=True)]
        write(root / f"{FAKE}/{method}/masks/videos/{name}.mp4", masks, 8)
    return root


@pytest.fixture(scope="session")
def tree(high: Path) -> Path:
    """The same with c40 beside, made as the error message of a build without it says."""
    root = high.with_name("both")
    shutil.copytree(high, root)
    refused = hffkit("build", "ff++", "--src", root, *PAIR, "--out", root.with_name("no.lmdb"))
    assert refused.exit_code == 1
    told = re.search(r"`hffkit (degrade .*) --out DIR`, then `(cp .*)`\.$", refused.output.strip())
    assert told, refused.output
    made = root.with_name("made")
    assert hffkit(*told[1].split(), "--out", made, "--workers", "1").exit_code == 0
    subprocess.run(told[2].replace("DIR", str(made)), shell=True, check=True)
    assert len(list(root.rglob("c40/videos/*.mp4"))) == 6
    return root


def building(tree: Path, out: Path, *more: object, n_workers: int = 1) -> list[str]:
    """Return the command that builds a tree, as pairs unless `more` says otherwise."""
    words = ["build", "ff++", "--src", tree, "--out", out, "--workers", n_workers, *(more or PAIR)]
    return [str(word) for word in words]


def built(tree: Path, out: Path, *more: object, n_workers: int = 1) -> Result:
    return hffkit(*building(tree, out, *more, n_workers=n_workers))


@pytest.fixture(scope="session")
def pairs(tree: Path) -> Path:
    out = tree.with_name("pairs.lmdb")
    result = built(tree, out)
    assert result.exit_code == 0, result.output
    assert f"{tree.with_name('pairs-masks.lmdb')}: masks of 9 of them" in result.output
    return out


def masks_of(pairs: Path) -> Path:
    return pairs.with_name(f"{pairs.stem}-masks.lmdb")


def by_key(path: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in rows(path / "manifest.jsonl")}


def pixels_of(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    corpus = Corpus(path)
    return {s.key: corpus.image(s).astype(np.float64) for s in corpus.samples()}


def partner(key: str, quality: str) -> str:
    source, _, rest = key.split("/", 2)
    return f"{source}/{quality}/{rest}"


def correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


# --- what is in a pair ------------------------------------------------------------------------


def test_every_sample_has_its_partner_of_the_same_frame_and_box(pairs: Path) -> None:
    faces, masks = by_key(pairs), by_key(masks_of(pairs))
    assert Counter(key.split("/")[1] for key in faces) == {"c23": 21, "c40": 21}
    assert about(pairs)["failures"] == {}
    for key, row in faces.items():
        other = faces[partner(key, "c40" if "/c23/" in key else "c23")]
        for name in ("box", "frame", "detector", "split", "group", "cls"):
            assert row[name] == other[name]
        assert row["detector"].endswith(f"c23/videos/{key.split('/')[3].split('_')[0]}.mp4")
        assert row["source"].split("/")[-3] == key.split("/")[1]
    fakes = {key for key, row in faces.items() if row["cls"] != "Real"}
    assert {partner(key, "masks") for key in fakes} == masks.keys()
    for key, row in masks.items():
        face = faces[partner(key, "c23")]
        for name in ("box", "frame", "split", "group", "cls"):
            assert row[name] == face[name]
        assert row["source"].split("/")[-3] == "masks"
    assert {row["split"] for row in masks.values()} == {"train", "val", "test"}


def test_both_are_sound_corpora_and_say_what_they_hold(pairs: Path) -> None:
    assert list(verify([str(pairs)], n_workers=1)) == []
    assert list(verify([str(masks_of(pairs))], n_workers=1)) == []
    assert about(pairs)["holds"] == "faces"
    assert about(masks_of(pairs))["holds"] == "masks"
    result = hffkit("spectrum", "train", "--data", masks_of(pairs), "--out", pairs.with_name("run"))
    assert result.exit_code == 1
    assert "holds masks, where faces are wanted" in result.output
    together = hffkit("merge", pairs, masks_of(pairs), "--out", pairs.with_name("m.lmdb"))
    assert together.exit_code == 1
    assert "cannot be taken as one: holds is 'masks' and 'faces'" in together.output
    packed = pairs.with_name("packed-masks.lmdb")
    assert hffkit("pack", masks_of(pairs), "--size", 19, "--out", packed).exit_code == 0
    assert about(packed)["holds"] == "masks"


def test_partners_show_the_same_pixels_and_no_others(pairs: Path, tree: Path) -> None:
    """A crop at c40 is more like that at c23 than like the same box elsewhere or at other times."""
    faces, pixels = by_key(pairs), pixels_of(pairs)
    clips = {path: frames_of(path) for path in tree.rglob("c23/videos/*.mp4")}
    elsewhere: dict[str, list[float]] = {"here": [], "before": [], "after": []}
    for key, row in faces.items():
        if "/c40/" not in key:
            continue
        low, high = pixels[key], pixels[partner(key, "c23")]
        x, y, size = row["box"]
        frames = clips[tree / faces[partner(key, "c23")]["source"]]
        np.testing.assert_array_equal(high, frames[row["frame"]][y : y + size, x : x + size])
        inner = low[3:-3, 3:-3]
        shifted = {
            (dx, dy): correlation(inner, high[3 + dy : size - 3 + dy, 3 + dx : size - 3 + dx])
            for dx in (-3, -1, 0, 1, 3)
            for dy in (-3, -1, 0, 1, 3)
        }
        assert max(shifted, key=lambda place: shifted[place]) == (0, 0)
        assert shifted[0, 0] > 0.93
        for name, step in (("here", 0), ("before", -2), ("after", 2)):
            n = min(max(row["frame"] + step, 0), N_FRAMES - 1)
            elsewhere[name].append(correlation(low, frames[n][y : y + size, x : x + size]))
    assert np.mean(elsewhere["here"]) > np.mean(elsewhere["before"]) + 0.005
    assert np.mean(elsewhere["here"]) > np.mean(elsewhere["after"]) + 0.005


def test_masks_lie_where_a_forgery_differs_from_its_target(pairs: Path) -> None:
    faces, masks = pixels_of(pairs), pixels_of(masks_of(pairs))
    for key, mask in masks.items():
        _, _, _, video, frame = key.split("/")
        fake = faces[partner(key, "c23")]
        real = faces[f"ff++/c23/Real/{video.split('_')[0]}/{frame}"]
        assert mask.shape == fake.shape == real.shape
        differs = cv2.GaussianBlur(np.abs(fake - real).max(2), (0, 0), 2)
        inner = slice(6, -6)
        scores = {
            (dx, dy): correlation(np.roll(mask[..., 0], (dy, dx), (0, 1))[inner, inner],
                                  differs[inner, inner])
            for dx in (-6, 0, 6) for dy in (-6, 0, 6)
        }  # fmt: skip
        assert max(scores, key=lambda place: scores[place]) == (0, 0)
        assert scores[0, 0] > 0.4


# --- the same bytes, whatever happens ---------------------------------------------------------


def same(out: Path, whole: Path) -> None:
    for here, there in ((out, whole), (masks_of(out), masks_of(whole))):
        for name in ("manifest.jsonl", "failures.jsonl", "boxes.json", "corpus.json"):
            assert (here / name).read_bytes() == (there / name).read_bytes()
        assert records(here) == records(there)
        assert not (here / "journal.jsonl").exists()
    assert not out.with_name(out.name + ".partial").exists()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fabricated families with masks, in both qualities."""
    pytest.importorskip("skimage", reason="the portrait comes with scikit-image")
    root = tmp_path_factory.mktemp("small") / "ff++"
    for target, name in (("000", "000_003"), ("953", "953_974")):
        lay(root, target, name)
    return root


def lay(root: Path, target: str, name: str, **how: Any) -> Path:
    for quality, crf in (("c23", 18), ("c40", 36)):
        for path in ffpp_paths(target, name, quality=quality)[:3]:
            write_clip(root / path, crf=crf, **how)
    for method in ("Deepfakes", "Face2Face"):
        write_clip(root / f"{FAKE}/{method}/masks/videos/{name}.mp4", **how)
    return root


# The forgeries show the clip of their target.
SMALL = ("--pair", "c23,c40", "--masks", "--frames", "3/2", "--accept-duplicates")


@pytest.fixture(scope="session")
def small_pairs(small: Path) -> Path:
    out = small.with_name("whole.lmdb")
    assert built(small, out, *SMALL).exit_code == 0
    assert about(out)["n_samples"] == 2 * 2 * (3 + 2 * 2)
    assert about(masks_of(out))["n_samples"] == 2 * 2 * 2
    return out


@pytest.mark.slow
def test_two_workers_give_the_same_corpora(small: Path, small_pairs: Path, tmp_path: Path) -> None:
    assert built(small, tmp_path / "x.lmdb", *SMALL, n_workers=2).exit_code == 0
    same(tmp_path / "x.lmdb", small_pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        ("journal.jsonl", 1),
        ("journal.jsonl", 2),  # one corpus is durable, the other is not
        ("corpus.json", 1),
        ("corpus.json", 2),
        ("whole.tmp", 1),
        ("x-masks.lmdb", 1),
        ("x.lmdb", 1),  # one corpus has its name, the other has not
    ],
    ids=lambda death: f"{death[0]}-{death[1]}",
)
def test_a_build_that_was_killed_gives_the_same_corpora(
    small: Path, small_pairs: Path, tmp_path: Path, commands: CommandServer, death: tuple[str, int]
) -> None:
    out = tmp_path / "x.lmdb"
    command = building(small, out, *SMALL)
    code, said = commands.run(command, dying_at(*death) + RENAMES)
    assert code == -signal.SIGKILL, said
    assert not out.exists()
    assert masks_of(out).exists() == (death[0] == "x.lmdb")  # the masks have their name first
    assert hffkit(*command).exit_code == 0
    same(out, small_pairs)


@pytest.mark.slow
def test_masks_that_were_taken_away_before_the_faces_had_their_name_are_built_again(
    small: Path, small_pairs: Path, tmp_path: Path, commands: CommandServer
) -> None:
    out = tmp_path / "x.lmdb"
    command = building(small, out, *SMALL)
    commands.run(command, dying_at("x.lmdb", 1) + RENAMES)
    shutil.rmtree(masks_of(out))
    assert hffkit(*command).exit_code == 0
    same(out, small_pairs)


@pytest.mark.slow
def test_merged_shards_give_the_same_corpora(
    small: Path, small_pairs: Path, tmp_path: Path
) -> None:
    for i in range(2):
        out = tmp_path / f"{i}.lmdb"
        assert built(small, out, *SMALL, "--shard", f"{i}/2").exit_code == 0
    for suffix in ("", "-masks"):
        shards = [tmp_path / f"{i}{suffix}.lmdb" for i in range(2)]
        out = tmp_path / f"m{suffix}.lmdb"
        assert hffkit("merge", *shards, "--out", out, "--accept-duplicates").exit_code == 0
    same(tmp_path / "m.lmdb", small_pairs)


def test_neither_output_may_be_there(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.lmdb"
    touch(masks_of(out), "precious")
    result = built(small, out, *SMALL)
    assert result.exit_code == 1
    assert f"{masks_of(out)} already exists. Delete it or choose another --out." in result.output
    assert list(tmp_path.iterdir()) == [masks_of(out)]


# --- what is missing, and what does not fit ----------------------------------------------------


Change = Callable[[Path, str], object]


def at(path: str, name: str) -> str:
    """Return a path of the family of 000_003 as it is in the family of `name`."""
    return path.replace("000_003", name).replace("/000.mp4", f"/{name[:3]}.mp4")


def remove(path: str) -> Change:
    return lambda root, name: (root / at(path, name)).unlink()


def rewrite(path: str, **how: Any) -> Change:
    return lambda root, name: write_clip(root / at(path, name), **how)


def resized(path: str) -> Change:
    frames = [np.zeros((80, 160, 3), np.uint8)] * 6
    return lambda root, name: write(root / at(path, name), frames, 20)


F2F = f"{FAKE}/Face2Face"
NAME = "videos/000_003.mp4"


CASES: dict[str, tuple[Change, dict[str, int], str, str]] = {
    "no-c40": (
        remove(f"{F2F}/c40/{NAME}"),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c23/{NAME}",
        "no c40 of it",
    ),
    "no-c23": (
        remove(f"{F2F}/c23/{NAME}"),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c40/{NAME}",
        "no c23 of it",
    ),
    "no-mask": (
        remove(f"{F2F}/masks/{NAME}"),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c23/{NAME}",
        "no masks of it",
    ),
    "no-real-c40": (
        remove(f"{REAL}/c40/videos/000.mp4"),
        {"Deepfakes": 4, "Face2Face": 4},
        f"{REAL}/c23/videos/000.mp4",
        "no c40 of it",
    ),
    "c40-unreadable": (
        lambda root, name: (root / at(f"{F2F}/c40/{NAME}", name)).write_bytes(b""),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c23/{NAME}",
        f"{F2F}/c40/{NAME} cannot be read",
    ),
    "c40-of-another-size": (
        resized(f"{F2F}/c40/{NAME}"),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c40/{NAME}",
        f"frames are 160x80, those of {F2F}/c23/{NAME} 160x160",
    ),
    "mask-of-another-size": (
        resized(f"{F2F}/masks/{NAME}"),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/masks/{NAME}",
        f"frames are 160x80, those of {F2F}/c23/{NAME} 160x160",
    ),
    "c40-late": (
        rewrite(f"{F2F}/c40/{NAME}", first=3),
        {"Real": 6, "Deepfakes": 4},
        f"{F2F}/c40/{NAME}",
        f"does not line up with {F2F}/c23/{NAME}: ",
    ),
    "c40-shorter": (
        rewrite(f"{F2F}/c40/{NAME}", n_frames=4),
        {"Real": 6, "Deepfakes": 4, "Face2Face": 4},
        f"{F2F}/c23/{NAME}",
        f"2 of its 6 frames are not among the 4 of {F2F}/c40/{NAME}",
    ),
    "mask-shorter": (
        rewrite(f"{F2F}/masks/{NAME}", n_frames=5),
        {"Real": 6, "Deepfakes": 4, "Face2Face": 4},
        f"{F2F}/c40/{NAME}",
        f"1 of its 6 frames are not among the 5 of {F2F}/masks/{NAME}",
    ),
}


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Result]:
    """What a tree gives in which each family lacks something else, and the fake of each."""
    pytest.importorskip("skimage", reason="the portrait comes with scikit-image")
    root = tmp_path_factory.mktemp("broken") / "ff++"
    pairs_of = {pair.split("+")[0]: pair for pair, _ in official_pairs().values()}
    names = dict(zip(CASES, (pair.replace("+", "_") for pair in pairs_of.values()), strict=False))
    for case, name in names.items():
        CASES[case][0](lay(root, name[:3], name), name)
    out = root.with_name("x.lmdb")
    return out, names, built(root, out, *SMALL)


@pytest.mark.parametrize("case", CASES)
def test_a_pair_with_a_missing_member_is_told_and_left_out_whole(
    broken: tuple[Path, dict[str, str], Result], case: str
) -> None:
    out, names, _ = broken
    name = names[case]
    _, left, told_of, reason = CASES[case]
    told = {f["path"]: f["reason"] for f in rows(out / "failures.jsonl") if f["kind"] == "unpaired"}
    assert told[at(told_of, name)].startswith(at(reason, name)), told
    target = name[:3]
    keys, masks = (
        {key for key in by_key(path) if key.split("/")[3].startswith(target)}
        for path in (out, masks_of(out))
    )
    assert Counter(key.split("/")[2] for key in keys) == left
    for key in keys:
        assert {partner(key, "c23"), partner(key, "c40")} <= keys
        assert (partner(key, "masks") in masks) == ("/Real/" not in key)
    assert {partner(key, "c23") for key in masks} <= keys


def test_only_what_cannot_be_read_is_an_error(
    broken: tuple[Path, dict[str, str], Result],
) -> None:
    out, names, result = broken
    kinds = Counter(f["kind"] for f in rows(out / "failures.jsonl"))
    assert kinds == about(out)["failures"]
    assert kinds["unreadable"] == 1  # the empty file
    assert kinds["unpaired"] >= len(names)
    assert result.exit_code == 3
    assert f"{kinds['unpaired']} unpaired" in result.output


def test_a_forgery_that_does_not_line_up_has_one_box_of_its_own_for_both_qualities(
    tree: Path, tmp_path: Path
) -> None:
    root, place = tmp_path / "ff++", f"{FAKE}/Deepfakes/{{}}/videos/519_515.mp4"
    for quality in ("c23", "c40"):
        path = f"{REAL}/{quality}/videos/519.mp4"
        (root / path).parent.mkdir(parents=True)
        shutil.copy(tree / path, root / path)
    for quality in ("c23", "c40", "masks"):
        frames = frames_of(tree / place.format(quality))
        moved = [np.roll(frame, 16, axis=1) for frame in frames]
        write(root / place.format(quality), moved, 16)
    out = tmp_path / "x.lmdb"
    assert built(root, out, "--pair", "c23,c40", "--masks", "--frames", "3/2").exit_code == 0
    (failure,) = rows(out / "failures.jsonl")
    assert (failure["kind"], failure["path"]) == ("own-boxes", place.format("c23"))
    found = by_key(out)
    own = [key for key in found if key.startswith("ff++/c23/Deepfakes/")]
    assert len(own) == 2
    for key in own:
        assert found[key]["detector"].endswith(f"on {place.format('c23')}")
        assert found[key]["box"] == found[partner(key, "c40")]["box"]
        assert found[key]["box"] == by_key(masks_of(out))[partner(key, "masks")]["box"]
        target = found[key.replace("Deepfakes/519_515", "Real/519")]
        assert found[key]["box"][0] > target["box"][0] + 8


def test_crops_of_cao_et_al_are_paired_frame_by_frame(tmp_path: Path) -> None:
    """face/CLASS/{c23,c40,masks}/VIDEO/N.png: a frame that one folder lacks is told of."""
    pytest.importorskip("skimage", reason="the portrait comes with scikit-image")
    root = tmp_path / "cao"
    for kind, name, qualities in (
        ("real", "000", ("c23", "c40")),
        ("Deepfakes", "000_003", ("c23", "c40", "masks")),
    ):
        for quality in qualities:
            for number in range(6):
                path = root / f"face/{kind}/{quality}/{name}/{number}.png"
                write_image(path, number + 9 * (kind != "real"), size=(40, 40))
    (root / "face/real/c40/000/2.png").unlink()
    (root / "face/Deepfakes/c40/000_003/1.png").write_bytes(b"no image")
    write_image(root / "face/Deepfakes/masks/000_003/4.png", size=(20, 20))
    out = tmp_path / "x.lmdb"
    result = built(root, out, "--pair", "c23,c40", "--masks", "--frames", "all")
    assert result.exit_code == 3
    here = {quality: [k for k in by_key(out) if k.startswith(f"ff++/{quality}/")]
            for quality in ("c23", "c40")}  # fmt: skip
    assert here["c23"] == [partner(key, "c23") for key in here["c40"]]
    frames = [key.split("/", 2)[2] for key in here["c23"]]
    assert frames == [f"Real/000/{n:04d}" for n in (0, 1, 3, 4, 5)] + [
        f"Deepfakes/000_003/{n:04d}" for n in (0, 3, 5)
    ]
    assert [key.split("/", 2)[2] for key in by_key(masks_of(out))] == frames[5:]
    told = [(f["kind"], f["path"], f["reason"]) for f in rows(out / "failures.jsonl")]
    fake = "face/Deepfakes/{}/000_003"
    assert told[0][:2] == ("unreadable", f"{fake.format('c40')}/1.png")
    assert told[1:] == [
        ("unpaired", f"{fake.format('c23')}/1.png",
         f"{fake.format('c40')} does not give this frame"),
        ("unpaired", f"{fake.format('masks')}/4.png",
         f"frames are 20x20, those of {fake.format('c23')}/4.png 40x40"),
        ("unpaired", "face/real/c23/000",
         "1 of its 6 frames are not among the 5 of face/real/c40/000"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--pair c23,c40 --quality c23", 2, "--pair names both qualities: leave out --quality."),
        ("--pair c23,c40 --landmarks p.dat", 2, "so the two of a --pair would differ."),
        ("--pair c23,c23", 2, "--pair takes two qualities, the better one first, such as c23,c40"),
        ("--pair c40,c23", 2, "the better one first, such as c23,c40; got c40,c23."),
        ("--pair c23", 2, "--pair takes two qualities"),
        ("--pair c23,c40,raw", 2, "--pair takes two qualities"),
        ("--pair ,", 2, "',' names nothing"),
        ("--pair c23,c99x", 1, "No quality named 'c99x'"),
        ("--masks", 2, "--masks goes with --pair, such as c23,c40."),
        ("--pair c23,c40 --masks --retry-failed", 2, "--retry-failed replaces one corpus"),
        ("--pair raw,c40", 1, "raw/videos: no video there. Download raw."),
        ("--pair c23,c30", 1, "--quality c23 --op h264:30 --out DIR`, then `cp -r DIR/*_sequences"),
        ("--pair c23,c40 --frames 5:3", 2, "all, every:K, paper or cao, got '5:3'"),
        ("--pair c23,c40 --masks --method FaceSwap", 1, "no video there. Download c23"),
    ],
)  # fmt: skip
def test_what_makes_no_pair_is_refused_before_anything_is_written(
    small: Path, tmp_path: Path, arguments: str, code: int, message: str
) -> None:
    result = built(small, tmp_path / "x.lmdb", *arguments.split())
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_masks_that_are_nowhere_are_told_of(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "ff++"
    shutil.copytree(small, root, ignore=shutil.ignore_patterns("masks"))
    result = built(root, tmp_path / "x.lmdb", *SMALL)
    assert result.exit_code == 1
    assert "masks/videos: no video there. Download the masks, or leave out --masks" in result.output
    assert not (tmp_path / "x.lmdb.partial").exists()


def test_pairs_without_masks_are_one_corpus(small: Path, small_pairs: Path, tmp_path: Path) -> None:
    assert (
        built(small, tmp_path / "x.lmdb", *(word for word in SMALL if word != "--masks")).exit_code
        == 0
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.lmdb"]
    assert records(tmp_path / "x.lmdb") == records(small_pairs)


@pytest.mark.slow
def test_a_pair_whose_partner_was_mended_is_taken_by_retry(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the portrait comes with scikit-image")
    root = lay(tmp_path / "ff++", "000", "000_003")
    clip = root / f"{F2F}/c40/{NAME}"  # all forgeries of the tree are one file
    how = ("--pair", "c23,c40", "--frames", "3/2", "--accept-duplicates")
    good = clip.read_bytes()
    clip.write_bytes(b"")
    out = tmp_path / "x.lmdb"
    assert built(root, out, *how).exit_code == 3
    clip.write_bytes(good)
    assert built(root, out, *how, "--retry-failed").exit_code == 0
    assert built(root, tmp_path / "y.lmdb", *how).exit_code == 0
    assert records(out) == records(tmp_path / "y.lmdb")


def test_an_estimate_counts_both_corpora(small: Path, run: Run) -> None:
    result = run("build", "ff++", "--src", small, *SMALL, "--dry-run", "--json", "--workers", 1)
    assert result.exit_code == 0
    assert '"n_samples": 36' in result.stdout  # 28 faces, 8 masks
    assert '"n_files": 16' in result.stdout


RECIPE = """
title = "Pairs"
data.tree.about = "FaceForensics++"

[steps.faces]
do = "build"
source = "ff++"
src = "tree"
pair = ["c23", "c40"]
masks = true
frames = "3/2"

[steps.small]
do = "pack"
src = "faces-masks"
size = 19
"""


def test_a_step_of_a_recipe_reads_the_masks_that_another_built(
    small: Path, small_pairs: Path, tmp_path: Path, run: Run
) -> None:
    recipe = tmp_path / "pairs.toml"
    recipe.write_text(RECIPE)
    how = ("--data", f"tree={small}", "--out", tmp_path / "out", "--workers", 1)
    result = run("run", recipe, *how, "--only", "small")
    assert result.exit_code == 3, result.output  # the tree's clips are copies of one
    (packed,) = (tmp_path / "out/steps").glob("pack-*.lmdb")
    assert about(packed)["holds"] == "masks"
    assert by_key(packed).keys() == by_key(masks_of(small_pairs)).keys()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(RECIPE.replace("masks = true\n", ""))
    result = run("run", wrong, *how)
    assert result.exit_code == 1
    assert "No step or data named 'faces-masks'" in result.output
