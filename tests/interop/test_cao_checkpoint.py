"""Published checkpoints of Cao et al.: heads and a tail, one file each."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from makers.cao import State, head_state, save, tail_state
from makers.networks import EXIT, MAPS, thin
from makers.trees import build_corpus, portrait
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from hffkit.inference.network import load_network
from hffkit.media.image import Image, resize
from hffkit.networks.mml import Mml
from hffkit.runs.run import read_run
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]
CPU = torch.device("cpu")


# --- the original: names and shapes of its tensors, and what it computes from them ------------


def normalised(x: Tensor, s: State, name: str) -> Tensor:
    mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
    return functional.batch_norm(x, mean, var, s[f"{name}.weight"], s[f"{name}.bias"])


def separated(x: Tensor, s: State, name: str) -> Tensor:
    x = functional.conv2d(x, s[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
    return functional.conv2d(x, s[f"{name}.pointwise.weight"])


def through(x: Tensor, s: State, name: str) -> Tensor:
    y = x
    for place in range(9):
        if f"{name}.rep.{place}.conv1.weight" in s:
            y = separated(y.relu() if place else y, s, f"{name}.rep.{place}")
            y = normalised(y, s, f"{name}.rep.{place + 1}")
    if f"{name}.skip.weight" in s:
        y = functional.max_pool2d(y, 3, 2, 1)
        short = functional.conv2d(x, s[f"{name}.skip.weight"], stride=2)
        return y + normalised(short, s, f"{name}.skipbn")
    return y + x


@torch.no_grad()
def published(head: State, tail: State, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lengths (B,) of embeddings and the attention maps (B, 1, m, m)."""
    x = normalised(functional.conv2d(x, head["conv1.weight"], stride=2), head, "bn1").relu()
    x = normalised(functional.conv2d(x, head["conv2.weight"]), head, "bn2").relu()
    for n in range(1, 8):
        x = through(x, head, f"block{n}")
    attention = separated(x, head, "map.c").sigmoid()
    x = x * attention
    for n in range(8, 13):
        x = through(x, tail, f"block{n}")
    for n in (3, 4):
        x = normalised(separated(x, tail, f"conv{n}"), tail, f"bn{n}").relu()
    return x.mean((2, 3)).square().sum(1).sqrt(), attention


# --- files -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def _thin() -> Iterator[None]:
    with thin():
        yield


@pytest.fixture(scope="module")
def parts() -> dict[str, State]:
    torch.manual_seed(5)
    heads = {name: head_state(MAPS) for name in ("hq_head", "lq_head")}
    return {**heads, "tail": tail_state(MAPS, EXIT)}


@pytest.fixture(scope="module")
def files(parts: dict[str, State], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: save(folder / f"{name}_000011.tar", state) for name, state in parts.items()}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 71, 71, generator=torch.Generator().manual_seed(2)) * 2 - 1


def loaded(path: Path) -> Mml:
    net = load_network(path, CPU).net
    assert isinstance(net, Mml)
    return net


def test_a_head_and_a_tail_become_a_run_with_the_scores_of_the_original(
    run: Run, parts: dict[str, State], files: dict[str, Path], images: Tensor, tmp_path: Path
) -> None:
    # Names without DataParallel's prefix, in the format from before PyTorch 1.6.
    head = save(
        tmp_path / "head_000011.tar", parts["lq_head"], prefix="",
        _use_new_zipfile_serialization=False,
    )  # fmt: skip
    done = run("convert", head, files["tail"], "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    made = read_run(tmp_path / "run")
    assert (made.network, made.size, made.classes.names) == ("mml", 299, ("fake", "real"))
    assert made.high_quality is None
    assert made.made["head"]["file"] == "head_000011.tar"
    distances, attention = published(parts["lq_head"], parts["tail"], images)
    net = loaded(tmp_path / "run")
    with torch.no_grad():
        # The one head is for every quality.
        for logits in (net(images), net.logits(images, "hq")):
            torch.testing.assert_close(logits[:, 0] - logits[:, 1], distances - 5)
            torch.testing.assert_close(logits.softmax(1)[:, 0], torch.sigmoid(distances - 5))
        torch.testing.assert_close(net.attention_map(images), attention)


def test_separate_heads_serve_their_qualities(
    run: Run, parts: dict[str, State], files: dict[str, Path], tmp_path: Path
) -> None:
    order = (files["tail"], files["lq_head"], files["hq_head"])
    done = run("convert", *order, "--threshold", "7.5", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    made = read_run(tmp_path / "run")
    assert made.high_quality == "c23"
    replace(made, size=71).write(tmp_path / "run")  # the layers do not depend on it; 299 is slow
    for quality in ("c23", "c40"):
        for name, video in (("real", "000"), ("Deepfakes", "000_003")):
            path = tmp_path / f"tree/face/{name}/{quality}/{video}/7.png"
            path.parent.mkdir(parents=True)
            y = 10 * len(name) + int(quality[1:])
            Pillow.fromarray(portrait()[y : y + 90, 150:240]).save(path)
    corpus = build_corpus(
        "ff++", tmp_path / "tree", tmp_path / "pairs.lmdb", qualities=("c23", "c40")
    )
    lines = tmp_path / "scores.csv"
    words = ("--task", "binary", "--split", "all", "--csv", lines, "--device", "cpu")
    done = run("eval", tmp_path / "run", "--data", corpus, *words, "--resamples", "0")
    assert done.exit_code == 0, done.output
    with lines.open(encoding="utf-8", newline="") as file:
        found = {row["key"]: float(row["margin"]) for row in csv.DictReader(file)}
    opened = Corpus(corpus)
    wanted = {}
    for sample in opened.samples():
        head = parts["hq_head" if sample.key.split("/")[1] == "c23" else "lq_head"]
        distances, _ = published(head, parts["tail"], fed(opened.image(sample)))
        wanted[sample.key] = float(distances) - 7.5
    assert len(wanted) == 4
    assert len({round(value, 2) for value in wanted.values()}) == 4
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def fed(image: Image) -> Tensor:
    """Return the input of 71 px, (1, 3, 71, 71) in -1..1."""
    pixels = np.ascontiguousarray(resize(image, 71, "pillow-bilinear").transpose(2, 0, 1)[None])
    return torch.from_numpy(pixels).float() / 127.5 - 1


def test_parts_that_do_not_make_a_network_are_refused(
    run: Run, parts: dict[str, State], files: dict[str, Path], tmp_path: Path
) -> None:
    hq, lq, tail = files["hq_head"], files["lq_head"], files["tail"]
    small = {name: torch.zeros(1) for name in ("block1.x", "block12.x")}
    whole = save(tmp_path / "whole.tar", small)
    renamed = save(tmp_path / "other_000011.tar", {"block1.x": torch.zeros(1)})
    later = save(tmp_path / "tail_000012.tar", {"block12.x": torch.zeros(1)})
    plain = {name: value for name, value in parts["lq_head"].items() if name[:4] != "map."}
    mapless = save(tmp_path / "head_000011.tar", plain)
    (tmp_path / "broken.tar").write_bytes(tail.read_bytes()[:9000])
    network = ("--network", "xception")
    cases = (
        ((lq,), "lq_head_000011.tar: got head only. Give a tail with one head"),
        ((hq, lq), "lq_head_000011.tar: a second head, after"),
        ((lq, hq, renamed), "other_000011.tar: one of two heads, but its name does not tell"),
        ((tail, whole), "whole.tar: neither a head (up to block7) nor a tail"),
        ((lq, later), "parts of different epochs"),
        ((mapless, tail), "it lacks 'hq_head.reg.conv1.weight'"),
        ((lq, tmp_path / "absent.tar"), "absent.tar: no such file"),
        ((lq, tmp_path / "broken.tar"), "broken.tar: damaged, or no file of PyTorch"),
        ((lq, tail, *network), "--network must be mml for a head and a tail, got xception"),
        ((lq, *network, "--threshold", "3"), "--threshold is for the head and tail of mml"),
    )
    for words, message in cases:
        done = run("convert", *words, "--out", tmp_path / "run")
        assert done.exit_code in (1, 2)
        assert message in done.stderr
        assert not (tmp_path / "run").exists()
