"""Evaluations on samples that a run was trained on are refused, or marked as such."""

import csv
import io
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from conftest import Run as Invoke
from makers.pages import Reader
from makers.runs import write_run
from makers.trainings import request_of
from makers.trees import build_corpus, rows
from makers.trees import records as raw_records
from makers.trees import write_image as image
from PIL import Image

from hffkit.corpus.pack import PackRequest, pack
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import CorpusError, WeightsError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.evaluation.result import Measurement
from hffkit.manifest.classes import numbered
from hffkit.runs.training_samples import read_training_samples, write_training_samples
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum
from hffkit.storage.corpus import Corpus
from hffkit.storage.datum import decode_datum
from hffkit.training.train import train

PERSONS, EACH = 12, 3  # images of each person in each class
SIDE = 48


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for number in range(PERSONS * EACH):
        for shift, name in enumerate(("GAN", "camera")):
            path = root / name / f"p{number // EACH:02}-{number % EACH}.png"
            image(path, 2 * number + shift, size=(SIDE, SIDE))
    return root


@pytest.fixture(scope="module")
def corpora(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two corpora of one folder: split by person, and image by image."""
    folder = tmp_path_factory.mktemp("corpora")
    known: dict[str, Any] = {"fake": ("GAN",), "real": ("camera",), "split_ratio": "50/10/40"}
    by_person: dict[str, Any] = {"group_by": r"p\d\d"}
    return {
        name: build_corpus("folder", tree, folder / f"{name}.lmdb", **known, **more)
        for name, more in {"person": by_person, "image": {}}.items()
    }


@pytest.fixture(scope="module")
def network(corpora: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("networks") / "run"
    train(request_of(corpora["person"], network="meso4", max_iterations=2), out)
    return out


@pytest.fixture(scope="module")
def spectrum(corpora: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("spectra") / "run"
    request = SpectrumRequest(data=(str(corpora["person"]),), classifier="logistic")
    train_spectrum(request, out, n_workers=1)
    return out


def pixels_of(path: Path, split: str) -> dict[str, bytes]:
    """The pixels of a split's samples by key, decoded by Pillow."""
    found = {}
    with TemporaryDirectory() as copy:  # LMDB refuses to open twice what a reader still holds
        shutil.copy(path / "data.mdb", copy)
        stored = raw_records(Path(copy))
    for row, (_, value) in zip(rows(path / "manifest.jsonl"), stored, strict=True):
        if row["split"] == split:
            with Image.open(io.BytesIO(decode_datum(value).data)) as picture:
                found[row["key"]] = np.asarray(picture.convert("RGB")).tobytes()
    return found


def one(run: Path, data: Path, **how: Any) -> Measurement:
    request = EvalRequest((run,), (str(data),), n_resamples=0, device="cpu", **how)
    return evaluate(request).measured[0]


@pytest.mark.parametrize("kind", ["network", "spectrum"])
def test_an_evaluation_on_training_images_is_refused(
    kind: str, corpora: dict[str, Path], run: Invoke, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    trained = set(pixels_of(corpora["person"], "train").values())
    held_out = pixels_of(corpora["image"], "test")
    leaked = [key for key, pixels in held_out.items() if pixels in trained]
    assert 0 < len(leaked) < len(held_out)
    done = run("eval", path, "--data", corpora["image"])
    assert done.exit_code == 1
    assert done.stdout == ""
    text = " ".join(done.stderr.split())
    assert f"trained on {len(leaked)} of the {len(held_out)} held-out samples" in text
    assert repr(leaked[0]) in text
    assert "--allow-overlap" in text


def test_a_reference_run_may_not_have_been_trained_on_the_samples_either(
    network: Path, corpora: dict[str, Path], tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", numbered(["GAN"], ["camera"]))
    with pytest.raises(CorpusError, match="was trained on"):
        one(other, corpora["image"], against=network)


@pytest.mark.usefixtures("no_plots")
def test_figures_of_an_overlap_that_is_allowed_are_marked_everywhere(
    network: Path, spectrum: Path, corpora: dict[str, Path], tmp_path: Path, run: Invoke
) -> None:
    page, lines = tmp_path / "page.html", tmp_path / "scores.csv"
    how = ("--data", corpora["image"], "--allow-overlap", "--resamples", 9)
    done = run("eval", network, *how, "--html", page, "--csv", lines)
    assert done.exit_code == 0, done.output
    trained = set(pixels_of(corpora["person"], "train").values())
    held_out = pixels_of(corpora["image"], "test")
    leaked = {key for key, pixels in held_out.items() if pixels in trained}
    note = f"Training figures: the run was trained on {len(leaked)} of these {len(held_out)} sampl"
    assert f"\n**{note}" in done.stdout
    shown = Reader(page.read_text("utf-8")).text
    assert any(text.startswith(note) for text in shown)
    assert "Intervals are bootstrapped over groups." in " ".join(shown)
    assert "one split" not in " ".join(shown)  # nothing is stated about groups and splits
    with lines.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["key"] for row in table if row["trained_on"] == "yes"} == leaked
    assert {row["split"] for row in table} == {"test"}
    several = run("eval", network, spectrum, *how, "--task", "binary", "--json")
    found = json.loads(several.stdout)
    for each in found["measured"]:
        assert each["overlap"]["n_trained_on"] == len(leaked)
        assert each["overlap"]["note"].startswith(note)
    assert [row["training_figures"] for row in found["cross"]] == [True, True]


@pytest.mark.parametrize("kind", ["network", "spectrum"])
def test_the_corpus_trained_on_has_training_figures_in_its_other_splits_only(
    kind: str, corpora: dict[str, Path], run: Invoke, request: pytest.FixtureRequest
) -> None:
    path, data = request.getfixturevalue(kind), corpora["person"]
    n_train = len(pixels_of(data, "train"))
    held_out = one(path, data).overlap
    assert (held_out.n_training, held_out.note) == (0, None)
    assert one(path, data, split="train").overlap.n_training == n_train
    done = run("eval", path, "--data", data, "--split", "all", "--resamples", 0)
    assert done.exit_code == 0, done.output
    n = 2 * PERSONS * EACH
    assert f"Training figures: the run was trained on {n_train} of these {n} " in done.stdout


def test_corpora_that_differ_in_splits_only_have_different_titles(
    network: Path, corpora: dict[str, Path]
) -> None:
    a, b = (one(network, path, allow_overlap=True) for path in corpora.values())
    digests = [[Corpus(path).content_sha256] for path in corpora.values()]
    assert digests[0] == digests[1]
    assert a.data.title.rpartition(" ")[2] != b.data.title.rpartition(" ")[2]


@pytest.mark.parametrize("how", ["packed", "degraded", "saved again"])
def test_training_images_are_found_after_resizing_and_operations(
    how: str, tree: Path, network: Path, corpora: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.lmdb"
    if how == "packed":
        pack([str(corpora["image"])], other, PackRequest(size=SIDE // 2), n_workers=1)
    elif how == "degraded":
        degrade([str(corpora["image"])], other, DegradeRequest(("jp:50",)), n_workers=1)
    else:  # a file of its own: only the pixels are those of the training image
        for row in rows(corpora["image"] / "manifest.jsonl"):
            path = tmp_path / "again" / Path(row["source"]).with_suffix(".bmp")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(tree / row["source"]).save(path)
        build_corpus(
            "folder", tmp_path / "again", other, fake=("GAN",), real=("camera",),
            split_ratio="0/0/100",
        )  # fmt: skip
    trained = read_training_samples(network)
    assert trained is not None
    names = {Path(key).with_suffix("") for key in pixels_of(corpora["person"], "train")}
    samples = list(Corpus(other).samples())
    expected = [Path(sample.source).with_suffix("") in names for sample in samples]
    assert any(expected)
    assert not all(expected)
    assert trained.hold(samples).tolist() == expected


def test_a_run_without_a_record_is_measured_with_a_note(
    network: Path, corpora: dict[str, Path], tmp_path: Path, run: Invoke
) -> None:
    old = shutil.copytree(network, tmp_path / "old")
    (old / "training-samples.npy").unlink()
    found = one(old, corpora["image"])
    assert found.overlap.n_training is None
    assert set(found.overlap.column) == {"unknown"}
    done = run("eval", old, "--data", corpora["person"], "--split", "train", "--resamples", 0)
    n = len(pixels_of(corpora["person"], "train"))
    assert f"{n} of these {n} samples are of split train: training figures, if" in done.stdout
    (old / "training-samples.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(WeightsError, match=r"training-samples\.npy: cannot be read"):
        one(old, corpora["image"])


def test_training_samples_of_initial_weights_are_those_of_the_run_too(
    network: Path, corpora: dict[str, Path], tmp_path: Path
) -> None:
    for number in range(40):
        for shift, name in enumerate(("GAN", "camera")):
            path = tmp_path / "in" / name / f"{number:02}.png"
            image(path, 200 + 2 * number + shift, size=(SIDE, SIDE))
    data = build_corpus(
        "folder", tmp_path / "in", tmp_path / "new.lmdb", fake=("GAN",), real=("camera",)
    )
    tuned = tmp_path / "tuned"
    train(request_of(data, network="meso4", max_iterations=2, init=network), tuned)
    both = [each for each in map(read_training_samples, (network, tuned)) if each is not None]
    assert set(both[0].fingerprints.tolist()) < set(both[1].fingerprints.tolist())
    with pytest.raises(CorpusError, match="was trained on"):
        one(tuned, corpora["image"])


def test_validation_images_in_the_test_split_of_another_corpus_are_told(
    tree: Path, network: Path, corpora: dict[str, Path], tmp_path: Path, run: Invoke
) -> None:
    val = [row for row in rows(corpora["person"] / "manifest.jsonl") if row["split"] == "val"]
    for row in val:
        path = tmp_path / "in" / row["source"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / row["source"], path)
    image(tmp_path / "in/GAN/new.png", 300, size=(SIDE, SIDE))
    classes: dict[str, Any] = {"fake": ("GAN",), "real": ("camera",)}
    other = build_corpus(
        "folder", tmp_path / "in", tmp_path / "x.lmdb", split_ratio="0/0/100", **classes
    )
    done = run("eval", network, "--data", other, "--resamples", 0)
    assert done.exit_code == 0, done.output
    note = f"The weights were selected by their figures on {len(val)} of these {len(val) + 1}"
    assert f"**{note} " in done.stdout
    assert one(network, corpora["person"]).overlap.n_selected_on == 0


def test_the_record_is_small_and_the_same_for_any_order(
    corpora: dict[str, Path], tmp_path: Path
) -> None:
    samples = list(Corpus(corpora["image"]).samples())
    for name, order in (("a", samples), ("b", samples[::-1])):
        (tmp_path / name).mkdir()
        write_training_samples(tmp_path / name, order, None)
    files = [(tmp_path / name / "training-samples.npy").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert len(files[0]) == 128 + 16 * len(samples)


RECIPE = """
title = "t"
values.row = ["logistic"]
values.column = ["test"]
[data.trained]
about = "x"
[data.tested]
about = "x"
[steps."fit {row}"]
do = "spectrum"
data = "trained"
classifier = "{row}"
[steps."{row} {column}"]
do = "eval"
runs = "fit {row}"
data = "tested"
split = "{column}"
[table]
cell = "{row} {column}"
rows = "row"
columns = "column"
"""


def test_a_recipe_is_refused_an_overlap_or_notes_it_under_its_table(
    corpora: dict[str, Path], tmp_path: Path, run: Invoke
) -> None:
    trained = set(pixels_of(corpora["person"], "train").values())
    held_out = pixels_of(corpora["image"], "test")
    n = sum(pixels in trained for pixels in held_out.values())
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE, "utf-8")
    data = ("--data", f"trained={corpora['person']}", "--data", f"tested={corpora['image']}")
    words = ("run", recipe, *data, "--out", tmp_path / "out", "--workers", 1)
    done = run(*words)
    assert done.exit_code == 1
    assert "was trained on" in done.stderr
    allowed = RECIPE.replace('split = "{column}"', 'split = "{column}"\nallow_overlap = true')
    recipe.write_text(allowed, "utf-8")
    done = run(*words)
    assert done.exit_code == 0, done.output
    note = f"{n} of {len(held_out)} samples are training samples of the run"
    assert note in done.stdout
    assert note in " ".join(Reader((tmp_path / "out/table.html").read_text("utf-8")).text)
