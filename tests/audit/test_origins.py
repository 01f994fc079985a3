"""Files, videos and pairs of FaceForensics++ that are in two splits or two corpora."""

from pathlib import Path
from shutil import copytree

import pytest
from makers.trees import build_corpus, change_manifest, write_image

from hffkit.audit import official_split, origins
from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.findings import Finding
from hffkit.audit.origins import ffpp_name
from hffkit.manifest.samples import Sample

SAMPLE = Sample("a", "x", "train", "a", "a", "0" * 64, None, None, None, "0" * 64, "0" * 64)


def _found(*paths: Path, against: tuple[Path, ...] = ()) -> dict[str, Finding]:
    data = Audited(AuditRequest(tuple(map(str, paths)), tuple(map(str, against))))
    return {each.title: each for each in origins.judge(origins.measure(data))}


def _tree(root: Path, videos: dict[str, int]) -> Path:
    number = 0
    for place, n in videos.items():
        for frame in range(n):
            number += 1
            write_image(root / "in" / place / f"{frame:04}.png", number)
    return build_corpus("folder", root / "in", root / "x.lmdb", real=("real",), fake=("swap",))


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("manipulated/Deepfakes/c23/videos/000_003.mp4", "fake", ("000", "003")),
        ("original/youtube/c23/videos/003.mp4", "real", ("003", None)),
        ("train/swap/000_003/0042.png", "fake", ("000", "003")),
        ("train/real/003/042.png", "real", ("003", None)),
        ("fake/000_003_0042.png", "fake", ("000", "003")),
        ("real/000_0042.png", "real", ("000", None)),
        ("real/000_042.png", "real", ("000", None)),
        ("real/000042.png", "real", None),
        ("real/042.png", "real", None),
        ("gan/g001_r02_c3.jpg", "fake", None),
    ],
)
def test_names_of_faceforensics_are_read_in_any_tree(
    source: str, kind: str, expected: tuple[str, str | None] | None
) -> None:
    assert ffpp_name(SAMPLE._replace(source=source), is_fake=kind == "fake") == expected


def test_pairs_that_a_foreign_tree_divides_are_found(tmp_path: Path) -> None:
    corpus = _tree(
        tmp_path,
        {
            "train/swap/000_003": 3, "train/real/000": 3, "test/real/003": 2,
            "train/swap/010_011": 2, "train/real/010": 2, "train/real/011": 2,
        },
    )  # fmt: skip
    found = _found(corpus)
    assert list(found) == ["Videos of FaceForensics++ that share a face are in two splits"]
    (finding,) = found.values()
    assert finding.number == "1 group in 8 samples"
    assert set(finding.drop) == {"test/real/003/0000.png", "test/real/003/0001.png"}


def test_trees_that_keep_pairs_together_or_have_other_names_are_clean(tmp_path: Path) -> None:
    kept = {"train/swap/000_003": 2, "train/real/000": 2, "train/real/003": 2, "test/real/017": 2}
    assert not _found(_tree(tmp_path / "kept", kept))
    other = {"train/swap/clip_000_003": 2, "train/real/000": 2, "test/real/000": 2}
    assert not _found(_tree(tmp_path / "other", other))


def test_pairs_are_found_across_corpora(tmp_path: Path) -> None:
    ours = _tree(tmp_path / "a", {"train/swap/000_003": 2, "train/real/000": 2})
    theirs = _tree(tmp_path / "b", {"train/swap/003_000": 4, "train/real/777": 9})
    alien = _tree(tmp_path / "c", {"train/swap/500_501": 4, "train/real/500": 9})
    # Frames are cuts of one portrait by number: some are equal, which is another check's matter.
    title = "Videos of FaceForensics++ share a face with those of a corpus compared with"
    assert title in _found(ours, against=(theirs,))
    assert title not in _found(ours, against=(alien,))


def test_frames_of_one_video_in_two_splits_are_found(tmp_path: Path) -> None:
    corpus = _tree(tmp_path, {"train/swap/v1": 4, "train/real/v2": 4, "test/real/v3": 2})
    assert not _found(corpus)

    def divide(rows: list[dict[str, object]]) -> None:
        for row in rows:
            row["frame"] = int(str(row["source"])[-8:-4])
            if str(row["source"]).endswith("v2/0003.png"):
                row["split"], row["group"] = "test", "alone"

    change_manifest(corpus, divide)
    found = _found(corpus)
    assert list(found) == ["One video is in two splits"]
    assert found["One video is in two splits"].drop == ("train/real/v2/0003.png",)


def test_crops_of_one_file_in_two_splits_are_found(tmp_path: Path) -> None:
    corpus = _tree(tmp_path, {"train/swap/v1": 4, "train/real/v2": 4, "test/real/v3": 2})

    def share(rows: list[dict[str, object]]) -> None:
        for row in rows:
            if str(row["source"]).startswith(("train/real/v2/0001", "test/real/v3/0001")):
                row["source_sha256"] = "7" * 64

    change_manifest(corpus, share)
    assert list(_found(corpus)) == ["One file is in two splits"]


def test_groups_of_corpora_taken_as_one_are_compared(tmp_path: Path) -> None:
    one = _tree(tmp_path / "a", {"train/swap/v1": 2, "train/real/v2": 2})
    copytree(tmp_path / "a/x.lmdb", tmp_path / "b.lmdb")

    def move(rows: list[dict[str, object]]) -> None:
        for row in rows:
            row.update(key=f"b/{row['key']}", split="test", pixels_sha256="8" * 64)
            row.update(source=f"b/{row['source']}", source_sha256=f"{row['index']:064}")

    change_manifest(tmp_path / "b.lmdb", move)
    assert list(_found(one, tmp_path / "b.lmdb")) == ["One group is in two splits"]


def test_official_test_videos_that_are_trained_on_are_found(tmp_path: Path) -> None:
    # In the official lists 000+003 is test, 001+870 is train, and 004+982 is val.
    moved = {"train/swap/000_003": 2, "test/real/000": 1, "train/real/001": 2, "val/real/004": 2}
    data = Audited(AuditRequest((str(_tree(tmp_path / "moved", moved)),)))
    (finding,) = official_split.judge(official_split.measure(data))
    assert (finding.severity, finding.number) == ("high", "2 of 7 samples with a name of its lists")
    assert set(finding.drop) == {f"train/swap/000_003/000{n}.png" for n in range(2)}
    mild = {"test/swap/000_003": 2, "train/swap/001_870": 2, "train/real/004": 3}
    data = Audited(AuditRequest((str(_tree(tmp_path / "mild", mild)),)))
    (finding,) = official_split.judge(official_split.measure(data))
    assert (finding.severity, finding.number) == ("low", "3 of 7 samples with a name of its lists")
    kept = {"test/swap/000_003": 2, "train/swap/001_870": 2, "val/real/004": 3}
    data = Audited(AuditRequest((str(_tree(tmp_path / "kept", kept)),)))
    assert list(official_split.judge(official_split.measure(data))) == []
    other = {"train/swap/clip_000": 4, "train/real/000": 2}  # no names of pairs
    data = Audited(AuditRequest((str(_tree(tmp_path / "other", other)),)))
    assert official_split.measure(data).n_named == 0
