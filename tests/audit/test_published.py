"""The published images that their notes call fair and unfair."""

from pathlib import Path

import pytest
from makers.trees import build_corpus

from hffkit.audit import pixel_shortcuts, shortcuts
from hffkit.audit.audit import audit
from hffkit.audit.audited import Audited, AuditRequest


def _request(
    data: Path, folder: Path, classes: tuple[str, ...], n: int, group_by: str | None = None
) -> AuditRequest:
    """Build a corpus of the first `n` images of each class."""
    for name in classes:
        (folder / "in" / name).mkdir(parents=True)
        for path in sorted((data / "data/images" / name).iterdir())[:n]:
            (folder / "in" / name / path.name).symlink_to(path)
    corpus = build_corpus(
        "folder", folder / "in", folder / "x.lmdb", group_by=group_by,
        real=tuple(name for name in classes if name.startswith("real")),
        fake=tuple(name for name in classes if name.startswith("fake")),
    )  # fmt: skip
    return AuditRequest((str(corpus),))


@pytest.mark.parametrize(
    ("classes", "n", "carrier"),
    [
        (("real-celebahq1024", "fake-pggan1024"), 15, "JPEG quality"),
        pytest.param(
            ("real-ffhq256", "fake-stylegan2-web512"), 80, "JPEG quality", marks=pytest.mark.slow
        ),
        pytest.param(
            ("real-celeba-half89", "fake-dcgan128"), 80, "width, px", marks=pytest.mark.slow
        ),
    ],
    ids=["pggan", "web512", "sizes"],
)
def test_unfair_pairs_are_called_unfair_and_the_reason_named(
    data: Path, tmp_path: Path, classes: tuple[str, ...], n: int, carrier: str
) -> None:
    result = audit(_request(data, tmp_path, classes, n), n_workers=1)
    worst = result.findings[0]
    assert (worst.check, worst.severity) == ("shortcuts", "high")
    assert carrier in worst.title
    assert result.summary.leakage["stored facts"][1] > 0.99


# Each pair's highest AUC by file size alone, in the notes of the images.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "group_by", "most"),
    [
        (("real-celeba-stargan128", "fake-stargan128", "fake-dcgan128"), r"(g\d+_r\d+)", 0.63),
        (("real-ffhq256", "fake-stylegan256"), None, 0.55),
    ],
    ids=["mini-3", "mini-256"],
)
def test_fair_sets_are_called_fair(
    data: Path, tmp_path: Path, classes: tuple[str, ...], group_by: str | None, most: float
) -> None:
    audited = Audited(_request(data, tmp_path, classes, 300, group_by), n_workers=1)
    measured = shortcuts.measure(audited)
    found = [*shortcuts.judge(measured), *pixel_shortcuts.judge(pixel_shortcuts.measure(audited))]
    assert [finding.title for finding in found] == []
    for row in measured.to_json()["pairs"]:  # type: ignore[attr-defined]
        assert row["low"] <= most
        assert row["auc"] <= most + 0.02
