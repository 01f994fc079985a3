"""Decisions: made by `decide`, shown by `eval`, and applied by `predict`."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run as Invoke
from makers.runs import write_run
from makers.scores import scored_groups
from makers.trees import all_files, build_corpus, write_image
from scipy import stats

from hffkit.degrade.chain import chain
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import ArgumentError, CorpusError, WeightsError
from hffkit.evaluation.decide import decide
from hffkit.evaluation.decision_check import check_decision
from hffkit.evaluation.request import DecideRequest
from hffkit.inference.network import load_network
from hffkit.inference.predict import PredictRequest, predict
from hffkit.inference.recheck import rechecks_of
from hffkit.inference.spectrum import load_spectrum
from hffkit.manifest.classes import numbered
from hffkit.media.image import read_bytes
from hffkit.media.image_files import decode_file
from hffkit.runs.decision import Decision, Guarantee, read_decision
from hffkit.runs.run import write_groups
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum

N = 30  # images of each class and split, each a group of its own
CLASSES = {"GAN": True, "Glow": True, "camera": False}
RATES = ("--fpr", "0.2", "--confidence", "0.9")
A_GUARANTEE = {
    "mistake": "false_alarm", "rate": 0.1, "confidence": 0.9, "n_groups": 8, "n_mistakes": 1,
    "upper_bound": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, number = tmp_path_factory.mktemp("source"), 0
    for split in ("val", "test"):
        for name in CLASSES:
            for _ in range(N):
                number += 1
                write_image(root / split / name / f"{number:03}.png", number, size=(40, 40))
    return root


@pytest.fixture(scope="module")
def corpus(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpora") / "c.lmdb"
    fake = tuple(name for name, is_fake in CLASSES.items() if is_fake)
    return build_corpus("folder", source, out, fake=fake, real=("camera",))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = tuple(name for name, is_fake in CLASSES.items() if is_fake)
    classes = numbered(fake, ("camera",))
    return write_run(tmp_path_factory.mktemp("runs") / "three", classes, gain=8)


@pytest.fixture
def undecided(three: Path, tmp_path: Path) -> Path:
    """A copy of the run, which has no decision."""
    return Path(shutil.copytree(three, tmp_path / "run"))


@pytest.fixture
def decided(undecided: Path, corpus: Path) -> Path:
    decide(DecideRequest(undecided, (str(corpus),), fpr=0.2, confidence=0.9, device="cpu"))
    return undecided


def scores_of(run: Invoke, path: Path, corpus: Path, split: str, folder: Path) -> dict[str, Any]:
    """Return the scores of real and fake samples by `eval --csv`."""
    out = folder / f"{split}.csv"
    arguments = ("--split", split, "--csv", out, "--resamples", 0, "--device", "cpu")
    assert run("eval", path, "--data", corpus, *arguments).exit_code == 0
    found: dict[str, list[float]] = {"real": [], "fake": []}
    with out.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            found["fake" if CLASSES[row["method"]] else "real"].append(float(row["score"]))
    return {kind: np.sort(values) for kind, values in found.items()}


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    file = path / "decision.json"
    row = json.loads(file.read_text("utf-8"))
    edit(row)
    file.write_text(json.dumps(row), "utf-8")


def test_the_threshold_is_that_of_the_exact_test(
    undecided: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    scores = scores_of(run, undecided, corpus, "val", tmp_path)["real"]
    before = all_files(undecided)
    result = run("decide", undecided, "--data", corpus, *RATES, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    # By scipy: as many of 30 may fail as are less likely than 10 %, were the rate 20 %.
    allowed = max(k for k in range(N) if stats.binom.cdf(k, N, 0.2) <= 0.1)
    assert scores[-1 - allowed] < found["threshold"] <= scores[-allowed]
    assert found["real_below"] == found["threshold"]
    (row,) = found["guarantees"]
    expected = stats.binomtest(allowed, N, alternative="less").proportion_ci(0.9, method="exact")
    assert (row["n_groups"], row["n_mistakes"]) == (N, allowed)
    assert row["upper_bound"] == pytest.approx(expected.high)
    about = json.loads((corpus / "corpus.json").read_text())
    assert found["data"][0]["content_sha256"] == about["content_sha256"]
    assert (found["split"], found["n_files"]) == ("val", {"real": N, "fake": 2 * N})
    after = all_files(undecided)
    stored = json.loads(after.pop("decision.json"))
    assert after == before  # the rest of the run is as it was
    assert stored == {name: value for name, value in found.items() if name != "check"}
    assert {"hffkit", "torch"} <= stored["versions"].keys()


def test_the_text_states_threshold_guarantee_and_data(
    undecided: Path, corpus: Path, run: Invoke
) -> None:
    write_groups(undecided, ["camera/061"])
    arguments = ("--fnr", "0.3", "--conformal", "--fpr", "0.1", "--calibrate", "--device", "cpu")
    shown = run("decide", undecided, "--data", corpus, *arguments)
    assert shown.exit_code == 0, shown.stderr
    decision = decision_of(undecided)
    assert decision.threshold > decision.real_below
    assert "between them is undecided." in shown.stdout
    assert "On average at most 10 % of real groups have a file called fake (" in shown.stdout
    assert "On average at most 30 % of fake groups have a file called real (" in shown.stdout
    assert f"It holds for groups like those of split val of {corpus}." in shown.stdout
    assert f"temperature {decision.temperature:.4g}." in shown.stdout
    assert f"Written to {undecided}/decision.json." in shown.stdout


GUARANTEE = """
title = "Is it kept?"
data.faces.about = "faces"
data.net.about = "a run"
values = { rate = [0.2, 0.4], op = ["me:7", "jp:20"] }

[steps."{op}"]
do = "degrade"
src = "faces"
op = "{op}"
split = "test"

[steps."decided at {rate}"]
do = "decide"
run = "net"
data = "faces"
fpr = "{rate}"
confidence = 0.9

[steps."{rate} on {op}"]
do = "eval"
runs = "decided at {rate}"
data = "{op}"
resamples = 0

[table]
kind = "guarantee"
cell = "{rate} on {op}"
rows = "rate"
columns = "op"
"""


def test_a_recipe_decides_and_measures_if_the_guarantee_is_kept(
    undecided: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    before = all_files(undecided)
    (tmp_path / "table.toml").write_text(GUARANTEE)
    words = ["run", tmp_path / "table.toml", "--data", f"faces={corpus}", "--data"]
    words += [f"net={undecided}", "--out", tmp_path / "out", "--device", "cpu", "--workers", "1"]
    planned = run(*words, "--dry-run")
    assert planned.exit_code == 0, planned.output
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert all_files(undecided) == before
    with (tmp_path / "out/table.csv").open(newline="") as file:
        cells = {
            (row["row"], row["column"]): float(row["measured"]) for row in csv.DictReader(file)
        }
    for rate in (0.2, 0.4):
        own = Path(shutil.copytree(undecided, tmp_path / f"run-{rate}"))
        decide(DecideRequest(own, (str(corpus),), fpr=rate, confidence=0.9, device="cpu"))
        threshold = decision_of(own).threshold
        for op in ("me:7", "jp:20"):
            stored = tmp_path / f"{op.replace(':', '')}.lmdb"
            if not stored.exists():
                run("degrade", corpus, "--op", op, "--split", "test", "--out", stored)
            scores = scores_of(run, own, stored, "test", tmp_path)["real"]
            share = 100 * np.mean(scores.astype(np.float32) >= threshold)
            assert cells[str(rate), op] == pytest.approx(share, abs=1e-4)
    text = (tmp_path / "out/table.md").read_text("utf-8")
    assert "with 90 % confidence at most 20 % of real groups have a file called fake" in text
    changed = GUARANTEE.replace('runs = "decided at {rate}"', 'runs = "net"')
    (tmp_path / "table.toml").write_text(changed)
    refused = run(*words, "--dry-run")
    assert "is no eval step of a run of a decide step" in refused.stderr
    (tmp_path / "table.toml").write_text(GUARANTEE.replace("confidence =", "conformal = true #"))
    assert run(*words, "--dry-run").exit_code == 0
    both = GUARANTEE.replace("confidence =", "conformal = true\nconfidence =")
    (tmp_path / "table.toml").write_text(both)
    assert "`conformal` keeps the shares" in run(*words, "--dry-run").stderr


def decision_of(path: Path) -> Decision:
    row = json.loads((path / "decision.json").read_text("utf-8"))
    found = read_decision(path, row["weights_sha256"])
    assert found is not None
    return found


def test_a_decision_survives_reading_and_a_new_one_replaces_it(decided: Path, corpus: Path) -> None:
    first = decision_of(decided)
    again = decide(DecideRequest(decided, (str(corpus),), fpr=0.3, confidence=0.9, device="cpu"))
    assert decision_of(decided) == again.decision
    assert again.decision.threshold < first.threshold
    assert not (decided / "decision.json.tmp").exists()


# eval


@pytest.mark.usefixtures("no_plots")
def test_eval_counts_the_mistakes_on_test(
    decided: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    scores = scores_of(run, decided, corpus, "test", tmp_path)
    page = tmp_path / "page.html"
    arguments = ("--resamples", 0, "--device", "cpu", "--html", page)
    result = run("eval", decided, "--data", corpus, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    (measured,) = json.loads(result.stdout)["measured"]
    found, threshold = measured["decision"], decision_of(decided).threshold
    n = int((scores["real"] >= threshold).sum())
    (row,) = found["guarantees"]
    assert (row["n_mistakes"], row["n_groups"], row["promised"]) == (n, N, 0.2)
    low, high = stats.binomtest(n, N).proportion_ci(0.95, method="exact")
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["outcome"] == ("kept" if n <= 0.2 * N else "broken" if low > 0.2 else "unclear")
    fakes = int((scores["fake"] >= threshold).sum())
    assert found["verdicts"]["fake"] == {"fake": fakes, "real": 2 * N - fakes}
    assert "Real groups with a false alarm" in page.read_text("utf-8")
    shown = run("eval", decided, "--data", corpus, "--resamples", 0, "--device", "cpu")
    assert f"| {n} of {N}: " in shown.stdout
    assert "cannot test it" not in shown.stdout


def test_eval_says_that_a_guarantee_is_broken(decided: Path, corpus: Path, run: Invoke) -> None:
    change(decided, lambda row: row.update(threshold=1e-6, real_below=1e-6))
    shown = run("eval", decided, "--data", corpus, "--resamples", 0, "--device", "cpu")
    assert shown.exit_code == 0, shown.stderr
    promise = "with 90 % confidence at most 20 % of real groups have a file called fake"
    assert f"**Broken on these samples: {promise}.**" in shown.stdout
    assert f"| {N} of {N}: 100 % [88.4, 100] | broken |" in shown.stdout


def test_eval_notes_samples_that_the_decision_was_made_on(
    decided: Path, corpus: Path, run: Invoke
) -> None:
    arguments = ("--resamples", 0, "--device", "cpu", "--split", "val")
    shown = run("eval", decided, "--data", corpus, *arguments)
    assert "made on some of these samples, so they cannot test it" in shown.stdout


def test_eval_notes_copies_of_samples_that_the_decision_was_made_on(
    decided: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    degrade([str(corpus)], tmp_path / "y.lmdb", DegradeRequest(("jp:60",)), n_workers=1)
    arguments = ("--data", tmp_path / "y.lmdb", "--resamples", 0, "--device", "cpu")
    note = "made on some of these samples, so they cannot test it"
    assert note in run("eval", decided, *arguments, "--split", "val").stdout
    assert note not in run("eval", decided, *arguments, "--split", "test").stdout
    change(decided, lambda row: row["data"][0].pop("sources_sha256"))  # of an older version
    assert note not in run("eval", decided, *arguments, "--split", "val").stdout


@pytest.mark.parametrize(
    ("n_alarms", "n", "outcome"), [(0, 5, "kept"), (1, 20, "kept"), (2, 20, "unclear"),
                                   (5, 20, "broken")]
)  # fmt: skip
def test_a_rate_is_kept_unclear_or_broken(n_alarms: int, n: int, outcome: str) -> None:
    promised = Guarantee("false_alarm", 0.05, 0.95, 100, 1, 0.05)
    decision = Decision(0.9, 0.9, (promised,), None, "", (), "val", {}, (), {})
    rows = [(f"g{i}", None, 0.95 if i < n_alarms else 0.1, False) for i in range(n)]
    (found,) = check_decision(decision, scored_groups(rows)).guarantees
    assert (found.n_mistakes, found.n_groups, found.outcome) == (n_alarms, n, outcome)
    fakes = scored_groups([("g", None, 0.95, True)])
    assert check_decision(decision, fakes).guarantees == ()  # no group can break it


# predict


def test_predict_gives_verdict_threshold_and_guarantee(
    decided: Path, source: Path, tmp_path: Path, run: Invoke
) -> None:
    change(decided, lambda row: row.update(real_below=row["threshold"] * 0.9, temperature=2.0))
    decision = decision_of(decided)
    table, page = tmp_path / "faces.csv", tmp_path / "page.html"
    arguments = ("--whole", "--device", "cpu", "--csv", table, "--html", page)
    result = run("predict", decided, source / "test", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["decision"] == json.loads((decided / "decision.json").read_text())
    kinds = []
    for file in found["files"]:
        low, high = decision.real_below, decision.threshold
        score = float(np.float32(file["score"]))
        kinds.append("fake" if score >= high else "real" if score < low else "undecided")
        assert file["verdict"] == kinds[-1]
        odds = np.sqrt(file["score"] / (1 - file["score"]))  # of temperature 2
        assert file["calibrated"] == pytest.approx(odds / (1 + odds))
        assert file["rechecks"] is None
    assert set(kinds) == {"fake", "real", "undecided"}
    with table.open(newline="") as lines:
        assert [row["file_verdict"] for row in csv.DictReader(lines)] == kinds
    shown = run("predict", decided, source / "test", "--whole", "--device", "cpu").stdout
    html = page.read_text("utf-8")
    for text in (decision.rule, decision.guarantees[0].text, decision.origin):
        assert text in shown
        assert text in html
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("fake", "real", "undecided"))
    assert shown.splitlines()[-1] == f"{counts}, 0 not scored"
    assert "calibrated" in shown.splitlines()[0]


def test_without_a_decision_no_threshold_is_known(
    undecided: Path, source: Path, tmp_path: Path, run: Invoke
) -> None:
    arguments = ("--whole", "--device", "cpu", "--csv", tmp_path / "faces.csv")
    shown = run("predict", undecided, source / "val/GAN", *arguments)
    assert "No threshold is known for this run: the prediction is the side of 0.5" in shown.stdout
    assert "file_verdict" not in (tmp_path / "faces.csv").read_text()
    found = json.loads(run("predict", undecided, source / "val/GAN", *arguments, "--json").stdout)
    assert found["decision"] is None
    assert {file["verdict"] for file in found["files"]} == {None}


def test_a_recheck_that_changes_the_verdict_makes_it_undecided(
    decided: Path, source: Path, run: Invoke
) -> None:
    path = next((source / "test/camera").iterdir())
    chains = {"jp:85": ["jp:85"], "jp:75": ["jp:75"], "sc:-20": ["sc:-20"],
              "sc:-20+jp:75": ["sc:-20", "jp:75"]}  # fmt: skip
    image = decode_file(read_bytes(path)).image
    images = [image, *(chain(*names)(image, seed=0, key="x").image for names in chains.values())]
    detector = load_network(decided, torch.device("cpu"))
    own, *others = (float(row[0]) + float(row[1]) for row in detector.probabilities(images))
    far = int(np.argmax(np.abs(np.array(others) - own)))
    threshold = (own + others[far]) / 2
    change(decided, lambda row: row.update(threshold=threshold, real_below=threshold))
    request = PredictRequest(decided, (path,), whole=True, device="cpu", recheck=True)
    found = predict(request)
    (file,) = found.files
    assert file.verdict == "undecided"
    assert file.score == pytest.approx(own, abs=1e-6)
    assert file.rechecks is not None
    assert list(file.rechecks) == list(chains)
    assert list(file.rechecks.values()) == pytest.approx(others, abs=1e-6)
    arguments = ("--whole", "--device", "cpu")
    kind = "fake" if own >= threshold else "real"
    shown = run("predict", decided, path, *arguments, "--recheck").stdout
    assert f"{path}: undecided, not {kind}: rechecks " in shown
    assert f"{list(chains)[far]} {others[far]:.4f}" in shown
    alone = json.loads(run("predict", decided, path, *arguments, "--json").stdout)["files"][0]
    assert alone["verdict"] == kind
    named = run(
        "predict", decided, path, *arguments, "--recheck-suite", "social-repost:2", "--json"
    )
    rechecks = json.loads(named.stdout)["files"][0]["rechecks"]
    assert list(rechecks) == ["jp:78+grid:4+jp:78", "jp:78+screen:80+jp:78"]
    # A verdict that all of them share stays.
    change(decided, lambda row: row.update(threshold=1e-6, real_below=1e-6))
    assert predict(request).files[0].verdict == "fake"


# Refusals


def test_too_few_groups_and_missing_splits_are_refused(
    undecided: Path, corpus: Path, source: Path, tmp_path: Path, run: Invoke
) -> None:
    shown = run("decide", undecided, "--data", corpus)
    assert shown.exit_code == 1
    assert f"{N} real groups, but --fpr 0.01 with 95 % confidence needs 299." in shown.stderr
    assert not (undecided / "decision.json").exists()
    only = build_corpus(
        "folder", source / "val", tmp_path / "v", fake=("GAN", "Glow"), real=("camera",),
        split_ratio="1/0/0",
    )  # fmt: skip
    shown = run("decide", undecided, "--data", only)
    assert shown.exit_code == 1
    assert "no sample in split val" in shown.stderr
    shutil.copytree(source / "val/GAN", tmp_path / "fakes/val/GAN")
    fakes = build_corpus("folder", tmp_path / "fakes", tmp_path / "f", fake=("GAN",), real=())
    with pytest.raises(CorpusError, match=r"f, val: 0 real groups, but `fpr` 0\.01 with 95 %"):
        decide(DecideRequest(undecided, (str(fakes),), device="cpu"))


def test_reals_alone_bound_false_alarms_but_calibrate_nothing(
    undecided: Path, source: Path, tmp_path: Path, run: Invoke
) -> None:
    shutil.copytree(source / "val/camera", tmp_path / "in/val/camera")
    reals = build_corpus("folder", tmp_path / "in", tmp_path / "r", fake=(), real=("camera",))
    shown = run("decide", undecided, "--data", reals, *RATES, "--calibrate", "--device", "cpu")
    assert shown.exit_code == 1
    assert "Calibration needs real and fake files." in shown.stderr
    shown = run("decide", undecided, "--data", reals, *RATES, "--device", "cpu")
    assert shown.exit_code == 0
    assert "Real files called fake" in shown.stdout
    assert "Fake files" not in shown.stdout


def test_training_samples_are_refused(finished: Path, packed: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    with pytest.raises(CorpusError, match=r"was trained on 21 of these 21 samples, so their"):
        decide(DecideRequest(path, (str(packed),), split="train", fpr=0.5, device="cpu"))
    found = decide(DecideRequest(path, (str(packed),), fpr=0.5, confidence=0.9, device="cpu"))
    (note,) = found.decision.notes
    assert note.startswith("12 of 12 groups have the names of groups that the run was trained or")


def test_a_decision_of_other_weights_is_refused(
    decided: Path, corpus: Path, source: Path, run: Invoke
) -> None:
    other = write_run(decided.with_name("other"), numbered(("GAN", "Glow"), ("camera",)), seed=9)
    shutil.copy(decided / "decision.json", other)
    for words in (("predict", other, source / "val"), ("eval", other, "--data", corpus)):
        shown = run(*words, "--device", "cpu")
        assert shown.exit_code == 1
        assert "decision.json: made with other weights (" in shown.stderr
    assert run("decide", other, "--data", corpus, *RATES, "--device", "cpu").exit_code == 0
    assert run("predict", other, source / "val/GAN", "--whole").exit_code == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", "high"),
        ("threshold", 2),
        ("threshold", float("nan")),
        ("real_below", 0.99999),
        ("temperature", 0),
        ("guarantees", [{"mistake": "none"}]),
        ("guarantees", None),
        ("guarantees", [{**A_GUARANTEE, "n_groups": -1}]),
        ("guarantees", [{**A_GUARANTEE, "n_mistakes": 9}]),
        ("split", 3),
        ("data", [{"path": "x"}]),
        ("versions", []),
        ("n_files", {}),
        ("format", 2),
        ("more", 1),
    ],
)
def test_a_damaged_decision_is_refused(decided: Path, name: str, value: object) -> None:
    weights = decision_of(decided).weights_sha256
    change(decided, lambda row: row.update({name: value}))
    with pytest.raises(WeightsError, match=r"decision\.json: .*Run `hffkit decide` again"):
        read_decision(decided, weights)


def test_a_guarantee_of_possible_counts_is_read(decided: Path) -> None:
    weights = decision_of(decided).weights_sha256
    change(decided, lambda row: row.update(guarantees=[A_GUARANTEE]))
    assert read_decision(decided, weights) is not None


def test_a_decision_that_is_no_json_is_refused(decided: Path) -> None:
    for text in ("", "[]", "{"):
        (decided / "decision.json").write_text(text)
        with pytest.raises(WeightsError, match=r"decision\.json: .*Run `hffkit decide` again"):
            read_decision(decided, "")


def test_impossible_rates_are_refused(undecided: Path, corpus: Path) -> None:
    for rates in ({"fpr": 0.0}, {"fnr": 1.0}, {"confidence": float("nan")}):
        with pytest.raises(ArgumentError, match="must be above 0 and below 1"):
            decide(DecideRequest(undecided, (str(corpus),), **rates))  # type: ignore[arg-type]


def test_decision_values_have_thresholds_but_no_temperature(
    corpus: Path, source: Path, tmp_path: Path, run: Invoke
) -> None:
    path = tmp_path / "svm"
    arguments = ("--classifier", "svm-rbf", "--features", "celeba", "--out", path)
    trained = tmp_path / "t.lmdb"
    build_corpus(
        "folder", source / "val", trained, fake=("GAN", "Glow"), real=("camera",),
        split_ratio="1/0/0",
    )  # fmt: skip
    assert run("spectrum", "train", "--data", trained, *arguments).exit_code == 0
    words = ("decide", path, "--data", corpus, "--split", "test", *RATES)
    shown = run(*words, "--calibrate")
    assert shown.exit_code == 2
    assert "svm-rbf has decision values and no probabilities" in shown.stderr
    assert "Leave out --calibrate." in shown.stderr
    assert run(*words).exit_code == 0
    found = run("predict", path, source / "test/GAN", "--whole", "--recheck", "--json")
    assert found.exit_code == 0
    assert {len(file["rechecks"]) for file in json.loads(found.stdout)["files"]} == {4}


def test_spectra_of_one_length_are_rechecked_by_operations_that_keep_the_size(
    source: Path, tmp_path: Path
) -> None:
    corpus, path = tmp_path / "t.lmdb", tmp_path / "one"
    build_corpus(
        "folder", source / "val", corpus, fake=("GAN", "Glow"), real=("camera",),
        split_ratio="1/0/0",
    )  # fmt: skip
    train_spectrum(SpectrumRequest(data=(str(corpus),), features="faces-hq"), path, n_workers=1)
    detector = load_spectrum(path)
    assert [each.name for each in rechecks_of(detector, "recheck")] == ["jp:85", "jp:75"]
    assert len(rechecks_of(detector, "social-feed")) == 4  # these reduce larger pictures only
    with pytest.raises(
        ArgumentError, match="social-story:2: all of its operations change the size"
    ):
        rechecks_of(detector, "social-story:2")
