"""The score of a run: memory, shortcuts, classes and polarity."""

import io
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from makers.trees import build_corpus, change_manifest, portrait
from PIL import Image

from hffkit.audit import score
from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.findings import Finding
from hffkit.audit.score import ScoreMeasured
from hffkit.audit.strata import grouped_auc
from hffkit.errors import MetricError
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum


def _corpus(
    folder: Path, qualities: Mapping[str, tuple[int, ...]], n: int = 40, seed: int = 3
) -> Path:
    """Build a corpus of cuts of the portrait: split/class by the JPEG qualities that take turns."""
    rng = np.random.default_rng(seed)
    for place, turns in qualities.items():
        for number in range(n):
            x, y = rng.integers(100, 300), rng.integers(0, 200)
            path = folder / f"in/{place}/{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            cut = Image.fromarray(portrait()[y : y + 64, x : x + 64])
            cut.save(file, "JPEG", quality=turns[number % len(turns)])
            path.write_bytes(file.getvalue())
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("photo",), fake=("gan",))


@pytest.fixture(scope="module")
def cheat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt that fakes are of JPEG quality 20."""
    folder = tmp_path_factory.mktemp("cheat")
    qualities = {"train/gan": (20,), "train/photo": (95,), "test/gan": (20,), "test/photo": (95,)}
    corpus = _corpus(folder, qualities)
    request = SpectrumRequest(data=(str(corpus),), features="faces-hq", classifier="logistic")
    train_spectrum(request, folder / "run", n_workers=1)
    return folder


def _found(corpus: Path, run: Path) -> tuple[ScoreMeasured, dict[str, Finding]]:
    measured = score.measure(Audited(AuditRequest((str(corpus),), run=run, device="cpu")))
    return measured, {finding.title: finding for finding in score.judge(measured)}


def test_a_score_that_nothing_separates_from_quality_is_called_so(cheat: Path) -> None:
    measured, found = _found(cheat / "x.lmdb", cheat / "run")
    assert measured.plain.auc > 0.95
    assert measured.controlled is None
    assert (measured.share_matched, measured.n_trained_on) == (0, 0)
    assert list(found) == ["Nothing separates the score from a shortcut"]


def test_a_score_by_quality_vanishes_where_quality_is_equal(cheat: Path, tmp_path: Path) -> None:
    turns = {"test/gan": (20, 20, 20, 95), "test/photo": (95, 95, 95, 20)}
    measured, found = _found(_corpus(tmp_path, turns, seed=4), cheat / "run")
    assert measured.plain.auc > 0.7
    assert measured.controlled is not None
    assert measured.controlled.low < 0.5 < measured.controlled.high
    assert found["The score falls when files are alike"].severity == "high"
    both = [stratum for stratum in measured.strata if stratum.auc is not None]
    assert {(stratum.n_real, stratum.n_fake) for stratum in both} == {(10, 30), (30, 10)}


def test_a_run_that_was_trained_on_the_test_samples_is_caught(cheat: Path, tmp_path: Path) -> None:
    copytree(cheat / "x.lmdb", tmp_path / "y.lmdb")

    def exchange(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["split"] = {"train": "test", "test": "train"}[row["split"]]

    change_manifest(tmp_path / "y.lmdb", exchange)
    measured, found = _found(tmp_path / "y.lmdb", cheat / "run")
    assert measured.n_trained_on == 80
    title = "The run was trained on samples of split test"
    assert (found[title].severity, found[title].number) == ("high", "80 of 80 samples")


def test_inverted_labels_are_caught(cheat: Path, tmp_path: Path) -> None:
    _, found = _found(
        _corpus(tmp_path, {"test/gan": (95,), "test/photo": (20,)}, seed=5), cheat / "run"
    )
    assert "The run calls fake what is real: its polarity is inverted" in found


def test_a_corpus_without_test_samples_has_no_score(cheat: Path, tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, {"train/gan": (80,), "train/photo": (80,)}, n=10)
    with pytest.raises(MetricError, match="split test does not hold fake and real samples"):
        _found(corpus, cheat / "run")


def test_auc_within_strata_is_that_of_the_pairs_within_them() -> None:
    rng = np.random.default_rng(1)
    is_fake, ranking = rng.random(300) < 0.4, rng.random(300).round(1)
    strata, groups = rng.integers(0, 5, 300), np.arange(300)
    right, n = 0.0, 0
    for i in np.flatnonzero(is_fake):
        for j in np.flatnonzero(~is_fake):
            if strata[i] == strata[j]:
                n += 1
                right += (ranking[i] > ranking[j]) + 0.5 * (ranking[i] == ranking[j])
    found = grouped_auc(is_fake, ranking, groups, strata, rng)
    assert found.auc == pytest.approx(right / n)
    assert found.low < found.auc < found.high
    with pytest.raises(MetricError):
        grouped_auc(is_fake, ranking, groups, is_fake.astype(np.int64), rng)
