"""Balance, and equal pixels found by their digests."""

from pathlib import Path
from shutil import copyfile

from makers.trees import build_corpus, write_image

from hffkit.audit import balance, equal_pixels
from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.table import CHECKS


def _corpus(folder: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    number = first
    for place, n in counts.items():
        for _ in range(n):
            number += 1
            write_image(folder / f"in/{place}/{number}.png", number)
    return folder


def _built(folder: Path) -> Path:
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("photo",), fake=("gan",))


def _audited(*paths: Path, against: tuple[Path, ...] = ()) -> Audited:
    return Audited(AuditRequest(tuple(map(str, paths)), tuple(map(str, against))))


def test_the_table_is_by_the_names_of_its_checks() -> None:
    assert list(CHECKS) == [check.name for check in CHECKS.values()]
    assert all(check.title for check in CHECKS.values())


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path) -> None:
    _corpus(tmp_path, {"train/gan": 3, "train/photo": 3, "test/photo": 2})
    found = list(balance.judge(balance.measure(_audited(_built(tmp_path)))))
    assert [(each.severity, each.title) for each in found] == [("medium", "gan: no sample in test")]


def test_failures_of_one_class_are_significant_only_if_they_are(tmp_path: Path) -> None:
    _corpus(tmp_path, {"train/gan": 20, "train/photo": 20})
    for number in range(12):
        (tmp_path / f"in/train/gan/bad{number}.png").write_bytes(b"no image")
    measured = balance.measure(_audited(_built(tmp_path)))
    assert [row.n_failed for row in measured.classes] == [12, 0]
    titles = [each.title for each in balance.judge(measured)]
    assert titles == ["More fake files failed than others"]
    (tmp_path / "even").mkdir()
    _corpus(tmp_path / "even", {"train/gan": 20, "train/photo": 20})
    for name in ("gan", "photo"):
        (tmp_path / f"even/in/train/{name}/bad.png").write_bytes(b"no image")
    assert not list(balance.judge(balance.measure(_audited(_built(tmp_path / "even")))))


def test_equal_pixels_are_found_whatever_their_files(tmp_path: Path) -> None:
    _corpus(tmp_path, {"train/gan": 5, "train/photo": 5, "test/gan": 2, "test/photo": 2})
    copyfile(tmp_path / "in/train/gan/1.png", tmp_path / "in/test/gan/again.png")
    copyfile(tmp_path / "in/train/gan/2.png", tmp_path / "in/train/photo/swapped.png")
    write_image(tmp_path / "in/train/photo/twice.bmp", 6)
    measured = equal_pixels.measure(_audited(_built(tmp_path)))
    found = {each.title: each for each in equal_pixels.judge(measured)}
    leak = found["The same pixels are in two splits"]
    assert {ref.key for ref in leak.evidence[0].samples} == {
        "train/gan/1.png", "test/gan/again.png"
    }  # fmt: skip
    assert leak.drop == ("train/gan/1.png",)
    conflict = found["The same pixels are labelled fake and real"]
    assert {ref.key for ref in conflict.evidence[0].samples} == {
        "train/gan/2.png", "train/photo/swapped.png"
    }  # fmt: skip
    assert conflict.drop == ("train/gan/2.png", "train/photo/swapped.png")
    assert found["The same pixels occur several times in a split"].drop == (
        "train/photo/twice.bmp",
    )
    assert len(found) == 3


def test_another_corpus_shares_images_or_does_not(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    corpora = [
        _built(_corpus(folder, {"gan": 4, "photo": 4}, first=first))
        for folder, first in ((one, 0), (two, 6), (three, 100))
    ]
    found = equal_pixels.measure(_audited(corpora[0], against=(corpora[1], corpora[2])))
    assert found.clusters["against"].n_clusters == 2
    assert not list(
        equal_pixels.judge(equal_pixels.measure(_audited(corpora[0], against=(corpora[2],))))
    )
