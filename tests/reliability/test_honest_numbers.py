"""Figures that would mislead are refused, or printed with the reason to doubt them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run as Invoke
from makers.runs import THREE, write_run
from makers.trees import build_corpus, portrait, write_image
from PIL import Image

from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import ManifestError, MetricError
from hffkit.evaluation.doubts import inversion_note, polarity_note
from hffkit.evaluation.levels import measure
from hffkit.manifest.classes import BINARY, numbered
from hffkit.networks.table import build
from hffkit.runs.scores import Scored, binary_probabilities
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum

N = 10  # images of each class


def lay(root: Path, start: int = 0) -> Path:
    """Write images of two folders, the blurred ones in `soft`."""
    for name in ("sharp", "soft"):
        for number in range(start, start + 2 * N, 2):
            write_image(root / name / f"{number}.png", number + (name == "soft"))
    for path in (root / "soft").iterdir():
        small = Image.open(path).resize((10, 8), Image.Resampling.BILINEAR)
        small.resize((40, 32), Image.Resampling.BILINEAR).save(path)
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def corpus(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of the tree, in which soft is fake."""
    out = tmp_path_factory.mktemp("corpora") / "data.lmdb"
    return build_corpus(
        "folder", tree, out, real=("sharp",), fake=("soft",), split_ratio="60/10/30"
    )


@pytest.fixture(scope="module")
def spectrum(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "spectrum"
    train_spectrum(SpectrumRequest(data=(str(corpus),)), out, n_workers=1)
    return out


def notes_of(run: Invoke, *words: Any) -> list[str]:
    done = run("eval", *words, "--json")
    assert done.exit_code == 0, done.output
    (measured,) = json.loads(done.stdout)["measured"]
    found: list[str] = measured["notes"]
    return found


FEW = ("--resamples", 200)


def scored_of(scores: list[float], *, is_fake: list[bool]) -> Scored:
    n = len(scores)
    return Scored(
        BINARY,
        np.array([0 if each else 1 for each in is_fake]),
        binary_probabilities(np.array(scores)),
        tuple(f"k{i}" for i in range(n)),
        tuple(f"g{i}" for i in range(n)),
        (None,) * n,
    )


def test_a_corpus_whose_classes_are_exchanged_is_noticed_by_its_figures(
    spectrum: Path, tmp_path: Path, run: Invoke
) -> None:
    new = lay(tmp_path / "in", 100)
    how: dict[str, Any] = {"split_ratio": "0/0/100"}
    right = build_corpus("folder", new, tmp_path / "a.lmdb", real=("sharp",), fake=("soft",), **how)
    wrong = build_corpus("folder", new, tmp_path / "b.lmdb", real=("soft",), fake=("sharp",), **how)
    assert notes_of(run, spectrum, "--data", right, *FEW) == []
    (note,) = notes_of(run, spectrum, "--data", wrong, *FEW)
    assert re.match(r"The AUC is 0\.0\d\d, and its interval ends at 0\.[0-4]\d\d: the scores", note)
    done = run("eval", spectrum, "--data", wrong, *FEW)
    assert f"**{note}**" in done.stdout


def test_only_an_auc_below_chance_is_called_inverted() -> None:
    truth = [True, False] * 10
    order = [float(each) * 0.6 + 0.2 for each in truth]
    turned = [1 - score for score in order]
    chance = np.random.default_rng(0).random(20).tolist()
    for scores, is_noted in ((order, False), (turned, True), (chance, False)):
        found = inversion_note(measure(scored_of(scores, is_fake=truth), n_resamples=200))
        assert (found is not None) == is_noted
    alone = measure(scored_of([0.1, 0.2], is_fake=[True, True]))
    assert inversion_note(alone) is None
    assert alone.frame.estimates["auc"].value is None
    assert "fake" in (alone.frame.estimates["auc"].reason or "")


def test_a_class_of_the_other_polarity_in_the_run_is_named(
    corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    turned = write_run(tmp_path / "run", numbered(fake=("sharp",), real=("soft",)))
    notes = notes_of(run, turned, "--data", corpus, "--task", "binary", "--resamples", 0)
    assert any("in the corpus soft is fake (of the run real), sharp is real" in n for n in notes)
    assert polarity_note(THREE, numbered(("GAN",), ("camera", "new"))) is None


@pytest.mark.parametrize(("name", "wrong"), [("data-me5", None), ("data-jp60", "jp")])
def test_a_name_that_promises_other_operations_is_noticed(
    name: str, wrong: str | None, corpus: Path, tmp_path: Path, run: Invoke
) -> None:
    out = tmp_path / f"{name}.lmdb"
    degrade([str(corpus)], out, DegradeRequest(("me:5",)), n_workers=1)
    path = write_run(tmp_path / "run", BINARY)
    done = run("eval", path, "--data", out, "--resamples", 0)
    assert "\nRecorded operations: me:5 (6 of 6 samples).\n" in done.stdout
    warned = f"**The name {name}.lmdb has the operation {wrong}, but the samples record me:5: the"
    assert (warned in done.stdout) == (wrong is not None)


def test_a_name_alone_makes_no_operations(tree: Path, tmp_path: Path, run: Invoke) -> None:
    out = tmp_path / "data-jp-mix.lmdb"
    build_corpus("folder", tree, out, real=("sharp",), fake=("soft",), split_ratio="0/0/100")
    notes = notes_of(run, write_run(tmp_path / "run", BINARY), "--data", out, "--resamples", 0)
    assert any("has the operation jp, but the samples record no operation" in n for n in notes)


def test_spectra_are_not_learned_where_a_group_is_in_two_splits(tree: Path, tmp_path: Path) -> None:
    known: dict[str, Any] = {"real": ("sharp",), "fake": ("soft",), "split_ratio": "50/50/0"}
    data = tuple(
        str(build_corpus("folder", tree, tmp_path / f"{seed}.lmdb", seed=seed, **known))
        for seed in (0, 1)
    )
    with pytest.raises(ManifestError, match="leaks across splits"):
        train_spectrum(SpectrumRequest(data=data), tmp_path / "run", n_workers=1)
    assert not (tmp_path / "run").exists()


def test_equal_images_in_two_classes_are_told_before_spectra_are_learned(
    tmp_path: Path, run: Invoke
) -> None:
    root = lay(tmp_path / "in")
    (root / "soft" / "x.png").write_bytes((root / "sharp" / "0.png").read_bytes())
    data = build_corpus(
        "folder", root, tmp_path / "x.lmdb", real=("sharp",), fake=("soft",), split_ratio="1/0/0"
    )
    done = run("spectrum", "train", "--data", data, "--out", tmp_path / "run", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "1 file or image in two classes or splits, such as sharp/0.png: the" in done.stderr


@pytest.mark.parametrize("pattern", ["x*", "(x?)sharp|soft", "^", ""])
def test_an_expression_that_matches_nothing_makes_no_group(
    pattern: str, tree: Path, tmp_path: Path, run: Invoke
) -> None:
    how = ("--src", tree, "--real", "sharp", "--fake", "soft", "--group-by", pattern)
    done = run("build", "folder", *how, "--out", tmp_path / "x.lmdb")
    assert done.exit_code == 2
    assert f"--group-by {pattern!r} matches an empty text in 's" in done.output
    assert not (tmp_path / "x.lmdb").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_decision_values_that_are_not_finite_are_no_scores(value: float) -> None:
    fine = scored_of([0.2, 0.7], is_fake=[True, False])
    parts = (fine.classes, fine.labels, fine.probabilities, fine.keys, fine.groups, fine.videos)
    with pytest.raises(MetricError, match="k1: the scores of 1 sample are not finite"):
        Scored(*parts, margins=np.array([0.5, value]))


def test_an_imported_network_is_shown_with_what_it_is_fed(tmp_path: Path, run: Invoke) -> None:
    torch.save(build("meso4", 2).state_dict(), tmp_path / "net.pth")
    words = ("convert", tmp_path / "net.pth", "--network", "meso4", "--out", tmp_path / "run")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "--outputs must name the 2 outputs in the file's order" in " ".join(
        refused.output.split()
    )
    done = run(*words, "--outputs", "real,fake")
    assert done.exit_code == 0, done.output
    assert "classes: fake (fake), real (real)\ninput: RGB from 0 to 1, as of the" in done.stdout


def test_a_corpus_of_one_class_has_no_auc(tmp_path: Path, run: Invoke) -> None:
    for number in range(4):
        path = tmp_path / "in/soft" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(portrait()[number : 40 + number, :40]).save(path)
    data = build_corpus(
        "folder", tmp_path / "in", tmp_path / "x.lmdb", fake=("soft",), split_ratio="0/0/100"
    )
    done = run("eval", write_run(tmp_path / "run", BINARY), "--data", data, "--json")
    assert done.exit_code == 0, done.output
    auc = json.loads(done.stdout)["measured"][0]["levels"]["frame"]["metrics"]["auc"]
    assert (auc["value"], auc["low"]) == (None, None)
    assert "4 fake and 0 real" in auc["reason"]
