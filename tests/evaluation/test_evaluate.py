import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Run as Invoke
from makers.pages import Reader
from makers.runs import THREE, caffe_softmax, write_run
from makers.trees import (
    build_corpus,
    change_manifest,
    change_records,
    raw_pixels,
    records,
    rows,
    write_clip,
)
from makers.trees import write_image as image
from PIL import Image

from hffkit.errors import (
    ArgumentError,
    CorpusError,
    HffkitError,
    MetricError,
    StorageError,
    WeightsError,
)
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.levels import measure
from hffkit.evaluation.request import EvalRequest
from hffkit.evaluation.result import EvalResult, Measurement
from hffkit.inference import network as scoring
from hffkit.interop.convert import convert
from hffkit.manifest.classes import BINARY, ClassTable, FaceClass, numbered
from hffkit.media.files import sha256_of
from hffkit.networks.table import build
from hffkit.runs.run import read_run
from hffkit.runs.scores import Scored
from hffkit.runs.weights import read_weights, write_weights
from hffkit.storage.datum import relabelled
from hffkit.storage.outputs import EVAL_PAGE, SCORES
from hffkit.storage.staging import write_bytes_durably

FAKES, REALS = ("GAN", "Glow"), ("camera",)
N = 8  # images of each class
SIZE = 32  # px: the least that Meso-4 takes
Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    for number, name in enumerate((*FAKES, *REALS)):
        for i in range(N):
            image(root / name / f"{i:02}.png", 40 * number + 5 * i, size=(48, 40))
    return root


def small(source: Path, out: Path, **arguments: Any) -> Path:
    known: dict[str, Any] = {"fake": FAKES, "real": REALS, "split_ratio": "25/25/50", "size": SIZE}
    return build_corpus("folder", source, out, **(known | arguments))


@pytest.fixture(scope="module")
def corpus(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(source, tmp_path_factory.mktemp("corpora") / "small.lmdb")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "three", THREE, is_of_packed=True)


def one(run: Path, data: Path, **how: Any) -> Measurement:
    how = {"n_resamples": 0, "device": "cpu", **how}
    request = EvalRequest((run,), (str(data),), **how)
    (found,) = evaluate(request).measured
    return found


def by_hand(run: Path, data: Path) -> npt.NDArray[np.float32]:
    """The softmax (N, C) of all packed samples of a run of RGB levels 0..1, in key order."""
    about = read_run(run)
    net = build(about.network, len(about.classes.names), about.size)
    net.load_state_dict(read_weights(run))
    with TemporaryDirectory() as copy:  # LMDB refuses to open twice what a reader still holds
        shutil.copy(data / "data.mdb", copy)
        pixels = np.stack([raw_pixels(value, about.size)[0] for _, value in records(Path(copy))])
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with torch.inference_mode():
        softmax: npt.NDArray[np.float32] = net.eval()(images).softmax(1).numpy()
    return softmax


def read_csv(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def column(table: Table, name: str) -> npt.NDArray[np.float64]:
    return np.array([float(row[name]) for row in table])


@pytest.mark.usefixtures("no_plots")
def test_runs_that_differ_in_their_seed_are_summarised(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    runs = []
    for name, seed, rate in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 2, 0.1), ("d", 3, 0.2)):
        made = {"seed": seed, "recipe": {"base_lr": rate}, "threads": seed}
        path = write_run(tmp_path / name, seed=seed + 1, is_of_packed=True, made=made)
        runs.append(path)
    again = tmp_path / "again"  # the same seed once more is no other training
    shutil.copytree(runs[0], again)
    page = tmp_path / "page.html"
    result = run("eval", *runs, again, "--data", corpus, "--json", "--resamples", 20)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (summary,) = found["over_seeds"]
    assert summary["runs"] == list(map(str, runs[:3]))
    assert summary["seeds"] == [0, 1, 2]
    for name, metric in summary["levels"]["frame"].items():
        each = [one["levels"]["frame"]["metrics"][name]["value"] for one in found["measured"][:3]]
        assert metric["each"] == each
        if None not in each:
            assert metric["value"] == pytest.approx(np.mean(each))
            assert metric["deviation"] == pytest.approx(np.std(each, ddof=1))
    accuracy = summary["levels"]["frame"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]

    title = "meso4, 3 seeds, on"
    text = run("eval", *runs[:3], "--data", corpus, "--resamples", 20, "--html", page).stdout
    assert title in page.read_text("utf-8")
    assert f"## {title}" in text
    shown = f"| Accuracy | {100 * accuracy['value']:.2f} % [{100 * accuracy['low']:.2f}, "
    assert shown in text
    alone = run("eval", runs[0], runs[3], "--data", corpus, "--resamples", 0)
    assert "seeds, on" not in alone.stdout  # of another recipe


# What Caffe itself says


@pytest.fixture(scope="module")
def golden(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, converted from Caffe, and `val.lmdb`, the images that Caffe judged."""
    folder = tmp_path_factory.mktemp("golden")
    caffe = data / "golden" / "caffe-amtennet"
    convert([caffe / "snap_iter_120.caffemodel"], folder / "run")
    build_corpus(
        "list",
        data / "data" / "images",
        folder / "val.lmdb",
        list_file=caffe / "val.txt",
        folders=(("fake", "0"), ("real", "1")),
        fake=("fake",),
        real=("real",),
        size=128,
    )
    return folder


@pytest.mark.golden
def test_caffes_network_scores_and_errs_as_it_does_in_caffe(
    data: Path, golden: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "scores.csv"
    found = run(
        "eval", golden / "run", "--data", golden / "val.lmdb", "--split", "all", "--csv", out,
        "--resamples", 0, "--device", "cpu", "--json",
    )  # fmt: skip
    assert found.exit_code == 0
    softmax = caffe_softmax(data)
    lines = (data / "golden/caffe-amtennet/val.txt").read_text("utf-8").splitlines()
    labels = np.array([int(line[-1]) for line in lines])
    table = read_csv(out)
    assert [row["key"] for row in table] == [line[:-2] for line in lines]
    assert [int(row["label"]) for row in table] == labels.tolist()
    assert {(row["label"], row["class"]) for row in table} == {("0", "fake"), ("1", "real")}
    assert np.abs(column(table, "score") - softmax[:, 0]).max() < 1e-5  # 0 is fake in Caffe
    assert np.abs(column(table, "p_real") - softmax[:, 1]).max() < 1e-5
    level = json.loads(found.stdout)["measured"][0]["levels"]["frame"]
    accuracy = np.mean(softmax.argmax(axis=1) == labels)
    assert level["metrics"]["accuracy"]["value"] == accuracy
    assert level["metrics"]["binary_accuracy"]["value"] == accuracy
    assert (level["n_fake"], level["n_real"]) == (np.sum(labels == 0), np.sum(labels == 1))
    assert level["confusion"]["counts"] == [
        [int(np.sum((labels == a) & (softmax.argmax(axis=1) == b))) for b in (0, 1)] for a in (0, 1)
    ]
    pairs = softmax[labels == 0, 0][:, None] - softmax[labels == 1, 0][None, :]
    assert level["metrics"]["auc"]["value"] == pytest.approx(np.mean(pairs > 0), abs=1e-9)


def test_neither_batches_nor_threads_change_scores(
    corpus: Path, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = one(three, corpus, split=None).scored
    n_threads = torch.get_num_threads()
    monkeypatch.setattr(scoring, "_BATCH", 7)
    try:
        torch.set_num_threads(1 if n_threads > 1 else 2)
        other = one(three, corpus, split=None).scored
    finally:
        torch.set_num_threads(n_threads)
    assert other.keys == usual.keys
    assert np.abs(other.probabilities - usual.probabilities).max() < 1e-5


# Scores, labels and classes


def test_scores_are_the_networks_softmax_summed_over_fakes(corpus: Path, three: Path) -> None:
    scored = one(three, corpus, split=None).scored
    softmax = by_hand(three, corpus)
    assert np.abs(scored.probabilities - softmax).max() < 1e-5
    assert np.abs(scored.scores - softmax[:, :2].sum(axis=1)).max() < 1e-5
    assert np.ptp(scored.scores) > 0.2  # else this shows nothing
    assert scored.labels.tolist() == [0] * N + [1] * N + [2] * N
    assert scored.keys == tuple(row["key"] for row in rows(corpus / "manifest.jsonl"))
    assert scored.groups == tuple(row["group"] for row in rows(corpus / "manifest.jsonl"))


def test_native_and_packed_images_score_alike(source: Path, three: Path, tmp_path: Path) -> None:
    packed = small(source, tmp_path / "packed.lmdb")
    native = small(source, tmp_path / "native.lmdb", size=None)
    a, b = one(three, packed).scored, one(three, native).scored
    assert a.keys == b.keys
    assert np.array_equal(a.probabilities, b.probabilities)


def test_classes_are_matched_by_name_whatever_their_ids(corpus: Path, tmp_path: Path) -> None:
    order = ("camera", "Glow", "GAN")
    table = ClassTable(tuple(FaceClass(i, n, n in FAKES) for i, n in enumerate(order)))
    run = write_run(tmp_path / "run", table)
    scored = one(run, corpus, split=None).scored
    assert scored.labels.tolist() == [2] * N + [1] * N + [0] * N
    assert scored.classes == table
    softmax = by_hand(run, corpus)
    assert np.abs(scored.scores - softmax[:, 1:].sum(axis=1)).max() < 1e-5


def test_classes_that_the_corpus_lacks_are_no_error(corpus: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", numbered(("PGGAN", *FAKES), ("CelebA", *REALS)))
    found = one(run, corpus)
    assert set(found.scored.labels.tolist()) == {1, 2, 4}
    assert found.evaluation.frame.recalls[0] is None


def test_a_class_unknown_to_the_network_is_an_error(corpus: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", numbered(("GAN",), REALS))
    with pytest.raises(CorpusError, match=r"class 'Glow' \(fake\) is none .*Set `task` to binary"):
        one(run, corpus)
    scored = one(run, corpus, task="binary").scored
    assert scored.labels.tolist() == [0] * N + [1] * (N // 2)


def test_a_class_of_the_same_name_and_the_other_polarity_is_refused(
    corpus: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", numbered(("GAN", "camera"), ("Glow",)))
    with pytest.raises(CorpusError, match=r"class 'Glow' \(fake\) is none .*Glow \(real\)"):
        one(run, corpus)
    # What is fake is the corpus's to say; what the outputs mean is the network's.
    scored = one(run, corpus, split=None, task="binary").scored
    assert scored.labels.tolist() == [0] * 2 * N + [1] * N
    softmax = by_hand(run, corpus)
    assert np.abs(scored.scores - softmax[:, :2].sum(axis=1)).max() < 1e-5


def test_binary_task_sums_the_fake_classes(corpus: Path, three: Path) -> None:
    multi, binary = one(three, corpus), one(three, corpus, task="binary")
    assert binary.scored.classes == BINARY
    assert np.abs(binary.scored.scores - multi.scored.scores).max() < 1e-6
    assert np.array_equal(binary.scored.is_fake, multi.scored.is_fake)
    estimates = binary.evaluation.frame.estimates
    expected = multi.evaluation.frame.estimates["binary_accuracy"].value
    assert estimates["accuracy"].value == expected
    assert len(binary.evaluation.frame.confusion) == 2


@pytest.mark.usefixtures("no_plots")
def test_a_binary_network_has_a_recall_for_each_method_on_screen_page_and_csv(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    path, page, lines = write_run(tmp_path / "run", BINARY), tmp_path / "p", tmp_path / "s.csv"
    files = ("--html", page, "--csv", lines, "--resamples", 0)
    done = run("eval", path, "--data", corpus, "--split", "all", *files)
    assert done.exit_code == 0, done.output
    is_found = by_hand(path, corpus)[:, 0] >= 0.5
    is_found[2 * N :] ^= True  # the reals come last
    text = Reader(page.read_text("utf-8")).text
    for number, name in enumerate((*FAKES, *REALS)):
        recall = f"{100 * is_found[N * number : N * (number + 1)].mean():.2f} %"
        row = next(row for row in done.stdout.splitlines() if row.startswith(f"| {name} |"))
        assert row.endswith(f" {recall} |")
        place = text.index(name)
        assert recall in text[place : place + 12]
    table = read_csv(lines)
    assert [row["method"] for row in table] == [*["GAN"] * N, *["Glow"] * N, *["camera"] * N]
    assert {row["class"] for row in table} == {"fake", "real"}


@pytest.mark.parametrize("task", ["multi", "binary"])
def test_a_binary_network_takes_any_corpus_by_polarity(
    corpus: Path, tmp_path: Path, task: Any
) -> None:
    run = write_run(tmp_path / "run", BINARY)
    scored = one(run, corpus, split=None, task=task).scored
    assert scored.labels.tolist() == [0] * 2 * N + [1] * N
    assert np.abs(scored.scores - by_hand(run, corpus)[:, 0]).max() < 1e-5


# Videos


def test_frames_are_grouped_by_their_video_and_never_by_their_folder(
    three: Path, tmp_path: Path
) -> None:
    for number, name in enumerate((*FAKES, *REALS)):
        for video in range(2):
            first = 8 * number + 3 * video
            write_clip(tmp_path / "clips" / name / f"{video}.mp4", n_frames=4, first=first)
    data = small(
        tmp_path / "clips", tmp_path / "c.lmdb", frames="3", crop="none", split_ratio="0/0/100"
    )
    found = one(three, data)
    paths = [row["source"] for row in rows(data / "manifest.jsonl")]
    assert found.scored.videos == tuple(paths)
    assert len(set(paths)) == 6
    videos = found.evaluation.levels["video_mean"]
    assert (videos.n_fake, videos.n_real) == (4, 2)
    means = [
        found.scored.probabilities[[path == video for path in paths]].mean(axis=0).argmax()
        for video in dict.fromkeys(paths)
    ]
    right = np.mean(np.array(means) == [0, 0, 1, 1, 2, 2])
    assert videos.estimates["accuracy"].value == right
    assert found.evaluation.levels["video_vote"].n_fake == 4


def test_frames_stored_as_images_are_of_the_folder_of_their_video(
    source: Path, three: Path, tmp_path: Path
) -> None:
    data = small(source, tmp_path / "frames.lmdb", split_ratio="0/0/100")

    def as_frames(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            name, _, file = line["source"].partition("/")
            number = int(file[:2])
            if number < 6:  # two videos of three frames in folders; the other two stay images
                line["frame"] = number % 3
                line["group"] = f"{number // 3:03}"
                line["source"] = f"{name}/c23/{number // 3:03}/{number % 3:04}.png"

    change_manifest(data, as_frames)
    found = one(three, data)
    assert found.scored.videos[: N + 1] == (
        *["GAN/c23/000"] * 3, *["GAN/c23/001"] * 3, None, None, "Glow/c23/000",
    )  # fmt: skip
    videos = found.evaluation.levels["video_mean"]
    assert (videos.n_fake, videos.n_real) == (4, 2)
    assert found.evaluation.frame.n_fake == 2 * N


def test_images_are_no_videos(corpus: Path, three: Path) -> None:
    found = one(three, corpus)
    assert set(found.scored.videos) == {None}
    assert set(found.evaluation.levels) == {"frame"}


# Splits


@pytest.mark.parametrize(("split", "n"), [("train", 2), ("val", 2), ("test", 4), ("all", 8)])
def test_only_the_split_is_measured(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke, split: str, n: int
) -> None:
    out = tmp_path / "s.csv"
    how = ("--split", split, "--csv", out, "--json", "--resamples", 0)
    found = run("eval", three, "--data", corpus, *how)
    assert found.exit_code == 0
    about = json.loads(found.stdout)
    assert about["split"] == split
    assert about["measured"][0]["levels"]["frame"]["n_samples"] == 3 * n
    lines = rows(corpus / "manifest.jsonl")
    keys = [row["key"] for row in lines if split in (row["split"], "all")]
    assert [row["key"] for row in read_csv(out)] == keys


def test_a_split_without_samples_is_an_error(source: Path, three: Path, tmp_path: Path) -> None:
    data = small(source, tmp_path / "train.lmdb", split_ratio="100/0/0")
    with pytest.raises(CorpusError, match=r"train\.lmdb: no sample in split test; "):
        one(three, data)
    assert len(one(three, data, split="train").scored.keys) == 3 * N


# Several runs, several corpora


@pytest.mark.usefixtures("no_plots")
def test_the_cross_table_has_runs_as_rows_and_corpora_as_columns(
    source: Path, corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    other_data = small(source, tmp_path / "other.lmdb", seed=1)
    other_run = write_run(tmp_path / "other", THREE, seed=5)
    runs, data = (three, other_run), (corpus, other_data)
    request = EvalRequest(runs, tuple(map(str, data)), n_resamples=0, device="cpu")
    result = evaluate(request)
    assert [(m.detector.path, m.data.name) for m in result.measured] == [
        (a, str(b)) for b in data for a in runs
    ]
    assert result.cross is not None
    table = result.cross.to_table()
    digests = [sha256_of(each / "manifest.jsonl")[:12] for each in data]
    titles = [f"{each} (manifest {digest})" for each, digest in zip(data, digests, strict=True)]
    assert table.header == ("Trained on / tested on: accuracy; AUC", *titles)
    shares = ("Baseline: always the largest class", "33.33 %", "33.33 %")
    assert table.rows[0] == shares
    assert [row[0] for row in table.rows[1:]] == list(map(str, runs))
    for i, path in enumerate(runs, 1):
        for j, tested in enumerate(data):
            estimates = one(path, tested).evaluation.frame.estimates
            names = ("class_mean_accuracy", "accuracy", "auc")
            balanced, accuracy, auc = (estimates[name].value or 0 for name in names)
            wanted = f"balanced {100 * balanced:.2f} %; accuracy {100 * accuracy:.2f} %"
            assert table.rows[i][j + 1].startswith(f"{wanted}; AUC {auc:.4f}")
    assert result.to_markdown().startswith(result.cross.to_table().to_markdown())
    arguments = ("--data", corpus, "--data", other_data, "--resamples", 0, "--device", "cpu")
    shown = run("eval", *runs, *arguments)
    assert shown.exit_code == 0
    assert shown.stdout == result.to_markdown().rstrip() + "\n"
    assert run("eval", three, *arguments, "--html", tmp_path / "p.html").exit_code == 0
    html = (tmp_path / "p.html").read_text("utf-8")
    assert html.count('<section id="corpus-') == 2
    assert "Trained and tested across corpora" in Reader(html).text


def test_one_cell_makes_no_cross_table(corpus: Path, three: Path) -> None:
    assert evaluate(EvalRequest((three,), (str(corpus),), n_resamples=0)).cross is None


def test_error_reduction_is_that_of_the_definition(
    corpus: Path, three: Path, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", THREE, seed=2)
    found = one(three, corpus, split=None, against=other)
    labels = np.repeat([0, 1, 2], N)
    errors = [np.mean(by_hand(run, corpus).argmax(axis=1) != labels) for run in (three, other)]
    assert errors[0] != errors[1]
    assert found.error_reduction == pytest.approx((errors[1] - errors[0]) / errors[1])
    assert found.to_json()["relative_error_reduction"] == found.error_reduction


def test_there_is_no_error_reduction_against_who_makes_no_error(
    corpus: Path, three: Path, tmp_path: Path
) -> None:
    data = tmp_path / "camera.lmdb"
    shutil.copytree(corpus, data)
    change_manifest(data, lambda lines: [line.update(cls="camera") for line in lines].clear())
    cameras = [(key, relabelled(value, THREE["camera"].id)) for key, value in records(data)]
    change_records(data, lambda transaction: [transaction.put(*each) for each in cameras].clear())
    perfect = write_run(tmp_path / "perfect", THREE)
    state = {name: torch.zeros_like(value) for name, value in read_weights(perfect).items()}
    bias = next(name for name in reversed(state) if name.endswith("bias"))
    state[bias][THREE.names.index("camera")] = 9.0
    write_weights(perfect, state, {})
    assert one(three, data, against=perfect).error_reduction is None


def test_error_reduction_compares_the_same_task(corpus: Path, three: Path, tmp_path: Path) -> None:
    binary = write_run(tmp_path / "binary", BINARY)
    with pytest.raises(ArgumentError, match="Set `task` to binary"):
        one(three, corpus, against=binary)


# What is written


def test_csv_has_one_line_a_sample_in_the_order_of_the_corpus(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "scores.csv"
    how = ("--split", "all", "--csv", out, "--device", "cpu", "--resamples", 0)
    found = run("eval", three, "--data", corpus, *how)
    assert found.exit_code == 0
    text = out.read_bytes()
    assert b"\r" not in text
    table = read_csv(out)
    assert list(table[0]) == [
        "key", "group", "video", "label", "class", "score", "predicted",
        "p_GAN", "p_Glow", "p_camera",
        "method", "split", "trained_on",
    ]  # fmt: skip
    assert {row["video"] for row in table} == {""}  # these are images
    lines = rows(corpus / "manifest.jsonl")
    assert [(row["key"], row["class"]) for row in table] == [
        (line["key"], line["cls"]) for line in lines
    ]
    scored = one(three, corpus, split=None).scored
    assert np.array_equal(column(table, "p_GAN").astype(np.float32), scored.probabilities[:, 0])
    assert np.allclose(column(table, "score"), scored.scores, atol=1e-8)
    assert column(table, "predicted").tolist() == scored.predicted.tolist()


def test_csv_of_several_runs_is_refused(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    other = write_run(tmp_path / "other", THREE, seed=1)
    found = run("eval", three, other, "--data", corpus, "--csv", tmp_path / "s.csv")
    assert found.exit_code == 2
    assert "--csv is for one run on one corpus." in found.stderr
    assert not (tmp_path / "s.csv").exists()


def test_json_is_what_was_measured(corpus: Path, three: Path, run: Invoke) -> None:
    found = run("eval", three, "--data", corpus, "--seed", 3, "--resamples", 20, "--json")
    assert found.exit_code == 0
    measured = one(three, corpus, seed=3, n_resamples=20)
    expected = measure(measured.scored, seed=3, n_resamples=20)
    about = json.loads((corpus / "corpus.json").read_text("utf-8"))
    note = "The run has no record of its training samples, so an overlap cannot be excluded."
    assert json.loads(found.stdout) == {
        "split": "test",
        "task": "multi",
        "against": None,
        "cross": None,
        "measured": [
            {
                "run": str(three),
                "network": "meso4",
                "weights_sha256": sha256_of(three / "weights.safetensors"),
                "warning": None,
                "notes": [note, *([expected.collapse] if expected.collapse else [])],
                "data": str(corpus),
                "content_sha256": [about["content_sha256"]],
                "manifest_sha256": [sha256_of(corpus / "manifest.jsonl")],
                "overlap": {
                    "n_samples": 12,
                    "n_of_split_train": 0,
                    "n_trained_on": None,
                    "n_selected_on": None,
                    "note": note,
                },
                "relative_error_reduction": None,
                **json.loads(json.dumps(expected.to_json())),
            }
        ],
    }
    assert expected.n_resamples == 20


def test_the_page_is_one_file_with_the_mistakes_in_it(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / "page.html"
    found = run("eval", three, "--data", corpus, "--split", "all", "--html", out, "--resamples", 9)
    assert found.exit_code == 0
    html = out.read_text("utf-8")
    reader = Reader(html)
    assert {"html", "body", "main", "table", "img"} <= reader.tags
    assert not reader.tags & {"script", "link", "iframe", "object", "base", "form"}
    assert all(target.startswith(("data:image/", "#")) for target in reader.targets)
    assert not re.findall(r"(?:https?|file):", html)
    assert not re.findall(r"url\(|@import", html)
    scored = one(three, corpus, split=None).scored
    wrong = np.flatnonzero(scored.predicted != scored.labels)
    assert len(wrong) > 0
    faces, heats = reader.thumbnails[::2], reader.thumbnails[1::2]
    assert len(faces) == min(len(wrong), 24)
    assert heats == [f"Heat map of {text}" for text in faces]
    wrong_keys = {scored.keys[place] for place in wrong}
    assert {text.partition(": ")[0] for text in faces} <= wrong_keys
    assert str(three) in reader.text
    assert f"{corpus} (manifest {sha256_of(corpus / 'manifest.jsonl')[:12]})" in reader.text


@pytest.mark.usefixtures("no_plots")
def test_screen_and_page_say_that_all_predictions_are_one(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    path = write_run(tmp_path / "collapsed", THREE)
    state = {name: torch.zeros_like(value) for name, value in read_weights(path).items()}
    bias = next(name for name in reversed(state) if name.endswith("bias"))
    state[bias][THREE.names.index("Glow")] = 9.0
    write_weights(path, state, {})
    page = tmp_path / "page.html"
    done = run("eval", path, "--data", corpus, "--html", page, "--resamples", 0)
    sentence = f"All {3 * N // 2} predictions are Glow: the detector distinguishes nothing here."
    assert done.stdout.index(sentence) < done.stdout.index("| Baseline: always the largest class")
    assert any(text.startswith(sentence) for text in Reader(page.read_text("utf-8")).text)


@pytest.mark.usefixtures("no_plots")
def test_names_are_escaped(source: Path, tmp_path: Path, run: Invoke) -> None:
    evil = "<script>alert(1)<&script>"  # a folder's name: no slash
    shutil.copytree(source / "GAN", tmp_path / "src" / evil)
    shutil.copytree(source / "camera", tmp_path / "src" / "camera")
    data = small(tmp_path / "src", tmp_path / "evil <b>.lmdb", fake=(evil,))
    path = write_run(tmp_path / "run <i>", numbered((evil,), REALS))
    how = ("--split", "all", "--html", tmp_path / "p.html", "--resamples", 0)
    found = run("eval", path, "--data", data, *how)
    assert found.exit_code == 0
    html = (tmp_path / "p.html").read_text("utf-8")
    reader = Reader(html)
    assert not reader.tags & {"script", "b>", "i"}
    assert "<script" not in html
    assert evil in reader.text
    assert any(text.startswith(f"{data} (manifest ") for text in reader.text)


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("option", ["--html", "--csv"])
@pytest.mark.usefixtures("no_plots")
def test_an_older_file_survives_a_failure(
    corpus: Path,
    three: Path,
    tmp_path: Path,
    run: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
) -> None:
    out = tmp_path / "out"
    old = (
        EVAL_PAGE.marked(b"old") if option == "--html" else ",".join(SCORES.names).encode() + b"\n"
    )
    out.write_bytes(old)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        found = run("eval", three, "--data", corpus, option, out, "--resamples", 0)
    assert found.exit_code == 1
    assert "cannot be written: No space left on device" in found.stderr
    assert out.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert run("eval", three, "--data", corpus, option, out, "--resamples", 0).exit_code == 0
    assert out.read_bytes() != old
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def hostile(tmp_path: Path) -> Mapping[str, str | Path]:
    (tmp_path / "file").touch()
    return {
        "folder": tmp_path,
        "missing parent": tmp_path / "no" / "page",
        "file as parent": tmp_path / "file" / "page",
        "long": tmp_path / ("x" * 300),
        "empty": "",
        "here": ".",
        "root": "/",
    }


def test_a_page_that_cannot_be_written_is_one_line(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    for what in ("folder", "missing parent"):
        for option in ("--html", "--csv"):
            path = hostile(tmp_path)[what]
            found = run("eval", three, "--data", corpus, option, path, "--resamples", 0)
            assert found.exit_code == 2
            assert f"Error: {option} must be a file in an existing folder, got {path}." in (
                " ".join(found.stderr.split())
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("what", ["file as parent", "long", "empty", "here", "root"])
def test_a_path_that_is_none_is_one_line(tmp_path: Path, what: str) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_bytes_durably(Path(hostile(tmp_path)[what]), b"")


@pytest.mark.parametrize("what", ["folder", "missing parent"])
def test_outputs_are_checked_before_the_work(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise AssertionError("it is measuring")

    monkeypatch.setattr("hffkit.evaluation.evaluate.measure", fail)
    found = run("eval", three, "--data", corpus, "--html", hostile(tmp_path)[what])
    assert found.exit_code in (1, 2)


# Runs that are not whole


@pytest.mark.usefixtures("no_plots")
def test_an_unfinished_run_is_measured_and_its_page_says_so(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    path = write_run(tmp_path / "x.partial" / "run", THREE, result=None)
    out = tmp_path / "page.html"
    found = run("eval", path, "--data", corpus, "--html", out, "--resamples", 0)
    assert found.exit_code == 0
    shown = Reader(out.read_text("utf-8")).text
    assert any(text.startswith("unfinished: ") for text in shown)


def test_an_unfinished_run_is_called_so_in_every_form(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    path = write_run(tmp_path / "x.partial" / "run", THREE, result=None)
    found = run("eval", path, "--data", corpus, "--resamples", 0)
    assert "unfinished" in found.output.replace(str(path), "RUN")
    about = run("eval", path, "--data", corpus, "--resamples", 0, "--json")
    assert "unfinished" in about.stdout.replace(str(path), "RUN")


def test_a_run_under_way_is_named_where_it_is_looked_for(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    write_run(tmp_path / "x.partial" / "run", THREE, result=None)
    found = run("eval", tmp_path / "x", "--data", corpus)
    assert found.exit_code == 1
    assert f"{tmp_path / 'x.partial' / 'run'} is in training" in found.stderr


Change = Callable[[Path], object]


def edit(**changes: Any) -> Change:
    def change(run: Path) -> None:
        row = json.loads((run / "run.json").read_text("utf-8"))
        (run / "run.json").write_text(json.dumps(row | changes), "utf-8")

    return change


def cut(n_bytes: int) -> Change:
    def change(run: Path) -> None:
        weights = run / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:n_bytes])

    return change


def text(content: bytes) -> Change:
    return lambda run: (run / "run.json").write_bytes(content)


def other_weights(run: Path) -> None:
    write_weights(run, build("mesoinception4", 3, SIZE).state_dict(), {})


BROKEN: Mapping[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "no such run."),
    "no run.json": (
        lambda run: (run / "run.json").unlink(),
        "no run: the folder holds no run.json",
    ),
    "no JSON": (text(b"{"), "run.json: no JSON: "),
    "no UTF-8": (text(b"\xff{}"), "run.json: must be UTF-8 text"),
    "a list": (text(b"[]"), "run.json: must be a JSON object, got []"),
    "another version": (edit(format=2), "run format must be 1, got 2"),
    "unknown field": (edit(extra=1), "run.json: damaged"),
    "classes": (edit(classes=5), "run.json: damaged"),
    "a class twice": (edit(classes=[THREE.to_json()[0]] * 2), "run.json: damaged"),
    "unknown network": (edit(network="messo4"), "Did you mean 'meso4'?"),
    "another size": (edit(size=64), "not the weights of meso4"),
    "fewer classes": (edit(classes=THREE.to_json()[:2]), "not the weights of meso4"),
    "weights of another": (other_weights, "not the weights of meso4"),
    "weights of another digest": (
        edit(weights_sha256="0" * 64),
        "weights.safetensors: altered or damaged: its SHA-256 is not the one in run.json",
    ),
    "another range": (
        edit(input={"colour": "RGB", "low": 0, "high": 255, "filter": "pillow-nearest"}),
        "run.json: altered or damaged: meso4 takes RGB from 0 to 1, not RGB from 0 to 255",
    ),
    "another order of colours": (
        edit(input={"colour": "BGR", "low": 0, "high": 1, "filter": "pillow-nearest"}),
        "takes RGB from 0 to 1, not BGR from 0 to 1",
    ),
    "a range upside down": (
        edit(input={"colour": "RGB", "low": 1, "high": 0, "filter": "pillow-nearest"}),
        "run.json: damaged: input is",
    ),
    "no weights": (
        lambda run: (run / "weights.safetensors").unlink(),
        "weights.safetensors: no such file",
    ),
    "cut header": (cut(100), "damaged, or no safetensors file"),
    "cut data": (cut(-4), "damaged, or no safetensors file"),
    "empty weights": (cut(0), "damaged, or no safetensors file"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_run_is_one_line(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke, what: str
) -> None:
    change, message = BROKEN[what]
    path = tmp_path / "run"
    shutil.copytree(three, path)
    change(path)
    found = run("eval", path, "--data", corpus)  # a bug would keep its traceback
    assert found.exit_code == 1
    assert message in found.stderr
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1


# What run.json may hold if somebody edits it, or another program writes it.
WRONG: Mapping[str, dict[str, Any]] = {
    "made": {"made": None},
    "data": {"made": {"data": [3]}},
    "no input": {"input": {}},
    "colour": {"input": {"colour": "XYZ", "low": 0, "high": 1}},
    "filter": {"input": {"colour": "RGB", "low": 0, "high": 1, "filter": "cubic"}},
    "levels": {"input": {"colour": "RGB", "low": "a", "high": 1}},
    "network": {"network": 5},
    "size as text": {"size": "32"},
    "size as a fraction": {"size": 32.5},
    "class ids": {"classes": [row | {"id": n + 1} for n, row in enumerate(THREE.to_json())]},
    "is_fake": {"classes": [row | {"is_fake": "no"} for row in THREE.to_json()]},
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_in_a_run_are_one_line(three: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "run"
    shutil.copytree(three, path)
    edit(**WRONG[what])(path)
    with pytest.raises(WeightsError, match=r"run\.json: damaged"):
        read_run(path)


def test_weights_that_are_no_numbers_are_an_error(
    corpus: Path, three: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(three, path)
    state = read_weights(path)
    write_weights(path, {name: torch.full_like(t, float("nan")) if t.is_floating_point() else t
                         for name, t in state.items()}, {})  # fmt: skip
    with pytest.raises(MetricError, match="the training diverged"):
        one(path, corpus)


def test_wrong_arguments_are_told_in_one_line(
    corpus: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    assert run("eval").exit_code == 2
    found = run("eval", three, "--data", tmp_path / "no.lmdb")
    assert found.exit_code == 1
    assert "no such corpus" in found.stderr
    found = run("eval", three, "--data", corpus, "--device", "tpu")
    assert found.exit_code == 2
    assert "--device must be auto, cpu, cuda or cuda:N, got 'tpu'" in found.stderr
    found = run("eval", three, "--data", corpus, "--against", tmp_path / "no")
    assert found.exit_code == 1
    assert "no such run" in found.stderr
    with pytest.raises(ArgumentError):
        one(three, corpus, device="mps")


def test_a_corpus_packed_at_another_size_is_refused(
    source: Path, three: Path, tmp_path: Path
) -> None:
    data = small(source, tmp_path / "large.lmdb", size=48)
    with pytest.raises(CorpusError, match="packed at 48 px, and the network is fed with 32"):
        one(three, data)


def test_a_image_that_is_damaged_names_its_corpus(
    source: Path, three: Path, tmp_path: Path
) -> None:
    data = small(source, tmp_path / "native.lmdb", size=None)
    (tmp_path / "cut.lmdb").mkdir()
    for file in data.iterdir():
        content = file.read_bytes()
        if file.name == "data.mdb":
            content = content.replace(b"IDAT", b"IDxT")
        (tmp_path / "cut.lmdb" / file.name).write_bytes(content)
    with pytest.raises(HffkitError, match=r"cut\.lmdb"):
        one(three, tmp_path / "cut.lmdb")


@pytest.mark.usefixtures("no_plots")
def test_a_results_page_without_mistakes_or_reals_is_written(
    corpus: Path, three: Path, tmp_path: Path
) -> None:
    """Nothing to rank and nothing wrong: dashes and reasons, no failure."""
    found = one(three, corpus, split=None)
    fakes = np.flatnonzero(found.scored.labels == 0)
    sure = np.tile(np.array([1, 0, 0], np.float32), (len(fakes), 1))
    scored = Scored(
        THREE,
        found.scored.labels[fakes],
        sure,
        tuple(found.scored.keys[i] for i in fakes),
        tuple(found.scored.groups[i] for i in fakes),
        tuple(None for _ in fakes),
    )
    measured = replace(found, scored=scored, evaluation=measure(scored, n_resamples=0))
    result = EvalResult(None, None, "multi", None, (measured,))
    (tmp_path / "page.html").write_text(result.to_html(), "utf-8")
    reader = Reader((tmp_path / "page.html").read_text("utf-8"))
    assert not reader.thumbnails
    assert "100.00 %" in reader.text


def test_grey_images_of_a_native_corpus_are_read_as_colour(three: Path, tmp_path: Path) -> None:
    for name in (*FAKES, *REALS):
        for i in range(2):
            path = image(tmp_path / "src" / name / f"{i}.png", 9 * i, size=(48, 48))
            Image.open(path).convert("L").save(path)
    data = small(tmp_path / "src", tmp_path / "grey.lmdb", size=None, split_ratio="0/0/100")
    packed = small(tmp_path / "src", tmp_path / "packed.lmdb", split_ratio="0/0/100")
    assert np.abs(one(three, data).scored.probabilities - by_hand(three, packed)).max() < 1e-5
