"""Robustness against storing each degraded corpus and evaluating it, and against hand-made sums."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from makers.pages import Reader
from makers.runs import write_run
from makers.trainings import native_corpus, packed_corpus
from makers.trees import change_manifest

from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.degrade.operation import VideoSetting
from hffkit.degrade.table import OPERATIONS
from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.evaluation.result import Measurement
from hffkit.inference.network import NetworkDetector
from hffkit.manifest.classes import numbered
from hffkit.robustness import sweep
from hffkit.robustness.conditions import suites_of, treatments_of
from hffkit.robustness.findings import RobustnessResult
from hffkit.robustness.findings_tables import markdown_of
from hffkit.robustness.request import RobustnessRequest
from hffkit.robustness.robustness import robustness
from hffkit.robustness.values import area, threshold_at
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]
CLASSES = numbered(("grid", "tint"), ("real",))
OPS = ("jp:60", "sc-mix", "gb:3+jp-mix", "me")
SPLITS = {"train": 5, "val": 9, "test": 12}
N_RESAMPLES = 10
SUITE = """
title = "Two"
source = "nobody"
ours = "everything"
[chains]
jpeg = ["jp:80", "jp:40"]
blur = ["gb:3", "gb:5", "gb:9+jp:70"]
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return {"packed": packed_corpus(folder, SPLITS), "native": folder / "raw"}


@pytest.fixture(scope="module")
def runs(corpora: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "meso4": write_run(folder / "meso4", CLASSES, size=48, seed=1, is_of_packed=True),
        "other": write_run(folder / "other", CLASSES, size=48, seed=5, is_of_packed=True),
        "amtennet": write_run(folder / "amtennet", CLASSES, network="amtennet", size=64, gain=1),
        "spectrum": folder / "spectrum",
    }
    request = SpectrumRequest(data=(str(corpora["native"]),), points=40)
    train_spectrum(request, made["spectrum"], n_workers=1)
    return made


@pytest.fixture
def own(corpora: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the packed corpus for a test that changes it or its cache."""
    return Path(shutil.copytree(corpora["packed"], tmp_path / "p48"))


def measured(*paths: Path, data: Path, **how: Any) -> RobustnessResult:
    known: dict[str, Any] = {"device": "cpu", "n_resamples": N_RESAMPLES, "ops": OPS, **how}
    return robustness(RobustnessRequest(paths, (str(data),), **known), n_workers=1)


def by_evals(run: Path, *data: Path, **how: Any) -> tuple[Measurement, ...]:
    corpora = tuple(map(str, data))
    request = EvalRequest((run,), corpora, device="cpu", n_resamples=N_RESAMPLES, **how)
    return evaluate(request).measured


def by_eval(run: Path, data: Path, **how: Any) -> Measurement:
    (found,) = by_evals(run, data, **how)
    return found


@pytest.mark.parametrize(
    ("network", "layout", "ops"),
    [
        ("meso4", "packed", OPS),
        ("amtennet", "native", OPS),
        ("spectrum", "packed", OPS[:1]),
        ("spectrum", "native", OPS),
        pytest.param("mml", "packed", OPS[:1], marks=pytest.mark.slow),  # 113 MB of weights
    ],
)
def test_scores_are_those_of_stored_corpora(
    network: str,
    layout: str,
    ops: tuple[str, ...],
    runs: dict[str, Path],
    corpora: dict[str, Path],
    tmp_path: Path,
) -> None:
    data, task = corpora[layout], "multi"
    if network == "mml":
        task, classes = "binary", numbered(("fake",), ("real",))
        path = write_run(tmp_path / "mml", classes, network="mml", size=48, gain=1)
    else:
        path = runs[network]
    result = measured(path, data=data, task=task, seed=7, ops=ops)
    found = result.runs[0].levels["frame"]
    given = ["", "jp:60", "sc-mix", "gb:3+jp-mix", "me:3", "me:5", "me:7"]
    assert list(found.values) == (given if ops == OPS else given[:2])
    stored = [data]
    for name in list(found.values)[1:]:
        stored.append(tmp_path / name.replace(":", ""))
        request = DegradeRequest(tuple(name.split("+")), seed=7, splits=("test",))
        degrade([str(data)], stored[-1], request, n_workers=1)
    evaluated = by_evals(path, *stored, task=task, seed=7)
    for (name, mine), theirs in zip(found.values.items(), evaluated, strict=True):
        # Batches of other samples may round otherwise.
        assert mine.scores == pytest.approx(theirs.scored.scores, abs=1e-6), name
        assert mine.ranking == pytest.approx(theirs.scored.ranking, abs=1e-5), name
        level = theirs.evaluation.frame.estimates
        for metric in ("accuracy", "binary_accuracy", "auc", "eer"):
            estimates = found.clean
            if name:
                (estimates,) = (
                    each.estimates
                    for each in found.suites[0].conditions
                    if each.entry.chain.name == name
                )
            assert estimates[metric] == level[metric], (name, metric)


@pytest.mark.parametrize(
    "code", [c for c, op in OPERATIONS.items() if not isinstance(op, VideoSetting)]
)
def test_each_operation_draws_the_values_that_degrade_stores(
    code: str, corpora: dict[str, Path], tmp_path: Path
) -> None:
    name = f"gb:3+{code}-mix"
    how = treatments_of(suites_of((), (name,)), None, 48, seed=7)[name]
    request = DegradeRequest(tuple(name.split("+")), seed=7, splits=("val",))
    degrade([str(corpora["packed"])], tmp_path / "stored", request, n_workers=1)
    given, stored = Corpus(corpora["packed"]), Corpus(tmp_path / "stored")
    known = {sample.key: sample for sample in stored.samples()}
    for sample in (each for each in given.samples() if each.split == "val"):
        done = how.prepared()(given.image(sample), sample.key, 0)
        theirs = known.pop(sample.key)
        assert done.operations == theirs.operations
        assert np.array_equal(done.image, stored.image(theirs))
    assert not known


def test_one_severity_of_a_suite_is_measured(
    runs: dict[str, Path], corpora: dict[str, Path]
) -> None:
    some = ("imdlbenco:2", "social-video:2")
    result = measured(runs["meso4"], data=corpora["packed"], ops=(), suites=some)
    whole = measured(runs["meso4"], data=corpora["packed"], ops=(), suites=("imdlbenco",))
    found = [each.conditions for each in result.runs[0].levels["frame"].suites]
    assert [suite.name for suite in result.suites] == list(some)
    assert {each.entry.severity for several in found for each in several} == {2}
    theirs = whole.runs[0].levels["frame"].suites[0].conditions
    assert found[0] == tuple(each for each in theirs if each.entry.severity == 2)
    with pytest.raises(ArgumentError, match="suite imdlbenco has severities 1 to 6, got 7"):
        measured(runs["meso4"], data=corpora["packed"], suites=("imdlbenco:7",))
    with pytest.raises(ArgumentError, match="suite dfdc-preview: frame rate: fps:15: for whole"):
        measured(runs["meso4"], data=corpora["packed"], suites=("dfdc-preview",))


def test_differences_are_paired_and_pooled_figures_are_right(
    runs: dict[str, Path], corpora: dict[str, Path]
) -> None:
    found = measured(runs["meso4"], data=corpora["packed"]).runs[0].levels["frame"]
    (one,) = found.suites
    clean = found.values[""]
    for each in one.conditions:
        values = found.values[each.entry.chain.name].values
        less = values[:, 2] - clean.values[:, 2]  # AUC
        difference = each.differences["auc"]
        assert difference.value == less[0]
        assert difference.interval is not None
        assert (difference.interval.low, difference.interval.high) == pytest.approx(
            tuple(np.nanpercentile(less[1:], (2.5, 97.5)))
        )
    is_fake = np.repeat([True, True, False], SPLITS["test"])
    keys = [sample.cls for sample in Corpus(corpora["packed"]).samples() if sample.split == "test"]
    is_fake = np.array([cls != "real" for cls in keys])
    ranking = np.concatenate([found.values[e.entry.chain.name].ranking for e in one.conditions])
    fakes = np.tile(is_fake, len(one.conditions))
    pairs = ranking[fakes][:, None] - ranking[~fakes][None]
    assert one.robust_auc.value == pytest.approx(np.mean((pairs > 0) + (pairs == 0) / 2))
    right = [(each.scores >= 0.5) == is_fake for each in found.values.values()]
    assert one.always_right.value == pytest.approx(np.mean(np.all(right, axis=0)))
    lowest = min(each.estimates["auc"].value or 0 for each in one.conditions)
    assert one.worst is not None
    assert one.worst.estimates["auc"].value == lowest
    me = [found.values[f"me:{k}"].values[0, 2] for k in (3, 5, 7)]
    heights = [clean.values[0, 2], *me]
    assert one.areas["me"]["auc"].value == pytest.approx(np.trapezoid(heights) / 3)
    assert area(np.array(0.0), [np.array(1.0)]) == 0.5


def test_thresholds_are_of_clean_val(runs: dict[str, Path], corpora: dict[str, Path]) -> None:
    found = measured(runs["meso4"], data=corpora["packed"], ops=("gb:7",)).runs[0].levels["frame"]
    val = by_eval(runs["meso4"], corpora["packed"], split="val").scored
    reals = val.scores[~val.is_fake]
    for each, n_allowed in zip(found.thresholds, (0, 0), strict=True):
        assert np.sum(reals >= each.value) == n_allowed
        assert each.value == np.nextafter(reals.max(), 1)
        assert each.n_real == SPLITS["val"]
    test = by_eval(runs["meso4"], corpora["packed"]).scored
    called = test.scores >= found.thresholds[0].value
    assert found.clean["tpr_at_clean_fpr_0.01"].value == called[test.is_fake].mean()
    assert found.clean["fpr_at_clean_fpr_0.01"].value == called[~test.is_fake].mean()
    many = replace(
        val.subset(np.zeros(40, np.int64)),
        labels=np.full(40, 2),
        probabilities=np.stack(
            [np.arange(40) / 40, np.zeros(40), 1 - np.arange(40) / 40], 1
        ).astype(np.float32),
    )
    chosen = threshold_at(many, 0.05)
    assert np.sum(many.ranking >= chosen.value) == 2


def test_any_number_of_workers_gives_the_same(
    runs: dict[str, Path], corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hffkit.execution import pool

    monkeypatch.setattr(pool, "_ALONE", 0.01)
    shelf = corpora["native"].with_name("raw.robustness")
    found = []
    for n_workers in (1, 2):
        for path in shelf.glob("*"):
            path.unlink()
        request = RobustnessRequest(
            (runs["amtennet"], runs["spectrum"]), (str(corpora["native"]),), ops=("jp-mix", "me:5"),
            device="cpu", n_resamples=N_RESAMPLES,
        )  # fmt: skip
        found.append(robustness(request, n_workers=n_workers).to_json())
    assert found[0] == found[1]


def test_an_interrupted_measurement_goes_on(
    runs: dict[str, Path], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = own
    monkeypatch.setattr(sweep, "_BATCH_BYTES", 0)  # blocks of 8 samples
    whole = measured(runs["meso4"], runs["other"], data=data).to_json()
    for path in data.with_name("p48.robustness").glob("*"):
        path.unlink()
    seen: list[int] = []
    put = sweep._Line.put

    lines: dict[int, Any] = {}

    def counted(self: Any, number: int, *more: Any) -> int:
        lines[id(self)] = self
        if len(seen) == 2 * (27 + 15):  # both runs: all val samples, and 15 of 36 test samples
            for line in lines.values():
                line.collect(waits=True)
            raise KeyboardInterrupt
        seen.append(number)
        return put(self, number, *more)

    monkeypatch.setattr(sweep._Line, "put", counted)
    with pytest.raises(KeyboardInterrupt):
        measured(runs["meso4"], runs["other"], data=data)
    monkeypatch.setattr(sweep._Line, "put", put)
    scored: list[int] = []

    def noted(self: Any, number: int, *more: Any) -> int:
        scored.append(number)
        return put(self, number, *more)

    monkeypatch.setattr(sweep._Line, "put", noted)
    again = measured(runs["meso4"], runs["other"], data=data).to_json()
    assert again == whole
    assert scored[0] == 8
    scored.clear()
    monkeypatch.setattr(sweep, "in_order", lambda *_, **__: pytest.fail("nothing was left to do"))
    assert measured(runs["meso4"], runs["other"], data=data).to_json() == whole


def test_a_damaged_cache_is_computed_again(runs: dict[str, Path], own: Path) -> None:
    data = own
    whole = measured(runs["meso4"], data=data).to_json()
    for number, path in enumerate(sorted(data.with_name("p48.robustness").iterdir())):
        path.write_bytes(path.read_bytes()[: 100 * number])
    assert measured(runs["meso4"], data=data).to_json() == whole
    for path in data.with_name("p48.robustness").iterdir():
        kept = bytearray(path.read_bytes())
        kept[len(kept) * 2 // 3] ^= 16  # in a score, which stays a number
        path.write_bytes(kept)
    assert measured(runs["meso4"], data=data).to_json() == whole


def test_videos_are_measured_by_the_mean_of_their_frames(
    runs: dict[str, Path], own: Path, tmp_path: Path
) -> None:
    data = own

    def as_frames(rows: list[dict[str, Any]]) -> None:
        for number, row in enumerate(rows):
            row["frame"] = number
            row["source"] = f"{row['cls']}-{row['split']}-{number // 3}.mp4"

    change_manifest(data, as_frames)
    result = measured(runs["meso4"], data=data, ops=("jp:30",))
    assert list(result.runs[0].levels) == ["frame", "video_mean"]
    found = result.runs[0].levels["video_mean"]
    degrade([str(data)], tmp_path / "y", DegradeRequest(("jp:30",)), n_workers=1)
    theirs = by_eval(runs["meso4"], tmp_path / "y").evaluation.levels["video_mean"]
    assert found.suites[0].conditions[0].estimates["auc"] == theirs.estimates["auc"]
    assert found.n_fake == theirs.n_fake


def test_the_command_prints_tables_and_writes_a_page(
    runs: dict[str, Path], corpora: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    (tmp_path / "two.toml").write_text(SUITE)
    page, lines = tmp_path / "page.html", tmp_path / "x.csv"
    words = ["--suite", tmp_path / "two.toml", "--op", "jp-mix", "--resamples", "20"]
    words += ["--workers", "1", "--device", "cpu"]
    paths = (runs["meso4"], runs["other"])
    files = ("--html", page, "--csv", lines)
    result = run("robustness", *paths, "--data", corpora["packed"], *words, *files)
    assert result.exit_code == 0, result.output
    assert "| blur | 3 | gb:9+jp:70 |" in result.output
    assert "| blur | area |" in result.output
    with lines.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (1 + 5 + 1) * 11
    found = json.loads(
        run("robustness", *paths, "--data", corpora["packed"], *words, "--json").stdout
    )
    two = found["runs"][0]["levels"]["frame"]["suites"][0]
    mine = [row for row in rows if row["run"] == str(paths[0]) and row["chain"] == "gb:5"]
    assert float(mine[2]["value"]) == pytest.approx(two["conditions"][3]["metrics"]["auc"]["value"])
    text = page.read_text()
    assert "Flipped first" in text
    for path in paths:  # a paragraph for each
        assert f"<p>{path}: a fake scores higher than a real one in " in text
    assert '<td class="words">gb:9+jp:70</td>' in text
    read = Reader(text)
    assert not read.tags & {"script", "link", "iframe", "object"}
    assert all(target.startswith("data:") for target in read.targets)
    assert read.thumbnails


def test_what_cannot_be_measured_is_refused(
    runs: dict[str, Path],
    corpora: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'table-ix'"):
        measured(runs["meso4"], data=corpora["packed"], suites=("table-xi",))
    fakes = native_corpus(tmp_path, {"val": 2, "test": 3}, ("grid", "tint"), "fakes")
    with pytest.raises(CorpusError, match="holds 6 fake and 0 real samples"):
        measured(runs["amtennet"], data=fakes)
    empty = native_corpus(tmp_path, {"test": 3}, name="test-only")
    with pytest.raises(CorpusError, match="no sample in split val"):
        measured(runs["amtennet"], data=empty, val=(str(empty),))
    noted = measured(runs["amtennet"], data=empty, ops=("jp:60",))
    assert "no real sample in split val" in noted.notes[0]
    assert noted.runs[0].levels["frame"].clean["tpr_at_clean_fpr_0.05"].value is None
    with pytest.raises(CorpusError, match="packed at 48 px, and the network is fed with 64"):
        measured(runs["amtennet"], data=corpora["packed"])
    other = write_run(tmp_path / "other", numbered(("swap", "tint"), ("real",)), size=48)
    monkeypatch.setattr(sweep, "in_order", lambda *_, **__: pytest.fail("scored"))
    monkeypatch.setattr(NetworkDetector, "score", lambda *_: pytest.fail("scored"))
    for measure in (measured, by_eval):
        with pytest.raises(CorpusError, match=r"^class 'grid' \(fake\) is none of the network's"):
            measure(other, data=corpora["packed"])


OWN = """
from hffkit.degrade.operation import Filter
from hffkit.degrade.spatial import KERNEL
from hffkit.errors import ImageError

def mask(image, kernel):
    if image.mean() > 90:
        raise ImageError(f"too bright for a kernel of {kernel}")
    return image

OPERATIONS = {"mask": Filter("mask", "masking", KERNEL, mask)}
"""


def test_an_operation_that_fails_names_the_sample(
    runs: dict[str, Path], corpora: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(CorpusError, match=r": test/\w+/\d+\.png under mask:5: too bright for"):
        measured(
            runs["meso4"], data=corpora["packed"], ops=("mask:5",), operations=tmp_path / "own.py"
        )


def test_guarantees_are_checked_under_each_condition(
    corpora: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    path = write_run(tmp_path / "run", CLASSES, size=48, seed=1, is_of_packed=True)
    words = ("--data", corpora["packed"], "--device", "cpu")
    decided = run("decide", path, *words, "--fpr", "0.3", "--confidence", "0.9")
    assert decided.exit_code == 0, decided.output
    result = measured(path, data=corpora["packed"], ops=("gb:9",), task="binary")
    (mine,) = result.runs
    degrade([str(corpora["packed"])], tmp_path / "y", DegradeRequest(("gb:9",)), n_workers=1)
    for name, data in (("", corpora["packed"]), ("gb:9", tmp_path / "y")):
        theirs = by_eval(path, data, task="binary").decision
        assert theirs is not None
        assert mine.decisions[name].to_json() == theirs.to_json()
    note = f"{path}: The decision was made on some of these samples, so they cannot test it."
    assert note not in result.notes
    more = ("--op", "gb:9", "--split", "all", "--resamples", 10)
    done = run("robustness", path, *words, *more, "--html", tmp_path / "page.html")
    assert f"- {note}" in done.output
    assert "| gb:9 1 (gb:9) | Real groups with a false alarm |" in done.output
    assert "decision under operations" in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("no_plots")
def test_eval_shows_what_is_kept_of_its_decision_under_suites(
    corpora: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    path = write_run(tmp_path / "run", CLASSES, size=48, seed=1, is_of_packed=True, gain=50)
    words = ("--data", corpora["packed"], "--device", "cpu")
    decide = ("decide", path, *words, "--confidence", "0.9", "--fpr")
    none = "There are no counts under suites of operations for this decision"
    shown = ("eval", path, *words, "--resamples", "0")
    assert none not in run(*shown).stdout  # there is no decision
    assert run(*decide, "0.3").exit_code == 0
    assert none in run(*shown).stdout
    result = measured(path, data=corpora["packed"], ops=("gb:9", "jp:30"), suites=("sidbench:1",))
    checks = result.runs[0].decisions
    page = tmp_path / "page.html"
    found = json.loads(run(*shown, "--html", page, "--json").stdout)["measured"][0]["decision"]
    suite, operations = found["under_suites"]
    assert (suite["suite"], operations["suite"]) == ("operations", "sidbench:1")
    for each in (*suite["conditions"], *operations["conditions"]):
        chain = each["condition"].partition(" (")[2][:-1]
        assert each["guarantees"] == [row.to_json() for row in checks[chain].guarantees]
    text = run(*shown).stdout
    assert none not in text
    outcomes = [check.outcome for name in ("gb:9", "jp:30") for check in checks[name].guarantees]
    counts = " | ".join(str(outcomes.count(name)) for name in ("kept", "unclear", "broken"))
    row = "| operations | Real groups with a false alarm | at most 30 %, at 90 % |"
    assert f"{row} {counts} | " in text
    assert "By the conditions of suites." in page.read_text("utf-8")
    evaluation = by_eval(path, corpora["packed"]).decision
    assert evaluation is not None
    assert "under_suites" not in evaluation.to_json()  # of a recipe, whatever was kept before
    # Of other samples, and of another decision, nothing is kept; what is damaged is none.
    assert none in run(*shown, "--split", "val").stdout
    for kept in corpora["packed"].with_name("p48.robustness").glob("*.json"):
        kept.write_text(kept.read_text().replace('"n_groups": 12', '"n_groups": 13'))
    assert none in run(*shown).stdout
    measured(path, data=corpora["packed"], ops=("gb:9", "jp:30"))
    assert none not in run(*shown).stdout
    assert run(*decide, "0.4").exit_code == 0
    assert none in run(*shown).stdout


def test_conditions_under_which_all_predictions_are_one_are_noted(
    runs: dict[str, Path], corpora: dict[str, Path], tmp_path: Path
) -> None:
    path = write_run(tmp_path / "run", CLASSES, size=48, is_of_packed=True, gain=0)
    result = measured(path, runs["meso4"], data=corpora["packed"], ops=("jp:30", "me:3"))
    text = markdown_of(result)
    said = by_eval(path, corpora["packed"]).evaluation.frame.only_prediction(
        ("grid", "tint", "real")
    )
    for level in result.runs[0].levels.values():
        assert level.to_json()["only_prediction"] == said
        found = [each.only_prediction for suite in level.suites for each in suite.conditions]
        assert found == [said] * 2
    assert (
        f"- {path}: all predictions are one under 3 of 3 conditions: clean ({said}), jp:30 "
        f"({said}), me:3 ({said}). Accuracy there is that one's share of the samples.\n" in text
    )
    assert f"{runs['meso4']}: all predictions" not in text


def test_a_run_named_twice_is_refused(
    runs: dict[str, Path], corpora: dict[str, Path], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(runs["meso4"])
    for twice in ((runs["meso4"], link), (link, runs["other"], link)):
        with pytest.raises(ArgumentError, match=r"named twice in `runs`\. Name each run once\.$"):
            measured(*twice, data=corpora["packed"])
        with pytest.raises(ArgumentError, match=r"named twice in `runs`\. Name each run once\.$"):
            evaluate(EvalRequest(twice, (str(corpora["packed"]),)))


TABLE = """
title = "Runs under suites"
data.faces.about = "faces"
values = { set = ["Raw", "JP60"], op = ["jp:40", "gb"], seed = [0, 1] }

[steps.Raw]
do = "pack"
src = "faces"
size = 32

[steps.JP60]
do = "degrade"
src = "faces"
op = "jp60"
size = 32

[steps."net {set}, {seed}"]
do = "train"
data = "{set}"
network = "meso4"
recipe = "small"
max_iterations = 3
batch_size = 8
set = { size = 32, val_interval = 2, log_interval = 1, select = "accuracy" }
seed = "{seed}"

[steps."{set} under {op}, {seed}"]
do = "robustness"
runs = "net {set}, {seed}"
data = "Raw"
op = "{op}"
resamples = 10

[table]
kind = "robustness"
cell = "{set} under {op}, {seed}"
rows = "set"
columns = "op"

[[claims]]
text = "JPEG helps against JPEG."
better = [["JP60", "jp:40"]]
worse = [["Raw", "jp:40"]]
"""


def test_a_recipe_makes_a_table_of_trainings_by_operations(
    corpora: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    (tmp_path / "table.toml").write_text(TABLE)
    words = ["run", tmp_path / "table.toml", "--data", f"faces={corpora['native']}"]
    words += ["--out", tmp_path / "out", "--workers", "1", "--threads", "1", "--device", "cpu"]
    result = run(*words)
    assert result.exit_code == 0, result.output
    with (tmp_path / "out/table.csv").open(newline="") as file:
        cells = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    found = [json.loads(path.read_text()) for path in tmp_path.glob("out/steps/*/robustness.json")]
    assert len(found) == 8
    by_hand: dict[str, list[float]] = {}
    for each in found:
        (suite,) = each["runs"][0]["levels"]["frame"]["suites"]
        chain = suite["conditions"][0]["chain"]
        by_hand.setdefault(chain, []).append(100 * suite["robust_auc"]["value"])
    for column, chain in (("jp:40", "jp:40"), ("gb", "gb:3")):
        mean = np.mean([float(cells[row, column]["measured"]) for row in ("Raw", "JP60")])
        assert mean == pytest.approx(np.mean(by_hand[chain]), abs=0.01)
    text = (tmp_path / "out/table.md").read_text()
    assert "JPEG helps against JPEG." in text
    (tmp_path / "table.toml").write_text(TABLE.replace('do = "robustness"', 'do = "eval"'))
    assert run(*words).exit_code != 0


def test_a_table_of_robustness_needs_robustness_steps(tmp_path: Path, run: Run) -> None:
    text = TABLE.replace('kind = "robustness"', 'kind = "accuracy"')
    (tmp_path / "table.toml").write_text(text)
    result = run("run", tmp_path / "table.toml", "--data", f"faces={tmp_path}", "--dry-run")
    assert "is no eval step, nor a spectrum with repeats" in result.output
