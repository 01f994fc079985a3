import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pytest
from conftest import Run as Invoke
from makers.runs import THREE, write_run
from makers.spectra import by_hand
from makers.trees import build_corpus, write_clip, write_image
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit

from hffkit.cli.spectrum import train as train_command
from hffkit.corpus.pack import PackRequest, pack
from hffkit.errors import CorpusError, HffkitError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.evaluation.videos import vote_over_videos
from hffkit.execution.guarded import Lost
from hffkit.manifest.classes import BINARY
from hffkit.media.image import grey
from hffkit.media.walk import Rest
from hffkit.pipeline.plan import plan_of
from hffkit.pipeline.recipe import read_recipe
from hffkit.runs.scores import Scored
from hffkit.spectrum.classifiers import CLASSIFIERS, fit, margins, scores
from hffkit.spectrum.features import CROPS, FEATURES, FeatureSpec, features_of, profiles_of
from hffkit.spectrum.models import write_model
from hffkit.spectrum.profiles import (
    Profiler,
    cache_path,
    images_below,
    read_grey,
)
from hffkit.spectrum.radial import CENTRES
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum
from hffkit.storage.corpus import Corpus

REAL, FAKE = "camera", "GAN"
N = 40  # images of each class
SIDE = 32


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cuts of the portrait, and cuts of it whose finest detail is lost; four make a group."""
    root = tmp_path_factory.mktemp("tree")
    for i in range(N):
        path = write_image(root / REAL / f"p{i // 4:02}_{i}.png", 17 * i, size=(SIDE, SIDE))
        with Image.open(path) as picture:
            small = picture.resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE))
        (root / FAKE).mkdir(exist_ok=True)
        small.save(root / FAKE / path.name)
    return root


def build(tree: Path, out: Path, **how: Any) -> Path:
    known = {"real": (REAL,), "fake": (FAKE,), "split_ratio": "50/20/30", "group_by": r"/(p\d+)"}
    return build_corpus("folder", tree, out, **(known | how))


@pytest.fixture(scope="module")
def corpus(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, tmp_path_factory.mktemp("corpora") / "small.lmdb")


@pytest.fixture(scope="module")
def fitted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "spectrum"
    train_spectrum(SpectrumRequest(data=(str(corpus),)), out, n_workers=1)
    return out


def about(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text("utf-8")))


def change(run: Path, out: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    shutil.copytree(run, out)
    row = about(out)
    edit(row)
    (out / "run.json").write_text(json.dumps(row), "utf-8")
    return out


def of_split(corpus: Path, *splits: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The features of a corpus's samples, image by image, and whether they are fake."""
    opened = Corpus(corpus)
    samples = [sample for sample in opened.samples() if sample.split in splits]
    spec = FEATURES["celeba"]
    rows = [features_of([opened.image(sample)], spec)[0] for sample in samples]
    return np.array(rows), np.array([sample.cls == FAKE for sample in samples])


# Training


def test_a_run_is_what_scikit_learn_makes_of_the_training_samples(
    corpus: Path, fitted: Path
) -> None:
    features, is_fake = of_split(corpus, "train")
    model = fit("svm-rbf", features, is_fake)
    others, are_fake = of_split(corpus, "val")
    row = about(fitted)
    assert row["kind"] == "spectrum"
    assert row["classifier"] == "svm-rbf"
    assert row["n_features"] == 80
    assert row["result"]["n_train"] == len(features)
    right = (margins("svm-rbf", model, others) > 0) == are_fake
    assert row["result"]["val_accuracy"] == right.mean()
    assert row["result"]["val_majority_accuracy"] == max(are_fake.mean(), 1 - are_fake.mean())
    assert row["made"]["data"][0]["content_sha256"] == Corpus(corpus).content_sha256
    groups = {s.group for s in Corpus(corpus).samples() if s.split == "train"}
    assert set(json.loads((fitted / "groups.json").read_text("utf-8"))) == groups
    assert sorted(path.name for path in fitted.iterdir()) == [
        "groups.json", "model.skops", "run.json", "training-samples.npy",
    ]  # fmt: skip


def test_the_same_command_makes_the_same_run(corpus: Path, fitted: Path, tmp_path: Path) -> None:
    for n_workers in (1, 2):
        out = tmp_path / str(n_workers)
        train_spectrum(SpectrumRequest(data=(str(corpus),)), out, n_workers=n_workers)
        assert about(out) == about(fitted)


def test_repeats_keep_groups_whole_unless_the_paper_is_asked_for(
    corpus: Path, tmp_path: Path
) -> None:
    request = SpectrumRequest(data=(str(corpus),), repeats=3)
    _, run = train_spectrum(request, tmp_path / "a", n_workers=1)
    found = run.result.repeats
    assert found is not None
    n_test = sum(sample.split == "test" for sample in Corpus(corpus).samples())
    assert (found.protocol, found.n_repeats) == ("grouped", 3)
    assert found.n_samples == 2 * N - n_test
    request = SpectrumRequest(data=(str(corpus),), paper_split=True)
    _, run = train_spectrum(request, tmp_path / "b", n_workers=1)
    found = run.result.repeats
    assert found is not None
    assert (found.protocol, found.n_repeats, found.n_samples) == ("random", 10, 2 * N)
    assert found.rows[0].n_train == 2 * N * 4 // 5
    assert len(found.rows[0].accuracies) == 10


def test_the_curve_is_of_few_labels_to_all(corpus: Path, tmp_path: Path) -> None:
    request = SpectrumRequest(data=(str(corpus),), curve=True, paper_split=True)
    _, run = train_spectrum(request, tmp_path / "run", n_workers=1)
    assert run.result.repeats is not None
    assert [row.n_train for row in run.result.repeats.rows] == [20, 50, 64]


def test_a_limit_takes_so_many_of_each_class(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    out = tmp_path / "run"
    done = run("spectrum", "train", "--data", corpus, "--limit", 20, "--out", out, "--seed", 3)
    assert done.exit_code == 0, done.output
    assert "20 training images" in done.stdout
    assert about(out)["result"]["n_train"] == 20
    assert about(out)["made"]["limit"] == 20


def test_samples_are_drawn_of_all_splits_half_of_them_fake(corpus: Path, tmp_path: Path) -> None:
    keys: list[dict[str, str]] = []
    for seed in (0, 0, 1):
        out = tmp_path / str(len(keys))
        request = SpectrumRequest(data=(str(corpus),), samples=20, paper_split=True, seed=seed)
        train_spectrum(request, out, n_workers=1)
        lines = [
            line
            for file in (out / "repeats").iterdir()
            for line in csv.DictReader(file.read_text("utf-8").splitlines())
        ]
        keys.append({line["key"]: line["class"] for line in lines})
    assert keys[0] == keys[1] != keys[2]
    drawn = {sample.key: sample for sample in Corpus(corpus).samples() if sample.key in keys[0]}
    assert {sample.split for sample in drawn.values()} == {"train", "val", "test"}
    assert all((drawn[key].cls == FAKE) == (name == "fake") for key, name in keys[0].items())
    assert max(sum(name == each for name in keys[0].values()) for each in ("fake", "real")) <= 10


def test_training_needs_both_classes_and_enough_of_them(
    tree: Path, corpus: Path, tmp_path: Path
) -> None:
    def refused(data: Path, match: str, **how: Any) -> None:
        with pytest.raises(HffkitError, match=match):
            train_spectrum(SpectrumRequest(data=(str(data),), **how), tmp_path / "x", n_workers=1)
        assert not (tmp_path / "x").exists()

    shutil.copytree(tree / REAL, tmp_path / "one" / REAL)
    only = build_corpus("folder", tmp_path / "one", tmp_path / "one.lmdb", real=(REAL,))
    refused(only, "needs fake and real samples, got 0 fake")
    refused(corpus, "there are 20 and 20", limit=60)
    refused(corpus, "`limit` must be at least 4", limit=2)
    refused(corpus, "`samples` must be at least 8", samples=7)
    refused(corpus, "there are 40 and 40", samples=82)
    refused(corpus, "Did you mean 'celeba'", features="celebs")
    refused(corpus, "No classifier named 'svm'", classifier="svm")


def test_images_without_a_spectrum_are_named(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(copy / REAL / "black.png")
    found = build(copy, tmp_path / "black.lmdb", group_by=None)
    with pytest.raises(HffkitError, match=r"camera/black\.png: all pixels are equal"):
        train_spectrum(SpectrumRequest(data=(str(found),)), tmp_path / "run", n_workers=2)
    Image.new("RGB", (1, 1)).save(copy / REAL / "black.png")
    found = build(copy, tmp_path / "tiny.lmdb", group_by=None)
    with pytest.raises(HffkitError, match=r"camera/black\.png: 1x1 pixels are too small"):
        train_spectrum(SpectrumRequest(data=(str(found),)), tmp_path / "run", n_workers=1)


# Kept profiles


def test_profiles_are_kept_beside_the_corpus_with_its_hash(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(tree, tmp_path / "c.lmdb")
    corpus, spec = Corpus(path), FeatureSpec()
    first = Profiler(spec, 1).of_corpus(corpus)
    kept = tmp_path / "c.lmdb.spectrum" / "whole-paper.npz"
    assert cache_path(corpus, spec) == kept
    expected = [by_hand(grey(corpus.image(sample)), "paper") for sample in corpus.samples()]
    assert np.abs(np.array(first) - expected).max() < 1e-9
    with np.load(kept) as file:
        facts = json.loads(str(file["facts"]))
        assert facts["content_sha256"] == corpus.content_sha256

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr("hffkit.spectrum.profiles.profiles_of_block", fail)
        again = Profiler(spec, 1).of_corpus(corpus)
    assert np.array_equal(again, first)


def test_profiles_are_not_written_through_a_link(tree: Path, tmp_path: Path) -> None:
    corpus = Corpus(build(tree, tmp_path / "c.lmdb"))
    (tmp_path / "away").mkdir()
    (tmp_path / "c.lmdb.spectrum").symlink_to("away")
    found = Profiler(FeatureSpec(), 1).of_corpus(corpus)
    assert len(found) == corpus.n_samples
    assert list((tmp_path / "away").iterdir()) == []


@pytest.mark.parametrize("damage", ["other corpus", "cut", "text", "nan"])
def test_kept_profiles_that_do_not_match_are_made_anew(
    tree: Path, tmp_path: Path, damage: str
) -> None:
    path = build(tree, tmp_path / "c.lmdb")
    corpus, spec = Corpus(path), FeatureSpec()
    first = Profiler(spec, 1).of_corpus(corpus)
    kept = cache_path(corpus, spec)
    whole = kept.read_bytes()
    if damage == "other corpus":
        with np.load(kept) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays["facts"])) | {"content_sha256": "0" * 64}
        arrays["facts"] = np.array(json.dumps(facts))
        arrays["values"] = arrays["values"] + 1
        np.savez(kept, **arrays)
    elif damage == "nan":
        with np.load(kept) as file:
            arrays = dict(file)
        arrays["values"][5] = np.nan
        np.savez(kept, **arrays)
    else:
        kept.write_bytes(whole[:-100] if damage == "cut" else b"text")
    assert np.array_equal(Profiler(spec, 1).of_corpus(corpus), first)
    assert kept.read_bytes() == whole


def luma(path: Path) -> npt.NDArray[np.uint8]:
    """The Y plane of a JPEG, as Pillow decodes it."""
    with Image.open(path) as opened:
        opened.draft("YCbCr", opened.size)
        return np.asarray(opened.getchannel(0), np.uint8)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour JPEG files of two classes, and a corpus of their original bytes beside them."""
    root = tmp_path_factory.mktemp("jpegs")
    for i in range(12):
        for name, quality in ((REAL, 90), (FAKE, 50)):
            path = root / "tree" / name / f"{i}.jpg"
            write_image(path, 17 * i, size=(SIDE, SIDE), quality=quality)
    build_corpus("folder", root / "tree", root / "native.lmdb", real=(REAL,), fake=(FAKE,),
                 split_ratio="50/0/50")  # fmt: skip
    return root


def test_a_native_corpus_has_the_spectra_of_its_files_luma(jpegs: Path) -> None:
    corpus = Corpus(jpegs / "native.lmdb")
    found = Profiler(FeatureSpec(), 1).of_corpus(corpus)
    apart = []
    for profile, sample in zip(found, corpus.samples(), strict=True):
        expected = by_hand(luma(jpegs / "tree" / sample.source), "paper")
        assert np.abs(profile - expected).max() < 1e-9
        apart.append(np.abs(by_hand(grey(corpus.image(sample)), "paper") - expected).max())
    assert np.median(apart) > 1e-3  # colour, then grey has other spectra


def test_a_packed_corpus_has_the_spectra_of_its_pixels(jpegs: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.lmdb"
    pack([str(jpegs / "native.lmdb")], packed, PackRequest(size=SIDE), n_workers=1)
    corpus = Corpus(packed)
    found = Profiler(FeatureSpec(), 1).of_corpus(corpus)
    expected = [by_hand(grey(corpus.image(sample)), "paper") for sample in corpus.samples()]
    assert np.abs(np.array(found) - expected).max() < 1e-9


def test_predict_eval_and_features_make_files_grey_alike(
    jpegs: Path, tmp_path: Path, run: Invoke
) -> None:
    data, out = jpegs / "native.lmdb", tmp_path / "run"
    train_spectrum(SpectrumRequest(data=(str(data),), classifier="logistic"), out, n_workers=1)
    lines = tmp_path / "scores.csv"
    how = ("--csv", lines, "--split", "all", "--resamples", 0)
    assert run("eval", out, "--data", data, *how).exit_code == 0
    done = run("predict", out, jpegs / "tree", "--whole", "--json")
    predicted = {
        Path(row["path"]).relative_to(jpegs / "tree").as_posix(): row["score"]
        for row in json.loads(done.stdout)["faces"]
    }
    with lines.open(encoding="utf-8", newline="") as file:
        scored = [float(row["score"]) for row in csv.DictReader(file)]
    of_files = [predicted[sample.source] for sample in Corpus(data).samples()]
    assert np.allclose(of_files, scored, atol=1e-7)
    for name, source in (("a", jpegs / "tree"), ("b", data)):
        words = ["--out", tmp_path / f"{name}.npz", "--features", "faces-hq"]
        assert run("spectrum", "features", source, *words).exit_code == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        names = dict(zip(a["keys"], a["features"], strict=True))
        sources = [sample.source for sample in Corpus(data).samples()]
        assert np.array_equal([names[name] for name in sources], b["features"])
        assert json.loads(str(a["about"]))["features"]["grey"] == "jpeg-luma"


def test_profiles_and_models_of_the_older_grey_are_not_used(
    jpegs: Path, fitted: Path, corpus: Path, tmp_path: Path
) -> None:
    opened, spec = Corpus(jpegs / "native.lmdb"), FeatureSpec()
    first = Profiler(spec, 1).of_corpus(opened)
    kept = cache_path(opened, spec)
    with np.load(kept) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays["facts"]))
    assert facts.pop("grey") == "jpeg-luma"
    facts["format"] = 1
    arrays["facts"] = np.array(json.dumps(facts))
    arrays["values"] = arrays["values"] + 1
    np.savez(kept, **arrays)
    assert np.array_equal(Profiler(spec, 1).of_corpus(opened), first)
    old = change(fitted, tmp_path / "old", lambda row: row["features"].pop("grey"))
    with pytest.raises(HffkitError, match=r"older version .* luma .*Train the model again"):
        evaluate(EvalRequest((old,), (str(corpus),)))
    new = change(fitted, tmp_path / "new", lambda row: row["features"].update(grey="luma-2"))
    with pytest.raises(HffkitError, match="No grey named 'luma-2'"):
        evaluate(EvalRequest((new,), (str(corpus),)))


@pytest.mark.slow
def test_processes_change_no_bit_of_profiles(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hffkit.execution.pool._ALONE", 0.01)
    folders = [data / "data" / "images" / name for name in ("real-lfwcrop", "real-ffhq256")]
    files = [[folder / name for name in images_below(folder, Rest())[:150]] for folder in folders]
    paths = [path for both in zip(*files, strict=True) for path in both]
    images = [(path.name, partial(read_grey, path)) for path in paths] * 2
    spec = FeatureSpec("square")
    found = Profiler(spec, 3).of_images(images, len(images))
    alone = list(profiles_of(images, spec))
    assert len(found) == len(alone) == 600
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))
    of_files = Profiler(spec, 3).of_files(paths)
    assert all(
        not isinstance(a, Lost) and np.array_equal(a, b)
        for a, b in zip(of_files, alone[: len(paths)], strict=True)
    )


def test_where_nothing_can_be_written_nothing_is_kept(tree: Path, tmp_path: Path) -> None:
    path = build(tree, tmp_path / "c.lmdb")
    (tmp_path / "c.lmdb.spectrum").write_text("in the way", "utf-8")
    assert len(Profiler(FeatureSpec(), 1).of_corpus(Corpus(path))) == 2 * N


# Measuring and judging


def test_eval_says_what_the_model_says(
    corpus: Path, fitted: Path, tmp_path: Path, run: Invoke
) -> None:
    lines, page = tmp_path / "scores.csv", tmp_path / "page.html"
    done = run("eval", fitted, "--data", corpus, "--csv", lines, "--html", page, "--json",
               "--resamples", 50)  # fmt: skip
    assert done.exit_code == 0, done.output
    features, is_fake = of_split(corpus, "test")
    trained, labels = of_split(corpus, "train")
    expected = scores(margins("svm-rbf", fit("svm-rbf", trained, labels), features))
    with lines.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert np.allclose([float(row["score"]) for row in found], expected, atol=1e-6)
    assert [row["class"] for row in found] == ["fake" if fake else "real" for fake in is_fake]
    (measured,) = json.loads(done.stdout)["measured"]
    assert measured["network"] == "spectrum/svm-rbf"
    accuracy = measured["levels"]["frame"]["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(((expected > 0.5) == is_fake).mean())
    assert accuracy["low"] is not None
    assert measured["warning"] is None
    html = page.read_text("utf-8")
    assert "Spectra." in html
    assert f"Radially averaged power spectra of {REAL}, {FAKE}." in html
    assert "spectrum/svm-rbf, 80 values of a radial spectrum" in html
    assert [row["method"] for row in found] == [FAKE if fake else REAL for fake in is_fake]
    assert {row["p_fake"] for row in found} == {""}  # an SVM has decision values alone
    calibration = measured["levels"]["frame"]["metrics"]["calibration_error"]
    assert (calibration["value"], calibration["low"]) == (None, None)
    assert "no probability" in measured["score"]
    assert "Calibration.</b>" not in html
    assert "The score is the decision value" in html
    recalls = {row["class"]: row["recall"] for row in measured["levels"]["frame"]["methods"]}
    right = (expected > 0.5) == is_fake
    assert recalls == pytest.approx({FAKE: right[is_fake].mean(), REAL: right[~is_fake].mean()})


def test_the_command_of_the_group_is_eval_itself(corpus: Path, fitted: Path, run: Invoke) -> None:
    shown = [
        run(*words, fitted, "--data", corpus, "--resamples", 9).stdout
        for words in (["spectrum", "eval"], ["eval"])
    ]
    assert shown[0] == shown[1] != ""


def test_runs_of_networks_and_of_spectra_share_a_table(
    corpus: Path, fitted: Path, tmp_path: Path, run: Invoke
) -> None:
    net = write_run(tmp_path / "net", THREE)
    words = ("--task", "binary", "--against", fitted, "--resamples", 20)
    done = run("eval", fitted, net, "--data", corpus, *words)
    assert done.exit_code == 0, done.output
    assert "Trained on / tested on" in done.stdout
    assert "Relative error reduction" in done.stdout


def test_groups_that_were_learned_from_are_warned_of(
    tree: Path, fitted: Path, tmp_path: Path
) -> None:
    other = build(tree, tmp_path / "other.lmdb", split_ratio="0/0/100")
    request = EvalRequest((fitted,), (str(other),), n_resamples=0)
    with pytest.raises(CorpusError, match="was trained on"):
        evaluate(request)
    (one,) = evaluate(replace(request, allow_overlap=True)).measured
    assert one.warning is not None
    assert "have the names of groups that the run was trained" in one.warning


def test_frames_are_judged_by_video_too(tmp_path: Path) -> None:
    for name, crf in ((REAL, 10), (FAKE, 45)):
        for i in range(4):
            write_clip(tmp_path / "clips" / name / f"{i}.mp4", n_frames=3, first=7 * i, crf=crf)
    data = build_corpus(
        "folder", tmp_path / "clips", tmp_path / "clips.lmdb", real=(REAL,), fake=(FAKE,),
        split_ratio="50/0/50", frames="3",
    )  # fmt: skip
    out = tmp_path / "run"
    train_spectrum(SpectrumRequest(data=(str(data),), classifier="logistic"), out, n_workers=1)
    (one,) = evaluate(EvalRequest((out,), (str(data),), n_resamples=0)).measured
    assert one.scored.is_probability  # of a logistic regression
    assert one.evaluation.frame.estimates["calibration_error"].value is not None
    assert set(one.evaluation.levels) == {"frame", "video_mean", "video_vote"}
    vote = one.evaluation.levels["video_vote"]
    assert vote.n_real + vote.n_fake == len(set(one.scored.videos))


def test_tied_votes_go_by_the_mean_decision_value() -> None:
    # Video a is 2 to 2: its mean score is below 0.5, its mean decision value above 0. b is the
    # other way round, c has a majority whatever the values.
    values = {"a": [10.0, 0.1, -2, -2], "b": [-10.0, -0.1, 2, 2], "c": [0.1, 0.1, -30]}
    videos = tuple(name for name, some in values.items() for _ in some)
    margin = np.array([value for some in values.values() for value in some])
    fake = 1 / (1 + np.exp(-margin))
    names = tuple(str(i) for i in range(len(videos)))
    scored = Scored(
        BINARY, np.zeros(len(videos), np.int64),
        np.stack([fake, 1 - fake], axis=1).astype(np.float32), names, videos, videos, margin,
    )  # fmt: skip
    votes = vote_over_videos(scored)
    assert votes is not None
    assert votes.called_fake.tolist() == [True, False, True]
    assert votes.predicted.tolist() == [0, 1, 0]
    without = vote_over_videos(replace(scored, margins=None))
    assert without is not None
    assert without.called_fake.tolist() == [False, True, True]
    with pytest.raises(ValueError, match=r"margins must be \(11,\)"):
        replace(scored, margins=margin[:5])


def test_predict_judges_files_by_a_run_of_spectra(
    tree: Path, corpus: Path, fitted: Path, tmp_path: Path, run: Invoke
) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (SIDE, SIDE)).save(flat)
    done = run("predict", fitted, tree / FAKE, flat, "--whole", "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    features = [
        features_of([np.asarray(Image.open(row["path"]).convert("RGB"))], FEATURES["celeba"])[0]
        for row in found["faces"]
    ]
    trained, labels = of_split(corpus, "train")
    expected = scores(margins("svm-rbf", fit("svm-rbf", trained, labels), np.array(features)))
    assert np.allclose([row["score"] for row in found["faces"]], expected, atol=1e-6)
    assert len(found["faces"]) == N
    assert {row["probabilities"] for row in found["faces"]} == {None}
    assert "no probability" in found["score"]
    assert "all pixels are equal" in found["files"][-1]["problem"]


# What is no run, or not for this


def test_images_of_another_size_are_refused_where_profiles_are_native(
    corpus: Path, tree: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "run"
    arguments = ["--features", "faces-hq", "--classifier", "logistic", "--out", out]
    assert run("spectrum", "train", "--data", corpus, *arguments).exit_code == 0
    other = build(tree, tmp_path / "large.lmdb", size=48)
    done = run("eval", out, "--data", other)
    assert done.exit_code == 1
    assert "takes profiles of 20 values, got 32" in done.output
    assert "Set `points` when training" in done.output


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda row: row.update(format=2), "run format must be 1, got 2"),
        (lambda row: row.update(classifier="tree"), "No classifier named 'tree'"),
        (lambda row: row.update(classifier="kmeans"), "has a SVC, not a fitted KMeans"),
        (lambda row: row.update(classifier=3), "damaged: classifier is 3"),
        (lambda row: row.update(n_features=0), "damaged: n_features is 0"),
        (lambda row: row.update(n_features=81), "takes 80 features"),
        (lambda row: row.update(features={"crop": "whole", "x": 1}), "damaged"),
        (lambda row: row.update(features=[]), r"damaged: .*features \[\]"),
        (lambda row: row["features"].update(crop="all"), "No crop named 'all'"),
        (lambda row: row["features"].update(n_points="80"), "damaged"),
        (lambda row: row["features"].update(n_points=80.0), r"features: n_points is 80\.0"),
        (lambda row: row.update(classes=[]), "classes are not fake and real"),
        (lambda row: row.update(made=[]), "made or result is no object"),
        (lambda row: row["made"].update(data=[1]), "made.data does not name corpora"),
        (lambda row: row.pop("made"), "damaged"),
        (lambda row: row.update(more=1), "damaged"),
    ],
)  # fmt: skip
def test_damaged_runs_are_refused(
    corpus: Path, fitted: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    bad = change(fitted, tmp_path / "bad", edit)
    with pytest.raises(HffkitError, match=message):
        evaluate(EvalRequest((bad,), (str(corpus),)))


def test_a_run_without_its_model_is_refused(corpus: Path, fitted: Path, tmp_path: Path) -> None:
    bad = change(fitted, tmp_path / "bad", lambda _: None)
    (bad / "model.skops").unlink()
    with pytest.raises(HffkitError, match=r"model\.skops: cannot be read"):
        evaluate(EvalRequest((bad,), (str(corpus),)))
    features, is_fake = of_split(corpus, "train")
    write_model(bad / "model.skops", fit("kmeans", features, is_fake))
    with pytest.raises(HffkitError, match="has a KMeans, not a fitted SVC"):
        evaluate(EvalRequest((bad,), (str(corpus),)))
    write_model(bad / "model.skops", fit("svm-rbf", features, ~is_fake))
    with pytest.raises(HffkitError, match=r"model\.skops: altered or damaged: its SHA-256 is not"):
        evaluate(EvalRequest((bad,), (str(corpus),)))


def test_a_training_cannot_begin_with_a_run_of_spectra(
    corpus: Path, fitted: Path, tmp_path: Path, run: Invoke
) -> None:
    done = run("train", "--data", corpus, "--init", fitted, "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "a run of `hffkit spectrum` has no network" in done.output


# Features and plots


def test_features_are_written_for_numpy(
    tree: Path, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "features.npz"
    assert run("spectrum", "features", corpus, "--out", out).exit_code == 0
    expected, is_fake = of_split(corpus, "train", "val", "test")
    with np.load(out) as file:
        assert np.array_equal(file["features"], expected)
        assert np.array_equal(file["is_fake"], is_fake)
        samples = list(Corpus(corpus).samples())
        for name, field in (("keys", "key"), ("splits", "split"), ("groups", "group")):
            assert file[name].tolist() == [getattr(sample, field) for sample in samples]
    again = run("spectrum", "features", corpus, "--out", out)
    assert again.exit_code == 1
    assert "already exists" in again.output
    other = tmp_path / "folder.npz"
    done = run("spectrum", "features", tree, "--out", other, "--points", 30, "--no-first-bin")
    assert done.exit_code == 0
    with np.load(other) as file:
        assert file["features"].shape == (2 * N, 30)
        assert file["features"][0, 0] > 1
        assert file["keys"].tolist() == sorted(file["keys"].tolist())


def test_unreadable_images_are_named_and_left_out(tmp_path: Path, run: Invoke) -> None:
    good = write_image(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"no image")
    (tmp_path / "in/c.png").symlink_to("gone.png")
    (tmp_path / "in/d.png").write_bytes(good.read_bytes()[:-60])
    Image.new("RGB", (20, 20)).save(tmp_path / "in/e.png")
    write_image(tmp_path / "in/f.png", 3)
    done = run("spectrum", "features", tmp_path / "in", "--out", tmp_path / "x.npz")
    assert done.exit_code == 3
    assert done.output.splitlines() == [
        "b.png: unreadable: no image: starts with 'no image'",
        "c.png: unreadable: cannot be read: No such file or directory",
        "d.png: unreadable: cut short: a chunk of the PNG runs past its end",
        "e.png: unreadable: all pixels are equal, so it has no spectrum. Leave it out.",
        f"{tmp_path}/x.npz: 2 images, 80 values each",
    ]
    with np.load(tmp_path / "x.npz") as file:
        assert file["keys"].tolist() == ["a.png", "f.png"]
    good.unlink()
    (tmp_path / "in/f.png").unlink()
    done = run("spectrum", "features", tmp_path / "in", "--out", tmp_path / "y.npz")
    assert (done.exit_code, "no image of it can be read" in done.output) == (1, True)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("spectrum", "features", empty, "--out", tmp_path / "y.npz")
    assert (done.exit_code, "holds no image" in done.output) == (2, True)


def test_a_plot_has_the_mean_and_spread_of_each_class(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "spectra.png"
    done = run("spectrum", "plot", corpus, "--out", out, "--split", "train", "--json")
    assert done.exit_code == 0, done.output
    features, is_fake = of_split(corpus, "train")
    curves = {curve["class"]: curve for curve in json.loads(done.stdout)}
    assert list(curves) == [REAL, FAKE]
    for name, some in ((REAL, features[~is_fake]), (FAKE, features[is_fake])):
        assert np.allclose(curves[name]["mean"], some.mean(0), atol=1e-12)
        assert np.allclose(curves[name]["spread"], some.std(0), atol=1e-12)
        assert curves[name]["n_pictures"] == len(some)
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400
    done = run("spectrum", "plot", corpus, "--out", tmp_path / "spectra.pdf")
    assert (done.exit_code, "must be a .png file" in done.output) == (2, True)


def test_lost_detail_shows_in_the_plot(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    done = run("spectrum", "plot", corpus, "--out", tmp_path / "p.png", "--json")
    real, fake = (np.array(curve["mean"]) for curve in json.loads(done.stdout))
    assert (fake[40:] < real[40:] - 0.05).all()
    assert np.abs(fake[:10] - real[:10]).max() < 0.05


def test_the_command_line_knows_the_tables() -> None:
    known = {
        option.name: set(option.type.choices)
        for option in train_command.params
        if isinstance(option.type, click.Choice)
    }
    assert known == {
        "features": set(FEATURES),
        "crop": set(CROPS),
        "centre": set(CENTRES),
        "classifier": set(CLASSIFIERS),
    }


# Recipes


SOURCES = {"faces-hq": "Faces-HQ", "celeba": "CelebA", "dfd": "DeepFakeDetection"}
ROWS = {"SVM": ("svm-linear", "svm-rbf"), "LogisticRegression": ("logistic",),
        "KMeans": ("kmeans",)}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_the_papers_tables_have_its_figures_and_can_be_planned(
    data: Path, corpus: Path, tmp_path: Path, run: Invoke, name: str
) -> None:
    recipe = read_recipe(f"durall-{name}")
    (wanted,) = recipe.data
    words = ["--data", f"{wanted}={corpus}", "--out", tmp_path / "x", "--dry-run"]
    done = run("run", f"durall-{name}", *words)
    assert done.exit_code == 0, done.output
    with (data / "spec/tables/seed003_durall_results.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "README image"]
    rows = [row for row in rows if row["dataset"] == SOURCES[name]]
    assert len(rows) == {"faces-hq": 12, "celeba": 3, "dfd": 10}[name]
    for row in rows:
        column = row["samples"] or "2000, vote by video"
        column = "random splits" if name == "celeba" else column
        own = [recipe.paper.get((known, column), -1.0) for known in ROWS[row["classifier"]]]
        assert any(abs(each - float(row["accuracy_percent"])) < 0.3 for each in own), row


def table_of(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader((out / "table.csv").read_text("utf-8").splitlines())
    return {(row["row"], row["column"]): row for row in rows}


def test_the_table_of_celeba_comes_out(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    words = ["run", "durall-celeba", "--data", f"celeba={corpus}", "--out", tmp_path / "out"]
    done = run(*words, "--workers", 1)
    assert done.exit_code == 0, done.output
    rows = table_of(tmp_path / "out")
    assert len(rows) == 5 * 4
    assert rows["svm-rbf", "random splits"]["paper"] == "100"
    features, is_fake = of_split(corpus, "train")
    others, are_fake = of_split(corpus, "test")
    right = (margins("logistic", fit("logistic", features, is_fake), others) > 0) == are_fake
    assert float(rows["logistic", "Raw"]["measured"]) == pytest.approx(100 * right.mean(), abs=1e-3)
    features, is_fake = of_split(corpus, "train", "val", "test")
    splits = ShuffleSplit(10, test_size=0.2, random_state=0).split(features)
    expected = []
    for train, test in splits:
        model = LogisticRegression(solver="liblinear", max_iter=1000, random_state=0)
        model.fit(features[train], is_fake[train])
        expected.append(100 * model.score(features[test], is_fake[test]))
    cell = rows["logistic", "random splits"]
    assert [float(value) for value in cell["seeds"].split(";")] == pytest.approx(expected, abs=1e-3)
    assert float(cell["measured"]) == pytest.approx(np.mean(expected), abs=1e-3)


def small(name: str, axis: str, more: str, folder: Path) -> str:
    """Write a shipped recipe with fewer samples."""
    path = folder / f"{name}.toml"
    base = Path(__file__).parents[2] / "recipes/tables" / f"{name}.toml"
    path.write_text(f'extends = "{base}"\n[values]\n{axis} = [40, 20]\nseed = [0]\n{more}', "utf-8")
    return str(path)


def test_the_table_of_faces_hq_comes_out(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    recipe = small("durall-faces-hq", "images", "", tmp_path)
    words = ["--data", f"faces_hq={corpus}", "--out", tmp_path / "out", "--workers", 1]
    done = run("run", recipe, *words)
    assert done.exit_code == 0, done.output
    rows = table_of(tmp_path / "out")
    assert list(rows) == [(row, n) for row in ("svm-linear", "logistic", "kmeans")
                          for n in ("40", "20")]  # fmt: skip
    assert [rows[row, "20"]["paper"] for row in ("svm-linear", "kmeans")] == ["100", "75"]
    assert all(len(row["seeds"].split(";")) == 10 for row in rows.values())
    runs = [path.parent for path in (tmp_path / "out").glob("steps/*/model.skops")]
    assert len(runs) == 3 * 2
    for path in runs:
        made, result = about(path)["made"], about(path)["result"]["repeats"]
        assert (made["samples"], result["n_samples"]) in ((40, 40), (20, 20))
        files = sorted((path / "repeats").iterdir())
        assert len(files) == result["n_repeats"] == 10
        for file, accuracy in zip(files, result["rows"][-1]["accuracies"], strict=True):
            lines = list(csv.DictReader(file.read_text("utf-8").splitlines()))
            assert len({line["key"] for line in lines}) == len(lines) == made["samples"] // 5
            right = [(float(line["margin"]) > 0) == (line["class"] == "fake") for line in lines]
            assert np.mean(right) == pytest.approx(accuracy)


def votes_by_hand(file: Path) -> list[bool]:
    """Whether the majority of each video's frames is right, ties by the sum of decision values."""
    videos: dict[tuple[str, str], list[float]] = {}
    for line in csv.DictReader(file.read_text("utf-8").splitlines()):
        videos.setdefault((line["video"], line["label"]), []).append(float(line["margin"]))
    right = []
    for (name, label), values in videos.items():
        assert name
        lead = sum(value > 0 for value in values) - sum(value < 0 for value in values)
        is_fake = lead > 0 if lead else sum(values) > 0
        right.append(is_fake == (label == "0"))
    return right


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of frames: 8 clips of each class, of which 4 are for testing."""
    root = tmp_path_factory.mktemp("clips")
    for name, crf in ((REAL, 18), (FAKE, 33)):
        for i in range(8):
            write_clip(root / "tree" / name / f"{i}.mp4", n_frames=5, first=7 * i, crf=crf)
    return build_corpus(
        "folder", root / "tree", root / "clips.lmdb", real=(REAL,), fake=(FAKE,),
        split_ratio="50/0/50", frames="5",
    )  # fmt: skip


@pytest.mark.parametrize(("name", "files", "column"), [
    ("durall-dfd", "repeats/*.csv", "2000"), ("durall-dfd-grouped", "samples.csv", "1600"),
])  # fmt: skip
def test_the_tables_of_dfd_come_out_with_the_vote_of_videos(
    clips: Path, tmp_path: Path, run: Invoke, name: str, files: str, column: str
) -> None:
    vote = f"{column}, vote by video"
    more = f'[table.videos."{vote}"]\ncolumn = 40\n'
    recipe = small(name, "frames", more, tmp_path)
    words = ["--data", f"dfd={clips}", "--out", tmp_path / "out", "--workers", 1]
    done = run("run", recipe, *words)
    assert done.exit_code == 0, done.output
    rows = table_of(tmp_path / "out")
    columns = ("40", "20", vote)
    assert list(rows) == [(row, each) for row in ("svm-rbf", "logistic") for each in columns]
    assert [rows[row, vote]["paper"] for row in ("svm-rbf", "logistic")] == ["90", "81"]
    steps = plan_of(read_recipe(recipe), {"dfd": clips}, tmp_path / "out").steps
    for row in ("svm-rbf", "logistic"):
        expected = [
            100 * np.mean(votes_by_hand(file))
            for planned in steps
            if f"{row} on 40," in planned.step.name
            for file in sorted(planned.out.glob(files))
        ]
        found = [float(value) for value in rows[row, vote]["seeds"].split(";")]
        assert len(found) == (10 if name == "durall-dfd" else 1)
        assert found == pytest.approx(expected, abs=1e-3)


def test_a_column_by_video_needs_videos(corpus: Path, tmp_path: Path, run: Invoke) -> None:
    more = '[table.videos."2000, vote by video"]\ncolumn = 40\n'
    recipe = small("durall-dfd", "frames", more, tmp_path)
    words = ["--data", f"dfd={corpus}", "--out", tmp_path / "out", "--workers", 1]
    done = run("run", recipe, *words)
    assert done.exit_code == 1
    assert "'svm-rbf on 40, seed 0' has no frames of videos" in done.output


@pytest.mark.parametrize(("name", "field", "expected"), [
    ("durall-faces-hq", "samples", [3600, 900, 90, 20]),
    ("durall-dfd-grouped", "limit", [1440, 720, 144, 14]),
])  # fmt: skip
def test_scale_reduces_the_numbers_of_samples(
    corpus: Path, tmp_path: Path, name: str, field: str, expected: list[int]
) -> None:
    recipe = read_recipe(name)
    plan = plan_of(recipe, dict.fromkeys(recipe.data, corpus), tmp_path, scale=0.9)
    requests = [each.bound()[0] for each in plan.steps if each.step.verb == "spectrum"]
    found = [getattr(request, field) for request in requests]
    assert list(dict.fromkeys(found)) == expected


def test_a_recipe_cannot_ask_for_what_the_command_refuses(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    text = '[data.c]\nabout = "x"\n[steps.s]\ndo = "spectrum"\ndata = "c"\nclassifier = "tree"\n'
    path.write_text('title = "t"\n' + text, "utf-8")
    recipe = read_recipe(str(path))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/file").touch()
    with pytest.raises(HffkitError, match=r"steps\.s: No classifier named 'tree'"):
        plan_of(recipe, {"c": tmp_path / "c"}, tmp_path / "out")
