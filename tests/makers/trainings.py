"""Small trainings on cuts of the portrait, and ways to stop them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from hffkit.corpus.pack import PackRequest, pack
from hffkit.runs.run import Run
from hffkit.storage.staging import partial_path
from hffkit.training import loop as training
from hffkit.training.checkpoint import CHECKPOINT_FILE
from hffkit.training.request import TrainRequest
from hffkit.training.train import train
from hffkit.training.updater import Updater
from makers.trees import build_corpus, portrait

SIZE = 48
CLASSES = ("grid", "tint", "real")  # the first two are fake
SMALL = {
    "size": SIZE,
    "batch_size": 4,
    "max_iterations": 12,
    "val_interval": 5,
    "log_interval": 4,
    "base_lr": 1e-4,
}


def lay_faces(root: Path, splits: dict[str, int], classes: tuple[str, ...] = CLASSES) -> Path:
    """Write cuts of the portrait, forged in two ways, in split folders: 56x64, all different."""
    number = 0
    for split, n in splits.items():
        for name in classes:
            for _ in range(n):
                number += 1
                x, y = 7 * number % 400, 3 * number % 300
                pixels = portrait()[y : y + 64, x : x + 56].copy()
                if name == "grid":
                    pixels[::2, ::2] ^= 64
                elif name == "tint":
                    pixels[..., 0] //= 2
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Pillow.fromarray(pixels).save(path)
    return root


def native_corpus(
    folder: Path, splits: dict[str, int], classes: tuple[str, ...] = CLASSES, name: str = "raw"
) -> Path:
    fake = tuple(cls for cls in classes if cls in CLASSES[:2])
    real = tuple(cls for cls in classes if cls not in CLASSES[:2])
    root = lay_faces(folder / f"in-{name}", splits, classes)
    return build_corpus("folder", root, folder / name, fake=fake, real=real)


def packed_corpus(folder: Path, splits: dict[str, int]) -> Path:
    pack([str(native_corpus(folder, splits))], folder / "p48", PackRequest(size=SIZE), n_workers=1)
    return folder / "p48"


def request_of(data: Path, **changes: Any) -> TrainRequest:
    """Return a small training; keys of a recipe are overrides, the others arguments."""
    arguments = {name: changes.pop(name) for name in list(changes) if name in _ARGUMENTS}
    overrides = tuple(sorted((SMALL | changes).items()))
    made = TrainRequest((str(data),), device="cpu", threads=1, overrides=overrides)
    return replace(made, **arguments)


_ARGUMENTS = ("network", "recipe", "task", "init", "seed", "device", "keep", "threads", "snapshots")


def result_of(out: Path) -> tuple[bytes, bytes, Any]:
    """Return all of a run that must not depend on where it was interrupted."""
    result = json.loads((out / "run.json").read_text())["result"]
    del result["seconds_of_last_start"]
    return (out / "weights.safetensors").read_bytes(), (out / "metrics.jsonl").read_bytes(), result


def selected_of(run: Run) -> dict[str, float]:
    """Return the selection of a finished training."""
    assert run.result is not None
    assert run.result.selected is not None
    return dict(run.result.selected)


class StopError(Exception):
    """What the tests stop a training with."""


def stop_at(
    monkeypatch: pytest.MonkeyPatch, iteration: int, how: Callable[[Updater], None]
) -> None:
    """Call `how` before the step of an iteration."""
    step = Updater.step

    def stepped(self: Updater, pixels: Any, labels: Any) -> None:
        if self.iteration == iteration:
            how(self)
        step(self, pixels, labels)

    monkeypatch.setattr(Updater, "step", stepped)


def fail(_: Updater) -> None:
    raise StopError


def begin(request: TrainRequest, out: Path, iteration: int = 6) -> Path:
    """Train up to an iteration and leave a checkpoint there; return its path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
        stop_at(patch, iteration, fail)
        with pytest.raises(StopError):
            train(request, out)
    return partial_path(out) / "parts" / CHECKPOINT_FILE
