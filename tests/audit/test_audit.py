"""`hffkit audit` on corpora with planted faults, on poor ones, and as a command."""

import io
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from makers.pages import Reader
from makers.trees import (
    Pixels,
    build_corpus,
    build_two_classes,
    change_manifest,
    change_records,
    portrait,
    write_image,
)
from PIL import Image

from hffkit.audit import leakage
from hffkit.audit.audit import audit
from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.collected import collected
from hffkit.audit.findings import Finding
from hffkit.audit.outcomes import AuditResult
from hffkit.audit.shortcuts import ShortcutsMeasured
from hffkit.audit.table import CHECKS
from hffkit.corpus.pack import PackRequest, pack
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import ArgumentError

Run = Callable[..., Result]
FAIR = 60  # images of each class: on fewer, chance reaches high scores
UNFAIR = 20
Save = Callable[[Pixels], bytes]


def _jpeg(image: Pixels, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **{"quality": 85, **how})
    return file.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    return exif.tobytes()


def _damage(key: bytes, transaction: Any) -> None:
    transaction.put(key, b"\x22\x04\xff\xd8\xff\x00\x28\x00\x38\x01")


def _forget_facts(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        del row["facts"]


def _bordered(image: Pixels) -> bytes:
    framed = image.copy()
    framed[:2] = framed[-2:] = 90
    framed[:, :2] = framed[:, -2:] = 90
    return _jpeg(framed)


def _lay(folder: Path, photo: Save = _jpeg, gan: Save = _jpeg, n: int = UNFAIR) -> Path:
    """Build a corpus of cuts of the portrait; both classes are of one distribution."""
    places = np.random.default_rng(5).permutation(20 * 20)[: 2 * n]  # no cut is in another one
    for first, (name, save) in ((0, ("photo", photo)), (n, ("gan", gan))):
        for number in range(n):
            x, y = (22 * int(place) for place in divmod(places[first + number], 20))
            path = folder / f"in/{name}/{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save(portrait()[y : y + 72, x : x + 72].copy()))
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("photo",), fake=("gan",))


def _audit(*corpora: Path, **arguments: Any) -> AuditResult:
    return audit(AuditRequest(tuple(map(str, corpora)), **arguments), n_workers=1)


def _data(*corpora: Path) -> Audited:
    return Audited(AuditRequest(tuple(map(str, corpora))), n_workers=1)


def _findings(check: str, data: Audited) -> list[Finding]:
    """The findings of one check alone."""
    return list(CHECKS[check].judge(CHECKS[check].measure(data)))


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    """Fit a quarter of the trees, for the planted faults need few; other tests fit them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "_N_TREES", 10)
        yield


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _lay(tmp_path_factory.mktemp("fair"), n=FAIR)


@pytest.fixture(scope="module")
def audited(fair: Path) -> AuditResult:
    """The audit of `fair`."""
    return _audit(fair)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images of one history."""
    return _lay(tmp_path_factory.mktemp("alike"))


@pytest.fixture(scope="module")
def _unfair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _lay(tmp_path_factory.mktemp("unfair"), gan=partial(_jpeg, quality=75))


@pytest.fixture
def unfair(_unfair: Path, tmp_path: Path) -> Path:
    """A corpus whose fakes are of another JPEG quality, for this test alone."""
    return Path(shutil.copytree(_unfair, tmp_path / _unfair.name))


# what is planted is found -----------------------------------------------------------------------


def test_a_fair_corpus_has_no_finding(audited: AuditResult) -> None:
    assert [finding.title for finding in audited.findings] == []
    assert {outcome.light for outcome in audited.outcomes} == {"green"}
    assert set(audited.summary.leakage) == {"stored facts", "pixel history"}


@pytest.mark.parametrize(
    ("other", "carrier"),
    [
        (lambda image: _jpeg(image, quality=75), "JPEG quality"),
        (lambda image: _jpeg(image, subsampling=0), "chroma subsampling"),
        (lambda image: _jpeg(image, exif=_exif()), "EXIF"),
        (lambda image: _jpeg(image, progressive=True), "progressive JPEG"),
        (lambda image: _jpeg(image[:70]), "height, px"),
    ],
    ids=["quality", "subsampling", "exif", "progressive", "size"],
)
def test_a_class_saved_in_another_way_is_found_and_the_reason_named(
    tmp_path: Path, other: Save, carrier: str
) -> None:
    finding = _findings("shortcuts", _data(_lay(tmp_path, gan=other)))[0]
    assert finding.severity == "high"
    assert carrier in finding.title
    assert finding.number == "AUC 1.000 (1.000 to 1.000)"
    assert finding.mend == f"hffkit equalize {tmp_path}/x.lmdb --out fair.lmdb"


def test_a_border_of_one_class_is_found_in_the_pixels_alone(tmp_path: Path) -> None:
    finding = _findings("pixel-shortcuts", _data(_lay(tmp_path, gan=_bordered)))[0]
    assert finding.severity == "high"
    assert "uniform lines" in finding.title


def test_a_class_that_was_saved_twice_is_found(tmp_path: Path) -> None:
    def twice(image: Pixels) -> bytes:
        return _jpeg(np.asarray(Image.open(io.BytesIO(_jpeg(image, quality=60)))))

    finding = _findings("pixel-shortcuts", _data(_lay(tmp_path, gan=twice)))[0]
    assert finding.severity == "high"
    assert "quality of a JPEG before the file's own" in finding.title


def test_packing_hides_neither_the_facts_of_the_files_nor_their_pixels(tmp_path: Path) -> None:
    corpus = _lay(tmp_path, gan=lambda image: _jpeg(image, quality=60))
    packed = tmp_path / "packed.lmdb"
    pack([str(corpus)], packed, PackRequest(size=72), n_workers=1)
    data = _data(packed)
    worst = _findings("shortcuts", data)[0]
    assert "by JPEG quality of the source" in worst.title
    assert (worst.severity, _findings("pixel-shortcuts", data)[0].severity) == ("high", "high")
    # Corpora of older versions have no facts of the files; the pixels are left.
    change_manifest(packed, _forget_facts)
    older = _data(packed)
    assert not _findings("shortcuts", older)
    assert _findings("pixel-shortcuts", older)[0].severity == "high"


def test_a_split_in_which_the_classes_differ_is_named(tmp_path: Path) -> None:
    def of_split(split: str, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["split"], row["group"] = split, f"{split} {row['group']}"

    n = 50  # of each class: on fewer, a split has no score of its own
    alike = _lay(tmp_path / "a", n=n)
    apart = _lay(tmp_path / "b", gan=partial(_jpeg, quality=84), n=n)
    change_manifest(alike, partial(of_split, "train"))
    change_manifest(apart, partial(of_split, "test"))
    measured = CHECKS["shortcuts"].measure(_data(alike, apart))
    assert list(measured.scores.splits) == ["train", "test"]
    assert measured.scores.splits["train"].low < 0.5 < measured.scores.splits["train"].high
    found = {finding.title: finding for finding in CHECKS["shortcuts"].judge(measured)}
    (title,) = (each for each in found if "of split" in each)
    assert title.startswith("Fake and real of split test are told apart without their pixels, by")
    assert found[title].severity == "high"
    assert "high" not in {each.severity for each in found.values() if each.title != title}
    assert "fake / real, test" in {row[0] for row in measured.scores.table().rows}
    # The real files are alike in both splits, the fake ones are not.
    assert measured.scores.drifts["gan, test / other splits"].low > 0.9
    assert measured.scores.drifts["photo, test / other splits"].low < 0.6
    drifts = [each for each in found.values() if "in one split" in each.title]
    assert [(each.severity, len(each.evidence)) for each in drifts] == [("medium", 1)]
    assert "gan, test / other splits, by JPEG quality" in drifts[0].title


def test_an_operation_on_one_class_is_found(alike: Path, tmp_path: Path) -> None:
    request = DegradeRequest(("jp:60",), classes=("gan",))
    degrade([str(alike)], tmp_path / "fakes.lmdb", request, n_workers=1)
    request = DegradeRequest(("gc:0.8",), classes=("photo",))
    degrade([str(alike)], tmp_path / "reals.lmdb", request, n_workers=1)
    found = _findings("trust", _data(tmp_path / "fakes.lmdb", tmp_path / "reals.lmdb"))
    titles = [finding.title for finding in found]
    assert "Fake and real samples were processed differently" in titles


def test_recorded_operations_are_compared_with_the_pixels(alike: Path, tmp_path: Path) -> None:
    degrade([str(alike)], tmp_path / "jp.lmdb", DegradeRequest(("jp:70",)), n_workers=1)
    degrade([str(alike)], tmp_path / "twice.lmdb", DegradeRequest(("jp:60", "jp:80")), n_workers=1)
    title = "Recorded operations are not those that the pixels show"
    for name in ("jp.lmdb", "twice.lmdb"):
        found = _findings("trust", _data(tmp_path / name))
        assert title not in [finding.title for finding in found]

    def lie(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["operations"][0]["quality"] = 50

    change_manifest(tmp_path / "jp.lmdb", lie)
    told = {each.title: each for each in _findings("trust", _data(tmp_path / "jp.lmdb"))}
    assert told[title].number == f"{2 * UNFAIR} of {2 * UNFAIR} claims"
    assert told[title].evidence[0].caption == "JPEG 50 is recorded, and the pixels do not show it"


# poor corpora -----------------------------------------------------------------------------------


def test_one_class_leaves_the_other_checks(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / f"in/gan/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(portrait()[number : number + 40, :40]))
    result = _audit(build_corpus("folder", tmp_path / "in", tmp_path / "x.lmdb", fake=("gan",)))
    reasons = {o.name: o.reason for o in result.outcomes if o.reason}
    assert set(reasons) == {"shortcuts", "pixel-shortcuts"}
    assert "a single class" in reasons["shortcuts"]
    assert {o.name for o in result.outcomes if o.light == "green"} >= {"equal-pixels", "trust"}


def test_three_samples_leave_the_other_checks(tmp_path: Path) -> None:
    result = _audit(build_two_classes(tmp_path, 3))
    reasons = [outcome.reason for outcome in result.outcomes if outcome.reason]
    assert len(reasons) == 2
    assert all("needs 8 samples of each class, got" in reason for reason in reasons)
    assert "not done: Shortcuts without pixels: " in result.to_text()


def test_records_that_cannot_be_read_are_named_and_the_rest_is_audited(unfair: Path) -> None:
    rows: list[dict[str, Any]] = []
    change_manifest(unfair, rows.extend)
    for row in (rows[3], rows[UNFAIR + 3]):
        key = f"{row['index']:08d}_{row['key']}".encode()
        change_records(unfair, partial(_damage, key))
    data = _data(unfair)
    assert _findings("shortcuts", data)[0].severity == "high"
    trust = _findings("trust", data)[0]
    assert trust.severity == "high"
    assert any(rows[3]["key"] in each.caption for each in trust.evidence)


def test_a_corpus_compared_with_may_give_a_class_the_other_polarity(
    fair: Path, tmp_path: Path
) -> None:
    for name in ("photo", "gan"):
        for path in sorted((fair.parent / "in" / name).iterdir())[:5]:
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name / path.name).write_bytes(path.read_bytes())
    other = build_corpus(
        "folder", tmp_path / "in", tmp_path / "y.lmdb", real=("gan",), fake=("photo",)
    )
    result = _audit(fair, against=(str(other),), samples=10)
    assert [(f.severity, f.number) for f in result.findings] == [
        ("high", "10 images in 20 samples")
    ]
    assert not [outcome.reason for outcome in result.outcomes if outcome.reason]


def test_classes_may_be_called_fake_and_real_among_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, quality in (("real", 85), ("fake", 85), ("gan", 60)):
        for number in range(20):
            x, y = rng.integers(0, 440, 2)
            path = tmp_path / f"in/{name}/{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_jpeg(portrait()[y : y + 64, x : x + 64], quality=quality))
    corpus = build_corpus(
        "folder", tmp_path / "in", tmp_path / "x.lmdb", real=("real",), fake=("fake", "gan")
    )
    measured = CHECKS["shortcuts"].measure(Audited(AuditRequest((str(corpus),)), n_workers=1))
    assert isinstance(measured, ShortcutsMeasured)
    auc = {pair: score.auc for pair, score in measured.scores.pairs.items()}
    assert auc["fake", "gan"] == auc["gan", "real"] == 1
    assert auc["fake", "real"] < 0.9
    assert measured.scores.overall is not None
    assert 0.5 < measured.scores.overall.auc < 1


def test_the_result_does_not_depend_on_workers_and_is_of_the_seed(
    fair: Path, audited: AuditResult
) -> None:
    again = audit(audited.request, n_workers=2)
    assert json.dumps(audited.to_json()) == json.dumps(again.to_json())
    assert repr(audited.outcomes) == repr(again.outcomes)  # what the page is drawn of
    drawn = [
        Audited(AuditRequest((str(fair),), samples=10, seed=seed)).shared(collected).at.tolist()
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_too_few_samples_are_refused(fair: Path) -> None:
    with pytest.raises(ArgumentError, match="`samples` must be at least 10, got 3"):
        _audit(fair, samples=3)


# the command ------------------------------------------------------------------------------------


def test_the_command_prints_the_worst_first_and_fails_if_asked(unfair: Path, run: Run) -> None:
    shown = run("audit", unfair, "--workers", 1, "--samples", 10, "--fail-on", "high")
    assert shown.exit_code == 1
    assert shown.output.startswith("HIGH   Fake and real are told apart without their pixels, by")
    assert "findings: 2 high" in shown.output.splitlines()[-1]


def test_json_page_and_summary_hold_the_findings(unfair: Path, tmp_path: Path, run: Run) -> None:
    page, out = tmp_path / "audit.html", tmp_path / "x-audit.json"
    shown = run("audit", unfair, "--workers", 1, "--json", "--html", page, "--out", out)
    assert shown.exit_code == 0, shown.output
    found = json.loads(out.read_text())
    assert found.pop("signature").startswith("hffkit audit ")
    assert json.loads(shown.output) == found
    assert found["summary"]["findings"] == {"high": 2, "medium": 0, "low": 0}
    assert [row["light"] for row in found["checks"]][:2] == ["red", "red"]
    reader = Reader(page.read_text())
    assert not [t for t in reader.targets if not t.startswith(("data:", "#"))]
    text = " ".join(reader.text)
    for finding in found["findings"]:
        assert finding["title"] in text
        assert finding["mend"] in text
    assert len(reader.thumbnails) >= 6


def test_the_command_that_leaves_samples_out_reads_the_report_that_was_written(
    tmp_path: Path, run: Run
) -> None:
    folder, out = tmp_path / "my data", tmp_path / "my data/it's.json"
    for split in ("train", "test"):
        for name, number in (("photo", 1), ("gan", 2)):
            write_image(folder / f"in/{split}/{name}/0.png", number)
            write_image(folder / f"in/{split}/{name}/1.png", 10 * number + len(split))
    corpus = build_corpus("folder", folder / "in", folder / "x", real=("photo",), fake=("gan",))
    report = json.loads(run("audit", corpus, "--workers", 1, "--json", "--out", out).output)
    (mend,) = {finding["mend"] for finding in report["findings"] if finding["drop"]}
    *command, name = shlex.split(mend)
    assert (command[:2], name) == (["hffkit", "subset"], "clean.lmdb")
    mended = run(*command[1:], tmp_path / name)
    assert mended.exit_code == 0, mended.output
    assert not [each for each in _audit(tmp_path / name).findings if each.drop]


@pytest.mark.usefixtures("no_plots")
def test_inspect_and_eval_repeat_the_summary_of_this_corpus_alone(
    unfair: Path, tmp_path: Path, run: Run
) -> None:
    trained = run("spectrum", "train", "--data", unfair, "--out", tmp_path / "run", "--workers", 1)
    assert trained.exit_code == 0, trained.output
    assert "audit:" not in run("inspect", unfair, "--no-sheet").output
    out = tmp_path / "x-audit.json"
    audited = run("audit", unfair, "--workers", 1, "--out", out, "--fail-on", "low")
    assert audited.exit_code == 1  # and the result is there
    line = "audit: 2 findings (2 high); leakage AUC by pixel history "
    assert line in run("inspect", unfair, "--no-sheet").output
    page = tmp_path / "eval.html"
    shown = run("eval", tmp_path / "run", "--data", unfair, "--resamples", 0, "--html", page)
    assert line in shown.output
    assert line in " ".join(Reader(page.read_text()).text)
    change_manifest(unfair, lambda rows: rows[0].update(group="moved"))
    assert "audit:" not in run("inspect", unfair, "--no-sheet").output
    out.write_text("[]")
    assert run("inspect", unfair, "--no-sheet").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent: no such corpus."),
        (["x.lmdb", "--against", "absent"], "absent: no such corpus."),
        (["x.lmdb", "--run", "absent"], "absent: no such run."),
        (["x.lmdb", "--html", "no/audit.html"], "--html must be a file in an existing"),
        (["x.lmdb", "--html", "a", "--out", "a"], "a: --html and --out must be two files."),
        (["x.lmdb", "--fail-on", "never"], "'never' is not one of"),
        (["x.lmdb", "--samples", "3"], "3 is not in the range x>=10."),
        ([], "Missing argument 'CORPUS...'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    run: Run,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build_two_classes(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    result = run("audit", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
