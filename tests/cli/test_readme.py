"""The README's commands, in their order, in the root of one dataset; and its Python."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from makers.cao import head_state, save, tail_state
from makers.runs import write_run
from makers.trees import build_two_classes, frames_of, shorten, write_image

from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.manifest.classes import HFF_8
from hffkit.media.h264 import write_video
from hffkit.networks.table import build
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]
README = Path(__file__).parent.parent.parent / "README.md"
# Options that shorten a command, by its start. The last that fits counts.
SHORTER = {
    "train": "--max-iterations 1 --batch-size 4",
    "train --list": "",
    "train --network resnet18": "--max-iterations 1 --batch-size 4 --set size=64",
    "train --data pairs.lmdb": "--max-iterations 1 --batch-size 2 --set size=71",
    "eval": "--resamples 20",
    "robustness": "--resamples 20",
    "decide": "--fpr 0.9 --confidence 0.5",  # of a few groups
    "explain": "--limit 2",
    "explain runs/amtennet photo.jpg": "--frames 1 --steps 2",
    "run table-x": "--dry-run",
}


def blocks(language: str = "") -> list[str]:
    """Return the README's blocks of code in a language, in their order."""
    found = re.findall(
        r"^```(\w*)\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [text for named, text in found if named == language]


def commands() -> Iterator[list[str]]:
    """Yield the arguments of each `hffkit` command, but for the demo, shortened."""
    for line in (line for block in blocks() for line in block.splitlines()):
        words = shlex.split(line, comments=True)
        if words[:1] != ["hffkit"]:
            continue
        text = " ".join(words[1:])
        more = [added for start, added in SHORTER.items() if text.startswith(start)]
        yield [*words[1:], *shlex.split(more[-1] if more else "")]


def lay_dataset(root: Path, clips: Path, predictor: Path, weights: Path) -> None:
    """Lay out what the README's reader brings: FaceForensics++ in `root`, and single files."""
    shorten(clips, root, 2)
    for clip in sorted(root.rglob("*.mp4")):
        frames = list(frames_of(clip, 0, 2))
        for quality, crf in (("c40", 40), ("masks", 18)):
            path = Path(str(clip).replace("/c23/", f"/{quality}/"))
            if quality == "c40" or "manipulated" in str(clip):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, frames, crf=crf)
    for number in range(9 * 40):
        names = [("../HFF", row.name) for row in HFF_8]
        names += [("faces", name) for name in ("camera", "StarGAN", "DCGAN")]
        folder, name = names[number % len(names)]
        write_image(root / folder / name / f"g{number}_r0.png", number, size=(90, 80))
    shorten(clips, root / "raw-videos", 2)
    for link in ("clip.mp4", "raw.mp4"):
        (root / link).symlink_to(min((root / "raw-videos").rglob("*.mp4")))
    write_image(root / "face.png")
    write_image(root / "photo.jpg", size=(300, 300))
    write_image(root / "photos/1.jpg", size=(300, 300))
    (root / "sp68.dat").symlink_to(predictor)
    (root / "AMTENnet.caffemodel").symlink_to(weights)
    torch.save(build("resnet18", 1000, 224).state_dict(), root / "resnet18-f37072fd.pth")
    save(root / "head_000013.tar", head_state())
    save(root / "tail_000013.tar", tail_state())
    torch.save(build("xception", 1000, 299).state_dict(), root / "xception-b5690688.pth")


def clips_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4")}


@pytest.mark.slow
def test_the_commands_of_the_readme_work_in_their_order(
    data: Path, predictor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    root = tmp_path / "ff++"
    weights = data / "golden/caffe-amtennet/snap_iter_120.caffemodel"
    lay_dataset(root, data / "data/ffpp", predictor, weights)
    monkeypatch.chdir(root)
    for number in range(2):
        shard = ("--shard", f"{number}/2", "--out", f"shard{number}.lmdb")
        assert run("build", "ff++", *shard).exit_code == 0
    for words in commands():
        arguments = [word.replace("/data/", f"{tmp_path}/") for word in words]
        if arguments != ["demo"]:
            result = run(*arguments)
            assert result.exit_code == 0, f"{' '.join(arguments)}: {result.output}"
    # Of a root full of corpora, runs and sheets, the clips alone are degraded.
    result = run("degrade", ".", "--quality", "c23", "--op", "h264:40", "--out", "../c40")
    assert result.exit_code == 0, result.output
    made = {path.relative_to(tmp_path / "c40").as_posix() for path in tmp_path.glob("c40/**/*.mp4")}
    clips = {
        path.relative_to(data / "data/ffpp").as_posix() for path in data.rglob("ffpp/**/*.mp4")
    }
    assert made == {clip.replace("/c23/", "/c40/") for clip in clips}


def test_the_python_of_the_readme_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = build_two_classes(tmp_path, 4, size=(60, 50)).rename(tmp_path / "data.lmdb")
    write_run(tmp_path / "runs/amtennet", network="amtennet", size=128)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4 + 1 + 1  # samples, an operation, probabilities
    assert all(line.endswith("(50, 60, 3)") for line in printed[:4])
    assert names["rows"].shape == (2, 80)
    assert names["heat"].shape == (1, 128, 128)
    dataset = names["Degraded"](source, ["jp-mix"])
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=2)
    images = [image.numpy() for batch, _ in loader for image in batch]
    degrade([str(source)], tmp_path / "y", DegradeRequest(("jp-mix",)), n_workers=1)
    stored = Corpus(tmp_path / "y")
    for image, sample in zip(images, stored.samples(), strict=True):
        assert np.array_equal(image, stored.image(sample))
